"""AutoSAM's other two heads, without attention: the CNN head and the linear head. Source: see `autosam.py`."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from FewShotSAMLib.methods.autosam import AutoSam, AutoSamHead, AutoSamSettings
from FewShotSAMLib.methods.fine_levels import FineLevels, upscale
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Parts
from FewShotSAMLib.methods.promptless import fine_levels
from FewShotSAMLib.sam.modeling import MaskDecoder

EMBEDDING = 256
TOP_CHANNELS = 64
PUBLISHED_DEPTH = 4
DEPTH = 2


class AutoSamCnnHead(AutoSamHead):
    """Two 1 x 1 convolutions, then blocks of two 3 x 3 ones that each halve the channels; the last two also double the
    grid: from (256, h, w) to 64 channels at (4h, 4w). All weights start at random.

    Corrected unless `code_faithful`: the published head has neither a norm nor an initialisation suited to ReLU, so
    that over a dozen layers the signal fades to the constant of the biases; its transposed and last 3 x 3 convolutions
    lack the activation that all others have, so that the last two layers amount to one. Here every 3 x 3 and transposed
    convolution is followed by instance norm, as in other segmentation networks, and ReLU. Published are four blocks
    from 1024 channels (20.7 million parameters, most of them in the first two blocks, at the embedding's size); here
    there are two, the published class's default (1.8 million), so that a CPU can train them (our choice).
    """

    fine_pace = 1.0  # all other layers start at random as well

    def __init__(self, class_count: int, settings: AutoSamSettings, fine: FineLevels | None = None) -> None:
        super().__init__(settings, fine)
        depth = PUBLISHED_DEPTH if settings.code_faithful else DEPTH
        self.mask_decoder = _cnn(class_count + 1, depth, normed=not settings.code_faithful)
        if not settings.code_faithful:
            for module in self.mask_decoder.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.out_channels > class_count + 1:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        x, skips = self.split(embeddings)
        x = self.mask_decoder["input_block"](x)
        blocks = cast(nn.ModuleList, self.mask_decoder["blocks"])
        added = () if skips is None else (skips.eighth, skips.quarter)
        for level, block in enumerate(blocks, start=len(added) - len(blocks)):
            x = block(x)
            if added and level >= 0:
                x = x + added[level]
        return self.mask_decoder["final"](x)


class AutoSamLinearHead(AutoSamHead):
    """SAM's own upscaling of the embedding, starting from SAM's weights, and two 1 x 1 convolutions.

    Corrected unless `code_faithful`: the published head ends with ReLU on the logits, which cannot express evidence
    against a class and learns nothing wherever all logits are 0; here the last convolution gives the logits. Also, each
    channel of the embedding is first normalised to mean 0 and deviation 1 over the slice (ours): otherwise what all
    cells have in common outweighs their differences, and little was learned within few steps.
    """

    fine_pace = 1.0  # the schedule's rate is already high for the other new layers

    def __init__(
        self, mask_decoder: MaskDecoder, class_count: int, settings: AutoSamSettings, fine: FineLevels | None = None
    ) -> None:
        super().__init__(settings, fine)
        narrow = EMBEDDING // 8
        final = [nn.Conv2d(narrow, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, class_count + 1, 1)]
        last = [nn.ReLU()] if settings.code_faithful else []
        parts = {"output_upscaling": mask_decoder.output_upscaling, "final": nn.Sequential(*final, *last)}
        self.mask_decoder = nn.ModuleDict(parts)  # the published names

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        embeddings, skips = self.split(embeddings)
        seen = embeddings if self.settings.code_faithful else F.instance_norm(embeddings)
        upscaling = cast(nn.Sequential, self.mask_decoder["output_upscaling"])
        return self.mask_decoder["final"](upscale(upscaling, seen, skips))


def _cnn(classes: int, depth: int, normed: bool) -> nn.ModuleDict:
    """The layers, under their published names."""
    wide = TOP_CHANNELS * 2**depth
    entrance = nn.Sequential(nn.Conv2d(EMBEDDING, wide, 1), nn.ReLU(), nn.Conv2d(wide, wide, 1), nn.ReLU())
    blocks = []
    for number in range(depth):
        channels = TOP_CHANNELS * 2 ** (depth - number)
        if number < depth - 2:
            layers = [*_convolution(channels, channels, normed), *_convolution(channels, channels // 2, normed)]
        else:
            layers = [*_convolution(channels, channels, normed), *_convolution(channels, channels, normed)]
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
            layers += _after(channels // 2) if normed else []
        blocks.append(nn.Sequential(*layers))
    last = nn.Conv2d(TOP_CHANNELS, TOP_CHANNELS, 3, padding=1)
    between = _after(TOP_CHANNELS) if normed else []
    final = nn.Sequential(last, *between, nn.Conv2d(TOP_CHANNELS, classes, 1))
    return nn.ModuleDict({"input_block": entrance, "blocks": nn.ModuleList(blocks), "final": final})


def _convolution(inputs: int, outputs: int, normed: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    return [convolution, *_after(outputs)] if normed else [convolution, nn.ReLU()]


def _after(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]


class AutoSamCnn(AutoSam):
    """AutoSAM's CNN head."""

    fine_learning_rate = 2e-3
    fine_steps = 120
    learning_cost = 260.0

    def new_head(self, parts: Parts, settings: Any) -> Head:
        """A head with random weights."""
        fine = fine_levels(parts, settings.code_faithful, (2 * TOP_CHANNELS, TOP_CHANNELS))
        return AutoSamCnnHead(parts.class_count, settings, fine)


class AutoSamLinear(AutoSam):
    """AutoSAM's linear head."""

    learning_rate = 5e-3
    learning_cost = 100.0

    def new_head(self, parts: Parts, settings: Any) -> Head:
        """A head that starts from SAM's upscaling."""
        fine = fine_levels(parts, settings.code_faithful)
        return AutoSamLinearHead(parts.mask_decoder, parts.class_count, settings, fine)


CNN, LINEAR = AutoSamCnn(), AutoSamLinear()
