"""Baseline: SAM as it is, prompted with points or a box, either from the shape interpolated between the painted slices
or given."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from FewShotSAMLib.benchmark.baselines.interface import Painted, SliceSource, class_count_of, with_painted
from FewShotSAMLib.benchmark.baselines.shape_interpolation import interpolate_shapes
from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.sam.framing import Framing
from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS

NEVER = -100.0


@dataclass(frozen=True)
class Prompt:
    """How many points inside the shape prompt each segment on each slice, and whether its bounding box does."""

    points: int
    box: bool = False


class ZeroShotSam:
    """SAM without any learning. Each segment is prompted separately; where their masks overlap, the higher logit wins.

    As SAM's authors advise, a single point, which is ambiguous, yields three masks, of which the one that SAM itself
    rates best is taken; several points or a box yield one.

    source: embeddings of the volume and axis that it is called with.

    given: classes (K, J, I) from which each slice is prompted, as the papers do with a person or the ground truth.
    Otherwise `interpolate_shapes` gives the prompts; slices beyond the outermost painted ones then stay empty (ours).
    """

    def __init__(
        self,
        source: SliceSource,
        mask_decoder: MaskDecoder,
        prompt_encoder: PromptEncoder,
        prompt: Prompt,
        given: np.ndarray | None = None,
    ) -> None:
        self._source, self._prompt, self._given = source, prompt, given
        self._mask_decoder, self._prompt_encoder = mask_decoder.eval(), prompt_encoder.eval()

    def __call__(self, grey: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
        """See `Baseline`."""
        source = self._source
        classes = np.zeros(grey.shape, np.uint8)
        slices = np.moveaxis(classes, axis, 0)
        plane = source.framing.plane
        spacing = plane.spacing[::-1] if plane.transpose else plane.spacing
        if self._given is None:
            shapes = interpolate_shapes(painted, len(slices), spacing)
        else:
            shapes = np.moveaxis(self._given, axis, 0)
        for index in range(len(slices)):
            shape = np.ascontiguousarray(source.framing.cut(shapes[index]))
            if index not in painted and shape.any():
                embedding = source.slices([index])[:, :EMBEDDING_CHANNELS].float()
                logits = self._logits(embedding, shape, class_count_of(painted), source.framing)
                logits[0] = 0.0  # SAM's threshold
                best = source.framing.uncut(logits).argmax(dim=0)
                source.framing.cut(slices[index])[...] = best.to(torch.uint8).numpy()
        return with_painted(classes, painted, axis)

    def _logits(self, embedding: Tensor, shape: np.ndarray, count: int, framing: Framing) -> Tensor:
        """Return logits (count + 1, 4h, 4w) for an embedding (1, 256, h, w)."""
        height, width = (4 * side for side in embedding.shape[2:])
        logits = torch.full((count + 1, height, width), NEVER)
        for label in np.unique(shape[(shape > 0) & (shape != IGNORE)]).tolist():
            logits[label] = self._ask(embedding, shape == label, framing)
        return logits

    @torch.inference_mode()
    def _ask(self, embedding: Tensor, mask: np.ndarray, framing: Framing) -> Tensor:
        device = next(self._mask_decoder.parameters()).device
        points, box = None, None
        if self._prompt.points:
            places = torch.tensor(_to_image(inner_points(mask, self._prompt.points), framing), dtype=torch.float32)
            points = (places[None].to(device), torch.ones(1, len(places), device=device))
        if self._prompt.box:
            box = torch.tensor(_to_image(_corners(mask), framing), dtype=torch.float32).view(1, 4).to(device)
        ambiguous = self._prompt.points == 1 and not self._prompt.box
        sparse, dense = self._prompt_encoder(points, box, None)
        masks, ratings = self._mask_decoder(
            image_embeddings=embedding.to(device),
            image_pe=self._prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=ambiguous,
        )
        best: Tensor = masks[0, int(ratings[0].argmax())].cpu()
        return best


def inner_points(mask: np.ndarray, count: int) -> list[tuple[float, float]]:
    """Return up to `count` points (row, column) inside a mask, at pixel centres: the one farthest from the border, then
    repeatedly the one farthest from the border and from all chosen points."""
    outside = np.pad(~mask, 1, constant_values=True)
    chosen: list[tuple[float, float]] = []
    while len(chosen) < min(count, int(mask.sum())):
        depth = ndimage.distance_transform_edt(~outside)[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), mask.shape)
        chosen.append((float(row), float(column)))
        outside[row + 1, column + 1] = True
    return chosen


def _corners(mask: np.ndarray) -> list[tuple[float, float]]:
    """Return the first and last (row, column) that the mask reaches, at pixel centres."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [(float(rows[0]), float(columns[0])), (float(rows[-1]), float(columns[-1]))]


def _to_image(places: list[tuple[float, float]], framing: Framing) -> list[tuple[float, float]]:
    """Map (row, column) of the cut slice to (x, y) in the encoder's image, pixel centres at whole numbers in both."""
    scales = [side / count for side, count in zip(framing.content, framing.crop_shape, strict=True)]
    return [((column + 0.5) * scales[1] - 0.5, (row + 0.5) * scales[0] - 0.5) for row, column in places]
