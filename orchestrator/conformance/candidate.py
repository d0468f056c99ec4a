"""A method under test, the ground it is tested on, and the runs that its checks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import methods
from datasets.shards import write_prepared
from methods.base import Method, PostHoc, Variant
from orchestrator.conformance.bench import Bench
from orchestrator.conformance.tiny import Blobs, load_tiny_clip, write_config
from training.fit import Fit, FitResult
from training.model import state_dict
from training.types import Phase, StateDict


class ConformanceError(AssertionError):
    """A promise of the contract is broken; the message says how, and what to do."""


def require(holds: bool, reason: str, todo: str) -> None:
    """Raise ConformanceError unless it `holds`."""
    if not holds:
        raise ConformanceError(f"{reason}; {todo}")


def some(names: list[str]) -> str:
    """The first few names of a list that may be long."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def differing(one: StateDict, other: StateDict) -> list[str]:
    """Names of the tensors that are missing in one of two dicts or not equal bit for bit."""
    return [
        key for key in {**one, **other} if key not in one or key not in other or not torch.equal(one[key], other[key])
    ]


@dataclass(frozen=True, slots=True)
class Subject:
    """Which method, with which settings; it travels to other processes."""

    name: str
    plugins: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_file(cls, path: Path, settings: Mapping[str, Any]) -> Subject:
        """The method in a file, in methods/ or elsewhere. Raises FileNotFoundError, or MethodError for no method's file."""
        if not path.is_file() or path.suffix != ".py":
            raise FileNotFoundError(f"{path}: no such Python file; give the path of a method, like my_methods/mine.py")
        folder = path.resolve().parent
        subject = cls(path.stem, () if folder == Path(methods.__file__).parent else (folder,), settings)
        if subject.name not in methods.available(subject.plugins):
            raise methods.MethodError(f"{path}: {path.name} is no name for a method; methods do not start with _")
        subject.load()
        return subject

    @property
    def path(self) -> Path:
        """Its file."""
        return methods.available(self.plugins)[self.name]

    def load(self) -> type[Method] | type[PostHoc]:
        """Its class."""
        return methods.load(self.name, self.plugins)

    def make(self) -> Method | PostHoc:
        """A fresh one."""
        found = self.load()
        return found(found.Config.model_validate(dict(self.settings)))


class Ground:
    """The tiny data and model, and fine-tuned weights for what is derived from them. One for many candidates."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, write_config(folder)
        self.prepared = write_prepared(Blobs(), folder / "blobs", source=None)
        self.bench = Bench(load_tiny_clip(self.config), self.prepared)
        self.start = state_dict(self.bench.model())
        self.text = {key: value.clone() for key, value in self.bench.clip.text.state_dict().items()}

    @cached_property
    def finetuned(self) -> dict[str, dict[str, Tensor]]:
        """Three seeds of plain fine-tuning, by trial id."""
        method = Method(Method.Config())
        return {f"ft-{s}": self.bench.fit(method, self.folder / f"ft-{s}", seed=s).run().weights for s in range(3)}


class Candidate:
    """A method under test."""

    def __init__(self, subject: Subject, ground: Ground) -> None:
        self.subject, self.ground = subject, ground
        self.folder = ground.folder / "candidates" / subject.name

    def fit(self, run: str, **options: Any) -> Fit:
        """A training run of it, not yet started; `run` names its folder."""
        method = self.subject.make()
        if not isinstance(method, Method):
            raise TypeError(f"{self.subject.name} does not train")
        return self.ground.bench.fit(method, self.folder / run, **options)

    @cached_property
    def fresh(self) -> tuple[Fit, list[Phase], dict[str, Tensor]]:
        """A run after `setup`: its phases, and the weights that it starts from."""
        fit = self.fit("fresh")
        phases = list(fit.method.setup(fit.model, fit.task))
        return fit, phases, {key: value.clone() for key, value in fit.model.state_dict().items()}

    @cached_property
    def whole(self) -> tuple[Fit, FitResult]:
        """One run from start to end."""
        fit = self.fit("whole", selection="reference_val")
        return fit, fit.run()

    def derive(self) -> tuple[list[Variant], dict[str, dict[str, Tensor]]]:
        """What a post-hoc method derives from one input or from all, and the inputs as they are afterwards."""
        method = self.subject.make()
        if not isinstance(method, PostHoc):
            raise TypeError(f"{self.subject.name} derives nothing")
        finetuned = self.ground.finetuned
        chosen = {id: {key: value.clone() for key, value in finetuned[id].items()} for id in feed(method, finetuned)}
        return list(method.derive(self.ground.bench.post_hoc_inputs(dict(chosen)))), chosen

    @cached_property
    def first(self) -> tuple[list[Variant], dict[str, dict[str, Tensor]], dict[str, Tensor]]:
        """The same, and variant -> logits (B, K) of the validation images."""
        variants, chosen = self.derive()
        return variants, chosen, logits(self.ground.bench, variants)


def feed(method: PostHoc, finetuned: Mapping[str, StateDict]) -> list[str]:
    """The inputs of one trial of a method: all, or one."""
    return list(finetuned) if method.many else list(finetuned)[:1]


@torch.no_grad()
def logits(bench: Bench, variants: list[Variant]) -> dict[str, Tensor]:
    """Variant -> logits (B, K) of the validation images."""
    (batch,) = bench.val_batches(len(bench.val))
    return {variant.name: variant.predictor(batch.images).clone() for variant in variants}
