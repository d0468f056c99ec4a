"""The data and the model of a trial, ready to train and to evaluate on; and what a long-lived worker keeps of both. No ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from datasets.pixel_cache import PixelCache
from datasets.samples import fetch_ahead
from datasets.shards import Prepared, open_prepared
from datasets.stream import EvalStream, Reader, Sample, read_image
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from datasets.transforms import EvalTransform, FinishedTransform
from methods.base import PostHocInputs
from orchestrator.identity import pool_identity
from orchestrator.prepare.pairs import PairPool
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial, TrialSpec
from orchestrator.splits import Splits
from orchestrator.trials.energies import Energies
from orchestrator.trials.warm import WARM, TrialError
from training.checkpoint import load_tensors
from training.evaluate import Normalise, Observer, Outcomes, evaluate
from training.groups import Groups
from training.model import ImageClassifier, PretrainedClip, TextEncoder, load_state, state_dict
from training.runtime import Runtime
from training.types import Batch, Predictor, StateDict, Task

MODEL_FILE, TEXT_FILE = "model.safetensors", "text.safetensors"
"""Weights in a trial's folder: the classifier's, and those of its text tower where the method has tuned it."""

EVAL_BATCH_SIZE = 256
"""Images of an evaluation pass at a time; on a CPU the size does not change a result, on a GPU only its last bits."""


Place = tuple[str, str, str]
"""(variant, domain, split)"""


@dataclass(kw_only=True)
class Bench:
    """The data and the model of a trial, ready to train and to evaluate on."""

    spec: TrialSpec
    prepared: Prepared
    clip: PretrainedClip
    text: TextEncoder
    runtime: Runtime
    train: list[Sample] = field(default_factory=list)
    val: list[Sample] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    """identity in a setting -> where that lies"""
    cache: Path | None = None
    """folder for what is computed once for many trials"""
    pixels: PixelCache | None = None
    """decoded images on this machine"""

    @classmethod
    def load(cls, trial: PlannedTrial, runtime: Runtime, cache: Path | None = None) -> Bench:
        """Open the data, load the model and check that both are what the spec says."""
        spec = trial.spec
        prepared = open_prepared(trial.location.data)
        if prepared.identity != spec.data.identity:
            raise TrialError(f"{trial.location.data} has changed since the plan was made; run the same command again")
        clip = WARM.clip(trial, runtime.device)
        bench = cls(
            spec=spec,
            prepared=prepared,
            clip=clip,
            text=clip.text,
            runtime=runtime,
            files=trial.location.files,
            cache=cache,
            pixels=WARM.pixels(runtime.cache_gib),
        )
        for domain in spec.data.sources:
            bench.train += bench.splits.train(domain)
            bench.val += bench.splits.val(domain)
        fetch_ahead(prepared, bench.splits.measured_from())
        return bench

    def unchanged(self, trial: PlannedTrial) -> None:
        """Before anything is measured: the model as it was loaded, if the method has changed what it shares with others."""
        self.clip = WARM.clip(trial, self.runtime.device)
        self.text = self.clip.text

    @cached_property
    def splits(self) -> Splits:
        """The images of each domain by what they are for."""
        return Splits(self.spec.data, self.prepared, partial(WARM.samples, self.prepared, fetched=self.fetched))

    def fetched(self, here: int, needed: int) -> None:
        """Tell whoever watches the trial how many shards of a split are on this machine and known to be whole."""
        self.report(shards_here=here, shards_needed=needed)

    def report(self, **metrics: float) -> None:
        """Tell whoever watches the trial how far it is; the main worker does, for all."""
        if self.runtime.is_main:
            self.runtime.report({name: float(value) for name, value in metrics.items()})

    def prompt_names(self, prepared: Prepared) -> tuple[str, ...]:
        """The names of a dataset's classes as prompts have them."""
        spaces = self.spec.data.class_names == "spaces"
        return tuple(name.replace("_", " ") if spaces else name for name in prepared.classnames)

    def pretrained_head(self, prepared: Prepared) -> Tensor:
        """The zero-shot head (D, K) of a dataset's classes, from the pre-trained text tower."""
        return WARM.head(self.prompt_names(prepared), prepared.templates, self.text)

    @staticmethod
    def groups_of(prepared: Prepared, domain: str) -> Groups | None:
        """The groups of labels that the images of a domain are measured over; None: all labels, each on its own."""
        return Groups(prepared.groups[domain]) if domain in prepared.groups else None

    @property
    def normalise(self) -> Normalise:
        """From bytes on the host to what the model takes, on the device."""
        return Normalise(self.clip.mean, self.clip.std, self.runtime.device)

    def zero_shot(self) -> ImageClassifier:
        """A fresh zero-shot classifier on the device."""
        return self.clip.classifier(self.pretrained_head(self.prepared), self.runtime.device)

    def task(self, num_steps: int, seed: int, label_smoothing: float) -> Task:
        """What a method may know."""
        return Task(
            classnames=self.prompt_names(self.prepared),
            templates=self.prepared.templates,
            text=self.text,
            num_steps=num_steps,
            seed=seed,
            images=lambda split: map(self.normalise, self.stream(self.train if split == "train" else self.val)),
            captions=lambda: [sample.caption for sample in self.train],
            pairs=self.pairs,
            runtime=self.runtime,
            label_smoothing=label_smoothing,
            contexts=self.prepared.templates if len(self.prepared.templates) > 1 else OPENAI_IMAGENET_TEMPLATES,
        )

    def pairs(self, identity: str) -> PairPool:
        """The pool of image-text pairs of this identity. Raises TrialError if it is not what the plan saw."""
        if identity not in self.files:
            raise TrialError(f"the plan does not say where the pool {identity} lies; run the same command again")
        if self.spec.recipe is None:
            raise TrialError("only a method that trains can use a pool of image-text pairs")
        folder = Path(self.files[identity])
        if pool_identity(folder) != identity:
            raise TrialError(f"{folder} has changed since the plan was made; run the same command again")
        return PairPool(
            samples=WARM.pool(folder, identity),
            identity=identity,
            clip=self.clip,
            model=self.spec.model.model_dump_json(),
            recipe=self.spec.recipe,
            preprocessing=self.spec.preprocessing,
            seed=self.spec.seed,
            runtime=self.runtime,
            cache=self.cache,
        )

    def stream(self, chosen: Sequence[Sample], prepared: Prepared | None = None) -> EvalStream:
        """One evaluation pass over images of the trial's dataset, or of another one; this worker's part of it."""
        transform, reader = self._evaluated(chosen, prepared or self.prepared)
        return EvalStream(
            samples=chosen,
            transform=transform,
            reader=reader,
            batch_size=EVAL_BATCH_SIZE,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            threads=self.runtime.threads,
        )

    def reader(self, chosen: Sequence[Sample]) -> Reader:
        """How to read these images for training crops."""
        return self.pixels.reader(self.prepared, chosen) if self.pixels else read_image

    def _evaluated(
        self, chosen: Sequence[Sample], prepared: Prepared
    ) -> tuple[EvalTransform | FinishedTransform, Reader]:
        """How to read these images for evaluation: as they are, or made ready before."""
        transform = EvalTransform(self.spec.preprocessing, self.clip.image_size)
        if self.pixels is None:
            return transform, read_image
        return FinishedTransform(transform.size), self.pixels.reader(prepared, chosen, transform)

    def val_batches(self, batch_size: int) -> Iterator[Batch]:
        """All validation images, whichever worker asks, shuffled by the trial's seed: shards are often sorted by class."""
        transform, reader = self._evaluated(self.val, self.prepared)
        order = torch.randperm(len(self.val), generator=torch.Generator().manual_seed(self.spec.seed)).tolist()
        shuffled = [self.val[index] for index in order]
        stream = EvalStream(
            samples=shuffled, transform=transform, reader=reader, batch_size=batch_size, threads=self.runtime.threads
        )
        return map(self.normalise, stream)

    def score(self, split: str, model: Predictor) -> tuple[float, float]:
        """(accuracy, NLL) on the reference domains' 'val' or 'test' images: the means over the domains."""
        images = self.splits.val if split == "val" else self.splits.target
        outcomes = [self._outcomes({"": model}, domain, images(domain))[""] for domain in self.spec.data.sources]
        return fmean(outcome.accuracy for outcome in outcomes), fmean(outcome.nll for outcome in outcomes)

    @cached_property
    def energies(self) -> Energies:
        """What compares features with the zero-shot model's."""
        return Energies(
            spec=self.spec,
            clip=self.clip,
            runtime=self.runtime,
            cache=self.cache,
            width=len(self.pretrained_head(self.prepared)),
        )

    def evaluate_all(self, predictors: Mapping[str, Predictor]) -> dict[Place, Outcomes]:
        """Every predictor on every target and on the reference validation images, one pass over each.

        On targets those that are one image encoder are compared with the zero-shot model, in the same pass.
        """
        passes = self.splits.measured()
        outcomes: dict[Place, Outcomes] = {}
        for domain, split, chosen in passes:
            watched = self.energies.begin(domain, chosen, predictors) if split == "test" else None
            found = self._outcomes(predictors, domain, chosen, watched.comparison if watched else None)
            shifts = self.energies.finish(watched) if watched else {}
            for variant, outcome in found.items():
                outcomes[variant, domain, split] = replace(outcome, shift=shifts.get(variant))
            self.report(evaluated=len(outcomes), to_evaluate=len(passes) * len(predictors))
        return outcomes

    def _outcomes(
        self,
        predictors: Mapping[str, Predictor],
        domain: str,
        chosen: Sequence[Sample],
        observe: Observer | None = None,
    ) -> dict[str, Outcomes]:
        groups = self.groups_of(self.prepared, domain)
        return evaluate(predictors, self.stream(chosen), self.normalise, self.runtime, groups, observe)

    def post_hoc_inputs(self, spec: TrialSpec, results: Results) -> PostHocInputs:
        """What a post-hoc method may know. Raises TrialError if the weights of an input are gone."""
        finetuned: dict[str, StateDict] = {}
        texts: dict[str, StateDict] = {}
        for input_id in spec.inputs:
            finetuned[input_id], meta = _weights_of(results, input_id, MODEL_FILE)
            if spec.data.transfer and meta.get("text"):
                texts[input_id], _ = _weights_of(results, input_id, TEXT_FILE)
        return PostHocInputs(
            zero_shot=state_dict(self.zero_shot()),
            finetuned=finetuned,
            build=lambda state: load_state(self.zero_shot(), state).with_text(None if texts else {}),
            val=self.val_batches,
            score=partial(self.score, "val"),
            seed=spec.seed,
            zero_shot_text={key: value.cpu() for key, value in self.text.state_dict().items()} if texts else {},
            texts=texts,
        )


def _weights_of(results: Results, input_id: str, name: str) -> tuple[StateDict, dict[str, Any]]:
    """The weights of a finished trial, on the CPU, and what stands beside them."""
    path = results.trial(input_id) / name
    try:
        return load_tensors(path)
    except FileNotFoundError:
        raise TrialError(
            f"the weights of input {input_id} are gone ({path}); delete its record to train it again"
        ) from None
