"""The classes of segment_anything's networks, without the other modules that the package loads.

`import segment_anything` also imports its predictor, hence torchvision and torch's compiler. They take two thirds of
the engine's import time, and no network needs them.
"""

import importlib.util
import sys

_PACKAGE = "segment_anything"
_spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
if _spec is not None:
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(_spec)  # the package's folder; none of its code is executed
try:
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
finally:
    if _spec is not None:
        del sys.modules[_PACKAGE]  # a later import of the package gets all of it, with these same classes

__all__ = ["ImageEncoderViT", "MaskDecoder", "PositionEmbeddingRandom", "PromptEncoder", "Sam", "TwoWayTransformer"]
