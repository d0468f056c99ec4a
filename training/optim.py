"""Optimiser and learning-rate schedule of a phase."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch
from torch import nn

from training.config import Recipe
from training.types import Phase

ONE_STEP = (
    "its only step would have the learning rate 0, with which the warm-up begins; "
    "raise recipe.num_steps, or set recipe.warmup_fraction: 0"
)


class PhaseError(ValueError):
    """A method's phases do not fit the model; the message says which name or number is wrong."""


def check_phases(phases: list[Phase], model: nn.Module) -> None:
    """Raise PhaseError unless shares add up to 1 and every trained name is a parameter of the model. No phase is fine."""
    shares = [phase.share for phase in phases]
    if phases and (min(shares) <= 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-9)):
        raise PhaseError(f"shares of the phases must be positive and add up to 1, got {shares}")
    names = {name for name, _ in model.named_parameters()}
    for phase in phases:
        if not phase.trained:
            raise PhaseError(f"phase {phase.name!r} trains nothing")
        if unknown := sorted(set(phase.trained) - names):
            raise PhaseError(f"phase {phase.name!r} trains {unknown[0]!r}, which is no parameter of the model")


def without_head(phases: list[Phase]) -> list[Phase]:
    """The phases with the head frozen (`recipe.freeze_head`). Raises PhaseError for one that trains nothing else."""
    kept = [replace(phase, trained=tuple(name for name in phase.trained if name != "head")) for phase in phases]
    if empty := [phase.name for phase in kept if not phase.trained]:
        raise PhaseError(
            f"recipe.freeze_head leaves phase {empty[0]!r} nothing to train; it is the head that it trains"
        )
    return kept


def phase_bounds(phases: list[Phase], num_steps: int) -> list[tuple[int, int]]:
    """(first step, last step exclusive) of each phase; together exactly `num_steps`."""
    edges, total = [0], 0.0
    for phase in phases:
        total += phase.share
        edges.append(round(total * num_steps))
    bounds = list(itertools.pairwise(edges))
    for phase, (first, last) in zip(phases, bounds, strict=True):
        if first == last:
            raise PhaseError(f"phase {phase.name!r} gets no step of {num_steps}; raise recipe.num_steps")
    return bounds


def check_rates(phases: list[Phase], bounds: list[tuple[int, int]], warmup_fraction: float) -> None:
    """Raise PhaseError for a phase whose only step has the learning rate 0, which is the first one of a warm-up."""
    for phase, (first, last) in zip(phases, bounds, strict=True):
        if trains_nothing(last - first, warmup_fraction):
            raise PhaseError(f"phase {phase.name!r}: {ONE_STEP}")


def freeze_all_but(model: nn.Module, trained: tuple[str, ...]) -> list[nn.Parameter]:
    """Set requires_grad by name and return the trained parameters in the model's order."""
    wanted = set(trained)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)
    return [parameter for name, parameter in model.named_parameters() if name in wanted]


def make_optimizer(parameters: list[nn.Parameter], phase: Phase, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or AdamW over one group; one fused kernel on a GPU."""
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[recipe.optimizer](
        parameters,
        lr=recipe.lr if phase.lr is None else phase.lr,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.eps,
        weight_decay=recipe.weight_decay if phase.weight_decay is None else phase.weight_decay,
        fused=parameters[0].device.type == "cuda",
    )


def lr_factor(step: int, num_steps: int, warmup_fraction: float) -> float:
    """Share of the peak learning rate for the optimiser step `step` (counted from 0) of `num_steps`.

        t = step / num_steps ;  t / w if t < w, else (1 + cos(pi (t - w) / (1 - w))) / 2

    As optax's warm-up-cosine schedule in cs-giung/lipsum-ft@1331873d21a4, whose first learning rate is 0 too.
    """
    warmup = warmup_fraction * num_steps
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))


def trains_nothing(num_steps: int, warmup_fraction: float) -> bool:
    """Whether every step of `num_steps` has the learning rate 0."""
    return all(lr_factor(step, num_steps, warmup_fraction) == 0 for step in range(min(num_steps, 2)))


class Schedule:
    """Sets the learning rate as a pure function of the step, so that it needs no state of its own; `lr` is the first group's."""

    def __init__(self, optimizer: torch.optim.Optimizer, num_steps: int, warmup_fraction: float) -> None:
        self.optimizer, self.num_steps, self.warmup_fraction = optimizer, num_steps, warmup_fraction
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.lr = 0.0

    def set(self, step: int) -> None:
        """The rate of a step, counted from 0 within the phase."""
        factor = lr_factor(step, self.num_steps, self.warmup_fraction)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.lr = self.peaks[0] * factor
