"""Baseline: logistic regression of each pixel's class on the frozen embedding."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.baseline import MakeSource, Painted, SliceSource, class_count_of, with_painted
from FewShotSAMLib.sam.compact import FOLDED_CHANNELS, Pyramid

MOST_PIXELS = 12_000
"""Of each class that are learned from, drawn at random where there are more."""
LEAST_SHARE = 0.5
"""Part of a pixel of the logit grid that has to lie in the slice for it to be learned from."""


class PixelClassifier:
    """Source: Wu, Zhang, Elbatel, Self-prompting Large Vision Models for Few-Shot Medical Image Segmentation (2023),
    who fit a logistic regression to SAM's embedding and prompt SAM with its result. Here its result is the answer; the
    embedding is enlarged to the grid of the other methods' logits first (ours). Training takes a second or two.
    """

    def __init__(self, source: MakeSource, regularisation: float = 1.0, seed: int = 0) -> None:
        self._source = source
        self._regularisation = regularisation
        self._seed = seed

    def __call__(self, grey: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
        """See `Baseline`."""
        source = self._source(grey, axis)
        classes = np.zeros(grey.shape, np.uint8)
        weight, bias, labels = self._fit(source, painted)
        slices = np.moveaxis(classes, axis, 0)
        for index, one in enumerate(slices):
            scores = torch.einsum("chw,kc->khw", _features(source, index), weight) + bias[:, None, None]
            best = source.framing.uncut(scores).argmax(dim=0)
            source.framing.cut(one)[...] = labels[best].numpy()
        return with_painted(classes, painted, axis)

    def _fit(self, source: SliceSource, painted: Painted) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (k, channels), bias (k,) and class (k,) uint8 of each score."""
        features, labels, share = self._pixels(source, painted)
        known = np.unique(labels)
        if len(known) == 1:
            return torch.zeros(1, features.shape[1]), torch.zeros(1), torch.tensor(known, dtype=torch.uint8)
        mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        model = _logistic_regression(self._regularisation)
        model.fit((features - mean) / deviation, labels, sample_weight=share)
        weight, bias = model.coef_ / deviation, model.intercept_ - (model.coef_ * (mean / deviation)).sum(axis=1)
        if len(known) == 2:  # scikit-learn then keeps one row, the score of the second class
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), torch.tensor(known, dtype=torch.uint8)

    def _pixels(self, source: SliceSource, painted: Painted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features (n, channels), classes (n,) and how many pixels each stands for (n,)."""
        random = np.random.default_rng(self._seed)
        count = class_count_of(painted)
        values, labels = [], []
        for index, classes in painted.items():
            target, weight = source.framing.target(np.ascontiguousarray(source.framing.cut(classes)), count)
            inside = weight >= LEAST_SHARE
            values.append(_features(source, index)[:, inside].T.numpy())
            labels.append(target.argmax(dim=0)[inside].numpy())
        features, known = np.concatenate(values), np.concatenate(labels)
        chosen, share = [], []
        for label in np.unique(known):
            members = np.flatnonzero(known == label)
            kept = random.permutation(members)[:MOST_PIXELS]
            chosen.append(kept)
            share.append(np.full(len(kept), len(members) / len(kept)))
        order = np.concatenate(chosen)
        return features[order], known[order], np.concatenate(share)


def _features(source: SliceSource, index: int) -> Tensor:
    """Features (channels, 4h, 4w) of a slice: SAM's embedding, and of the bundled encoder its finer features too."""
    embedding = source.slices([index]).float().cpu()
    if embedding.shape[1] != FOLDED_CHANNELS:
        return _enlarged(embedding, 4)[0]
    levels = Pyramid.unfold(embedding)
    fine = [F.avg_pool2d(levels.half, 2), levels.quarter, _enlarged(levels.eighth, 2)]
    return torch.cat([_enlarged(levels.embedding, 4), *fine], dim=1)[0]


def _enlarged(maps: Tensor, factor: int) -> Tensor:
    return F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)


def _logistic_regression(regularisation: float) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise BadInputError(
            "The pixel classifier needs scikit-learn, which is not installed.",
            "Run “pip install 'fewshotsam[baselines]'”.",
        ) from error
    return LogisticRegression(C=regularisation, max_iter=200, tol=1e-3)
