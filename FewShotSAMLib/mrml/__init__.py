"""Adapts the MRML scene of 3D Slicer, or of a browser app built on the same classes, to the workflow."""

from FewShotSAMLib.mrml.mrml_scene import MRMLScene

__all__ = ["MRMLScene"]
