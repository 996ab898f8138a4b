"""Paint, propagate, preview, apply: the workflow that the Slicer panel and the browser app share. No Qt, no torch."""

from FewShotSAMLib.workflow.cost import Device, EncoderState, Machine
from FewShotSAMLib.workflow.job import Progress
from FewShotSAMLib.workflow.message import ERROR, INFO, WARNING, Message
from FewShotSAMLib.workflow.model_library import ModelEntry, ModelLibrary
from FewShotSAMLib.workflow.painted_slices import PaintedSlice
from FewShotSAMLib.workflow.review import Review, SliceReview
from FewShotSAMLib.workflow.scene import Scene, ScenePreview, SceneSegment, SceneVolume, Target
from FewShotSAMLib.workflow.session import Session
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.state import Signal, State

__all__ = [
    "ERROR",
    "INFO",
    "WARNING",
    "Device",
    "EncoderState",
    "Machine",
    "Message",
    "ModelEntry",
    "ModelLibrary",
    "PaintedSlice",
    "Progress",
    "Review",
    "Scene",
    "ScenePreview",
    "SceneSegment",
    "SceneVolume",
    "Session",
    "Settings",
    "Signal",
    "SliceReview",
    "State",
    "Target",
]
