"""The data and the model of a trial, ready to train and to evaluate on; and what a long-lived worker keeps of both. No ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from datasets.shards import Prepared, open_prepared
from datasets.stream import EvalStream, Sample, hold_out, samples
from datasets.transforms import EvalTransform
from methods.base import PostHocInputs
from orchestrator.identity import file_identity, pool_identity
from orchestrator.pairs import PairPool, open_pool
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial, TrialSpec
from training.checkpoint import load_tensors
from training.evaluate import Normalise, Outcomes, evaluate
from training.model import ImageClassifier, PretrainedClip, TextEncoder, load_clip, load_state, state_dict
from training.runtime import Runtime
from training.types import Batch, Predictor, StateDict, Task

EVAL_BATCH_SIZE = 256
"""Images of an evaluation pass at a time; on a CPU the size does not change a result, on a GPU only its last bits."""


class TrialError(ValueError):
    """A trial's inputs are not what its spec says; the message says which and what to do."""


Place = tuple[str, str, str]
"""(variant, domain, split)"""


@dataclass(kw_only=True)
class Bench:
    """The data and the model of a trial, ready to train and to evaluate on."""

    spec: TrialSpec
    prepared: Prepared
    clip: PretrainedClip
    text: TextEncoder
    head: Tensor
    runtime: Runtime
    train: list[Sample] = field(default_factory=list)
    val: list[Sample] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    """identity in a setting -> where that lies"""
    cache: Path | None = None
    """folder for what is computed once for many trials"""

    @classmethod
    def load(cls, trial: PlannedTrial, runtime: Runtime, cache: Path | None = None) -> Bench:
        """Open the data, load the model and check that both are what the spec says."""
        spec = trial.spec
        prepared = open_prepared(trial.location.data)
        if prepared.identity != spec.data.identity:
            raise TrialError(f"{trial.location.data} has changed since the plan was made; run the same command again")
        clip = _WARM.clip(trial)
        text = clip.text.to(runtime.device)
        bench = cls(
            spec=spec,
            prepared=prepared,
            clip=clip,
            text=text,
            head=_WARM.head(trial, prepared, text),
            runtime=runtime,
            files=trial.location.files,
            cache=cache,
        )
        for domain in spec.data.sources:
            train, val = hold_out(
                _WARM.samples(prepared, domain, "train"), spec.data.val_fraction, spec.data.split_seed
            )
            bench.train += train
            bench.val += val
        return bench

    @property
    def normalise(self) -> Normalise:
        """From bytes on the host to what the model takes, on the device."""
        return Normalise(self.clip.mean, self.clip.std, self.runtime.device)

    def zero_shot(self) -> ImageClassifier:
        """A fresh zero-shot classifier on the device."""
        return self.clip.classifier(self.head, self.runtime.device)

    def task(self, num_steps: int, seed: int, label_smoothing: float) -> Task:
        """What a method may know."""
        return Task(
            classnames=self.prepared.classnames,
            templates=self.prepared.templates,
            text=self.text,
            num_steps=num_steps,
            seed=seed,
            images=lambda split: map(self.normalise, self.stream(self.train if split == "train" else self.val)),
            captions=lambda: [sample.caption for sample in self.train],
            pairs=self.pairs,
            runtime=self.runtime,
            label_smoothing=label_smoothing,
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
            samples=_WARM.pool(folder, identity),
            identity=identity,
            clip=self.clip,
            model=self.spec.model.model_dump_json(),
            recipe=self.spec.recipe,
            preprocessing=self.spec.preprocessing,
            seed=self.spec.seed,
            runtime=self.runtime,
            cache=self.cache,
        )

    def stream(self, chosen: Sequence[Sample]) -> EvalStream:
        """One evaluation pass; this worker's part of it."""
        return EvalStream(
            samples=chosen,
            transform=EvalTransform(self.spec.preprocessing, self.clip.image_size),
            batch_size=EVAL_BATCH_SIZE,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            threads=self.runtime.threads,
        )

    def val_batches(self, batch_size: int) -> Iterator[Batch]:
        """All validation images, whichever worker asks, shuffled by the trial's seed: shards are often sorted by class."""
        transform = EvalTransform(self.spec.preprocessing, self.clip.image_size)
        order = torch.randperm(len(self.val), generator=torch.Generator().manual_seed(self.spec.seed)).tolist()
        shuffled = [self.val[index] for index in order]
        stream = EvalStream(samples=shuffled, transform=transform, batch_size=batch_size, threads=self.runtime.threads)
        return map(self.normalise, stream)

    def score(self, split: str, model: Predictor) -> tuple[float, float]:
        """(accuracy, NLL) on the reference domains' 'val' or 'test' images."""
        chosen = self.val
        if split == "test":
            chosen = [s for domain in self.spec.data.sources for s in _WARM.samples(self.prepared, domain, "test")]
        outcome = evaluate({"": model}, self.stream(chosen), self.normalise, self.runtime)[""]
        return outcome.accuracy, outcome.nll

    def evaluate_all(self, predictors: Mapping[str, Predictor]) -> dict[Place, Outcomes]:
        """Every predictor on the test split of every target and on the reference validation images, one pass over each."""
        passes = [(domain, "test", _WARM.samples(self.prepared, domain, "test")) for domain in self.spec.data.targets]
        passes += [(d, "val", [s for s in self.val if s.key.startswith(f"{d}/")]) for d in self.spec.data.sources]
        outcomes: dict[Place, Outcomes] = {}
        for domain, split, chosen in passes:
            for variant, outcome in evaluate(predictors, self.stream(chosen), self.normalise, self.runtime).items():
                outcomes[variant, domain, split] = outcome
            self.runtime.report(
                {"evaluated": float(len(outcomes)), "to_evaluate": float(len(passes) * len(predictors))}
            )
        return outcomes

    def post_hoc_inputs(self, spec: TrialSpec, results: Results) -> PostHocInputs:
        """What a post-hoc method may know. Raises TrialError if the weights of an input are gone."""
        finetuned: dict[str, StateDict] = {}
        for input_id in spec.inputs:
            path = results.trial(input_id) / "model.safetensors"
            try:
                finetuned[input_id], _ = load_tensors(path)
            except FileNotFoundError:
                raise TrialError(
                    f"the weights of input {input_id} are gone ({path}); delete its record to train it again"
                ) from None
        return PostHocInputs(
            zero_shot=state_dict(self.zero_shot()),
            finetuned=finetuned,
            build=lambda state: load_state(self.zero_shot(), state),
            val=self.val_batches,
            score=partial(self.score, "val"),
            seed=spec.seed,
        )


class _Warm:
    """What a long-lived worker keeps between trials: the last model, its zero-shot heads, and indexes of the last dataset.

    Trials get copies of the model. Reading an index takes some 50 µs a sample: seconds for DomainNet.
    """

    def __init__(self) -> None:
        self._key: tuple[str, ...] | None = None
        self._clip: PretrainedClip | None = None
        self._heads: dict[tuple[tuple[str, ...], tuple[str, ...], str], Tensor] = {}
        self._indexes: dict[tuple[str, str, str, str], list[Sample]] = {}
        self._pool: tuple[tuple[str, str], list[Sample]] | None = None

    def samples(self, prepared: Prepared, domain: str, split: str) -> list[Sample]:
        """As `datasets.stream.samples`."""
        key = (prepared.identity, prepared.root, domain, split)
        if any(known[:2] != key[:2] for known in self._indexes):
            self._indexes = {}
        if key not in self._indexes:
            self._indexes[key] = samples(prepared, domain, split)
        return self._indexes[key]

    def pool(self, folder: Path, identity: str) -> list[Sample]:
        """As `open_pool`; the last pool is kept."""
        key = (str(folder), identity)
        if self._pool is None or self._pool[0] != key:
            self._pool = None
            self._pool = (key, open_pool(folder))
        return self._pool[1]

    def clip(self, trial: PlannedTrial) -> PretrainedClip:
        """The trial's model; loaded, and checked against the spec, when it is not the last one."""
        ref, place = trial.spec.model, trial.location
        key = (ref.name, ref.weights, str(ref.architecture))
        if self._clip is None or key != self._key:
            self._key, self._clip, self._heads = None, None, {}
            config = Path(place.model_config_file) if place.model_config_file else None
            _check_file(ref.architecture, config)
            if ref.weights.startswith("sha256:"):
                _check_file(ref.weights, Path(place.pretrained))
            self._clip, self._key = load_clip(ref.name, place.pretrained, config), key
        return self._clip

    def head(self, trial: PlannedTrial, prepared: Prepared, text: TextEncoder) -> Tensor:
        """The zero-shot head (D, K) of the trial's classes and templates."""
        key = (prepared.classnames, prepared.templates, str(text.device))
        if key not in self._heads:
            self._heads[key] = text.zero_shot_head(prepared.classnames, prepared.templates)
        return self._heads[key]


_WARM = _Warm()


def _check_file(identity: str | None, path: Path | None) -> None:
    if identity and path and file_identity(path) != identity:
        raise TrialError(f"{path} has changed since the plan was made; run the same command again")
