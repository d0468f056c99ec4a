"""The training loop: phases of a method, selection on the reference domain, checkpoints that resume bit for bit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from training.checkpoint import (
    below,
    continued,
    pack_attributes,
    pack_optimizer,
    prefixed,
    rng_state,
    save_tensors,
    set_rng_state,
    unpack_attributes,
    unpack_optimizer,
)
from training.config import Recipe, SelectionRule
from training.evaluate import autocast
from training.metrics_log import MetricsLog, Progress
from training.model import ImageClassifier, TextEncoder, load_state, state_dict
from training.optim import (
    Schedule,
    check_phases,
    check_rates,
    freeze_all_but,
    make_optimizer,
    phase_bounds,
    without_head,
)
from training.runtime import Runtime
from training.timing import Stopwatch
from training.types import Batch, Losses, Phase, RawBatch, Task

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 120.0
"""Longest stretch of training that a lost worker costs, beyond what evaluations save anyway."""


class NonFiniteLossError(FloatingPointError):
    """The loss is NaN or infinite; the message names the step and every term."""


class Trainable(Protocol):
    """The four hooks of `methods.base.Method`."""

    @property
    def resumable(self) -> tuple[str, ...]:
        """Attributes that a checkpoint holds."""

    def setup(self, model: ImageClassifier, task: Task) -> Sequence[Phase]:
        """What is trained, when."""

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        """What is minimised."""

    def after_step(self, model: ImageClassifier, step: int) -> None:
        """Runs after each optimiser step."""

    def export(self, model: ImageClassifier) -> ImageClassifier:
        """What is evaluated and saved."""


class Stream(Protocol):
    """Batch `i` is a pure function of `i`, so that training can start at any step."""

    def batches(self, start: int, stop: int) -> Iterator[RawBatch]:
        """Batches `start` (from 0) to `stop`, exclusive."""


@dataclass(frozen=True, slots=True)
class Score:
    """Reference metrics after `step` optimiser steps: accuracy as a fraction, NLL in nats."""

    step: int
    accuracy: float
    nll: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """The selected weights and how they were chosen."""

    weights: dict[str, Tensor]
    selected_step: int
    trace: tuple[Score, ...]
    images_seen: int
    texts_seen: int = 0
    """texts encoded in training steps, over all workers"""
    images_encoded: int = 0
    """images passed through an image encoder in `setup` and in training steps, frozen ones counted, over all workers"""
    text: dict[str, Tensor] = field(default_factory=dict)
    """the selected step's text tower where the method tunes one, as `ImageClassifier.text_weights`; empty: the pre-trained one"""


@dataclass(kw_only=True)
class Fit:
    """One training run. Call `run()` once.

    `score` evaluates a classifier on the reference split that `selection` names and gives (accuracy, NLL); it is called
    every `recipe.eval_every` steps and after the last. `folder` holds the checkpoint; `metrics` gets a JSON line now and then.
    `code` identifies the code that trains: a checkpoint that other code has left is not continued.
    """

    method: Trainable
    model: ImageClassifier
    task: Task
    stream: Stream
    recipe: Recipe
    selection: SelectionRule
    normalise: Callable[[RawBatch], Batch]
    score: Callable[[ImageClassifier], tuple[float, float]]
    runtime: Runtime
    folder: Path
    metrics: Path
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    code: str = ""
    step: int = 0
    texts_seen: int = 0
    images_encoded: int = 0
    trace: list[Score] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_text: dict[str, Tensor] = field(default_factory=dict)

    def run(self) -> FitResult:
        """Train from the last checkpoint, or from the start, to the end.

        Raises PhaseError for phases that do not fit the model and NonFiniteLossError before a bad step is taken.
        """
        with self.stopwatch.stage("setup"):
            before = ImageClassifier.images_encoded
            self.phases: list[Phase] = list(self.method.setup(self.model, self.task))
            self.images_encoded = ImageClassifier.images_encoded - before
        if self.recipe.freeze_head:
            self.phases = without_head(self.phases)
        check_phases(self.phases, self.model)
        bounds = phase_bounds(self.phases, self.recipe.num_steps)
        check_rates(self.phases, bounds, self.recipe.warmup_fraction)
        saved = self._load()
        self.metrics_log = MetricsLog(self.metrics, self.runtime)
        self.metrics_log.open(self.step)
        for phase, (first, last) in zip(self.phases, bounds, strict=True):
            if self.step < last:
                self._run_phase(phase, first, last, saved if saved and self.step > first else None)
        if not self.phases:  # `setup` has done it all, without a step: a linear probe
            self._evaluate()
        chosen = self._chosen()
        return FitResult(
            weights=self.best,
            selected_step=chosen.step,
            trace=tuple(self.trace),
            images_seen=self.step * self.recipe.global_batch_size,
            texts_seen=self.texts_seen * self.runtime.world_size,
            images_encoded=self.images_encoded * self.runtime.world_size,
            text=self.best_text,
        )

    def _run_phase(self, phase: Phase, first: int, last: int, saved: dict[str, Tensor] | None) -> None:
        parameters = freeze_all_but(self.model, phase.trained)
        optimizer = make_optimizer(parameters, phase, self.recipe)
        if saved:
            unpack_optimizer(optimizer, below("optimizer/", saved))
        schedule = Schedule(optimizer, last - first, self.recipe.warmup_fraction)
        objective = self.runtime.wrap(_Objective(self.method, self.model))
        saved_at = time.monotonic()
        self.model.train()
        progress = Progress(self.metrics_log, self.runtime, self.recipe, self.step)
        for raw in self.stream.batches(self.step, last):
            with self.stopwatch.stage("train"):
                schedule.set(self.step - first)
                losses = self._train_step(objective, parameters, optimizer, raw)
                self.step += 1
                self.method.after_step(self.model, self.step)
            progress.update(self.step, losses, schedule.lr)
            evaluated = self.step % self.recipe.eval_every == 0 or self.step == self.recipe.num_steps
            if evaluated:
                self._evaluate()
            if self.step < self.recipe.num_steps and (evaluated or self._overdue(saved_at)):
                self._save(optimizer if self.step < last else None)
                saved_at = time.monotonic()

    def _train_step(
        self, objective: nn.Module, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, raw: RawBatch
    ) -> Losses:
        texts_before, images_before = TextEncoder.texts_encoded, ImageClassifier.images_encoded
        with autocast(self.runtime.device):
            losses: Losses = objective(self.normalise(raw))
        self.texts_seen += TextEncoder.texts_encoded - texts_before
        self.images_encoded += ImageClassifier.images_encoded - images_before
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses["loss"])
        # Asked after the backward pass is under way, so that a GPU has work while the host waits for the answer.
        if not self.runtime.all_true(torch.isfinite(losses["loss"])):
            terms = ", ".join(f"{name}={value.item():.4g}" for name, value in losses.items())
            raise NonFiniteLossError(f"loss is not finite at step {self.step + 1} of {self.recipe.num_steps}: {terms}")
        if self.recipe.grad_clip is not None:
            nn.utils.clip_grad_norm_(parameters, self.recipe.grad_clip)
        optimizer.step()
        return losses

    def _evaluate(self) -> None:
        exported = self.method.export(self.model)
        was_training = self.model.training
        exported.eval()
        with self.stopwatch.stage("select"):
            accuracy, nll = self.score(exported)
        self.trace.append(Score(self.step, accuracy, nll))
        if self._chosen() is self.trace[-1]:
            self.best = state_dict(exported)
            if exported.text_weights is None:
                raise ValueError("what `export` gives has no text tower; give its weights with `with_text`")
            # A copy: what the classifier refers to goes on training.
            self.best_text = {key: value.detach().cpu().clone() for key, value in exported.text_weights.items()}
        self.model.train(was_training)
        score = self.trace[-1]
        self.metrics_log.write({"step": score.step, "reference_accuracy": score.accuracy, "reference_nll": score.nll})

    def _chosen(self) -> Score:
        """The last score, or the one of highest accuracy; the earliest of equals."""
        return self.trace[-1] if self.selection == "last" else max(self.trace, key=lambda score: score.accuracy)

    # Checkpoints: everything in one file, so that no two parts of it can be of different steps.

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def _overdue(self, saved_at: float) -> bool:
        """Rank 0's clock decides; asked every ten steps, since all workers have to hear the answer."""
        if self.step % 10:
            return False
        return bool(self.runtime.broadcast(float(time.monotonic() - saved_at > CHECKPOINT_SECONDS)))

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        if not self.runtime.is_main:
            return
        with self.stopwatch.stage("save"):
            method_tensors, method_held = pack_attributes(self.method, self.method.resumable)
            tensors = prefixed("model/", self.model.state_dict()) | prefixed("best/", self.best)
            tensors |= prefixed("best_text/", self.best_text)
            tensors |= prefixed("method/", method_tensors) | prefixed("rng/", rng_state(self.runtime.device))
            if optimizer is not None:
                tensors |= prefixed("optimizer/", pack_optimizer(optimizer))
            meta = {
                "step": self.step,
                "texts_seen": self.texts_seen,
                "images_encoded": self.images_encoded,
                "trace": [[score.step, score.accuracy, score.nll] for score in self.trace],
                "method": method_held,
                "seconds": self.stopwatch.seconds,
                "code": self.code,
            }
            save_tensors(self._checkpoint, tensors, meta)

    def _load(self) -> dict[str, Tensor] | None:
        """Put back the last checkpoint if there is one; `setup` has run before, so theta_0 copies are of the start."""
        found = continued(self._checkpoint, self.code, self.runtime)
        if found is None:
            return None
        tensors, meta = found
        load_state(self.model, below("model/", tensors))
        self.best, self.best_text = below("best/", tensors), below("best_text/", tensors)
        self.step = meta["step"]
        self.texts_seen = meta.get("texts_seen", 0)
        self.images_encoded = meta.get("images_encoded", self.images_encoded)
        self.trace = [Score(*row) for row in meta["trace"]]
        self.stopwatch.add(meta["seconds"])
        unpack_attributes(
            self.method, self.method.resumable, below("method/", tensors), meta["method"], self.runtime.device
        )
        set_rng_state(below("rng/", tensors), self.runtime.device)
        log.info("continuing at step %d of %d", self.step, self.recipe.num_steps)
        return tensors


class _Objective(nn.Module):
    """A method's loss as a module, so that DistributedDataParallel sees every forward pass.

    A method that called the bare model past the wrapper would leave gradients unsynchronised without an error.
    """

    def __init__(self, method: Trainable, model: ImageClassifier) -> None:
        super().__init__()
        self.method, self.model = method, model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return dict(self.method.loss(self.model, batch))
