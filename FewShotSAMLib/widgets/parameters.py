"""Parameters that are saved with the scene: the inputs, and the user's choices for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import slicer

_MODULE = "FewShotSAM"


class SceneParameters:
    """Values in the module's parameter node, the only one of its kind in the scene.

    A plain vtkMRMLScriptedModuleNode: four values need no parameterNodeWrapper, and tests can use the real class.
    """

    def _found(self) -> Any:
        return slicer.mrmlScene.GetSingletonNode(_MODULE, "vtkMRMLScriptedModuleNode")

    def _node(self) -> Any:
        node = self._found()
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(_MODULE)
            node.SetModuleName(_MODULE)
            node.SetName(_MODULE)
            node = slicer.mrmlScene.AddNode(node)
        if node.GetAttribute("ModuleName") != _MODULE:  # by which Slicer finds it; closing a scene removes it
            node.SetAttribute("ModuleName", _MODULE)
        return node

    def _reference(self, role: str) -> str:
        node = self._found()
        return (node.GetNodeReferenceID(role) or "") if node is not None else ""

    def _value(self, name: str) -> str:
        node = self._found()
        return (node.GetParameter(name) or "") if node is not None else ""

    @property
    def volumeId(self) -> str:
        """The volume's node id, "" for none."""
        return self._reference("volume")

    @volumeId.setter
    def volumeId(self, nodeId: str) -> None:
        self._node().SetNodeReferenceID("volume", nodeId or None)

    @property
    def segmentationId(self) -> str:
        """The segmentation's node id, "" for none."""
        return self._reference("segmentation")

    @segmentationId.setter
    def segmentationId(self, nodeId: str) -> None:
        self._node().SetNodeReferenceID("segmentation", nodeId or None)

    @property
    def sliceRange(self) -> tuple[int, int] | None:
        """First and last slice to predict; None for all, and if the scene's text is damaged."""
        first, _, last = self._value("range").partition(",")
        try:
            return (int(first), int(last)) if last else None
        except ValueError:
            return None

    @sliceRange.setter
    def sliceRange(self, limits: tuple[int, int] | None) -> None:
        self._node().SetParameter("range", "" if limits is None else f"{limits[0]},{limits[1]}")

    @property
    def earlier(self) -> tuple[str, ...]:
        """Names of the chosen few-shot models of earlier patients; none if the scene's text is damaged."""
        try:
            names = json.loads(self._value("earlier") or "[]")
        except (ValueError, RecursionError):
            return ()
        return tuple(each for each in names if isinstance(each, str)) if isinstance(names, list) else ()

    @earlier.setter
    def earlier(self, names: Sequence[str]) -> None:
        self._node().SetParameter("earlier", json.dumps(list(names)) if names else "")
