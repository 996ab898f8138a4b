"""The scene of 3D Slicer, or of a browser app built on the same classes, as the workflow sees it."""

from FewShotSAMLib.mrml.mrml_scene import MRMLScene

__all__ = ["MRMLScene"]
