"""How far a predictor's features are from the zero-shot model's: energy gap and feature distortion.

With g(x) the image encoder's features, F(x) = g(x) / ||g(x)||, theirs with index 0 those of the zero-shot model, and G(t) the
pre-trained text tower's normalised features of M random texts t (Lipsum-FT, arXiv:2404.00860, Eq. 4-6 and section 5):

    E(x, t)              = -<F(x), G(t)>                                     no temperature: in [-1, 1]
    energy gap           = mean_x mean_t (E(x, t) - E_0(x, t))^2             in [0, 4]
    absolute energy gap  = mean_x mean_t |E(x, t) - E_0(x, t)|               in [0, 2]
    feature distortion   = mean_x ||F(x) - F_0(x)||_2                        in [0, 2]
    raw distortion       = mean_x ||g(x) - g_0(x)||_2                        >= 0, in the encoder's own scale

The paper does not say whether its gap is squared; its penalty is (Eq. 7), without the temperature s. With temperature the
squared gap is s^2 (10^4 for CLIP) times, the absolute one s times as large. Nor does it say which distortion it means.

With d = F(x) - F_0(x) the squared gap of an image is d^T C d, C = G^T G / M (D, D): no product with each text is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.runtime import Runtime

NUM_TEXTS, TEXT_LENGTH, TEXT_SEED = 10_000, 8, 0
"""The random texts: as many and as long as in the paper, ids from this seed; the same ones for every model and trial."""
NUM_KEPT = 100
"""Images of a split whose features are kept: what the paper's t-SNE shows."""
PRODUCTS = 2**21
"""Energies that are in memory at a time: 8 MiB."""


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """One predictor against the zero-shot model on one split; definitions and ranges above."""

    energy_gap: float | None
    """None without random texts"""
    energy_gap_absolute: float | None
    distortion: float
    distortion_raw: float
    first: Tensor
    """(min(N, NUM_KEPT), D) float16: L2-normalised features of the first images of the split, on the CPU"""


class Texts:
    """Features of the random texts on the device: G (M, D), and C = G^T G / M (D, D)."""

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self.moment = features.T @ features / len(features)


def squared_energy_gaps(difference: Tensor, moment: Tensor) -> Tensor:
    """mean_t <d, G(t)>^2 of each image (B,), from F(x) - F_0(x) (B, D) and C (D, D)."""
    return ((difference @ moment) * difference).sum(dim=1).clamp(min=0)


def absolute_energy_gaps(difference: Tensor, texts: Tensor) -> Tensor:
    """mean_t |<d, G(t)>| of each image (B,), from F(x) - F_0(x) (B, D) and text features (M, D)."""
    columns, step = texts.T, max(1, PRODUCTS // len(texts))
    parts = [difference[start : start + step] for start in range(0, len(difference), step)]
    return torch.cat([(part @ columns).abs_().mean(dim=1) for part in parts])


Reference = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""The zero-shot model's features before normalisation (B, D) of a batch, from its images and the predictors' own features."""


class FeatureComparison:
    """Watches an evaluation pass (`training.evaluate.Observer`) and sums up how far features are from the zero-shot ones."""

    def __init__(self, names: Iterable[str], reference: Reference, texts: Texts | None) -> None:
        """`names`: of the predictors to compare; without `texts` there are no energies."""
        self._reference = reference
        self._texts = texts
        self._rows: dict[str, list[Tensor]] = {name: [] for name in names}
        self._first: dict[str, list[Tensor]] = {name: [] for name in self._rows}
        self._seen = 0

    def __call__(self, images: Tensor, features: Mapping[str, Tensor]) -> None:
        """A batch: its images, and the features before normalisation (B, D) of the predictors by name."""
        zero = self._reference(images, features)
        for name, rows in self._rows.items():
            rows.append(self._distances(features[name], zero))
            if self._seen < NUM_KEPT:
                self._first[name].append(F.normalize(features[name][: NUM_KEPT - self._seen], dim=-1))
        self._seen += len(images)

    def _distances(self, raw: Tensor, zero: Tensor) -> Tensor:
        """(B, 4) float64: energy gap squared and absolute (0 without texts), distortion normalised and raw."""
        difference = F.normalize(raw, dim=-1) - F.normalize(zero, dim=-1)
        gaps = [difference.new_zeros(len(raw))] * 2
        if self._texts is not None:
            squared = squared_energy_gaps(difference, self._texts.moment)
            gaps = [squared, absolute_energy_gaps(difference, self._texts.features)]
        return torch.stack([*gaps, difference.norm(dim=1), (raw - zero).norm(dim=1)], dim=1).double()

    def result(self, runtime: Runtime, width: int) -> dict[str, FeatureShift]:
        """Means over the images of all workers, which all get the same; `width`: D."""
        return {name: self._shift(rows, self._first[name], runtime, width) for name, rows in self._rows.items()}

    def _shift(self, rows: list[Tensor], first: list[Tensor], runtime: Runtime, width: int) -> FeatureShift:
        nothing = torch.empty(0, 4, dtype=torch.float64, device=runtime.device)
        means = runtime.all_gather(torch.cat([nothing, *rows])).mean(dim=0).tolist()
        # The parts of the workers are contiguous: the first images of all are among the first of each.
        kept = runtime.all_gather(torch.cat([torch.empty(0, width, device=runtime.device), *first]))[:NUM_KEPT]
        gap, absolute = means[:2] if self._texts is not None else (None, None)
        return FeatureShift(gap, absolute, means[2], means[3], kept.half().cpu())
