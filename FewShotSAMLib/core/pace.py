"""What a run has to do, and how long a method takes for it: the arithmetic of every estimate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    asked: for each predicted slice, how many segments can be there; encoded: slices that the encoder has to see;
    segments: those that are learned; continues: from the last run's model; starts: the background process, too.
    corrects: the model stays, only these slices are predicted again.
    """

    asked: tuple[int, ...]
    encoded: int
    segments: int = 1
    continues: bool = False
    starts: bool = False
    corrects: bool = False


@dataclass(frozen=True)
class Pace:
    """Seconds that a method takes with an encoder on a device, all for one segment.

    learning: from the start; continuing: from an earlier model; encoding, predicting: a slice. learning_share,
    segment_share: what each further segment adds to learning and to predicting, as a share of the first.
    """

    learning: float
    continuing: float
    encoding: float
    predicting: float
    learning_share: float = 0.0
    segment_share: float = 0.0

    def seconds(self, work: Work) -> float:
        """Seconds for the whole run, once the process has started and loaded its encoder."""
        learning = 0.0 if work.corrects else self.continuing if work.continues else self.learning
        predicting = self.predicting * sum(segment_factor(count, self.segment_share) for count in work.asked)
        return learning * segment_factor(work.segments, self.learning_share) + self.encoding * work.encoded + predicting


def segment_factor(segments: int, share: float) -> float:
    """How many times as long as one segment this number takes, each further one adding this share."""
    return 1.0 + share * max(0, segments - 1)
