"""Surfaces in the 3D view: made when asked for, and again once painting has paused, since they take a while."""

from __future__ import annotations

import time

import slicer

from FewShotSAMLib.mrml.surfaces import SURFACE
from FewShotSAMLib.workflow import Session, State

QUIET_S = 0.8
LARGEST_AT_ONCE = 12_000_000
"""Voxels up to which surfaces are shown from the start: making one takes a fraction of a second then."""


class Surfaces:
    """Whether surfaces of the segmentation, and of a finished preview, are shown."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._due_at: float | None = None
        self._previewed = False
        self.are_shown = False

    def set_node(self, node: slicer.vtkMRMLSegmentationNode | None, voxels: int) -> None:
        """Another segmentation, of a volume with so many voxels."""
        self._node, self._due_at, self._previewed = node, None, False
        self.are_shown = node is not None and voxels <= LARGEST_AT_ONCE

    def show(self, shown: bool) -> None:
        """Make the surfaces, or drop them."""
        self.are_shown = shown
        if shown:
            self.look_soon(0.0)
        else:
            self.drop()
        if self._session.preview is not None:
            self._session.preview.set_shown_in_3d(shown)

    def drop(self) -> None:
        """Drop the segmentation's surfaces before it changes: Slicer would make them again at each change."""
        if self._node is not None:
            self._node.GetSegmentation().RemoveRepresentation(SURFACE)

    def look_soon(self, quiet_s: float = QUIET_S) -> None:
        """The segmentation changed."""
        if self.are_shown:
            self._due_at = time.monotonic() + quiet_s

    def poll(self, is_calm: bool) -> bool:
        """Make what is due, while nobody presses a button; True where something new is in the view."""
        is_preview = self._session.state is State.PREVIEW
        appeared = is_preview and not self._previewed and self.are_shown
        self._previewed = is_preview
        if appeared and self._session.preview is not None:
            self._session.preview.set_shown_in_3d(True)
        is_due = self._due_at is not None and is_calm and time.monotonic() >= self._due_at
        if is_due and self._node is not None:
            self._due_at = None
            segmentation = self._node.GetSegmentation()
            if segmentation.GetNumberOfSegments():
                segmentation.CreateRepresentation(SURFACE, True)
                self._node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(SURFACE)
        return appeared or is_due
