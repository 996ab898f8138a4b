"""What to review after a run: the confidence of the result on each slice, and where painting helps most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from FewShotSAMLib.core.contributions import unused_model_lines, used_model_lines
from FewShotSAMLib.workflow.painted_slices import PaintedSlice


@dataclass(frozen=True)
class SliceReview:
    """One slice: origin "painted", "empty" or "predicted", and its confidence, 0 to 1 (its expected Dice)."""

    index: int
    origin: str
    confidence: float


@dataclass(frozen=True)
class Review:
    """A finished run along `axis`. next_slices: slices to paint next, most useful first; summary: a line for the user.
    corrected: the slices predicted again by a correction, which left all others unchanged; else None. first: the user
    accepted the first answer. earlier: what became of earlier patients' models, a sentence each."""

    axis: int
    slices: tuple[SliceReview, ...]
    next_slices: tuple[int, ...]
    mean_confidence: float | None
    summary: str
    corrected: tuple[int, ...] | None = None
    first: bool = False
    earlier: tuple[str, ...] = ()

    @property
    def can_improve(self) -> bool:
        """Whether a run of the whole volume would give another result, even if nothing more is painted."""
        return self.first or self.corrected is not None

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> Review:
        """Build it from a job's report: the part that users see."""
        slices = tuple(
            SliceReview(int(each["index"]), str(each["origin"]), float(each["confidence"])) for each in report["slices"]
        )
        nearest = tuple(int(index) for index in report["next_slices"])
        again = report.get("corrected")
        corrected = None if again is None else tuple(map(int, again))
        mean, first = report["mean_confidence"], bool(report.get("first"))
        training = report.get("training", {})
        earlier = (*used_model_lines(training), *unused_model_lines(training))
        return cls(int(report["axis"]), slices, nearest, mean, summary_line(report), corrected, first, earlier)

    def next_slice(self, painted: Sequence[PaintedSlice]) -> int | None:
        """The first of the suggested slices that is not ticked yet, or not complete; None if there is none."""
        declared = (each for each in painted if each.ticked and (each.segment_ids or each.empty))
        done = {each.index for each in declared if not each.unknown_ids}
        return next((index for index in self.next_slices if index not in done), None)


def summary_line(report: Mapping[str, Any]) -> str:
    """One line about a run: slices, seconds, encoder, device, and confidence."""
    if (corrected := report.get("corrected")) is not None:
        seconds = f"{report['seconds']['total']:.1f} s"
        return f"{len(corrected)} slices were predicted again in {seconds}; all others are unchanged."
    encoder = report["encoder"]
    start = "continued from the last run" if report.get("training", {}).get("warm") else "from the start"
    start = "the first answer" if report.get("first") else start
    confidence = report["mean_confidence"]
    sure = "" if confidence is None else f" Mean confidence {round(100 * confidence)}\u00a0%."
    with_ = f"with the encoder {encoder['name']} on {encoder['device']}"
    return f"{len(report['asked'])} slices in {report['seconds']['total']:.0f} s {with_}, {start}.{sure}"
