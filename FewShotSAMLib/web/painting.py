"""Painting with trame-slicer's brushes, and one history for all changes, strokes and results alike."""

from __future__ import annotations

from collections.abc import Collection

import slicer
from trame_slicer.core import SegmentationEditor
from trame_slicer.segmentation import BrushDiameterMode, SegmentationEffectErase, SegmentationEffectPaint
from undo_stack import Signal
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkPolyData

UNDO_STATES = 20


class _InSlices:
    """A brush that works in slice views only: what is painted in the 3D view would not lie on a single slice.

    It is not shown in the 3D view either: each move would draw all surfaces again.
    """

    about_to_change = Signal()

    def paint_glyph_at_world_coordinates(self, polydata: vtkPolyData, paint_coordinates_world: vtkPoints) -> None:
        """Write a stroke that has ended, after announcing it."""
        self.about_to_change.emit()
        super().paint_glyph_at_world_coordinates(polydata, paint_coordinates_world)  # type: ignore[misc]

    def _create_model_node(self, name: str) -> slicer.vtkMRMLModelNode:
        node = super()._create_model_node(name)  # type: ignore[misc]
        node.GetDisplayNode().SetVisibility3D(False)
        return node

    def _create_pipeline(self, view_node: slicer.vtkMRMLAbstractViewNode, parameter: slicer.vtkMRMLNode) -> object:
        if not isinstance(view_node, slicer.vtkMRMLSliceNode):
            return None
        return super()._create_pipeline(view_node, parameter)  # type: ignore[misc]


class Paint(_InSlices, SegmentationEffectPaint):
    """Paints the chosen segment; `about_to_change` is emitted before each stroke."""


class Erase(_InSlices, SegmentationEffectErase):
    """Erases the chosen segment; `about_to_change` is emitted before each stroke."""


class Painter:
    """Brushes and history of one segmentation. It is the segment editor through which `mrml.MRMLScene` commits."""

    def __init__(self, editor: SegmentationEditor) -> None:
        self._editor = editor
        self._history = slicer.vtkSegmentationHistory()
        self._history.SetMaximumNumberOfStates(UNDO_STATES)
        self._brushes = {"paint": editor.get_effect(Paint), "erase": editor.get_effect(Erase)}
        for brush in self._brushes.values():
            brush.about_to_change.connect(self.saveStateForUndo)
        self.tool = ""

    def set_nodes(self, segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLVolumeNode) -> None:
        """Paint on another segmentation, with a new history."""
        self._editor.set_active_segmentation(segmentation, volume)
        self._editor.editor_node.SetAndObserveSegmentationNode(segmentation)
        self._history.RemoveAllStates()
        self._history.SetSegmentation(segmentation.GetSegmentation())
        self.set_tool("")

    def set_tool(self, tool: str) -> None:
        """Choose paint, erase, or anything else for no brush."""
        self.tool = tool
        if tool in self._brushes:
            self._editor.set_active_effect(self._brushes[tool])
        else:
            self._editor.deactivate_effect()

    @property
    def brushes(self) -> Collection[Paint | Erase]:
        """Both brushes."""
        return self._brushes.values()

    def finish_stroke(self) -> None:
        """End the current stroke, as if the button were released: the slice changes, and a stroke belongs to one slice.

        A stroke that continued would be drawn through all slices between the two.
        """
        for brush in self._brushes.values():
            for reference in brush.pipelines:
                pipeline = reference()
                if pipeline is not None and pipeline.widget is not None and pipeline.widget.is_painting():
                    pipeline.widget.stop_painting()

    def set_diameter(self, diameter_mm: float) -> None:
        """Set the diameter of both brushes."""
        for brush in self._brushes.values():
            brush.set_brush_diameter(diameter_mm, BrushDiameterMode.Absolute)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._history.IsRestorePreviousStateAvailable())

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._history.IsRestoreNextStateAvailable())

    def redo(self) -> None:
        """Redo the change that was undone last, if there is one."""
        if self.can_redo:
            self._history.RestoreNextState()

    # The rest implements mrml.editor.SegmentEditor, hence the names.

    def undo(self) -> None:
        """Undo the last change, if there is one."""
        if self.can_undo:
            self._history.RestorePreviousState()

    def saveStateForUndo(self) -> None:  # noqa: N802
        """Remember the segmentation in its current state."""
        self._history.SaveState()

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode:  # noqa: N802
        """The node with the masking and overwrite settings of the brushes."""
        return self._editor.editor_node
