"""One evaluation path for every method: predictors in, per-image outcomes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.energy import FeatureShift
from training.groups import Groups
from training.model import ImageClassifier
from training.runtime import Runtime
from training.types import Batch, Predictor, RawBatch


@dataclass(frozen=True, slots=True)
class Normalise:
    """uint8 images on the host to float32 images on the device, with the model's mean and standard deviation (of [0, 1])."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: torch.device

    def __call__(self, batch: RawBatch) -> Batch:
        """Images travel as bytes, a quarter of the floats, and are scaled where they are used."""
        images = batch.images.to(self.device, non_blocking=True).float().div_(255)
        mean = torch.tensor(self.mean, device=self.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(1, 3, 1, 1)
        return Batch(
            images.sub_(mean).div_(std), batch.labels.to(self.device, non_blocking=True), batch.keys, batch.captions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What a predictor said about each image, in the order of the split."""

    keys: tuple[str, ...]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    """probability of the prediction, in [0, 1]"""
    nlls: NDArray[np.float32]
    """negative log-likelihood of the label, nats, >= 0"""
    briers: NDArray[np.float32]
    """Brier score over all classes, sum_k (p_k - [k = label])^2, in [0, 2] (Brier, Monthly Weather Review 1950)"""
    shift: FeatureShift | None = None
    """how far the features are from the zero-shot model's, where that was asked for"""

    @property
    def num_correct(self) -> int:
        """Images whose prediction is their label."""
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """Top-1, as a fraction."""
        return self.num_correct / len(self.labels)

    @property
    def class_accuracy(self) -> float:
        """Mean over the classes that have images of the share of their images that are right, as a fraction."""
        images = np.bincount(self.labels)
        right = np.bincount(self.labels[self.predictions == self.labels], minlength=len(images))
        return float((right[images > 0] / images[images > 0]).mean())

    @property
    def nll(self) -> float:
        """Mean over the images, summed in float64."""
        return float(self.nlls.mean(dtype=np.float64))

    @property
    def brier(self) -> float:
        """Mean over the images, summed in float64."""
        return float(self.briers.mean(dtype=np.float64))


Observer = Callable[[Tensor, Mapping[str, Tensor]], None]
"""Gets the images of each batch (B, 3, H, W) and the features before normalisation (B, D) of all predictors that are one image
encoder."""


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 for matrix products on a GPU, float32 on a CPU; weights and optimiser stay float32 on both."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


@torch.inference_mode()
def evaluate(
    predictors: Mapping[str, Predictor],
    batches: Iterable[RawBatch],
    normalise: Callable[[RawBatch], Batch],
    runtime: Runtime,
    groups: Groups | None = None,
    observe: Observer | None = None,
) -> dict[str, Outcomes]:
    """Outcomes of each predictor over this rank's `batches`, gathered over all ranks. Images are decoded once for all.

    With `groups`, outcomes are over groups of labels; labels and predictions are then the first labels of their groups.
    The predictors must be in eval mode. Raises ValueError if a predictor gives logits that are not finite, or an image
    has a label in no group. `observe` sees every batch after the predictors.
    """
    keys: list[str] = []
    columns: dict[str, list[Tensor]] = {name: [] for name in predictors}
    for raw in batches:
        batch = normalise(raw)
        keys += batch.keys
        features: dict[str, Tensor] = {}
        for name, predictor in predictors.items():
            with autocast(runtime.device):
                logits, embedded = _forward(predictor, batch.images)
            columns[name].append(_outcome_rows(logits.float(), batch.labels, groups))
            if embedded is not None:
                features[name] = embedded
        if observe:
            observe(batch.images, features)
    everyone = _gather_keys(keys, runtime)
    return {name: _outcomes(name, everyone, rows, runtime) for name, rows in columns.items()}


def _forward(predictor: Predictor, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits (B, K), and the features before normalisation of what is one image encoder: one forward pass gives both."""
    if type(predictor) is not ImageClassifier:  # a subclass may have a forward of its own
        return predictor(images), None
    raw = predictor.embed(images)
    return predictor.logits(F.normalize(raw, dim=-1)), raw


def _outcome_rows(logits: Tensor, labels: Tensor, groups: Groups | None) -> Tensor:
    """(B, 5) float64: label, prediction, confidence, NLL, Brier score; float64 holds every integer label exactly."""
    if groups:
        logits, labels = groups.logits(logits), groups.index(labels)
    log_probabilities = F.log_softmax(logits, dim=-1)
    confidence, prediction = log_probabilities.max(dim=-1)
    nll = F.nll_loss(log_probabilities, labels, reduction="none")
    # From the differences themselves: 1 - 2 p_y + sum p^2 would lose all digits where p_y is near 1.
    off = log_probabilities.exp() - F.one_hot(labels, log_probabilities.shape[1])
    brier = off.square().sum(dim=-1)
    if groups:
        labels, prediction = groups.first(labels), groups.first(prediction)
    columns = [labels, prediction, confidence.exp(), nll, brier]
    return torch.stack([column.double() for column in columns], dim=1)


def _outcomes(name: str, keys: tuple[str, ...], rows: list[Tensor], runtime: Runtime) -> Outcomes:
    local = torch.cat(rows) if rows else torch.empty(0, 5, dtype=torch.float64, device=runtime.device)
    table = runtime.all_gather(local).cpu().numpy()
    if not np.isfinite(table).all():
        raise ValueError(f"{name or 'the model'} gives logits that are not finite on {keys[0].split('/')[0]!r}")
    return Outcomes(
        keys=keys,
        labels=table[:, 0].astype(np.int64),
        predictions=table[:, 1].astype(np.int64),
        confidences=np.minimum(table[:, 2], 1).astype(np.float32),
        nlls=np.maximum(table[:, 3], 0).astype(np.float32),
        briers=table[:, 4].astype(np.float32),
    )


def _gather_keys(keys: list[str], runtime: Runtime) -> tuple[str, ...]:
    """The keys of all ranks in order of rank, as bytes through the same gather as the numbers."""
    if runtime.world_size == 1:
        return tuple(keys)
    local = torch.tensor(
        list("\n".join(keys).encode() + b"\n" if keys else b""), dtype=torch.uint8, device=runtime.device
    )
    return tuple(bytes(runtime.all_gather(local).cpu().tolist()).decode().splitlines())
