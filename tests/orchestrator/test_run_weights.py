"""`run` and weights that open_clip names by tag: had before any trial starts, or an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import training.hub
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Results, write_record
from tests.orchestrator.manifest_fixtures import changed, folder, write
from tests.orchestrator.test_cli import FakeSweep, call, sweep
from tests.orchestrator.test_plan import record_of
from training.hub import HubError

__all__ = ["folder", "sweep"]
TAGGED = changed(
    "vit: {name: vit, config: vit.json, pretrained: vit.safetensors}",
    "vit_b16: {name: ViT-B-16-quickgelu, pretrained: openai}",
).replace("models: [vit]", "models: [vit_b16]")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was fetched; nothing can be."""
    calls: list[tuple[str, str]] = []

    def fetch(name: str, tag: str) -> Path:
        calls.append((name, tag))
        raise HubError("weights are not cached and the model hub cannot be reached; set HF_HOME")

    monkeypatch.setattr(training.hub, "fetch_weights", fetch)
    return calls


def test_without_them_nothing_starts(folder: Path, sweep: FakeSweep, asked: list[tuple[str, str]]) -> None:
    write(TAGGED)
    result = call("run")
    assert result.exit_code == 2
    assert result.stderr == "models.vit_b16: weights are not cached and the model hub cannot be reached; set HF_HOME\n"
    assert asked == [("ViT-B-16-quickgelu", "openai")]
    assert sweep.options == []
    assert not (folder / "results").exists()


def test_they_are_not_asked_for_where_nothing_is_left_to_run(
    folder: Path, sweep: FakeSweep, asked: list[tuple[str, str]]
) -> None:
    write(TAGGED)
    assert call("prepare", "tiny").exit_code == 0
    (plan,) = make_plans(load_manifest(Path("benchmarks.yaml")), None)
    for index in range(len(plan.trials)):
        write_record(Results(folder / "results"), record_of(plan, index))
    assert call("run").exit_code == 0
    assert asked == []


def test_a_plan_says_what_run_will_download_and_asks_for_nothing(
    folder: Path, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.hub, "cached_weights", lambda name, tag: None)
    monkeypatch.setattr(training.hub.huggingface_hub, "get_session", lambda: pytest.fail("the network was asked"))
    write(TAGGED)
    result = call("plan")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("models.")]
    assert result.exit_code == 0
    assert line.startswith(
        "models.vit_b16: weights 'openai' of ViT-B-16-quickgelu are not cached on this machine: `run` "
    )
    assert "about 598 MB" in line and "/path/file" in line and "HF_HOME" in line
    assert asked == []


def test_a_plan_is_silent_about_weights_that_are_cached_or_needed_no_more(
    folder: Path, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(TAGGED)
    monkeypatch.setattr(training.hub, "cached_weights", lambda name, tag: folder / "weights")
    assert "models.vit_b16: weights" not in call("plan").stdout
    monkeypatch.setattr(training.hub, "cached_weights", lambda name, tag: None)
    assert call("prepare", "tiny").exit_code == 0
    assert "models.vit_b16: weights" in call("plan").stdout
    (plan,) = make_plans(load_manifest(Path("benchmarks.yaml")), None)
    for index in range(len(plan.trials)):
        write_record(Results(folder / "results"), record_of(plan, index))
    assert "models.vit_b16: weights" not in call("plan").stdout
