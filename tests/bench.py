"""A training run on the tiny dataset and the tiny CLIP, for tests of the loop and of every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import methods
from datasets.shards import Prepared
from datasets.stream import EvalStream, Sample, TrainStream, hold_out, samples
from datasets.transforms import EvalTransform, TrainTransform
from methods.base import Method
from training.config import Recipe, SelectionRule
from training.evaluate import Normalise, evaluate
from training.fit import Fit, FitResult
from training.model import ImageClassifier, PretrainedClip
from training.runtime import Runtime
from training.types import Predictor, Task

RECIPE = Recipe(lr=1e-3, num_steps=12, global_batch_size=8, eval_every=4, crop_scale=(0.5, 1.0))


def make_method(name: str, settings: dict[str, Any] | None = None) -> Method:
    """A trained method by name, with complete settings."""
    found = methods.load(name)
    assert issubclass(found, Method)
    return found(found.Config.model_validate(settings or {}))


class Bench:
    """Everything a `Fit` needs, on the CPU."""

    def __init__(self, clip: PretrainedClip, prepared: Prepared, runtime: Runtime | None = None) -> None:
        self.clip, self.prepared, self.runtime = clip, prepared, runtime or Runtime()
        self.train, self.val = hold_out(samples(prepared, "disc", "train"), 0.2, seed=0)
        self.head = clip.text.zero_shot_head(prepared.classnames, prepared.templates)
        self.normalise = Normalise(clip.mean, clip.std, torch.device("cpu"))

    def model(self) -> ImageClassifier:
        """A fresh zero-shot classifier."""
        return self.clip.classifier(self.head, torch.device("cpu"))

    def score(self, model: Predictor) -> tuple[float, float]:
        """(accuracy, NLL) on the validation images."""
        outcome = evaluate({"": model}, self.pass_over(self.val), self.normalise, self.runtime)[""]
        return outcome.accuracy, outcome.nll

    def pass_over(self, chosen: list[Sample]) -> EvalStream:
        """One evaluation pass; this worker's part of it."""
        return EvalStream(
            samples=chosen,
            transform=EvalTransform("lipsum", 32),
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
        )

    def fit(
        self, method: Method, folder: Path, recipe: Recipe = RECIPE, selection: SelectionRule = "last", seed: int = 0
    ) -> Fit:
        """A run, not yet started."""
        torch.manual_seed(seed)
        return Fit(
            method=method,
            model=self.model(),
            task=Task(
                classnames=self.prepared.classnames,
                templates=self.prepared.templates,
                text=self.clip.text,
                num_steps=recipe.num_steps,
                seed=seed,
                images=lambda split: map(self.normalise, self.pass_over(self.train if split == "train" else self.val)),
                runtime=self.runtime,
                label_smoothing=recipe.label_smoothing,
            ),
            stream=TrainStream(
                samples=self.train,
                transform=TrainTransform(32, recipe.crop_scale, recipe.flip),
                seed=seed,
                global_batch_size=recipe.global_batch_size,
                rank=self.runtime.rank,
                world_size=self.runtime.world_size,
            ),
            recipe=recipe,
            selection=selection,
            normalise=self.normalise,
            score=self.score,
            runtime=self.runtime,
            folder=folder / "checkpoint",
            metrics=folder / "metrics.jsonl",
        )

    def run(self, name: str, folder: Path, settings: dict[str, Any] | None = None, **options: Any) -> FitResult:
        """Train a method from start to end."""
        return self.fit(make_method(name, settings), folder, **options).run()


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the loop may catch it."""


def kill_at(fit: Fit, step: int) -> Fit:
    """The run dies just after its optimiser step `step`."""
    after_step = fit.method.after_step

    def dying(model: ImageClassifier, done: int) -> None:
        after_step(model, done)
        if done == step:
            raise Killed

    fit.method.after_step = dying  # type: ignore[method-assign]
    return fit
