"""Turns slices into embeddings with SAM's image encoder: fast, in batches, checked against float32, within memory."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from FewShotSAMLib.core.errors import MemoryShortageError, is_memory_shortage
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.family import FastNetwork, family_of
from FewShotSAMLib.sam.fast.calibration import REQUIRED_COSINE, calibrate, cosine, in_float, synthetic_slice, use_float
from FewShotSAMLib.sam.memory import batch_size
from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder, Sam
from FewShotSAMLib.sam.precision import DTYPES, pick_device, pick_precision
from FewShotSAMLib.sam.registry import PIXEL_MEAN, PIXEL_STD, EncoderSpec

Check = Callable[[], None]
Warn = Callable[[str], None]


def load_encoder(
    spec: EncoderSpec,
    checkpoint: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    warn: Warn | None = None,
) -> Encoder:
    """The encoder of `spec` with its weights (`checkpoint`, or else the model folder's), on a device, ready to encode.

    device: auto, cpu, mps, cuda, cuda:N; precision: auto, fp32, bf16, fp16, int8 (see `pick_precision`). `warn` gets
    one line for the user if something differs from the request. Raises BadInputError for an unavailable device,
    precision or checkpoint, and MemoryShortageError if the weights do not fit.
    """
    place = pick_device(device)
    chosen = pick_precision(precision, place, spec)
    sam, weights_hash = load_sam(spec, checkpoint, warn=warn)
    try:
        return Encoder(spec, sam, weights_hash, place, chosen, automatic=precision == "auto", warn=warn)
    except (RuntimeError, MemoryError) as error:
        if not is_memory_shortage(error):
            raise
        raise _shortage(spec, place) from error


_ONE_AT_A_TIME = threading.Lock()
"""Encoding changes torch's number of threads, which is a process-wide setting."""


class Encoder:
    """SAM's image encoder on one device. Only one thread can `encode` at a time; others wait.

    image_size: side of the square input images in pixels; embedding_shape: (channels, rows, columns) of one slice's
    embedding, of which SAM's decoder reads the first 256 channels.

    Any precision but float32 is checked on the first slice: its embedding must agree with float32 (cosine similarity
    0.999). If it does not, an automatically chosen precision is replaced by float32, one chosen by the user is kept,
    both with a warning. On the CPU a slice's embedding is bit-identical for any batching and number of cores; on a GPU,
    from run to run with the same batches.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        sam: Sam,
        weights_hash: str,
        device: torch.device,
        precision: str,
        automatic: bool = True,
        warn: Warn | None = None,
    ) -> None:
        self.spec, self.weights_hash, self.device, self.precision = spec, weights_hash, device, precision
        self.image_size, self.embedding_shape = spec.image_size, spec.embedding_shape
        self.slices_encoded = 0
        # With the precision first chosen: if float32 replaces it, cached embeddings stay valid and are still found.
        self.cache_key = f"{spec.name} {weights_hash} {precision}"
        self._automatic = automatic
        self._warn = warn or logging.getLogger(__name__).warning
        self._parts: tuple[MaskDecoder, PromptEncoder] = (sam.mask_decoder, sam.prompt_encoder)
        self._own_layers: nn.Module | None = getattr(sam, "fusion", None)
        self._network = self._fast(sam.image_encoder, DTYPES[precision])
        # The float32 original, kept until the precision is known to be good enough.
        self._original = None if precision == "fp32" else sam.image_encoder
        self._batch_limit: int | None = None

    def listen(self, warn: Warn) -> None:
        """Send warnings to `warn` from now on: an encoder outlives the job that loaded it."""
        self._warn = warn

    @property
    def batch_size(self) -> int:
        """Number of slices to encode at once, given the memory that is free now and earlier shortages."""
        size = batch_size(self.spec.architecture, self._network.dtype.itemsize, self.device)
        return size if self._batch_limit is None else min(size, self._batch_limit)

    @property
    def gainful_batch(self) -> int:
        """The smallest batch with full speed: a CPU gains nothing from more slices than cores, or from more than one if
        all cores work on the same slice."""
        if self.device.type != "cpu":
            return self.batch_size
        return min(self.batch_size, torch.get_num_threads()) if self._network.side_by_side else 1

    def sam_parts(self) -> tuple[MaskDecoder, PromptEncoder]:
        """The checkpoint's mask decoder and prompt encoder: fresh float32 copies on the CPU."""
        return copy.deepcopy(self._parts)

    def own_decoder_layers(self) -> nn.Module | None:
        """Fresh copies of the weights' decoder layers in addition to SAM's; None for SAM's own encoders."""
        return copy.deepcopy(self._own_layers)

    def encode(self, images: Tensor, check: Check | None = None) -> Tensor:
        """(B, 3, S, S) float32, 0..255, RGB, on the CPU -> embeddings (B, *embedding_shape) float32 on the CPU.

        `check` is called between transformer blocks, on the CPU also a few times per second; its exceptions propagate.
        If memory runs out, the batch is halved, with a warning. Raises MemoryShortageError if one slice does not fit.
        """
        expected = (3, self.image_size, self.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected or images.dtype != torch.float32:
            raise ValueError(f"images are {tuple(images.shape)} {images.dtype}, not (B, *{expected}) float32")
        embeddings = torch.empty(len(images), *self.embedding_shape)
        done = 0
        with _ONE_AT_A_TIME:
            size = self.batch_size
            while done < len(images):
                part = images[done : done + size]
                if self._encode_into(embeddings[done : done + size], part, check):
                    done += len(part)
                    self.slices_encoded += len(part)
                else:
                    size = self._smaller_batch(len(part))
        return embeddings

    def _encode_into(self, embeddings: Tensor, images: Tensor, check: Check | None) -> bool:
        """Fill `embeddings`; False if memory did not suffice (by then all memory of the attempt is free again)."""
        try:
            # Written into ordinary tensors: training cannot use those created in inference mode.
            with torch.inference_mode():
                ready = self.normalise(images)
                if self._original is not None:
                    self._establish_trust(ready[0], check)
                embeddings.copy_(self._network(ready, check))
            return True
        except (RuntimeError, MemoryError) as error:
            if not is_memory_shortage(error):
                raise
            return False

    def _smaller_batch(self, failed: int) -> int:
        """Halve the batch that did not fit, from now on. Raises MemoryShortageError if it was a single slice."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if failed == 1:
            raise _shortage(self.spec, self.device)
        self._batch_limit = failed // 2
        self._warn(
            f"Memory ran out while encoding {failed} slices at once; continuing with {self._batch_limit}. "
            "Close other programs if this is too slow."
        )
        return self._batch_limit

    def _fast(self, official: Any, dtype: torch.dtype = torch.float32) -> FastNetwork:
        return family_of(self.spec.architecture).fast(official, self.device, dtype)

    def normalise(self, images: Tensor) -> Tensor:
        """Images (..., 3, S, S), 0..255, normalised as in the network's training, on the device."""
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
        return images.to(self.device).sub(mean).div_(std)

    def _establish_trust(self, image: Tensor, check: Check | None) -> None:
        """Choose the integer layers, if any, and compare with float32 on the first, normalised slice (3, S, S)."""
        if self.precision == "int8":
            calibrate(self._network, self.normalise(synthetic_slice(self.image_size).unsqueeze(0))[0], check)
        reached = cosine(self._network(image.unsqueeze(0), check), self._reference(image, check))
        if not reached >= REQUIRED_COSINE:  # also true for NaN
            self._mistrust(reached)
        elif self.precision == "int8" and self._network.is_float:
            self._mistrust(None)
        for layer in self._network.linears:
            layer.keep_chosen_only()
        self._original = None

    def _reference(self, image: Tensor, check: Check | None) -> Tensor:
        """The float32 embedding of one normalised slice."""
        if self._network.dtype == torch.float32:
            with in_float(self._network):
                return self._network(image.unsqueeze(0), check)
        return self._fast(self._original)(image.unsqueeze(0), check)

    def _mistrust(self, reached: float | None) -> None:
        """Fall back to float32 (or keep the user's choice, if it can be computed at all), with a warning."""
        found = "" if reached is None else f" (similarity {reached:.4f}, {REQUIRED_COSINE} is required)"
        problem = f"Precision {self.precision} is too coarse for these weights of “{self.spec.name}”{found}"
        if reached is not None and not self._automatic:
            self._warn(f"{problem}. It is used as you asked; the precision auto is the safe choice.")
            return
        if self._network.dtype == torch.float32:
            use_float(self._network)
        else:
            self._network = self._fast(self._original)
        self.precision = "fp32"
        self._warn(f"{problem}; float32 is used instead. Results are right, encoding takes longer.")


def _shortage(spec: EncoderSpec, device: torch.device) -> MemoryShortageError:
    where = "this computer" if device.type == "cpu" else f"the GPU ({device})"
    is_cpu = device.type == "cpu"
    advice = "Close other programs or choose a smaller encoder." if is_cpu else hint("free-gpu-memory")
    return MemoryShortageError(f"There is not enough memory on {where} to encode one slice with “{spec.name}”.", advice)
