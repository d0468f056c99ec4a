"""One trial, without Ray: its files, its record, and that nothing but its spec decides its numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from datasets.shards import Prepared
from orchestrator.analysis.predictions import read_predictions
from orchestrator.records import Results, TrialRecord, read_record
from orchestrator.spec import PlannedTrial
from orchestrator.trials.bench import Bench
from orchestrator.trials.trial import error_info, failed_record, run_trial
from orchestrator.trials.warm import TrialError
from tests.conftest import ROOT
from tests.orchestrator.trials import planned
from training.checkpoint import load_tensors
from training.runtime import Runtime


def run(trial: PlannedTrial, results: Path, **options: object) -> TrialRecord:
    return run_trial(trial, Results(results), Runtime(**options), attempt=1)


def numbers(record: TrialRecord) -> object:
    return record.evaluations, record.trace, record.selected_step


def test_a_trained_trial_leaves_all_its_files_and_a_valid_record(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    trial = planned(blobs, tiny_config, "ft")
    record = run(trial, tmp_path)
    folder = Results(tmp_path).trial(trial.id)
    assert sorted(p.name for p in folder.iterdir()) == [
        "features.safetensors",
        "log.txt",
        "metrics.jsonl",
        "model.safetensors",
        "predictions.parquet",
        "record.json",
    ]
    assert read_record(folder / "record.json") == record
    assert record.status == "completed"
    assert record.images_seen == 64
    assert {(e.domain, e.split, e.num_images) for e in record.evaluations} == {
        ("disc", "test", 12),
        ("box", "test", 12),
        ("ring", "test", 12),
        ("disc", "val", 6),
    }
    assert {"load", "train", "select", "evaluate", "save"} <= record.seconds.keys()
    assert record.environment is not None
    assert record.environment.device == "cpu"
    assert [point.step for point in record.trace] == [4, 8]


def test_the_table_of_outcomes_gives_the_numbers_of_the_record(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    trial = planned(blobs, tiny_config, "ft")
    record = run(trial, tmp_path)
    table = pq.read_table(Results(tmp_path).trial(trial.id) / "predictions.parquet").to_pylist()
    assert len({(row["domain"], row["split"], row["key"]) for row in table}) == len(table) == 42
    for evaluation in record.evaluations:
        rows = [row for row in table if (row["domain"], row["split"]) == (evaluation.domain, evaluation.split)]
        assert sum(row["correct"] for row in rows) == evaluation.num_correct
        assert sum(row["nll"] for row in rows) / len(rows) == pytest.approx(evaluation.nll, rel=1e-5)
        assert sum(row["brier"] for row in rows) / len(rows) == pytest.approx(evaluation.brier, rel=1e-5)
        ece = multiclass_ece([row["confidence"] for row in rows], [row["correct"] for row in rows])
        assert evaluation.ece == pytest.approx(ece, abs=1e-6)
        assert all(row["correct"] == (row["label"] == row["prediction"]) for row in rows)


def multiclass_ece(confidences: list[float], correct: list[bool]) -> float:
    """Of a binary problem with the same confidences: torchmetrics bins nothing else."""
    target = torch.tensor(correct).long()
    probabilities = torch.tensor(confidences)
    table = torch.stack([torch.zeros_like(probabilities), probabilities], dim=1)  # class 1 is 'the prediction'
    return float(multiclass_calibration_error(table, target, num_classes=2, n_bins=15, norm="l1"))


def test_outcomes_of_earlier_versions_have_no_brier_score(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    trial = planned(blobs, tiny_config, "zero_shot")
    run(trial, tmp_path)
    path = Results(tmp_path).trial(trial.id) / "predictions.parquet"
    now = read_predictions(path, "", "box")
    assert now.briers is not None
    pq.write_table(pq.read_table(path).drop_columns(["brier"]), path)
    old = read_predictions(path, "", "box")
    assert old.briers is None
    assert (old.keys, old.nlls.tolist()) == (now.keys, now.nlls.tolist())


def test_zero_shot_then_ft_then_wise_ft(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    zero = run(planned(blobs, tiny_config, "zero_shot"), tmp_path)
    tuned_trial = planned(blobs, tiny_config, "ft")
    tuned = run(tuned_trial, tmp_path)
    wise = run(
        planned(blobs, tiny_config, "wise_ft", settings={"alphas": [0, 0.5, 1]}, inputs=(tuned_trial.id,)), tmp_path
    )
    assert wise.variants == {"alpha=0": {"alpha": 0.0}, "alpha=0.5": {"alpha": 0.5}, "alpha=1": {"alpha": 1.0}}

    def tests(record: TrialRecord, variant: str) -> dict:
        rows = [e for e in record.evaluations if e.variant == variant and e.split == "test"]
        return {e.domain: (e.accuracy, e.nll) for e in rows}

    assert tests(wise, "alpha=0") == tests(zero, "")
    assert tests(wise, "alpha=1") == tests(tuned, "")
    assert tests(wise, "alpha=0.5").keys() == {"disc", "box", "ring"}


def test_the_result_does_not_depend_on_the_worker_or_on_what_ran_before(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    trial = planned(blobs, tiny_config, "lipsum_ft")
    alone = run(trial, tmp_path / "alone")
    run(planned(blobs, tiny_config, "ft", seed=4), tmp_path / "second")
    second = run(trial, tmp_path / "second")
    (tmp_path / "trial.json").write_text(trial.model_dump_json())
    script = (
        "import sys; from pathlib import Path\n"
        "from orchestrator.records import Results; from orchestrator.spec import PlannedTrial\n"
        "from orchestrator.trials.trial import run_trial; from training.runtime import Runtime\n"
        "trial = PlannedTrial.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "run_trial(trial, Results(Path(sys.argv[2])), Runtime(), attempt=1)\n"
        "assert 'ray' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "trial.json"), str(tmp_path / "fresh")]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120)
    fresh = read_record(Results(tmp_path / "fresh").record(trial.id))
    assert numbers(alone) == numbers(second) == numbers(fresh)


def test_a_trial_that_died_goes_on_from_its_checkpoint(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = planned(blobs, tiny_config, "ft")
    whole = run(trial, tmp_path / "whole")
    from methods.ft import FT

    class Killed(BaseException):
        pass

    def die(self: FT, model: object, step: int) -> None:
        if step == 6:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(FT, "after_step", die)
        run(trial, tmp_path / "cut")
    assert not Results(tmp_path / "cut").record(trial.id).exists()
    steps: list[int] = []
    monkeypatch.setattr(FT, "after_step", lambda self, model, step: steps.append(step))
    resumed = run(trial, tmp_path / "cut")
    assert steps == [5, 6, 7, 8]
    assert numbers(resumed) == numbers(whole)


def test_the_weights_kept_are_those_that_were_evaluated(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    trial = planned(blobs, tiny_config, "ft")
    run(trial, tmp_path)
    weights, meta = load_tensors(Results(tmp_path).trial(trial.id) / "model.safetensors")
    assert meta["trial"] == trial.id
    assert weights["head"].shape == (16, 3)
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_validation_batches_of_a_post_hoc_method_mix_the_classes(blobs: Prepared, tiny_config: Path) -> None:
    """Shards are often sorted by class; radii learned on batches of one class would be worthless."""
    trial = planned(blobs, tiny_config, "wise_ft", inputs=("ft-none",))
    bench = Bench.load(trial, Runtime())
    first, second = ([key for batch in bench.val_batches(2) for key in batch.keys] for _ in range(2))
    assert first == second
    assert sorted(first) == sorted(sample.key for sample in bench.val)
    assert first != [sample.key for sample in bench.val]


def test_selection_on_the_test_split_is_recorded_as_such(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    record = run(planned(blobs, tiny_config, "ft", selection="reference_test"), tmp_path)
    assert {point.split for point in record.trace} == {"test"}


def test_data_that_changed_since_the_plan_is_refused(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    trial = planned(blobs, tiny_config, "ft")
    data = trial.spec.data.model_copy(update={"identity": "0" * 64})
    with pytest.raises(TrialError, match="has changed since the plan was made"):
        run(trial.model_copy(update={"spec": trial.spec.model_copy(update={"data": data})}), tmp_path)


def test_weights_of_an_input_that_are_gone_are_named(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="the weights of input ft-gone are gone"):
        run(planned(blobs, tiny_config, "wise_ft", inputs=("ft-gone",)), tmp_path)


def test_another_version_of_a_method_is_refused(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="ft is version 1 here but 2 in the plan"):
        run(planned(blobs, tiny_config, "ft", method_version=2), tmp_path)


def test_a_failed_record_holds_the_reason(blobs: Prepared, tiny_config: Path) -> None:
    trial = planned(blobs, tiny_config, "ft")
    try:
        raise RuntimeError("the disk is on fire")
    except RuntimeError as error:
        record = failed_record(trial, error_info(error, "permanent"), attempt=2, started_at="2026-01-01T00:00:00+00:00")
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("RuntimeError", "the disk is on fire")
    assert "test_a_failed_record_holds_the_reason" in record.error.traceback
    assert json.loads(record.model_dump_json())["status"] == "failed"


def test_a_cache_of_pixels_changes_no_number_and_one_too_small_is_noted(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "node"))
    trial = planned(blobs, tiny_config, "ft")
    plain = run(trial, tmp_path / "plain")
    small = run(trial, tmp_path / "small", cache_gib=1e-6)
    assert not list((tmp_path / "node").rglob("*.pixels"))
    cached = [run(trial, tmp_path / name, cache_gib=1.0) for name in ("cold", "warm")]
    assert list((tmp_path / "node").rglob("*.pixels"))
    assert [numbers(record) for record in (small, *cached)] == [numbers(plain)] * 3
    assert [record.notes for record in (plain, *cached)] == [()] * 3
    assert small.notes
    assert all(line.startswith("pixel cache off for ") and "--cache-gib allows" in line for line in small.notes)
