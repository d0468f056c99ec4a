"""`report --ece-bins N`: calibration errors in other bins than the records have, from per-image outcomes."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error
from typer.testing import CliRunner, Result

from orchestrator.analysis import read_ahead, rebinning
from orchestrator.analysis.metrics import NUM_BINS
from orchestrator.analysis.predictions import read_predictions
from orchestrator.cli import app
from orchestrator.records import Results, load_records, read_record, write_record
from orchestrator.report import read_board
from orchestrator.report.tables import columns
from tests.orchestrator.outcome_factory import leave
from tests.orchestrator.record_factory import NUM_IMAGES, Folder
from training.evaluate import Outcomes

DOMAINS = ("real", "clipart", "sketch")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Zero-shot, two seeds of ft and one of a method without outcomes; what the records say of ECE is 0.5."""
    folder, rng = Folder(domains=DOMAINS), np.random.default_rng(3)
    trials = [folder.trial("zero_shot", kind="reference"), *(folder.trial("ft", seed) for seed in (0, 1))]
    lost = folder.trial("lost")
    for trial in (*trials, lost):
        folder.done(trial, (60.0, 50.0, 40.0))
    for id, record in folder.records.items():
        new = tuple(e.model_copy(update={"ece": 0.5}) for e in record.evaluations)
        folder.records[id] = record.model_copy(update={"evaluations": new})
    found = Results(folder.write(tmp_path))
    for trial in trials:
        outcomes = {("", domain, "test"): _outcomes(domain, rng) for domain in DOMAINS}
        leave(found, trial.id, outcomes)
    return found


def _outcomes(domain: str, rng: np.random.Generator) -> Outcomes:
    labels, confidences = np.arange(NUM_IMAGES) % 10, rng.beta(4, 2, NUM_IMAGES).astype(np.float32)
    # Sure and right in waves, so that the error depends on the bins.
    right = rng.random(NUM_IMAGES) < 0.5 + 0.5 * np.sin(30 * confidences)
    return Outcomes(
        keys=tuple(f"{domain}/{i}" for i in range(NUM_IMAGES)),
        labels=labels,
        predictions=np.where(right, labels, (labels + 1) % 10),
        confidences=confidences,
        nlls=np.full(NUM_IMAGES, 0.5, np.float32),
        briers=np.full(NUM_IMAGES, 0.3, np.float32),
    )


def report(results: Results, *options: str) -> Result:
    return CliRunner().invoke(app, ["report", str(results.root), *options])


def written(results: Results, name: str) -> list[dict[str, str]]:
    with (results.root / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def oracle(results: Results, trial: str, domains: Sequence[str], num_bins: int) -> float:
    """torchmetrics, mean over the domains; its bins are of the probability of being right, which is the confidence."""
    errors = []
    for domain in domains:
        found = read_predictions(results.trial(trial) / "predictions.parquet", "", domain)
        error = binary_calibration_error(
            torch.from_numpy(found.confidences.copy()), torch.from_numpy(found.correct.astype(np.int64)), num_bins
        )
        errors.append(float(error))
    return float(np.mean(errors))


@pytest.mark.parametrize("num_bins", [7, 40])
def test_the_report_has_the_errors_of_torchmetrics_in_every_file(results: Results, num_bins: int) -> None:
    assert report(results, "--ece-bins", str(num_bins)).exit_code == 0
    lines = [line for line in written(results, "leaderboard.csv") if line["label"] != "lost"]
    assert {line["ece_bins"] for line in lines} == {str(num_bins)}
    for line in lines:
        expected = oracle(results, line["trial_id"], [line["domain"]], num_bins)
        assert float(line["ece"]) == pytest.approx(expected, abs=1e-6)
        assert expected != pytest.approx(oracle(results, line["trial_id"], [line["domain"]], 15), abs=1e-5)
    ft = sorted({line["trial_id"] for line in lines if line["label"] == "ft"})
    shift = float(np.mean([oracle(results, trial, DOMAINS[1:], num_bins) for trial in ft]))
    rows = {line["quantity"]: line for line in written(results, "leaderboard-rows.csv") if line["row"] == "ft"}
    assert float(rows[f"ECE in {num_bins} bins, shift mean"]["mean"]) == pytest.approx(shift, abs=1e-6)
    text = (results.root / "leaderboard.md").read_text(encoding="utf-8")
    header, *table = (line.split(" | ") for line in text.splitlines() if line.startswith("|"))
    [column] = [i for i, title in enumerate(header) if title == f"ECE, {num_bins} bins, %: shift mean"]
    [cell] = [line[column] for line in table if line[0] == "| ft"]
    assert cell.startswith(f"{100 * shift:.1f} ± ")
    page = (results.root / "leaderboard.html").read_text(encoding="utf-8")
    assert f"ECE, {num_bins} bins, %" in page
    assert f"{num_bins} bins of confidence of equal width" in page
    assert f"{num_bins} bins over all seeds" in page
    assert "15 bins" not in text + re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert f"report RESULTS --ece-bins {num_bins}" in page
    assert {e.ece for record in load_records(results).records.values() for e in record.evaluations} == {0.5}


def test_calibration_curves_have_as_many_bins(results: Results) -> None:
    for num_bins in (7, 40, NUM_BINS):
        (table,) = read_board(results.root, ece_bins=num_bins).tables
        assert table.statistics is not None
        of_ft = table.statistics.rows[1].calibration["reference"].bins
        confidences = np.concatenate(
            [
                read_predictions(results.trial(o.trial.id) / "predictions.parquet", "", "real").confidences
                for o in table.rows[1].outcomes
            ]
        )
        counts = np.histogram(confidences, np.linspace(0, 1, num_bins + 1))[0]
        assert [found.num_images for found in of_ft] == [n for n in counts if n]


def test_without_the_option_and_with_15_the_records_count(results: Results) -> None:
    for options in ((), ("--ece-bins", "15")):
        assert report(results, *options).exit_code == 0
        assert {line["ece"] for line in written(results, "leaderboard.csv")} == {"0.5"}
        assert "ECE, 15 bins, %" in (results.root / "leaderboard.md").read_text(encoding="utf-8")
    assert not (results.root / "cache" / "ece").exists()


def test_a_trial_without_outcomes_says_why_and_shows_no_other_binning(results: Results) -> None:
    assert report(results, "--ece-bins", "7").exit_code == 0
    why = "no ECE in 7 bins: it has no predictions.parquet"
    lost = [line for line in written(results, "leaderboard.csv") if line["label"] == "lost"]
    assert [(line["ece"], line["ece_bins"], line["reason"], line["accuracy"]) for line in lost] == [
        ("", "", why, repr(accuracy)) for accuracy in (0.6, 0.5, 0.4)
    ]
    (table,) = read_board(results.root, ece_bins=7).tables
    found = [column.cell(2) for column in columns(table) if column.group.startswith("ECE")]
    assert [(cell.text, cell.why) for cell in found] == [("", f"0 of 1 seeds: s0 {why}")] * 2
    for name in ("leaderboard.md", "leaderboard.html"):
        assert why in (results.root / name).read_text(encoding="utf-8")
    for trial in (results.root / "trials").iterdir():
        (trial / "predictions.parquet").unlink(missing_ok=True)
    (table,) = read_board(results.root, ece_bins=7).tables
    assert [c.title for c in columns(table) if c.group == "ECE, 7 bins, %"] == ["reference", "shift mean"]


def test_what_cannot_be_read_or_lacks_a_split_says_so(results: Results) -> None:
    zero_shot, ft = (next(iter(results.root.glob(f"trials/{name}-*"))) for name in ("zero_shot", "ft"))
    (ft / "predictions.parquet").write_bytes(b"PAR1 not really")
    record = read_record(zero_shot / "record.json")
    more = record.evaluations[0].model_copy(update={"split": "val"})
    write_record(results, record.model_copy(update={"evaluations": (*record.evaluations, more)}))
    report(results, "--ece-bins", "7")
    reasons = {line["trial_id"]: line["reason"] for line in written(results, "leaderboard.csv")}
    assert reasons[ft.name].startswith(f"no ECE in 7 bins: predictions.parquet of {ft.name} cannot be read")
    assert reasons[zero_shot.name] == "no ECE in 7 bins: no per-image outcomes on real/val"


@pytest.mark.parametrize("value", ["0", "-3", "1001", "7.5", "many", "", "٣", "9" * 30])
def test_a_bad_number_is_one_line_and_exit_code_2(results: Results, value: str) -> None:
    done = report(results, f"--ece-bins={value}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"--ece-bins {value!r}: expected a whole number from 1 to 1000, as 15 (the default)"
    ]
    assert not (results.root / "leaderboard.html").exists()


def test_it_does_not_go_with_a_view(results: Results) -> None:
    done = report(results, "--view", "lipsum-table-1", "--ece-bins", "10")
    assert (done.exit_code, done.stderr) == (2, "--view and --ece-bins do not go together\n")


def test_only_what_is_new_is_read_again(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = read_ahead.read_blocks

    def watched(of: Results, trial: str, content: bytes | None = None) -> read_ahead.Blocks:
        reads.append(trial)
        return read(of, trial, content)

    monkeypatch.setattr(read_ahead, "read_blocks", watched)
    loaded = load_records(results)
    first = rebinning.rebinned(results, loaded, 7)
    assert len(reads) == 3
    assert rebinning.rebinned(results, loaded, 7) == first
    assert len(reads) == 3
    rebinning.rebinned(results, loaded, 8)
    assert len(reads) == 6
    changed = next(iter(results.root.glob("trials/ft-*/predictions.parquet")))
    rng = np.random.default_rng(9)
    leave(results, changed.parent.name, {("", domain, "test"): _outcomes(domain, rng) for domain in DOMAINS})
    loaded = load_records(results)
    assert rebinning.rebinned(results, loaded, 7) != first
    assert reads[6:] == [changed.parent.name]
    (results.root / "cache" / "ece" / "7.json").write_text('{"version": 1, "trials": {"x": 1}}')
    assert rebinning.rebinned(results, loaded, 7).records[changed.parent.name].evaluations[0].ece is not None


def test_early_records_get_theirs_from_the_outcomes_without_any_option(results: Results) -> None:
    for id, record in load_records(results).records.items():
        if not id.startswith("zero_shot"):
            new = tuple(e.model_copy(update={"ece": None}) for e in record.evaluations)
            write_record(results, record.model_copy(update={"evaluations": new}))
    assert report(results).exit_code == 0
    lines = written(results, "leaderboard.csv")
    assert {line["ece"] for line in lines if line["label"] == "zero_shot"} == {"0.5"}, "what is recorded stays"
    for line in (line for line in lines if line["label"] == "ft"):
        expected = oracle(results, line["trial_id"], [line["domain"]], NUM_BINS)
        assert float(line["ece"]) == pytest.approx(expected, abs=1e-6)
    assert {(line["ece"], line["reason"]) for line in lines if line["label"] == "lost"} == {("", "")}
    assert "ECE, 15 bins, %" in (results.root / "leaderboard.md").read_text(encoding="utf-8")
