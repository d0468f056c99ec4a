"""Energy gap and feature distortion of a trial's predictors: what `training.energy` needs, computed once for many trials. No ray.

Zero-shot features of each split and the features of the random texts lie in the results' folder `cache`, named by a hash of
what they depend on. They may be deleted at any time; a trial that finds none computes them in the pass it makes anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from datasets.stream import Sample
from orchestrator.spec import TrialSpec
from orchestrator.trials.features import TEXT_MOMENT
from training.checkpoint import save_tensors
from training.energy import (
    NUM_TEXTS,
    TEXT_LENGTH,
    TEXT_SEED,
    FeatureComparison,
    FeatureShift,
    Texts,
)
from training.evaluate import Outcomes, autocast
from training.model import ImageClassifier, ModelError, PretrainedClip, TextEncoder
from training.retrieval import keep, kept, read_kept
from training.runtime import Runtime
from training.types import Predictor

FORMAT = 1
"""Part of the cache's names: raise it when the features' meaning changes."""
TEXTS_AT_ONCE = 250


@dataclass(kw_only=True)
class Energies:
    """Compares predictors with the zero-shot model of a trial."""

    spec: TrialSpec
    clip: PretrainedClip
    """never modified; its text tower lies on the runtime's device"""
    runtime: Runtime
    cache: Path | None
    """folder; None: zero-shot features are computed anew"""
    width: int
    """D, the numbers of a feature"""

    def why_not(self, predictors: Mapping[str, Predictor]) -> dict[str, str]:
        """Predictor -> why it has no energy gap; those that are not here have one."""
        reasons = {}
        for name, predictor in predictors.items():
            if type(predictor) is not ImageClassifier:
                reasons[name] = f"{type(predictor).__name__} is not one image encoder, so it has no features of its own"
            elif predictor.head.shape[0] != self.width:
                reasons[name] = (
                    f"its features have {predictor.head.shape[0]} numbers, the zero-shot model's {self.width}"
                )
            elif isinstance(self._texts, str):
                reasons[name] = self._texts
        return reasons

    def begin(self, domain: str, chosen: Sequence[Sample], predictors: Mapping[str, Predictor]) -> _Pass | None:
        """To watch an evaluation pass over the test images of a domain; None if no predictor has features to compare."""
        able = {
            name: predictor
            for name, predictor in predictors.items()
            if type(predictor) is ImageClassifier and predictor.head.shape[0] == self.width
        }
        if not able:
            return None
        path = self._path(
            "zero-shot", self.spec.data.identity, domain, _digest([s.key for s in chosen]), self._numerics
        )
        rows = read_kept(path, self.runtime)
        if rows is not None and rows.shape != (len(chosen), self.width):
            raise ValueError(f"{path} has {tuple(rows.shape)} numbers for {len(chosen)} images; delete it")
        if rows is not None:
            known = _Known(rows[self.runtime.part(len(chosen))])
            return _Pass(FeatureComparison(able, known, self.texts), None, path)
        new = _New(next((name for name, found in able.items() if self._is_zero_shot(found)), None), self)
        return _Pass(FeatureComparison(able, new, self.texts), new, path)

    def finish(self, found: _Pass) -> dict[str, FeatureShift]:
        """The results of a pass; zero-shot features that it had to compute are kept for later trials."""
        if found.new is not None:
            keep(found.path, self.runtime, found.new.rows)
        return found.comparison.result(self.runtime, self.width)

    def save(self, path: Path, outcomes: Mapping[tuple[str, str, str], Outcomes]) -> None:
        """Keep features of the first images of each split (`orchestrator.trials.features` reads them); none, no file."""
        shifts = {place: outcome.shift for place, outcome in outcomes.items() if outcome.shift}
        if not shifts:
            return
        tensors = {json.dumps([variant, domain]): shift.first for (variant, domain, _), shift in shifts.items()}
        save_tensors(path, tensors | ({TEXT_MOMENT: self.texts.moment} if self.texts else {}))

    def encode(self, images: Tensor) -> Tensor:
        """Zero-shot features before normalisation (B, D) of normalised images."""
        with autocast(self.runtime.device):
            return self._zero_shot.embed(images)

    @cached_property
    def _zero_shot(self) -> ImageClassifier:
        return self.clip.classifier(torch.empty(1, 1), self.runtime.device)

    @property
    def texts(self) -> Texts | None:
        """The random texts; None if the text tower cannot read them."""
        return None if isinstance(self._texts, str) else self._texts

    @cached_property
    def _texts(self) -> Texts | str:
        """The random texts, or why there are none."""
        try:
            generator = torch.Generator().manual_seed(TEXT_SEED)
            tokens = self.clip.text.random_tokens(NUM_TEXTS, TEXT_LENGTH, generator)
        except ModelError as error:
            return str(error)
        path = self._path("random-texts", NUM_TEXTS, TEXT_LENGTH, TEXT_SEED)
        mine = tokens[self.runtime.part(NUM_TEXTS)]
        features = kept(path, self.runtime, lambda: _encoded(self.clip.text, mine))
        if features.shape != (NUM_TEXTS, self.width):
            raise ValueError(f"{path} has {tuple(features.shape)} numbers for {NUM_TEXTS} texts; delete it")
        return Texts(features.to(self.runtime.device))

    @property
    def _numerics(self) -> list[object]:
        """What else decides the features: preprocessing, and the precision of the device."""
        return [self.spec.preprocessing, "bfloat16" if self.runtime.device.type == "cuda" else "float32"]

    def _path(self, kind: str, *content: object) -> Path | None:
        name = _digest([FORMAT, kind, self.spec.model.model_dump(mode="json"), *content])[:32]
        return self.cache / f"{kind}-{name}.safetensors" if self.cache else None

    def _is_zero_shot(self, predictor: ImageClassifier) -> bool:
        """Whether the image encoder's weights are the pre-trained ones: its features then need no second pass."""
        pretrained = self.clip.visual.state_dict()
        return all(torch.equal(value.cpu(), pretrained[name]) for name, value in predictor.visual.state_dict().items())


class _Known:
    """Zero-shot features from the cache, in the order of the pass."""

    def __init__(self, rows: Tensor) -> None:
        self._rows, self._place = rows, 0

    def __call__(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        found = self._rows[self._place : self._place + len(images)]
        self._place += len(images)
        return found.to(images.device)


class _New:
    """Zero-shot features computed on the way: of a predictor that is the zero-shot model, or by the model itself."""

    def __init__(self, same: str | None, energies: Energies) -> None:
        self.rows: list[Tensor] = []
        self._same, self._energies = same, energies

    def __call__(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        found = self._energies.encode(images) if self._same is None else features[self._same]
        self.rows.append(found.cpu())
        return found


@dataclass(frozen=True, slots=True)
class _Pass:
    """One evaluation pass that is watched."""

    comparison: FeatureComparison
    new: _New | None
    """None: the zero-shot features were in the cache"""
    path: Path | None


def _encoded(text: TextEncoder, tokens: Tensor) -> Iterator[Tensor]:
    """(B, D) at a time."""
    for start in range(0, len(tokens), TEXTS_AT_ONCE):
        yield text.encode(tokens[start : start + TEXTS_AT_ONCE])


def _digest(content: list[object]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
