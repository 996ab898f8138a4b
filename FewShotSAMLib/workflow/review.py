"""What to look at after a run: how sure the result is on each slice, and where painting helps most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from FewShotSAMLib.workflow.painted_slices import PaintedSlice


@dataclass(frozen=True)
class SliceReview:
    """One slice: origin "painted", "empty" or "predicted", and its confidence, 0 to 1 (its expected Dice)."""

    index: int
    origin: str
    confidence: float


@dataclass(frozen=True)
class Review:
    """A finished run along `axis`. next_slices: most useful to paint first; summary: a line for the user."""

    axis: int
    slices: tuple[SliceReview, ...]
    next_slices: tuple[int, ...]
    mean_confidence: float | None
    summary: str

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> Review:
        """The part of a job's report that users see."""
        slices = tuple(
            SliceReview(int(each["index"]), str(each["origin"]), float(each["confidence"])) for each in report["slices"]
        )
        nearest = tuple(int(index) for index in report["next_slices"])
        return cls(int(report["axis"]), slices, nearest, report["mean_confidence"], summary_line(report))

    def next_slice(self, painted: Sequence[PaintedSlice]) -> int | None:
        """The first of the advised slices that is not among the ticked ones by now."""
        done = {each.index for each in painted if each.ticked}
        return next((index for index in self.next_slices if index not in done), None)


def summary_line(report: Mapping[str, Any]) -> str:
    """How a run went, in one line: slices, seconds, encoder, device, and confidence."""
    predicted = sum(each["origin"] == "predicted" for each in report["slices"])
    encoder = report["encoder"]
    start = "continued from the last run" if report.get("training", {}).get("warm") else "from the start"
    confidence = report["mean_confidence"]
    sure = "" if confidence is None else f" Mean confidence {round(100 * confidence)}\u00a0%."
    with_ = f"with the encoder {encoder['name']} on {encoder['device']}"
    return f"{predicted} slices in {report['seconds']['total']:.0f} s {with_}, {start}.{sure}"
