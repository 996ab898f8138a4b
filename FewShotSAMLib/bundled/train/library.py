"""A folder of episodes, made by separate processes; the trainer reads each a few times and then deletes it."""

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
"""Number of the first episode reserved for validation."""
WAIT_S = 0.5
AHEAD = 64
"""How many episodes are made in advance of those that may be drawn at the moment."""


class EpisodeLibrary:
    """Numbered episodes as files; each depends on (seed, number) alone, so that an interrupted library can resume."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        self._first = multiprocessing.get_context("spawn").Value("q", 0)

    def path(self, number: int) -> Path:
        """Return the path of an episode, which need not exist yet."""
        return self.folder / f"{number:09d}{SUFFIX}"

    def make(self, number: int) -> None:
        """Make one episode, unless it exists."""
        if self.path(number).exists():
            return
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        content = asdict(make_episode(Dice(generator)))
        unfinished = self.path(number).with_suffix(".part")
        torch.save(content, unfinished)
        unfinished.replace(self.path(number))

    def read(self, number: int, patience_s: float = 600.0) -> Episode:
        """Read one episode; wait while another process makes it. Raises TimeoutError after `patience_s`."""
        end = time.monotonic() + patience_s
        while not self.path(number).exists():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.path(number)} was not made within {patience_s:.0f} s")
            time.sleep(WAIT_S)
        return Episode(**torch.load(self.path(number), weights_only=True))

    def forget_before(self, number: int) -> None:
        """Delete the episodes before this one, and let the processes make further ones."""
        for old in range(self._first.value, number):
            self.path(old).unlink(missing_ok=True)
        self._first.value = number

    def fill(self, numbers: Sequence[int], processes: int) -> list[BaseProcess]:
        """Start processes that make these episodes in parallel; they end with this process at the latest."""
        return [self._start(numbers[part::processes], None) for part in range(processes)]

    def go_on(self, first: int, window: int, processes: int) -> list[BaseProcess]:
        """Start processes that make episodes from `first` on indefinitely, up to AHEAD beyond the `window` that may be
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
