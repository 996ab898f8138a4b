"""A folder of episodes, made by processes beside the trainer, which reads each a few times and lets go of it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from FewShotSAMLib.bundled.train.episodes import Episode, make_episode
from FewShotSAMLib.bundled.train.shapes import Dice

SUFFIX = ".episode"
VALIDATION_FIRST = 900_000_000
"""Number of the first episode that is kept for validation."""
WAIT_S = 0.5
AHEAD = 64
"""Episodes that are made beyond those that may be drawn at the moment."""


class EpisodeLibrary:
    """Episodes as files, numbered; each is made from (seed, number) alone, so that an interrupted library goes on."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        self._first = multiprocessing.get_context("spawn").Value("q", 0)

    def path(self, number: int) -> Path:
        """Where an episode lies, once it is made."""
        return self.folder / f"{number:09d}{SUFFIX}"

    def make(self, number: int) -> None:
        """Make one episode, unless it is there."""
        if self.path(number).exists():
            return
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        content = asdict(make_episode(Dice(generator)))
        unfinished = self.path(number).with_suffix(".part")
        torch.save(content, unfinished)
        unfinished.replace(self.path(number))

    def read(self, number: int, patience_s: float = 600.0) -> Episode:
        """One episode; waits for it while another process makes it. Raises TimeoutError."""
        end = time.monotonic() + patience_s
        while not self.path(number).exists():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.path(number)} was not made within {patience_s:.0f} s")
            time.sleep(WAIT_S)
        return Episode(**torch.load(self.path(number), weights_only=True))

    def forget_before(self, number: int) -> None:
        """Delete the episodes before this one, and let the makers go on."""
        for old in range(self._first.value, number):
            self.path(old).unlink(missing_ok=True)
        self._first.value = number

    def fill(self, numbers: Sequence[int], processes: int) -> list[BaseProcess]:
        """Start processes that make these episodes, all at once; they end with this process at the latest."""
        return [self._start(numbers[part::processes], None) for part in range(processes)]

    def go_on(self, first: int, window: int, processes: int) -> list[BaseProcess]:
        """Start processes that make episodes from `first` without end, up to AHEAD beyond the `window` that may be
        drawn."""
        self._first.value = first
        numbers = range(first, VALIDATION_FIRST)
        return [self._start(numbers[part::processes], window + AHEAD) for part in range(processes)]

    def _start(self, numbers: Sequence[int], most: int | None) -> BaseProcess:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(self.folder, self.seed, numbers, self._first, most), daemon=True)
        process.start()
        return process


def _work(folder: Path, seed: int, numbers: Sequence[int], first: object, most: int | None) -> None:
    torch.set_num_threads(1)
    library = EpisodeLibrary(folder, seed)
    for number in numbers:
        while most is not None and number >= first.value + most:  # type: ignore[attr-defined]
            time.sleep(WAIT_S)
        library.make(number)
