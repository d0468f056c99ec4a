"""Projection of fine-tuned weights towards the zero-shot weights, one learned radius for each tensor (TPGM).

    theta~_i = theta_0,i + r_i (theta_i - theta_0,i) ,  r_i = clamp(gamma_i / (||theta_i - theta_0,i||_2 + 1e-8), 0, 1)

Source: Tian et al., CVPR 2023, arXiv:2303.10720, and PotatoTian/TPGM@8d18db067dd3 ImageNet_ViT_Exp/utils/tpgm.py (l2).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from training.types import Batch, StateDict

_SMALLEST = 1e-8

Radii = Mapping[str, Tensor]
"""name of a tensor -> its radius, a scalar"""


def distances(start: StateDict, end: StateDict) -> dict[str, Tensor]:
    """|| end_i - start_i ||_2 of each floating-point tensor that moved."""
    norms = {name: (end[name] - value).norm() for name, value in start.items() if value.is_floating_point()}
    return {name: norm for name, norm in norms.items() if norm > 0}


def ratio(radius: Tensor, distance: Tensor) -> Tensor:
    """clamp(radius / (distance + 1e-8), 0, 1). Where it is exactly 0 or 1, its gradient is 0, as in the reference."""
    return F.hardtanh(radius / (distance + _SMALLEST), 0.0, 1.0)


def project(start: StateDict, end: StateDict, radii: Radii) -> dict[str, Tensor]:
    """The projected weights, differentiable in the radii; a tensor without a radius is taken from `end`.

    Exactly `start` at radius 0 and exactly `end` at any radius beyond the distance by a rounding error, infinity included.
    """
    projected = dict(end)
    for name, radius in radii.items():
        distance = (end[name] - start[name]).norm()
        projected[name] = torch.lerp(start[name], end[name], ratio(radius, distance))
    return projected


def learn_radii(
    model: nn.Module,
    start: StateDict,
    end: StateDict,
    batches: Callable[[], Iterable[Batch]],
    *,
    iterations: int,
    lr: float,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Radii that minimise CE(model with project(start, end, radii)) + penalty(radii) by Adam, one batch an iteration.

    They start at half the distance and are clipped to [1e-8, distance] before each use. `model`: in eval mode, gives
    logits; its own weights are not used. `batches()` is a pass over the data, repeated as often as needed; `penalty` gets
    all radii as one vector. Raises ValueError if a pass has no batch.
    """
    norms = distances(start, end)
    if not norms:
        return {}
    bounds = torch.stack(list(norms.values()))
    radii = (bounds / 2).requires_grad_()
    optimizer = torch.optim.Adam([radii], lr=lr)
    for batch in itertools.islice(_repeated(batches), iterations):
        _clip(radii, bounds)
        weights = project(start, end, dict(zip(norms, radii.unbind(), strict=True)))
        loss = F.cross_entropy(functional_call(model, weights, (batch.images,)), batch.labels)
        if penalty is not None:
            loss = loss + penalty(radii)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _clip(radii, bounds)
    return dict(zip(norms, radii.detach().unbind(), strict=True))


def learn_projection(
    model: nn.Module,
    start: StateDict,
    end: StateDict,
    batches: Callable[[], Iterable[Batch]],
    *,
    iterations: int,
    lr: float,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, Tensor], float]:
    """The weights projected by `learn_radii`, on the model's device, and the mean over the moved tensors of their ratios."""
    device = next(model.parameters()).device
    start, end = ({name: value.to(device) for name, value in state.items()} for state in (start, end))
    radii = learn_radii(model, start, end, batches, iterations=iterations, lr=lr, penalty=penalty)
    ratios = [float(ratio(radii[name], distance)) for name, distance in distances(start, end).items()]
    return project(start, end, radii), sum(ratios) / max(1, len(ratios))


@torch.no_grad()
def _clip(radii: Tensor, bounds: Tensor) -> None:
    radii.copy_(radii.clamp(min=_SMALLEST).minimum(bounds))


def _repeated(batches: Callable[[], Iterable[Batch]]) -> Iterator[Batch]:
    while True:
        empty = True
        for batch in batches():
            empty = False
            yield batch
        if empty:
            raise ValueError("there is no validation image to learn the radii on")
