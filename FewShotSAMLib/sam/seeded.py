"""Random weights that are the same, bit for bit, on every machine: for the encoder that needs no download.

torch's own initialisers draw normal numbers through log and cosine, whose last bits differ between processors. Here
every number is a uniform draw (24 random bits from a seeded Mersenne twister) times one factor: exact everywhere.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

_POSITIONS = ("pos_embed", "rel_pos")
_EMBEDDINGS = ("point_embed", "no_mask_embed", "iou_token", "mask_tokens", "gaussian_matrix")


def seeded_state(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights for every parameter and stored buffer of a SAM-like model (it may be on the meta device), by name.

    Norms start as identity and biases at zero; matrices and kernels get variance 1 / fan-in, so that signals keep
    their size through the depth; positions get a standard deviation of 0.02, token embeddings of 1.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    norms = _norm_weights(model)
    state = {}
    for name, tensor in sorted(model.state_dict().items()):
        if name in norms:
            state[name] = torch.ones(tensor.shape)
        elif name.endswith("bias"):
            state[name] = torch.zeros(tensor.shape)
        else:
            state[name] = _uniform(tensor.shape, _deviation(name, tensor), generator)
    return state


def state_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over names, shapes and float32 values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name}{tuple(state[name].shape)}".encode())
        digest.update(state[name].detach().to(torch.float32).contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def combined_hash(weights_hash: str, state: dict[str, Tensor]) -> str:
    """SHA-256 (hex) that names weights with a change of them that `state` holds."""
    return hashlib.sha256(f"{weights_hash} {state_hash(state)}".encode()).hexdigest()


def _norm_weights(model: nn.Module) -> set[str]:
    """Names of the scale parameters of all normalisation layers (SAM's own LayerNorm2d among them)."""
    return {
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if type(module).__name__ in ("LayerNorm", "LayerNorm2d")
    }


def _deviation(name: str, tensor: Tensor) -> float:
    """Standard deviation for one tensor of SAM."""
    if any(part in name for part in _POSITIONS):
        return 0.02
    if any(part in name for part in _EMBEDDINGS):
        return 1.0
    return 1.0 / math.sqrt(tensor[0].numel())


def _uniform(shape: torch.Size, deviation: float, generator: torch.Generator) -> Tensor:
    """Uniform numbers of mean 0 and the given standard deviation (a uniform variable on -1/2..1/2 has 1/sqrt(12))."""
    return torch.rand(shape, generator=generator, dtype=torch.float32).sub_(0.5).mul_(deviation * math.sqrt(12.0))
