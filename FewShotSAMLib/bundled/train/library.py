"""A folder of episodes, filled by background processes and read by the trainer at the same time."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from FewShotSAMLib.bundled.train.episodes import Episode, make_episode
from FewShotSAMLib.bundled.train.shapes import Dice

SUFFIX = ".episode"
VALIDATION_FIRST = 900_000
"""Number of the first episode that is kept for validation."""
WAIT_S = 0.5


class EpisodeLibrary:
    """Episodes as files, numbered; each is made from (seed, number) alone, so that an interrupted library goes on."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        """Where an episode lies, once it is made."""
        return self.folder / f"{number:06d}{SUFFIX}"

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

    def fill(self, first: int, end: int, processes: int) -> list[BaseProcess]:
        """Start processes that make the episodes first..end - 1; they end with this process at the latest."""
        context = multiprocessing.get_context("spawn")
        started: list[BaseProcess] = []
        for part in range(processes):
            numbers = range(first + part, end, processes)
            process = context.Process(target=_work, args=(self.folder, self.seed, numbers), daemon=True)
            process.start()
            started.append(process)
        return started


def _work(folder: Path, seed: int, numbers: range) -> None:
    torch.set_num_threads(1)
    library = EpisodeLibrary(folder, seed)
    for number in numbers:
        library.make(number)
