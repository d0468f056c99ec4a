"""One planned trial, from shards and weights to files and a record. No ray: it runs alike in a test and in a pool worker."""

from __future__ import annotations

import logging
import math
import random
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import methods
from datasets.stream import TrainStream
from datasets.transforms import TrainTransform
from methods.base import Method, PostHoc, Variant
from orchestrator.analysis.metrics import expected_calibration_error
from orchestrator.planning.gate import differences
from orchestrator.records import (
    ErrorInfo,
    Evaluation,
    Results,
    TracePoint,
    TrialRecord,
    write_record,
)
from orchestrator.spec import PlannedTrial, TrialSpec
from orchestrator.trials.bench import MODEL_FILE, TEXT_FILE, Bench, Place
from orchestrator.trials.environment import describe_environment, peak_memory_bytes, reset_peak_memory
from orchestrator.trials.features import FEATURES_FILE
from orchestrator.trials.outcomes import write_predictions
from orchestrator.trials.process import reset_torch
from orchestrator.trials.transfer_evaluation import evaluate_transfer, open_transfer
from orchestrator.trials.warm import TrialError
from training.checkpoint import save_tensors
from training.energy import FeatureShift
from training.evaluate import Outcomes
from training.fit import Fit, FitResult
from training.model import load_state
from training.runtime import Interrupted, Runtime
from training.timing import Stopwatch

log = logging.getLogger(__name__)


def run_trial(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> TrialRecord:
    """Run a trial to its end, or on from its last checkpoint; rank 0 writes its files and, last of all, its record.

    Every worker of a group calls this. Exceptions propagate: what they mean is decided by who leased the trial.
    """
    started = _now()
    reset_peak_memory(runtime.device)
    reset_torch(runtime.threads)
    _seed_everything(trial.spec.seed)
    stopwatch = Stopwatch()
    folder = results.trial(trial.id)
    with _log_to(folder / "log.txt", runtime.is_main):
        log.info("trial %s, attempt %d, worker %d of %d", trial.id, attempt, runtime.rank, runtime.world_size)
        with stopwatch.stage("load"):
            bench = Bench.load(trial, runtime, results.root / "cache")
            transfer = open_transfer(trial)
        variants, fitted = _predictors(trial, bench, results, stopwatch)
        with stopwatch.stage("evaluate"):
            bench.unchanged(trial)
            predictors = {v.name: v.predictor for v in variants}
            outcomes = bench.evaluate_all(predictors)
            no_energy = bench.energies.why_not(predictors)
        with stopwatch.stage("transfer"):
            transferred, no_transfer = evaluate_transfer(bench, transfer, predictors)
            outcomes |= transferred
        record = _completed(trial, outcomes, variants, fitted, runtime).model_copy(
            update={
                "no_transfer": no_transfer,
                "no_energy": no_energy,
                "data": "\n".join(prepared.attestation for prepared in (bench.prepared, *transfer.values())),
                "notes": bench.pixels.lines if bench.pixels else (),
                "num_attempts": attempt,
                "started_at": started,
            }
        )
        if runtime.is_main:
            with stopwatch.stage("save"):
                write_predictions(folder / "predictions.parquet", outcomes)
                bench.energies.save(folder / FEATURES_FILE, outcomes)
                if fitted:
                    _save_weights(folder, trial, fitted)
            record = record.model_copy(update={"seconds": dict(stopwatch.seconds), "finished_at": _now()})
            write_record(results, record)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        runtime.barrier()
    return record


def _save_weights(folder: Path, trial: PlannedTrial, fitted: FitResult) -> None:
    """The classifier last: that it says whether there is a text tower tells whether that file may be missing."""
    meta = {"trial": trial.id, "step": fitted.selected_step}
    if fitted.text:
        save_tensors(folder / TEXT_FILE, fitted.text, meta)
    save_tensors(folder / MODEL_FILE, fitted.weights, {**meta, "text": bool(fitted.text)})


def _completed(
    trial: PlannedTrial,
    outcomes: Mapping[Place, Outcomes],
    variants: Sequence[Variant],
    fitted: FitResult | None,
    runtime: Runtime,
) -> TrialRecord:
    """The record of a trial that has come to its end."""
    evaluations = tuple(_evaluation(*place, outcome) for place, outcome in outcomes.items())
    return TrialRecord(
        id=trial.id,
        spec=trial.spec,
        status="completed",
        evaluations=evaluations,
        warnings=differences(trial.expected, evaluations),
        variants={v.name: dict(v.parameters) for v in variants if v.name or v.parameters},
        selected_step=fitted.selected_step if fitted else None,
        trace=_trace(trial.spec, fitted),
        images_seen=fitted.images_seen if fitted else 0,
        texts_seen=fitted.texts_seen if fitted else 0,
        images_encoded=fitted.images_encoded if fitted else 0,
        peak_memory_bytes=peak_memory_bytes(runtime.device),
        environment=describe_environment(runtime),
        started_at=_now(),
        finished_at=_now(),
    )


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
    trial: PlannedTrial, bench: Bench, results: Results, stopwatch: Stopwatch
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
            return _finite(method.derive(bench.post_hoc_inputs(trial.spec, results))), None
    if not method.trains:
        return [Variant(name="", predictor=bench.zero_shot())], None
    fitted = _train(trial, method, bench, results.trial(trial.id) / "checkpoint", stopwatch)
    classifier = load_state(bench.zero_shot(), fitted.weights).with_text(fitted.text)
    return [Variant(name="", predictor=classifier)], fitted


def _finite(variants: Sequence[Variant]) -> Sequence[Variant]:
    """The variants. Raises TrialError for a parameter that a record cannot hold, before anything is measured."""
    for variant in variants:
        for name, value in variant.parameters.items():
            if not math.isfinite(value):
                where = f"parameter {name!r} of variant {variant.name!r}"
                raise TrialError(f"{where} is {value}, and a record holds finite numbers; mend `derive`")
    return variants


def _train(trial: PlannedTrial, method: Method, bench: Bench, folder: Path, stopwatch: Stopwatch) -> FitResult:
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
            reader=bench.reader(bench.train),
            seed=spec.seed,
            global_batch_size=recipe.global_batch_size,
            rank=bench.runtime.rank,
            world_size=bench.runtime.world_size,
            threads=bench.runtime.threads,
            shares=[len(bench.splits.train(d)) for d in spec.data.sources] if recipe.balance_domains else (),
        ),
        recipe=recipe,
        selection=spec.selection,
        normalise=bench.normalise,
        score=partial(bench.score, "test" if spec.selection == "reference_test" else "val"),
        runtime=bench.runtime,
        folder=folder,
        metrics=folder.parent / "metrics.jsonl",
        stopwatch=stopwatch,
        code=methods.code_identity(spec.method, map(Path, trial.location.plugins)),
    )
    return fit.run()


def _evaluation(variant: str, domain: str, split: Any, outcome: Outcomes) -> Evaluation:
    return Evaluation(
        variant=variant,
        domain=domain,
        split=split,
        num_images=len(outcome.labels),
        num_correct=outcome.num_correct,
        accuracy=outcome.accuracy,
        nll=outcome.nll,
        class_accuracy=outcome.class_accuracy,
        ece=expected_calibration_error(outcome.confidences, outcome.predictions == outcome.labels),
        brier=outcome.brier,
        **_shift(outcome.shift),
    )


def _shift(shift: FeatureShift | None) -> dict[str, float | None]:
    """The fields of a record that come from features."""
    if shift is None:
        return {}
    return {
        "energy_gap": shift.energy_gap,
        "energy_gap_absolute": shift.energy_gap_absolute,
        "feature_distortion": shift.distortion,
        "feature_distortion_raw": shift.distortion_raw,
    }


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
    except (Interrupted, KeyboardInterrupt):
        log.info("interrupted")
        raise
    except BaseException:
        log.exception("the trial failed")
        raise
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
