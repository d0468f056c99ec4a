"""A record is there whole or not at all, and what is wrong with one is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.records import (
    ErrorInfo,
    Results,
    ResultsError,
    TrialRecord,
    load_records,
    read_record,
    write_atomic,
    write_record,
)
from orchestrator.spec import BenchmarkPlan, DataRef, ModelRef, TrialSpec, trial_id

SPEC = TrialSpec(
    method="ft",
    settings={},
    data=DataRef(name="blobs", identity="a" * 64, sources=("disc",), targets=("disc",)),
    model=ModelRef(name="tiny", weights="random:0"),
    recipe=None,
)


def record(**changes: object) -> TrialRecord:
    error = ErrorInfo(failure_class="permanent", type="ValueError", message="no")
    fields: dict = {
        "id": trial_id(SPEC),
        "spec": SPEC,
        "status": "failed",
        "error": error,
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:00:01+00:00",
    }
    return TrialRecord.model_validate(fields | changes)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write_record(Results(tmp_path), record())
    assert read_record(path) == record()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "ft-other"}, "is not that of its spec"),
        ({"status": "completed"}, "status is 'completed' but error is given"),
        ({"status": "completed", "error": None}, "at least one evaluation"),
        ({"error": None}, "status is 'failed' but error is missing"),
    ],
)
def test_records_that_contradict_themselves_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record(**changes)


def test_unreadable_records_are_listed_with_the_reason(tmp_path: Path) -> None:
    results = Results(tmp_path)
    write_record(results, record())
    torn = results.record("ft-torn")
    write_atomic(torn, record().model_dump_json()[:80])
    moved = results.record("ft-moved")
    write_atomic(moved, record().model_dump_json())
    future = results.record("ft-future")
    write_atomic(future, json.dumps(json.loads(record().model_dump_json()) | {"schema_version": 99}))
    loaded = load_records(results)
    assert list(loaded.records) == [trial_id(SPEC)]
    assert loaded.unreadable.keys() == {torn, moved, future}
    assert "not of the folder it lies in" in loaded.unreadable[moved]
    why = f"{future}: schema_version 99, this version reads 1: written by a newer one; update the code"
    assert loaded.unreadable[future] == why


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_atomic(path, "old")

    def crash(descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr("orchestrator.records.os.fsync", crash)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_older_versions_are_still_read() -> None:
    """One file of each version as it was written then; never touch them, add one when the schema changes."""
    old = Path(__file__).with_name("old_versions")
    record = TrialRecord.model_validate_json((old / "record-1.json").read_bytes())
    assert (record.schema_version, record.status, len(record.evaluations)) == (1, "completed", 18)
    assert (record.images_encoded, record.warnings) == (0, ())  # came later
    plan = BenchmarkPlan.model_validate_json((old / "plan-1.json").read_bytes())
    assert record.id in {trial.id for trial in plan.trials}
    assert plan.classnames == ()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_parameter_that_json_cannot_hold_is_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match=r"variants\.alpha=1\.t\b"):
        record(variants={"alpha=1": {"t": value}})


@pytest.mark.parametrize("version", ["1", None, 0])
def test_a_version_that_is_none_is_not_called_newer(tmp_path: Path, version: object) -> None:
    path = write_record(Results(tmp_path), record())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    with pytest.raises(ResultsError, match="schema_version: Input should be 1"):
        read_record(path)
