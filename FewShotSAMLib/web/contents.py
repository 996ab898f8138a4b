"""What the page shows of a session, as JSON values. Independent of the web framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from FewShotSAMLib.core.facts import Facts, facts_rows, facts_sentence
from FewShotSAMLib.core.segment import hex_color
from FewShotSAMLib.web.hints import BROWSER_WORDS
from FewShotSAMLib.web.pictures import confidence_strip
from FewShotSAMLib.workflow import INFO, Message, PaintedSlice, Progress, SceneSegment, Session
from FewShotSAMLib.workflow.autosave import Leftover
from FewShotSAMLib.workflow.painted_slices import not_painted_on

MOST_MESSAGES = 4
INFO_S = 7.0
Contents = dict[str, Any]


def segment_rows(segments: Iterable[SceneSegment]) -> list[Contents]:
    """The list of segments."""
    return [
        {"id": each.id, "name": each.name, "color": hex_color(each.color), "visible": each.visible} for each in segments
    ]


def facts_contents(facts: Facts | None) -> Contents:
    """The facts about volume and segmentation, in one line and as rows; "" and no rows while they are unknown."""
    if facts is None:
        return {"line": "", "rows": []}
    sentence = facts_sentence(facts)
    rows = [{"label": row.label, "text": row.text.format(*row.values)} for row in facts_rows(facts)]
    return {"line": sentence.text.format(*sentence.values), "rows": rows}


def painted_rows(
    painted: Iterable[PaintedSlice], picture: Callable[[int], str], segments: Iterable[SceneSegment]
) -> list[Contents]:
    """The list of painted slices, and what is known of each segment on them. `picture` returns the address of a
    slice's thumbnail."""
    looks = {each.id: {"id": each.id, "name": each.name, "color": hex_color(each.color)} for each in segments}

    def marks(each: PaintedSlice) -> list[Contents]:
        known = {"complete": each.segment_ids, "absent": each.absent_ids, "unknown": each.unknown_ids}
        return [{**looks[one], "kind": kind} for kind, ids in known.items() for one in ids if one in looks]

    return [
        {
            "index": each.index,
            "ticked": each.ticked,
            "empty": each.empty,
            "painted": bool(each.segment_ids),
            "picture": picture(each.index),
            "marks": marks(each),
            "odd": ", ".join(looks[one]["name"] for one in each.odd_ids if one in looks),
        }
        for each in painted
    ]


def absent_rows(painted: Sequence[PaintedSlice], index: int, segments: Iterable[SceneSegment]) -> list[Contents]:
    """The segments painted on other slices but not on slice `index`, and whether it was declared to hold none."""
    absent = not_painted_on(painted, index)
    return [
        {"id": each.id, "name": each.name, "color": hex_color(each.color), "absent": absent[each.id]}
        for each in segments
        if each.id in absent
    ]


def leftover_rows(left: Iterable[Leftover]) -> list[Contents]:
    """The unsaved work of earlier servers."""
    return [
        {
            "id": each.id,
            "volume": each.volume,
            "saved": time.strftime("%Y-%m-%d %H:%M", time.localtime(each.saved)),
            "has_result": "preview" in each.files,
        }
        for each in left
    ]


def progress_row(progress: Progress) -> Contents:
    """The progress bar: text, percent (None if unknown), time left."""
    percent = None if progress.fraction is None else round(100 * progress.fraction)
    left = time_left(progress.remaining_s)
    return {"text": progress.text, "percent": percent, "left": left, "can_finish": progress.can_finish}


def time_left(seconds: float | None) -> str:
    """The remaining time as users read it, "" if unknown or less than a second."""
    if seconds is None or seconds < 1:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s left" if minutes else f"{rest} s left"


def session_contents(session: Session, slices: int) -> Contents:
    """The state, what Propagate waits for, and the review. slices: number of slices along the painted axis."""
    review = session.review
    return {
        "state": session.state.value,
        "busy": session.is_busy,
        "why_not": "" if session.is_busy else session.why_not(),
        "next_slice": session.next_slice(),
        "review": {
            "strip": "" if review is None or not slices else confidence_strip(review, slices),
            "summary": "" if review is None else review.summary,
            "earlier": [] if review is None else list(review.earlier),
            "corrected": review is not None and review.can_improve,
            "count": slices,
        },
    }


class Messages:
    """The latest messages, each with a number to dismiss it by. Those that only inform disappear by themselves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._count = 0
        self._shown_at: dict[int, float] = {}
        self.said: list[Message] = []
        self.rows: list[Contents] = []

    def add(self, message: Message) -> None:
        """Show a message; the oldest is dropped if there are too many."""
        self._count += 1
        self.said = [*self.said, message][-MOST_MESSAGES:]
        row = {"id": self._count, "level": message.level, "text": message.worded(BROWSER_WORDS)}
        self.rows = [*(each for each in self.rows if each["text"] != row["text"]), row][-MOST_MESSAGES:]
        shown_at = {**self._shown_at, self._count: self._clock()}
        self._shown_at = {each["id"]: shown_at[each["id"]] for each in self.rows}

    def expire(self) -> bool:
        """Drop information that was shown for long enough; returns whether there was any."""
        end = self._clock() - INFO_S
        left = [each for each in self.rows if each["level"] != INFO or self._shown_at[each["id"]] > end]
        changed, self.rows = len(left) != len(self.rows), left
        return changed

    def dismiss(self, number: int) -> None:
        """Remove a message."""
        self.rows = [each for each in self.rows if each["id"] != number]

    def clear(self, levels: Iterable[str]) -> None:
        """Remove all messages of these levels."""
        cleared = set(levels)
        self.rows = [each for each in self.rows if each["level"] not in cleared]


def changes(new: Mapping[str, Any], shown: Mapping[str, Any]) -> Contents:
    """The values of `new` that are not shown yet, so that nothing is sent over the network twice."""
    return {name: value for name, value in new.items() if name not in shown or shown[name] != value}


FIRST_STATE: Contents = {
    "state": "idle",
    "busy": False,
    "why_not": "",
    "next_slice": None,
    "review": {"strip": "", "summary": "", "earlier": [], "corrected": False, "count": 0},
    "progress": {"text": "", "percent": None, "left": "", "can_finish": False},
    "choices": {"methods": [], "encoders": [], "devices": []},
    "settings": {
        "method": "few-shot",
        "encoder": "auto",
        "device": "auto",
        "largest_island": False,
        "fill_holes": False,
        "smooth_mm": 0,
        "plane": "",
        "first": 0,
        "last": 0,
        "end": 0,
        "is_limited": False,
        "refusals": 0,
    },
    "refusals": 0,
    "cost": {"text": "", "is_problem": False},
    "models": [],
    "earlier": [],
    "has_model": False,
    "model_name": "",
    "doomed_model": "",
    "several": {"text": "", "is_running": False, "has_table": False},
    "several_model": "",
    "chosen_volumes": [],
    "show_several": False,
    "facts": {"line": "", "rows": []},
    "segments": [],
    "active_segment": "",
    "painted": [],
    "absent": [],
    "work_plane": "axial",
    "work_slice": 0,
    "can_mark_empty": False,
    "tool": "",
    "brush_place": 40,
    "brush_mm": 0,
    "can_undo": False,
    "can_redo": False,
    "opacity": 50,
    "show_3d": False,
    "layout": "four",
    "windows": [],
    "window_name": "",
    "volume_name": "",
    "volume_file": "",
    "volumes": [],
    "show_volumes": False,
    "show_keys": False,
    "is_unsaved": False,
    "save_name": "",
    "folder_name": "",
    "messages": [],
    "leftovers": [],
    "doomed_open": "",
    "doomed_save": "",
    "free_name": "",
    **{f"{kind}_{plane}": 0 for kind in ("at", "last") for plane in ("axial", "coronal", "sagittal")},
}
"""Everything that the page reads, before a volume is open."""
