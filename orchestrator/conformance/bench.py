"""A training run on the tiny dataset and the tiny CLIP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from datasets.shards import Prepared
from datasets.stream import EvalStream, Sample, TrainStream, hold_out, samples
from datasets.transforms import EvalTransform, TrainTransform
from methods.base import Method, PostHocInputs
from orchestrator.identity import pool_identity
from orchestrator.prepare.pairs import PairPool, open_pool
from training.config import Recipe, SelectionRule
from training.evaluate import Normalise, evaluate
from training.fit import Fit
from training.model import ImageClassifier, PretrainedClip, load_state, state_dict
from training.runtime import Runtime
from training.types import Batch, Predictor, StateDict, Task

RECIPE = Recipe(lr=1e-3, num_steps=12, global_batch_size=8, eval_every=4, crop_scale=(0.5, 1.0))

STEADY = RECIPE.model_copy(update={"eps": 1e-3, "num_steps": 6, "eval_every": 3})
"""For comparing two workers with one. Adam divides by the gradient's own size: where the true gradient is 0 (the keys'
bias), rounding alone would decide the step. A larger epsilon keeps such parameters still, so that what is left to differ
is the reduction over the workers."""


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

    def pass_over(self, chosen: Sequence[Sample]) -> EvalStream:
        """One evaluation pass; this worker's part of it."""
        return EvalStream(
            samples=chosen,
            transform=EvalTransform("lipsum", 32),
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
        )

    def val_batches(self, size: int) -> Iterable[Batch]:
        """All validation images, whichever worker asks."""
        return map(self.normalise, EvalStream(samples=self.val, transform=EvalTransform("lipsum", 32), batch_size=size))

    def post_hoc_inputs(self, finetuned: Mapping[str, StateDict]) -> PostHocInputs:
        """As a trial builds them."""
        return PostHocInputs(
            zero_shot=state_dict(self.model()),
            finetuned=finetuned,
            build=lambda state: load_state(self.model(), state),
            val=self.val_batches,
            score=self.score,
        )

    def pairs(self, folder: Path, recipe: Recipe = RECIPE, seed: int = 0) -> PairPool:
        """The pool of image-text pairs in a folder, whose path here stands for itself in the settings."""
        return PairPool(
            samples=open_pool(folder),
            identity=pool_identity(folder),
            clip=self.clip,
            model="tiny",
            recipe=recipe,
            preprocessing="lipsum",
            seed=seed,
            runtime=self.runtime,
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
                captions=lambda: [sample.caption for sample in self.train],
                pairs=lambda folder: self.pairs(Path(folder), recipe, seed),
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


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the loop may catch it."""


def kill_at(fit: Fit, step: int) -> Fit:
    """The run dies just after its optimiser step `step`."""
    after_step = fit.method.after_step

    def dying(model: ImageClassifier, done: int) -> None:
        after_step(model, done)
        if done == step:
            raise Killed

    method: Any = fit.method
    method.after_step = dying
    return fit
