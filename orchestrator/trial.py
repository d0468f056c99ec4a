"""One planned trial, from shards and weights to files and a record. No ray: it runs alike in a test and in a pool worker."""

from __future__ import annotations

import logging
import random
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import methods
from datasets.shards import Prepared, open_prepared
from datasets.stream import EvalStream, Sample, TrainStream, hold_out, samples
from datasets.transforms import EvalTransform, TrainTransform
from methods.base import Method, PostHoc, PostHocInputs, Variant
from orchestrator.environment import describe_environment, peak_memory_bytes, reset_peak_memory
from orchestrator.identity import file_identity
from orchestrator.outcomes import write_predictions
from orchestrator.records import (
    ErrorInfo,
    Evaluation,
    Results,
    TracePoint,
    TrialRecord,
    write_record,
)
from orchestrator.spec import PlannedTrial, TrialSpec
from training.checkpoint import load_tensors, save_tensors
from training.evaluate import Normalise, Outcomes, evaluate
from training.fit import Fit, FitResult
from training.model import ImageClassifier, PretrainedClip, load_clip, load_state, state_dict
from training.runtime import Runtime
from training.timing import Stopwatch
from training.types import Batch, Predictor, StateDict, Task

log = logging.getLogger(__name__)

EVAL_BATCH_SIZE = 256
"""Images of an evaluation pass at a time; on a CPU the size does not change a result, on a GPU only its last bits."""


class TrialError(ValueError):
    """A trial's inputs are not what its spec says; the message says which and what to do."""


def run_trial(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> TrialRecord:
    """Run a trial to its end, or on from its last checkpoint; rank 0 writes its files and, last of all, its record.

    Every worker of a group calls this. Exceptions propagate: what they mean is decided by who leased the trial.
    """
    started = _now()
    reset_peak_memory(runtime.device)
    _seed_everything(trial.spec.seed)
    torch.set_num_threads(runtime.threads)
    stopwatch = Stopwatch()
    folder = results.trial(trial.id)
    with _log_to(folder / "log.txt", runtime.is_main):
        log.info("trial %s, attempt %d, worker %d of %d", trial.id, attempt, runtime.rank, runtime.world_size)
        with stopwatch.stage("load"):
            bench = _Bench.load(trial, runtime)
        variants, fitted = _predictors(trial, bench, results, stopwatch)
        with stopwatch.stage("evaluate"):
            outcomes = bench.evaluate_all({v.name: v.predictor for v in variants})
        record = TrialRecord(
            id=trial.id,
            spec=trial.spec,
            status="completed",
            evaluations=tuple(_evaluation(*place, outcome) for place, outcome in outcomes.items()),
            variants={v.name: dict(v.parameters) for v in variants if v.name},
            selected_step=fitted.selected_step if fitted else None,
            trace=_trace(trial.spec, fitted),
            images_seen=fitted.images_seen if fitted else 0,
            num_attempts=attempt,
            peak_memory_bytes=peak_memory_bytes(runtime.device),
            environment=describe_environment(runtime),
            started_at=started,
            finished_at=_now(),
        )
        if runtime.is_main:
            with stopwatch.stage("save"):
                write_predictions(folder / "predictions.parquet", outcomes)
                if fitted:
                    save_tensors(
                        folder / "model.safetensors", fitted.weights, {"trial": trial.id, "step": fitted.selected_step}
                    )
            record = record.model_copy(update={"seconds": dict(stopwatch.seconds), "finished_at": _now()})
            write_record(results, record)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        runtime.barrier()
    return record


def failed_record(trial: PlannedTrial, error: ErrorInfo, attempt: int, started_at: str) -> TrialRecord:
    """The record of a trial that did not end well. `started_at`: UTC, ISO 8601."""
    return TrialRecord(
        id=trial.id,
        spec=trial.spec,
        status="failed",
        error=error,
        num_attempts=attempt,
        started_at=started_at,
        finished_at=_now(),
    )


def error_info(error: BaseException, failure_class: Any) -> ErrorInfo:
    """An exception as it stands in a record."""
    text = "".join(traceback.format_exception(error))
    return ErrorInfo(
        failure_class=failure_class, type=type(error).__name__, message=str(error) or repr(error), traceback=text
    )


def _predictors(
    trial: PlannedTrial, bench: _Bench, results: Results, stopwatch: Stopwatch
) -> tuple[Sequence[Variant], FitResult | None]:
    """What the trial evaluates: the zero-shot model, a freshly trained one, or what a post-hoc method derives."""
    method_class = methods.load(trial.spec.method, map(Path, trial.location.plugins))
    if method_class.version != trial.spec.method_version:
        raise TrialError(
            f"{trial.spec.method} is version {method_class.version} here but {trial.spec.method_version} in the plan; "
            "run the same command again"
        )
    method = method_class(method_class.Config.model_validate(trial.spec.settings))
    if isinstance(method, PostHoc):
        with stopwatch.stage("derive"):
            return method.derive(bench.post_hoc_inputs(trial.spec, results)), None
    if not method.trains:
        return [Variant(name="", predictor=bench.zero_shot())], None
    fitted = _train(trial, method, bench, results.trial(trial.id) / "checkpoint", stopwatch)
    return [Variant(name="", predictor=load_state(bench.zero_shot(), fitted.weights))], fitted


def _train(trial: PlannedTrial, method: Method, bench: _Bench, folder: Path, stopwatch: Stopwatch) -> FitResult:
    spec, recipe = trial.spec, trial.spec.recipe
    if recipe is None or spec.selection is None:
        raise TrialError(f"{trial.id} trains but its spec has no recipe or no selection rule")
    fit = Fit(
        method=method,
        model=bench.zero_shot(),
        task=bench.task(recipe.num_steps, spec.seed, recipe.label_smoothing),
        stream=TrainStream(
            samples=bench.train,
            transform=TrainTransform(bench.clip.image_size, recipe.crop_scale, recipe.flip),
            seed=spec.seed,
            global_batch_size=recipe.global_batch_size,
            rank=bench.runtime.rank,
            world_size=bench.runtime.world_size,
            threads=bench.runtime.threads,
        ),
        recipe=recipe,
        selection=spec.selection,
        normalise=bench.normalise,
        score=partial(bench.score, "test" if spec.selection == "reference_test" else "val"),
        runtime=bench.runtime,
        folder=folder,
        metrics=folder.parent / "metrics.jsonl",
        stopwatch=stopwatch,
    )
    return fit.run()


Place = tuple[str, str, str]
"""(variant, domain, split)"""


@dataclass(kw_only=True)
class _Bench:
    """The data and the model of a trial, ready to train and to evaluate on."""

    spec: TrialSpec
    prepared: Prepared
    clip: PretrainedClip
    text: Any
    head: Tensor
    runtime: Runtime
    train: list[Sample] = field(default_factory=list)
    val: list[Sample] = field(default_factory=list)

    @classmethod
    def load(cls, trial: PlannedTrial, runtime: Runtime) -> _Bench:
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
        )
        for domain in spec.data.sources:
            train, val = hold_out(samples(prepared, domain, "train"), spec.data.val_fraction, spec.data.split_seed)
            bench.train += train
            bench.val += val
        return bench

    @property
    def normalise(self) -> Normalise:
        return Normalise(self.clip.mean, self.clip.std, self.runtime.device)

    def zero_shot(self) -> ImageClassifier:
        """A fresh zero-shot classifier on the device."""
        return self.clip.classifier(self.head, self.runtime.device)

    def task(self, num_steps: int, seed: int, label_smoothing: float) -> Task:
        return Task(
            classnames=self.prepared.classnames,
            templates=self.prepared.templates,
            text=self.text,
            num_steps=num_steps,
            seed=seed,
            images=lambda split: map(self.normalise, self.stream(self.train if split == "train" else self.val)),
            runtime=self.runtime,
            label_smoothing=label_smoothing,
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
        """All validation images, whichever worker asks."""
        transform = EvalTransform(self.spec.preprocessing, self.clip.image_size)
        stream = EvalStream(samples=self.val, transform=transform, batch_size=batch_size, threads=self.runtime.threads)
        return map(self.normalise, stream)

    def score(self, split: str, model: Predictor) -> tuple[float, float]:
        """(accuracy, NLL) on the reference domains' 'val' or 'test' images."""
        chosen = self.val
        if split == "test":
            chosen = [s for domain in self.spec.data.sources for s in samples(self.prepared, domain, "test")]
        outcome = evaluate({"": model}, self.stream(chosen), self.normalise, self.runtime)[""]
        return outcome.accuracy, outcome.nll

    def evaluate_all(self, predictors: Mapping[str, Predictor]) -> dict[Place, Outcomes]:
        """Every predictor on the test split of every target and on the reference validation images, one pass over each."""
        passes = [(domain, "test", samples(self.prepared, domain, "test")) for domain in self.spec.data.targets]
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
    """What a long-lived worker keeps between trials: the last model and its zero-shot heads. Trials get copies."""

    def __init__(self) -> None:
        self._key: tuple[str, ...] | None = None
        self._clip: PretrainedClip | None = None
        self._heads: dict[tuple[Any, ...], Tensor] = {}

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

    def head(self, trial: PlannedTrial, prepared: Prepared, text: Any) -> Tensor:
        """The zero-shot head (D, K) of the trial's classes and templates."""
        key = (prepared.classnames, prepared.templates, str(text.device))
        if key not in self._heads:
            self._heads[key] = text.zero_shot_head(prepared.classnames, prepared.templates)
        return self._heads[key]


_WARM = _Warm()


def _check_file(identity: str | None, path: Path | None) -> None:
    if identity and path and file_identity(path) != identity:
        raise TrialError(f"{path} has changed since the plan was made; run the same command again")


def _evaluation(variant: str, domain: str, split: Any, outcome: Outcomes) -> Evaluation:
    return Evaluation(
        variant=variant,
        domain=domain,
        split=split,
        num_images=len(outcome.labels),
        num_correct=outcome.num_correct,
        accuracy=outcome.accuracy,
        nll=outcome.nll,
    )


def _trace(spec: TrialSpec, fitted: FitResult | None) -> tuple[TracePoint, ...]:
    split: Any = "test" if spec.selection == "reference_test" else "val"
    points = fitted.trace if fitted else ()
    return tuple(TracePoint(step=p.step, split=split, accuracy=p.accuracy, nll=p.nll) for p in points)


def _seed_everything(seed: int) -> None:
    """A warm worker's generators remember the trial before."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def _log_to(path: Path, enabled: bool) -> Iterator[None]:
    """Log lines of this trial go to its own file as well."""
    if not enabled:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    except BaseException:
        log.exception("the trial failed")
        raise
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
