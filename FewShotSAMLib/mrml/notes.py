"""Stores a text with a segmentation node, so that it is saved with the scene."""

from __future__ import annotations

from urllib.parse import quote, unquote

import slicer

ATTRIBUTE = "FewShotSAM"


def readNote(node: slicer.vtkMRMLSegmentationNode) -> str:
    """What `writeNote` stored, "" at first."""
    return unquote(node.GetAttribute(ATTRIBUTE) or "")


def writeNote(node: slicer.vtkMRMLSegmentationNode, text: str) -> None:
    """Store a text of any characters; "" takes it away.

    It is escaped, because scene files separate attributes by ";" and ":" and older Slicers do not escape these.
    """
    node.SetAttribute(ATTRIBUTE, quote(text, safe="") or None)
