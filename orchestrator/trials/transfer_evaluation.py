"""Measures trained models on datasets they were not trained on, with heads rebuilt from text. No ray.

    W[:, c] = mean over the dataset's templates of G(template(class c)), normalised     logits = s * F(x) @ W

F and s are the trained model's. G is the text tower that belongs to it: the tuned one of a method that tunes it (FLYP), else
the pre-trained one. A method of formulas over weights (WiSE-FT, soups) applies its formula to tuned text towers as well; an
ensemble's members each get a head from their own tower. What has no such tower, or cannot take another head, is not
measured, and the record says why.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from datasets.samples import Fetched, Sample, fetch_ahead, samples
from datasets.shards import Prepared, open_prepared
from orchestrator.spec import PlannedTrial
from orchestrator.transfer import place
from orchestrator.trials.bench import Bench, Place
from orchestrator.trials.warm import TrialError
from training.evaluate import Outcomes, evaluate
from training.model import ImageClassifier, TextEncoder
from training.types import Predictor, Reheadable

_MOST_INDEXES = 64
_INDEXES: dict[tuple[str, str, str], list[Sample]] = {}
"""(identity, place, domain) -> test images: a worker that runs trial after trial needs the same ones"""


class _NoTextTowerError(ValueError):
    """A classifier has no text tower that belongs to it."""


def open_transfer(trial: PlannedTrial) -> dict[str, Prepared]:
    """The datasets of transfer by name; what lies elsewhere begins to be fetched while the trial trains.

    Raises TrialError for one that is not what the plan saw.
    """
    found = {}
    for ref in trial.spec.data.transfer:
        if ref.name not in trial.location.transfer:
            raise TrialError(f"the plan does not say where dataset {ref.name!r} lies; run the same command again")
        prepared = open_prepared(trial.location.transfer[ref.name])
        if prepared.identity != ref.identity:
            raise TrialError(f"{prepared.root} has changed since the plan was made; run the same command again")
        found[ref.name] = prepared
        fetch_ahead(prepared, [(domain, "test") for domain in ref.domains])
    return found


def evaluate_transfer(
    bench: Bench, datasets: Mapping[str, Prepared], predictors: Mapping[str, Predictor]
) -> tuple[dict[Place, Outcomes], dict[str, str]]:
    """Outcomes of all predictors on the test images of each dataset, in one pass over them; and predictor -> why it has none."""
    if not bench.spec.data.transfer:
        return {}, {}
    reasons = {name: reason for name, predictor in predictors.items() if (reason := _why_not(predictor))}
    able = {name: p for name, p in predictors.items() if isinstance(p, Reheadable) and name not in reasons}
    outcomes: dict[Place, Outcomes] = {}
    if not able:
        return outcomes, reasons
    heads = _Heads(bench)
    for ref in bench.spec.data.transfer:
        prepared = datasets[ref.name]
        measured = {name: _rebuilt(predictor, heads, prepared) for name, predictor in able.items()}
        for domain in ref.domains:
            stream = bench.stream(_test_images(prepared, domain, bench.fetched), prepared)
            groups = bench.groups_of(prepared, domain)
            for name, outcome in evaluate(measured, stream, bench.normalise, bench.runtime, groups).items():
                outcomes[name, place(ref, domain), "test"] = outcome
            bench.report(transfer_evaluated=len(outcomes))
    return outcomes, reasons


@torch.no_grad()
def _rebuilt(predictor: Reheadable, heads: _Heads, prepared: Prepared) -> Predictor:
    return predictor.with_heads(lambda classifier: heads.of(classifier, prepared))


def _why_not(predictor: Predictor) -> str:
    """Why a predictor cannot be measured on other classes; '' if it can."""
    if not isinstance(predictor, Reheadable):
        return f"{type(predictor).__name__} cannot be given a head for other classes (it has no `with_heads`)"
    try:
        predictor.with_heads(_probe)
    except _NoTextTowerError:
        return "the text tower was tuned in training, and the method does not say which one belongs to what it derives"
    return ""


def _probe(classifier: ImageClassifier) -> Tensor:
    if classifier.text_weights is None:
        raise _NoTextTowerError
    return classifier.head


class _Heads:
    """Makes heads; one text tower on the device takes the weights of every classifier that has its own, in turn."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tower: TextEncoder | None = None

    def of(self, classifier: ImageClassifier, prepared: Prepared) -> Tensor:
        """The head (D, K) of a classifier for the dataset's classes."""
        if not classifier.text_weights:
            return self._bench.pretrained_head(prepared)
        if self._tower is None:
            text = self._bench.text
            self._tower = TextEncoder(copy.deepcopy(text.clip), text.tokenizer)
        self._tower.load_state_dict(dict(classifier.text_weights))
        return self._tower.zero_shot_head(self._bench.prompt_names(prepared), prepared.templates)


def _test_images(prepared: Prepared, domain: str, fetched: Fetched) -> list[Sample]:
    key = prepared.identity, prepared.root, domain
    if key not in _INDEXES:
        while len(_INDEXES) >= _MOST_INDEXES:
            del _INDEXES[next(iter(_INDEXES))]
        _INDEXES[key] = samples(prepared, domain, "test", fetched)
    return _INDEXES[key]
