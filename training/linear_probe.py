"""Logistic regression on frozen image features, solved to convergence: the head that linear probes and LP-FT need.

    V_C = argmin_V  mean_i CE(F(x_i) @ V, y_i) + || V ||^2 / (2 C N)        V (D, K), N training images, no bias
    W = V_C / s   with the C of highest accuracy on the reference domain's validation images, so that s F(x) W = F(x) V

This is scikit-learn's `LogisticRegression(C, fit_intercept=False)` on normalised features. The problem is strictly convex:
the answer depends on neither start, seed, batches nor the number of workers. float64, since the line search of L-BFGS stalls
early in float32 and the answer would then depend on where.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from training.config import Frozen
from training.evaluate import autocast
from training.model import ImageClassifier
from training.runtime import Runtime
from training.types import Batch, Task

log = logging.getLogger(__name__)

ROWS = 8192
"""images of one matrix product: bounds the memory for logits to ROWS x K float64"""


ABOVE_MINIMUM = 1e-5
"""nats above its minimum that the objective may be where a solver has used up its iterations, and is as good as converged"""


class ProbeSettings(Frozen):
    """Settings of the solver and its search over C."""

    cs: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4),
        min_length=1,
        description="inverse strengths of the L2 penalty to choose from, on features of norm 1; ascending",
    )
    max_iter: int = Field(1000, ge=1, description="L-BFGS iterations for each C")

    @field_validator("cs")
    @classmethod
    def _ascending(cls, cs: tuple[float, ...]) -> tuple[float, ...]:
        if list(cs) != sorted(set(cs)):
            raise ValueError(f"cs must ascend without repeats, got {list(cs)}")
        return cs


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The chosen head and how it did on the reference domain's validation images."""

    head: Tensor
    """W (D, K), float32"""
    c: float
    accuracy: float
    """as a fraction"""
    nll: float
    """nats"""


@torch.no_grad()
def frozen_features(model: ImageClassifier, batches: Iterable[Batch], runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Features (N, D), float32, and labels (N,) of all workers' images, in the precision in which models are evaluated."""
    features = [torch.empty(0, model.head.shape[0], device=runtime.device)]
    labels = [torch.empty(0, dtype=torch.int64, device=runtime.device)]
    for batch in batches:
        with autocast(runtime.device):
            features.append(model.encode_image(batch.images))
        labels.append(batch.labels)
    return runtime.all_gather(torch.cat(features)), runtime.all_gather(torch.cat(labels))


def logistic_regression(features: Tensor, labels: Tensor, start: Tensor, c: float, max_iter: int) -> Tensor:
    """argmin_V mean CE(features @ V, labels) + ||V||^2 / (2 c N), (D, K) float64, by L-BFGS from `start` (D, K).

    `features`: (N, D); `labels`: (N,) in [0, K).
    """
    weights = start.detach().double().clone().requires_grad_()
    count = len(labels)
    solver = torch.optim.LBFGS(
        [weights],
        max_iter=max_iter,
        tolerance_grad=1e-10,
        tolerance_change=1e-16,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        solver.zero_grad()
        value = weights.square().sum() / (2 * c * count)
        value.backward()
        for first in range(0, count, ROWS):
            rows = slice(first, first + ROWS)
            part = F.cross_entropy(features[rows].double() @ weights, labels[rows], reduction="sum") / count
            part.backward()
            value = value.detach() + part.detach()
        return value

    solver.step(objective)
    progress = solver.state[weights]
    if progress["n_iter"] >= max_iter or progress["func_evals"] >= solver.param_groups[0]["max_eval"]:
        objective()  # the gradient at the end, which may not be the last one that the line search asked for
        # The penalty makes the objective 1/(CN)-strongly convex, so that its gradient bounds how far it is above the minimum.
        if (above := float(torch.as_tensor(weights.grad).square().sum()) * c * count / 2) > ABOVE_MINIMUM:
            log.warning(
                "logistic regression with C %g has not converged in %d iterations of L-BFGS (at most %.1e nats above the "
                "minimum); raise max_iter",
                *(c, max_iter, above),
            )
    return weights.detach()


def choose_head(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    num_classes: int,
    logit_scale: float,
    settings: ProbeSettings,
) -> Probe:
    """The head of the C with the highest validation accuracy; of equals that of the lowest NLL.

    `train`, `val`: features (N, D) and labels (N,). Each C starts where the one before it ended.
    """
    features, labels = train
    weights = torch.zeros(features.shape[1], num_classes, dtype=torch.float64, device=features.device)
    probes = []
    for c in settings.cs:
        weights = logistic_regression(features, labels, weights, c, settings.max_iter)
        logits = val[0].double() @ weights
        accuracy = (logits.argmax(dim=1) == val[1]).double().mean().item()
        nll = F.cross_entropy(logits, val[1]).item()
        log.info("linear probe: C %g, validation accuracy %.4f, NLL %.4f", c, accuracy, nll)
        probes.append(Probe(head=(weights / logit_scale).float(), c=c, accuracy=accuracy, nll=nll))
    return max(probes, key=lambda probe: (probe.accuracy, -probe.nll))


def fit_head(model: ImageClassifier, task: Task, settings: ProbeSettings) -> Probe:
    """Put the linear probe on `task`'s images into `model.head`; alike on every worker. The model must be in eval mode.

    One pass over the training and one over the validation images, without augmentation; all features are held in memory.
    """
    train, val = (frozen_features(model, task.images(split), task.runtime) for split in ("train", "val"))
    probe = choose_head(train, val, model.head.shape[1], float(model.logit_scale), settings)
    with torch.no_grad():  # rank 0's on every worker: equal features may give solutions that differ in the last bit
        model.head.copy_(task.runtime.all_gather(probe.head[None])[0])
    return probe
