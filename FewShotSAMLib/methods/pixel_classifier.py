"""Logistic regression of each pixel's class on the frozen embedding: solved directly instead of trained in steps.

Source: Wu, Zhang, Elbatel, Self-prompting Large Vision Models for Few-Shot Medical Image Segmentation (2023), who fit a
logistic regression to SAM's embedding and prompt SAM with its result. Here its result is the prediction, as logits on
the same grid as the other methods' (ours), and the encoder's finer levels, if any, are features as well (ours).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from FewShotSAMLib.bundled.compact import FINE, Pyramid
from FewShotSAMLib.methods.head import Head, HeadMethod
from FewShotSAMLib.methods.interface import Method, Parts, Predictor, Task
from FewShotSAMLib.methods.promptless import PromptlessHead
from FewShotSAMLib.methods.tokens import BACKGROUND, NEVER
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS

MOST_PIXELS = 24_000
"""Maximum number of pixels to learn from, equally many per class, drawn at random if there are more."""
LEAST_SHARE = 0.5
"""Share of a logit pixel that must lie within the slice for the pixel to be learned from."""
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class PixelClassifierSettings:
    """regularisation: scikit-learn's C; larger values regularise less."""

    regularisation: float = 1.0


class PixelClassifierHead(PromptlessHead):
    """A weight for each feature and class, and a bias for each class. Neither has gradients: `solve` finds them.

    with_fine: the encoder has finer levels, which are features besides SAM's embedding.
    """

    def __init__(self, class_count: int, settings: PixelClassifierSettings, with_fine: bool) -> None:
        super().__init__()
        self.settings = settings
        self._counts = (EMBEDDING_CHANNELS, *FINE) if with_fine else (EMBEDDING_CHANNELS,)
        if with_fine:
            self.channels = None
        self.weight = nn.Parameter(torch.zeros(class_count + 1, sum(self._counts)), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(class_count + 1), requires_grad=False)

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Weight each level before enlarging it: the result is the same as afterwards, for a fraction of the work."""
        weights = self.weight[:, :, None, None].split(self._counts, dim=1)
        scores = [
            _enlarged(F.conv2d(level, weight), embeddings)
            for level, weight in zip(self._levels(embeddings), weights, strict=True)
        ]
        return torch.stack(scores).sum(dim=0) + self.bias[:, None, None]

    def solve(self, embeddings: Tensor, target: Tensor, weight: Tensor, seed: int) -> float:
        """Fit to exemplars (n, channels, h, w), with target (n, C + 1, 4h, 4w) and weight (n, 4h, 4w) as in
        `Framing.target`. Returns the mean cross-entropy of the pixels that were learned from.

        A pixel counts for each class by that class's share of it, so that structures smaller than a pixel are learned
        too. A class that occurs nowhere is never predicted.
        """
        places, known, counts = _chosen(target.cpu().numpy(), (weight >= LEAST_SHARE).cpu().numpy(), seed)
        classes = np.unique(known)
        with torch.no_grad():
            self.weight.zero_()
            self.bias.fill_(NEVER)
            if len(classes) == 1:
                self.bias[int(classes[0])] = 0.0
                return 0.0
            features = self._features(embeddings, places)
            mean, deviation = features.mean(axis=0), features.std(axis=0) + LEAST_DEVIATION
            features -= mean
            features /= deviation
            model = _logistic_regression(self.settings.regularisation).fit(features, known, sample_weight=counts)
            weights, bias = model.coef_ / deviation, model.intercept_ - (model.coef_ * (mean / deviation)).sum(axis=1)
            if len(classes) == 2:  # scikit-learn then stores one row, the score of the second class
                weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
            rows = torch.from_numpy(classes.astype(np.int64)).to(self.bias.device)
            self.weight[rows] = torch.from_numpy(weights).to(self.weight)
            self.bias[rows] = torch.from_numpy(bias).to(self.bias)
        found = model.predict_proba(features)[np.arange(len(known)), np.searchsorted(classes, known)]
        return float(-(np.log(found + 1e-12) * counts).sum() / counts.sum())

    def _features(self, embeddings: Tensor, chosen: np.ndarray) -> np.ndarray:
        """Features (len(chosen), channels) at these positions in all slices' grids laid end to end, one slice at a
        time."""
        features = np.empty((len(chosen), sum(self._counts)), np.float32)
        for number, one in enumerate(embeddings):
            maps = torch.cat([_enlarged(level, embeddings) for level in self._levels(one[None])], dim=1)[0].flatten(1)
            here = chosen // maps.shape[1] == number
            features[here] = maps[:, chosen[here] % maps.shape[1]].T.cpu().numpy()
        return features

    def _levels(self, embeddings: Tensor) -> list[Tensor]:
        """SAM's embedding and the finer levels, each on its own grid; the finest on that of the logits."""
        if len(self._counts) == 1:
            return [embeddings]
        pyramid = Pyramid.unfold(embeddings)
        return [pyramid.embedding, F.avg_pool2d(pyramid.half, 2), pyramid.quarter, pyramid.eighth]


def _enlarged(maps: Tensor, embeddings: Tensor) -> Tensor:
    """Maps on the grid of the logits, four times that of the embeddings."""
    size = [4 * side for side in embeddings.shape[2:]]
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _chosen(target: np.ndarray, inside: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels to learn from: their positions in all slices' grids laid end to end, a class of which each contains a
    share, and the number of pixels of that class that it represents."""
    random = np.random.default_rng(seed)
    shares = np.moveaxis(target, 1, 0).astype(np.float32) * inside
    flat = shares.reshape(len(shares), -1)
    members = {label: np.flatnonzero(flat[label]) for label in range(len(flat)) if flat[label].any()}
    most = MOST_PIXELS // len(members)
    places, known, counts = [], [], []
    for label, all_of_it in members.items():
        kept = random.permutation(all_of_it)[:most]
        places.append(kept)
        known.append(np.full(len(kept), label))
        counts.append(flat[label, kept] * (len(all_of_it) / len(kept)))
    return np.concatenate(places), np.concatenate(known), np.concatenate(counts)


def _logistic_regression(regularisation: float) -> Any:
    from sklearn.linear_model import LogisticRegression  # slow to import, so only when it is needed

    return LogisticRegression(C=regularisation, max_iter=200, tol=1e-3)


class PixelClassifier(HeadMethod):
    """Logistic regression, which does not use SAM's decoder."""

    settings = PixelClassifierSettings
    solved = True
    learning_cost = 30.0
    fixed_cost = 0.15e12
    plan = Method.plan  # no steps

    def new_head(self, parts: Parts, settings: Any) -> Head:
        """A head with all weights 0."""
        return PixelClassifierHead(parts.class_count, settings, with_fine=bool(parts.architecture.fine_channels))

    def fit(self, task: Task) -> Predictor:
        head = self.start(task)
        assert isinstance(head, PixelClassifierHead)
        exemplars = task.exemplars(task.augmented_copies or 0, head.logit_stride)
        with task.stage("fine-tune"):
            task.progress("fine-tune", 0, 1)
            embeddings = torch.stack([exemplar.embedding for exemplar in exemplars]).to(task.device).float()
            target, weight = (torch.stack([getattr(one, name) for one in exemplars]) for name in ("target", "weight"))
            for known, one in zip(target, exemplars, strict=True):
                if one.unknown:
                    known[BACKGROUND] = 0.0  # background may be one of these segments, and here a pixel has one class
            loss = head.solve(head.read(embeddings), target, weight, task.seed)
            task.progress("fine-tune", 1, 1)
        task.record(0, loss)
        return head


METHOD = PixelClassifier()
