"""The zero-shot gate: what is compared, what a difference does, and that wrong tables are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import datasets
from datasets.shards import Prepared, open_prepared
from orchestrator.cli import app
from orchestrator.facts import FactsError
from orchestrator.planning import gate
from orchestrator.records import Evaluation, Results, TrialRecord, load_records, read_record
from orchestrator.spec import PlannedTrial, PublishedValue
from orchestrator.trials.trial import run_trial
from tests.orchestrator.gate_fakes import LocalSweep, sweep, table
from tests.orchestrator.small_benchmark import write_manifest
from tests.orchestrator.trials import planned
from training.runtime import Runtime

__all__ = ["sweep", "table"]


@pytest.fixture
def measured(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> dict[str, float]:
    """The tiny model's zero-shot accuracies in percent."""
    record = run_trial(planned(blobs, tiny_config, "zero_shot"), Results(tmp_path / "once"), Runtime(), attempt=1)
    return {e.domain: 100 * e.accuracy for e in record.evaluations}


@pytest.fixture
def manifest(tmp_path: Path, blobs: Prepared, tiny_config: Path) -> Path:
    return write_manifest(tmp_path, blobs, tiny_config, [0], 2)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def records(manifest: Path) -> dict[str, TrialRecord]:
    return {r.spec.method: r for r in load_records(Results(manifest.parent / "results")).records.values()}


def off_by(points: float, accuracy: float) -> float:
    return accuracy - points if accuracy > 50 else accuracy + points


def test_a_value_that_is_met_says_nothing(
    manifest: Path, sweep: LocalSweep, table: Callable[..., None], measured: dict[str, float]
) -> None:
    table({domain: off_by(0.2, accuracy) for domain, accuracy in measured.items()})
    result = call(manifest, "--strict")
    assert result.exit_code == 0, result.output
    assert "WARNING" not in result.stdout
    assert "no published" not in result.stdout
    assert sweep.ran == ["zero_shot", "ft", "head_only", "wise_ft"]
    assert records(manifest)["zero_shot"].warnings == ()


def test_a_difference_is_a_warning_on_screen_in_the_record_and_on_the_page(
    manifest: Path, sweep: LocalSweep, table: Callable[..., None], measured: dict[str, float]
) -> None:
    table({**measured, "box": f"{off_by(0.4, measured['box']):.4f}"})
    result = call(manifest)
    assert result.exit_code == 0, result.output
    assert sweep.ran == ["zero_shot", "ft", "head_only", "wise_ft"]
    (warning,) = records(manifest)["zero_shot"].warnings
    assert warning.startswith(f"zero-shot accuracy on box is {measured['box']:.2f} %, published: ")
    assert "(Nobody et al., Table 1); " in warning
    assert "points are more than 0.3: check the data" in warning
    assert all(record.warnings == () for method, record in records(manifest).items() if method != "zero_shot")
    assert warning in (manifest.parent / "results/leaderboard.html").read_text()
    assert warning in (manifest.parent / "results/leaderboard.md").read_text()
    again = call(manifest)
    assert again.exit_code == 0
    assert f"WARNING {records(manifest)['zero_shot'].id}: {warning}" in again.stdout


def test_with_strict_a_difference_is_an_error_and_nothing_is_trained(
    manifest: Path, sweep: LocalSweep, table: Callable[..., None], measured: dict[str, float]
) -> None:
    table({**measured, "ring": off_by(5, measured["ring"])})
    result = call(manifest, "--strict")
    assert result.exit_code == 1
    assert sweep.ran == ["zero_shot"]
    assert records(manifest).keys() == {"zero_shot"}
    zero = records(manifest)["zero_shot"]
    assert f"nothing is trained (--strict): {zero.id} did not reach what is published" in result.stdout
    assert zero.warnings[0] in (manifest.parent / "results/leaderboard.html").read_text()
    again = call(manifest, "--strict")
    assert again.exit_code == 1
    assert f"WARNING {zero.id}: {zero.warnings[0]}" in again.stdout
    assert "nothing is trained (--strict): published values are not reached, 1 in all" in again.stdout
    assert sweep.ran == ["zero_shot"]
    assert call(manifest).exit_code == 0
    assert records(manifest).keys() == {"zero_shot", "ft", "head_only", "wise_ft"}


def test_where_nothing_matches_one_short_line_says_so(manifest: Path, sweep: LocalSweep) -> None:
    result = call(manifest, "--strict")
    assert result.exit_code == 0
    assert "blobs: no published zero-shot value to compare with\n" in result.stdout
    assert len(sweep.ran) == 4
    assert "no published" not in call(manifest, "--strict").stdout


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "domainnet"},
        {"method": "linear_probe"},
        {"backbone": "ViT-B-16"},
        {"weights": "tag:openai"},
        {"class_names": "spaces"},
        {"preprocessing": "openai"},
        {"num_images": "13"},
        {"domain": "triangle"},
    ],
)
def test_only_the_same_protocol_is_compared(
    change: dict[str, str], blobs: Prepared, tiny_config: Path, table: Callable[..., None]
) -> None:
    spec = planned(blobs, tiny_config, "zero_shot").spec
    table({"disc": 50.0})
    assert [value.domain for value in gate.expected(spec, blobs)] == ["disc"]
    table({"disc": 50.0}, **change)
    assert gate.expected(spec, blobs) == ()


def test_other_prompts_reduced_images_and_settings_are_not_compared(
    blobs: Prepared, tiny_config: Path, table: Callable[..., None]
) -> None:
    spec = planned(blobs, tiny_config, "zero_shot").spec
    table({"disc": 50.0})
    assert gate.expected(spec, None) == ()
    assert gate.expected(spec, replace(blobs, templates=("a {}.",))) == ()
    assert gate.expected(spec, replace(blobs, short_side=64)) == ()
    assert gate.expected(spec.model_copy(update={"settings": {"temperature": 2}}), blobs) == ()


def test_a_value_that_was_not_measured_is_a_difference() -> None:
    (line,) = gate.differences([PublishedValue(domain="disc", accuracy=0.5, source="x")], [])
    assert line == "zero-shot accuracy on disc was not measured, published: 50.00 %"


def test_the_shipped_values_name_datasets_and_domains_that_exist_with_as_many_images() -> None:
    gate.published.cache_clear()
    rows = gate.published(gate.FOLDER)
    assert len(rows) == 35
    for row in rows:
        info = datasets.load(row.dataset).info
        assert row.domain in info.domains, row
        assert row.templates == info.templates
        if row.num_images is not None:
            assert info.counts[row.domain]["test"] == row.num_images, row
    b16 = {r.domain: r.accuracy for r in rows if (r.dataset, r.backbone) == ("domainnet", "ViT-B-16-quickgelu")}
    # cs-giung/lipsum-ft@1331873d21a4 README.md
    assert b16 == pytest.approx(
        {"real": 0.8246, "painting": 0.6669, "clipart": 0.6557, "infograph": 0.4377, "sketch": 0.5698}
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": "high"}, r"values\.csv:2: accuracy and num_images must be numbers"),
        ({"accuracy": "820"}, r"values\.csv:2: accuracy is 820, expected percent"),
        ({"preprocessing": "imagenet"}, r"values\.csv:2: preprocessing is 'imagenet', expected one of lipsum, openai"),
        ({"templates": "mine"}, r"values\.csv:2: templates is 'mine', expected one of blobs"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(
    changes: dict[str, str], message: str, table: Callable[..., None]
) -> None:
    table({"disc": "50"}, **changes)
    with pytest.raises(ValueError, match=message):
        gate.published(gate.FOLDER)


@pytest.mark.parametrize("again", [{}, {"accuracy": "51"}, {"weights": "random:0"}, {"num_images": ""}])
def test_two_values_for_one_protocol_are_named_with_both_lines(
    again: dict[str, str], table: Callable[..., None]
) -> None:
    table({"disc": "50", "box": "40"})
    values, own = gate.FOLDER / "values.csv", gate.FOLDER / "own.csv"
    table({"disc": again.get("accuracy", "50")}, **{name: cell for name, cell in again.items() if name != "accuracy"})
    values.rename(own)
    table({"box": "40"})
    assert len(gate.published(gate.FOLDER)) == 2
    table({"box": "40", "disc": "50"})
    message = (
        r"values\.csv:3: disc of blobs with tiny_clip has a value for the same protocol at .*own\.csv:2; expected one"
    )
    with pytest.raises(FactsError, match=message):
        gate.published(gate.FOLDER)


@pytest.mark.parametrize(
    "other", [{"weights": "tag:y"}, {"num_images": "13"}, {"preprocessing": "openai"}, {"method": "linear_probe"}]
)
def test_values_that_no_trial_could_both_fit_stand_side_by_side(
    other: dict[str, str], blobs: Prepared, tiny_config: Path, table: Callable[..., None]
) -> None:
    table({"disc": 51.0}, **other)
    (gate.FOLDER / "values.csv").rename(gate.FOLDER / "others.csv")
    table({"disc": 50.0})
    (value,) = gate.expected(planned(blobs, tiny_config, "zero_shot").spec, blobs)
    assert value.accuracy == 0.5


def test_records_and_plans_of_before_are_still_read(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    trial = planned(blobs, tiny_config, "zero_shot")
    record = run_trial(trial, Results(tmp_path), Runtime(), attempt=1)
    assert record.data == open_prepared(blobs.root).attestation
    path = Results(tmp_path).record(trial.id)
    old = json.loads(path.read_text())
    for key in ("warnings", "data", "no_transfer"):
        del old[key]
    del old["spec"]["data"]["transfer"]
    path.write_text(json.dumps(old))
    assert read_record(path) == record.model_copy(update={"data": ""})
    planned_before = trial.model_dump(mode="json")
    del planned_before["expected"], planned_before["location"]["transfer"]
    assert PlannedTrial.model_validate(planned_before) == trial


@pytest.mark.parametrize(("correct", "passes"), [(6228, True), (6168, True), (6229, False), (6167, False)])
def test_a_difference_of_exactly_the_tolerance_passes(correct: int, passes: bool) -> None:
    value = PublishedValue(domain="v2", accuracy=0.6198, source="Nobody et al.")
    one = Evaluation(
        variant="",
        domain="v2",
        split="test",
        num_images=10_000,
        num_correct=correct,
        accuracy=correct / 10_000,
        nll=1.0,
    )
    assert (gate.differences([value], [one]) == ()) is passes
