"""FewShotSAM: paint a few slices, get the volume."""

__version__ = "0.1.0"
