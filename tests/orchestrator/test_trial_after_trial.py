"""What one trial leaves to the next in a process that lives on, and how trials end that do not come to their end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from datasets.shards import Prepared
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial
from orchestrator.trials.bench import Bench
from orchestrator.trials.process import reset_torch
from orchestrator.trials.warm import TrialError
from tests.orchestrator.test_trial import numbers, run
from tests.orchestrator.trials import planned
from training.runtime import Interrupted, Runtime

PLUGIN = """
from typing import ClassVar
import torch
from methods.base import Method, PostHoc, Variant

class Mine({base}):
    title: ClassVar[str] = "Mine"
    paper: ClassVar[str] = "none"
    {body}
"""


def plugged(
    folder: Path, blobs: Prepared, config: Path, body: str, base: str = "Method", **changes: object
) -> PlannedTrial:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(PLUGIN.format(base=base, body=body))
    trial = planned(blobs, config, "mine", plugins=(str(folder),), **changes)
    return trial.model_copy(update={"location": trial.location.model_copy(update={"plugins": (str(folder),)})})


def test_a_mended_method_starts_anew(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    bug = "def after_step(self, model, step):\n        assert step < 6, 'a bug'"
    with pytest.raises(AssertionError, match="a bug"):
        run(plugged(tmp_path / "plugins", blobs, tiny_config, bug), tmp_path)
    folder = Results(tmp_path).trial(plugged(tmp_path / "plugins", blobs, tiny_config, bug).id)
    assert list((folder / "checkpoint").iterdir())
    record = run(plugged(tmp_path / "plugins", blobs, tiny_config, "steps = 8"), tmp_path)
    assert record.trace[0].step == 4
    said = (folder / "log.txt").read_text()
    assert "checkpoint of step 4 was left by other code of this method or of its training; starting anew" in said
    assert "continuing" not in said
    rows = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert sorted({*rows}) == list(range(1, 9)) and rows.count(1) == 1


@pytest.mark.parametrize("how", ["mul_(3.0)", "data.mul_(3.0)"])
def test_what_trials_share_is_loaded_again_if_one_has_changed_it(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    lipsum = planned(blobs, tiny_config, "lipsum_ft")
    before = run(lipsum, tmp_path / "before")
    body = (
        "def setup(self, model, task):\n"
        f"        with torch.no_grad():\n            task.text.clip.positional_embedding.{how}\n"
        "        return super().setup(model, task)"
    )
    caplog.clear()
    rude = plugged(tmp_path / "plugins", blobs, tiny_config, body)
    record = run(rude, tmp_path / "rude")
    assert caplog.text.count(f"trial {rude.id} has changed the pre-trained model") == 1
    assert record.evaluations == run(planned(blobs, tiny_config, "ft"), tmp_path / "polite").evaluations
    assert numbers(run(lipsum, tmp_path / "after")) == numbers(before)
    assert caplog.text.count("has changed the pre-trained model") == 1


def test_one_that_fails_after_it_has_changed_what_is_shared_is_named_by_the_next(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = "def setup(self, model, task):\n        task.text.train()\n        raise ValueError('no')"
    rude = plugged(tmp_path / "plugins", blobs, tiny_config, body)
    with pytest.raises(ValueError, match="no"):
        run(rude, tmp_path)
    zero = planned(blobs, tiny_config, "zero_shot")
    run(zero, tmp_path)
    assert f"trial {rude.id} has changed the pre-trained model" in caplog.text
    assert "it is loaded again" in (Results(tmp_path).trial(zero.id) / "log.txt").read_text()


def test_settings_of_torch_do_not_reach_the_next_trial(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    body = (
        "def setup(self, model, task):\n"
        "        torch.set_default_dtype(torch.float64)\n"
        "        torch.set_deterministic_debug_mode('error')\n"
        "        torch.set_grad_enabled(False)\n"
        "        torch.set_autocast_enabled('cpu', True)\n"
        "        torch.set_float32_matmul_precision('medium')\n"
        "        torch.backends.mkldnn.enabled = False\n"
        "        torch.set_num_threads(2)\n"
        "        raise ValueError('no')"
    )

    def state() -> tuple[object, ...]:
        return (
            torch.get_default_dtype(),
            torch.get_deterministic_debug_mode(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_float32_matmul_precision(),
            torch.backends.mkldnn.enabled,
            torch.get_num_threads(),
        )

    reset_torch(1)
    before = state()
    with pytest.raises(ValueError, match="no"):
        run(plugged(tmp_path / "plugins", blobs, tiny_config, body), tmp_path)
    assert all(now != was for now, was in zip(state(), before, strict=True))
    run(planned(blobs, tiny_config, "zero_shot"), tmp_path)
    assert state() == before


def test_a_parameter_that_a_record_cannot_hold_fails_the_trial_by_name(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    tuned = planned(blobs, tiny_config, "ft")
    run(tuned, tmp_path)
    body = (
        "def derive(self, inputs):\n        model = inputs.build(inputs.zero_shot)\n"
        "        return [Variant(name='a', predictor=model, parameters={'t': float('inf')})]"
    )
    trial = plugged(tmp_path / "plugins", blobs, tiny_config, body, "PostHoc", inputs=(tuned.id,))
    with pytest.raises(TrialError, match="parameter 't' of variant 'a' is inf"):
        run(trial, tmp_path)


def test_a_trial_that_is_interrupted_has_not_failed(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    def closed(metrics: dict[str, float]) -> None:
        raise Interrupted

    trial = planned(blobs, tiny_config, "zero_shot")
    with pytest.raises(Interrupted):
        run(trial, tmp_path, report=closed)
    said = (Results(tmp_path).trial(trial.id) / "log.txt").read_text()
    assert said.endswith("INFO orchestrator.trials.trial: interrupted\n")
    assert "ERROR" not in said


def test_one_worker_reports_for_all(blobs: Prepared, tiny_config: Path) -> None:
    heard: list[dict[str, float]] = []
    trial = planned(blobs, tiny_config, "zero_shot")
    for rank in (0, 1):
        Bench.load(trial, Runtime(rank=rank, report=heard.append)).report(evaluated=3)
    assert heard == [{"evaluated": 3.0}]
