"""What makes runs of the bundled model brief, for tests that are not about how good its answers are."""

from dataclasses import replace

from FewShotSAMLib.sam import registry
from FewShotSAMLib.sam.registry import EncoderSpec

SIDE = 96
"""Slices are seen at half of the bundled encoder's size: a quarter of the work."""


def brief_specs() -> tuple[EncoderSpec, ...]:
    """The encoders of the registry, the bundled one with smaller images."""
    bundled, *others = registry.all_specs()
    return replace(bundled, architecture=replace(bundled.architecture, image_size=SIDE)), *others


def be_brief() -> None:
    """In this process runs are brief from now on, and what a saved model learns for other volumes takes two steps."""
    from FewShotSAMLib.bundled import fusion_head
    from FewShotSAMLib.methods.interface import Schedule, Training

    specs = brief_specs()
    registry.all_specs = lambda: specs
    fusion_head.FOREIGN_TRAINING = Training(Schedule(steps=2, learning_rate=1e-3))
