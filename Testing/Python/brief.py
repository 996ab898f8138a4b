"""Makes runs of the bundled model brief, for tests that do not depend on the quality of its answers.

As a program: the background process, in which they are.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from FewShotSAMLib.sam import registry
from FewShotSAMLib.worker.server import Job, Server

SIDE = 64
"""Slices are seen at a third of the bundled encoder's size: a ninth of the work."""
MEMBERS = 2
"""Networks of a volume, half as many; what a saved model learns for other volumes takes two steps, registering a
fourth of the iterations, and how fast the computer is is measured in as few tries as can be."""


def be_brief(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make all further runs in this process brief; `change` may be pytest's monkeypatch.setattr."""
    from FewShotSAMLib.bundled import fusion_head, volume_network
    from FewShotSAMLib.core import atlas
    from FewShotSAMLib.engine import estimates
    from FewShotSAMLib.methods.interface import Schedule, Training

    bundled, *others = registry.all_specs()
    specs = replace(bundled, architecture=replace(bundled.architecture, image_size=SIDE)), *others
    change(registry, "all_specs", lambda: specs)
    change(volume_network, "MEMBERS", MEMBERS)
    change(fusion_head, "FOREIGN_TRAINING", Training(Schedule(steps=2, learning_rate=1e-3)))
    change(estimates, "_MEASURING_S", 0.0)
    change(atlas, "LEVELS", ((4, 20), (2, 10)))
    change(atlas, "MOST_SAMPLES", 10_000)


class BriefServer(Server):
    """Makes runs brief from the first request that needs the engine."""

    def _job(self, command: str) -> Job:
        if command != "read_volume" and self._jobs is None:
            be_brief()
        return super()._job(command)


if __name__ == "__main__":
    sys.exit(BriefServer().run())
