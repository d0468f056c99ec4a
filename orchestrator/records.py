"""The record of a trial: its schema, atomic writing and validated reading. No ray, no torch.

`results/trials/<id>/record.json` is written last of all a trial's files: that it is there and valid is what 'done' means.
A record says what happened; it never says where the trial ran from, so folders of results can be moved and merged.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from orchestrator.spec import BenchmarkPlan, TrialSpec, trial_id
from training.config import Frozen

FailureClass = Literal["transient", "resource", "permanent", "dependency"]

Split = Literal["val", "test"]


class ResultsError(ValueError):
    """A folder of results cannot be read, or does not hold what was asked of it; the message says what and where."""


class Evaluation(Frozen):
    """One predictor on one split of one domain."""

    variant: str = Field(
        "", description="'' for a trained model; 'alpha=0.5' and the like for one of several from one trial"
    )
    domain: str = Field(description="of the trial's dataset; '<dataset>' or '<dataset>:<domain>' for one of transfer")
    split: Split
    num_images: int = Field(gt=0)
    num_correct: int = Field(ge=0)
    accuracy: float = Field(ge=0, le=1, description="top-1, as a fraction")
    nll: float = Field(ge=0, allow_inf_nan=False, description="mean negative log-likelihood of the label, nats")
    class_accuracy: float | None = Field(
        None, ge=0, le=1, description="mean over the classes of the share that is right; null in early records"
    )
    ece: float | None = Field(
        None, ge=0, le=1, description="calibration error, 15 bins, the whole split at once; null in early records"
    )
    brier: float | None = Field(
        None, ge=0, le=2, description="mean over the images of the Brier score over all classes; null in early records"
    )
    energy_gap: float | None = Field(
        None,
        ge=0,
        description="mean squared difference to the zero-shot model's energies -<F(x), G(t)> over the images and 10,000 random "
        "texts, no temperature; this and the next three: null in early records, for split 'val', for datasets of transfer, "
        "and for what is not one image encoder",
    )
    energy_gap_absolute: float | None = Field(None, ge=0, description="the same with absolute differences")
    feature_distortion: float | None = Field(
        None,
        ge=0,
        description="mean Euclidean distance of L2-normalised features from the zero-shot model's, in [0, 2]",
    )
    feature_distortion_raw: float | None = Field(None, ge=0, description="the same before normalisation")


class TracePoint(Frozen):
    """The reference metrics of one evaluation during training, which selection chose from."""

    step: int = Field(ge=0, description="optimiser steps done")
    split: Split
    accuracy: float = Field(ge=0, le=1)
    nll: float = Field(ge=0, allow_inf_nan=False)


class ErrorInfo(Frozen):
    """Why a trial failed."""

    failure_class: FailureClass
    type: str = Field(description="class of the exception")
    message: str
    traceback: str = ""


class Environment(Frozen):
    """What the trial ran on. Never part of its identity."""

    python: str
    packages: dict[str, str] = Field(description="version of each package that can change a number")
    git_commit: str | None
    git_dirty: bool | None
    device: str = Field(description="'cpu' or the GPU's name")
    num_workers: int = Field(ge=1)
    num_threads: int = Field(
        1, ge=1, description="CPU threads of a worker: on a CPU they decide the order of float sums"
    )
    platform: str


class TrialRecord(Frozen):
    """What a trial was and what came of it."""

    schema_version: Literal[1] = 1
    id: str
    spec: TrialSpec
    status: Literal["completed", "failed"]
    evaluations: tuple[Evaluation, ...] = ()
    variants: dict[str, dict[str, FiniteFloat]] = Field(
        default_factory=dict, description="variant -> what sets it apart, {'alpha': 0.5}"
    )
    no_transfer: dict[str, str] = Field(
        default_factory=dict, description="variant -> why it was not evaluated on the datasets of transfer"
    )
    no_energy: dict[str, str] = Field(
        default_factory=dict, description="variant -> why it has no energy gap, or no feature distortion either"
    )
    data: str = Field("", description="attestations of the prepared data, one line for each dataset")
    warnings: tuple[str, ...] = Field((), description="differences to published values, as they were shown")
    notes: tuple[str, ...] = Field(
        (), description="what slowed the trial down but changed no result: a cache too small"
    )
    selected_step: int | None = Field(None, description="optimiser steps of the weights that were kept")
    trace: tuple[TracePoint, ...] = ()
    seconds: dict[str, float] = Field(
        default_factory=dict, description="wall seconds of each stage: load, train, evaluate, save, ..."
    )
    images_seen: int = Field(0, ge=0, description="training images, repeats counted")
    texts_seen: int = Field(0, ge=0, description="texts encoded in training steps, over all workers")
    images_encoded: int = Field(
        0,
        ge=0,
        description="images passed through an image encoder in training, over all workers; frozen teachers and the passes "
        "of `setup` count, so divided by images_seen it is the forward passes an image costs",
    )
    peak_memory_bytes: int | None = Field(
        None, ge=0, description="GPU: peak allocated; CPU: peak resident size of the process"
    )
    num_attempts: int = Field(1, ge=1, description="leases, the last one included")
    environment: Environment | None = None
    error: ErrorInfo | None = None
    started_at: str = Field(description="UTC, ISO 8601")
    finished_at: str = Field(description="UTC, ISO 8601")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.id != trial_id(self.spec):
            raise ValueError(f"id {self.id} is not that of its spec, {trial_id(self.spec)}")
        if (self.status == "failed") != (self.error is not None):
            raise ValueError(f"status is {self.status!r} but error is {'missing' if self.error is None else 'given'}")
        if self.status == "completed" and not self.evaluations:
            raise ValueError("a completed trial has at least one evaluation")
        return self


@dataclass(frozen=True)
class Results:
    """The folder of results: who is where in it."""

    root: Path

    def trial(self, id: str) -> Path:
        """Folder of a trial."""
        return self.root / "trials" / id

    def record(self, id: str) -> Path:
        """The record of a trial, written last."""
        return self.trial(id) / "record.json"

    def plan(self, benchmark: str) -> Path:
        """The plan a benchmark was last run with."""
        return self.root / "plans" / f"{benchmark}.json"


@dataclass
class Loaded:
    """All records of a folder, and the files that are no valid record, each with the reason."""

    records: dict[str, TrialRecord] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    no_ece: dict[str, str] = field(default_factory=dict)
    """trial -> why it has no ECE in the bins that were asked for (`orchestrator.analysis.rebinning`)"""
    left_out: dict[str, str] = field(default_factory=dict)
    """trial -> why a rule that the report is restricted to does not admit its record (`orchestrator.analysis.choice`)"""


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content`, text as UTF-8.

    A reader, or a crash at any moment, sees the old file or the new one, never half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # A full disk's error does not say which file.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # on a file system that cannot be written, which the first error says
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(results: Results, record: TrialRecord) -> Path:
    """Write a record, last of a trial's files; returns its path."""
    path = results.record(record.id)
    write_atomic(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_record(path: Path) -> TrialRecord:
    """Read and validate one record. Raises FileNotFoundError, or ResultsError naming the file and what is wrong with it."""
    try:
        record = TrialRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",) and isinstance(first["input"], int) and first["input"] > 1:
            raise ResultsError(
                f"{path}: schema_version {first['input']!r}, this version reads 1: written by a newer one; update the code"
            ) from None
        where = ".".join(map(str, first["loc"])) or "the record"
        raise ResultsError(f"{path}: {where}: {first['msg']} ({error.error_count()} problems)") from None
    if path.parent.name != record.id:
        raise ResultsError(f"{path}: holds the record of {record.id}, not of the folder it lies in")
    return record


def load_records(results: Results) -> Loaded:
    """Every record under `results`; what cannot be read is listed, never skipped in silence."""
    loaded = Loaded()
    for path in _record_files(results):
        try:
            record = read_record(path)
        except ValueError as error:
            loaded.unreadable[path] = str(error)
        else:
            loaded.records[record.id] = record
    return loaded


def _record_files(results: Results) -> Iterator[Path]:
    yield from sorted((results.root / "trials").glob("*/record.json"))


def write_plan(results: Results, plan: BenchmarkPlan) -> Path:
    """Store the plan of a benchmark, so that a report can say which cells are missing."""
    path = results.plan(plan.benchmark)
    write_atomic(path, plan.model_dump_json(indent=1) + "\n")
    return path


def load_plans(results: Results) -> list[BenchmarkPlan]:
    """The plans of all benchmarks that were run into this folder, by name. Raises ResultsError on an unreadable one."""
    plans = []
    for path in sorted((results.root / "plans").glob("*.json")):
        try:
            plans.append(BenchmarkPlan.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise ResultsError(f"{path}: not a plan this version can read: {error.errors()[0]['msg']}") from None
    return plans
