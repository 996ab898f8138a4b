"""The classes of segment_anything's networks, without what else the package loads.

`import segment_anything` runs its predictor's imports: torchvision, and with it torch's compiler. They take two thirds
of the time that the engine's import takes, and no network needs them.
"""

import importlib.util
import sys

_PACKAGE = "segment_anything"
_spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
if _spec is not None:
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(_spec)  # the package's folder, nothing of it executed
try:
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
finally:
    if _spec is not None:
        del sys.modules[_PACKAGE]  # whoever imports the package itself gets the whole of it, with these very classes

__all__ = ["ImageEncoderViT", "MaskDecoder", "PositionEmbeddingRandom", "PromptEncoder", "Sam", "TwoWayTransformer"]
