"""The loop: it learns, selects by its rule, resumes bit for bit, and stops before a bad step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datasets.shards import Prepared
from methods.base import Method, NoSettings
from tests.bench import RECIPE, Bench, Killed, kill_at, make_method
from training.checkpoint import load_tensors, save_tensors
from training.fit import Fit, NonFiniteLossError
from training.metrics_log import MetricsLog
from training.model import ImageClassifier, PretrainedClip, load_state, state_dict
from training.optim import PhaseError
from training.runtime import Runtime
from training.types import Batch, Losses, Phase, Task


@pytest.fixture
def bench(tiny_clip: PretrainedClip, blobs: Prepared) -> Bench:
    return Bench(tiny_clip, blobs)


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_training_lowers_the_loss(bench: Bench, tmp_path: Path) -> None:
    result = bench.run("ft", tmp_path, recipe=RECIPE.model_copy(update={"num_steps": 40}))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert result.images_seen == 40 * 8


def test_the_same_seed_gives_the_same_weights_and_another_one_others(bench: Bench, tmp_path: Path) -> None:
    one, two, other = (bench.run("ft", tmp_path / str(i), seed=seed).weights for i, seed in enumerate((0, 0, 1)))
    assert equal(one, two)
    assert not equal(one, other)


@pytest.mark.parametrize("died_at", [3, 4, 7, 11])
def test_interrupted_and_resumed_equals_uninterrupted(bench: Bench, tmp_path: Path, died_at: int) -> None:
    whole = bench.run("lipsum_ft", tmp_path / "whole", selection="reference_val")
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("lipsum_ft"), tmp_path / "cut", selection="reference_val"), died_at).run()
    fit = bench.fit(make_method("lipsum_ft"), tmp_path / "cut", selection="reference_val")
    resumed = fit.run()
    assert equal(resumed.weights, whole.weights)
    assert (resumed.trace, resumed.selected_step) == (whole.trace, whole.selected_step)
    assert (tmp_path / "cut/metrics.jsonl").read_text() == (tmp_path / "whole/metrics.jsonl").read_text()


def test_a_resumed_run_does_not_start_over(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("ft"), tmp_path), 9).run()
    fit = bench.fit(make_method("ft"), tmp_path)
    steps: list[int] = []
    fit.method.after_step = lambda model, step: steps.append(step)  # type: ignore[method-assign]
    fit.run()
    assert steps == [9, 10, 11, 12]


def test_selection_takes_the_best_reference_score_and_the_earliest_of_equals(bench: Bench, tmp_path: Path) -> None:
    scores = iter([(0.5, 1.0), (0.9, 1.0), (0.9, 0.1)])
    fit = bench.fit(make_method("ft"), tmp_path, selection="reference_val")
    seen: list[dict[str, Tensor]] = []

    def score(model: ImageClassifier) -> tuple[float, float]:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(scores)

    fit.score = score
    result = fit.run()
    assert result.selected_step == 8
    assert equal(result.weights, seen[1])


def test_last_takes_the_last_weights(bench: Bench, tmp_path: Path) -> None:
    scores = iter([(0.9, 1.0), (0.5, 1.0), (0.4, 1.0)])
    fit = bench.fit(make_method("ft"), tmp_path, selection="last")
    fit.score = lambda model: next(scores)
    result = fit.run()
    assert result.selected_step == 12
    assert equal(result.weights, dict(fit.model.state_dict()))


def test_the_last_step_is_always_evaluated(bench: Bench, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"num_steps": 10})
    assert [score.step for score in bench.run("ft", tmp_path, recipe=recipe).trace] == [4, 8, 10]


class Exploding(Method):
    """Gives NaN at step 6."""

    title, paper = "Exploding", "none"
    Config = NoSettings
    calls = 0

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        losses = dict(super().loss(model, batch))
        self.calls += 1
        return {**losses, "loss": losses["loss"] * (float("nan") if self.calls == 6 else 1.0)}


def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(bench: Bench, tmp_path: Path) -> None:
    fit = bench.fit(Exploding(NoSettings()), tmp_path)
    with pytest.raises(NonFiniteLossError, match=r"step 6 of 12: loss=nan, ce=\d"):
        fit.run()
    assert all(torch.isfinite(parameter).all() for parameter in fit.model.parameters())


def test_micro_settings_matter(bench: Bench, tmp_path: Path) -> None:
    """Recipe fields that are read reach the result: a field that did nothing would be a trap."""
    base = bench.run("ft", tmp_path / "base").weights
    changes = {"lr": 2e-3, "optimizer": "adamw", "weight_decay": 0.1, "warmup_fraction": 0.5, "grad_clip": 0.01}
    changes |= {
        "label_smoothing": 0.2,
        "crop_scale": (0.2, 0.4),
        "flip": False,
        "beta1": 0.5,
        "beta2": 0.9,
        "eps": 1e-3,
    }
    for name, value in changes.items():
        # AdamW without weight decay is Adam, so the two are changed together.
        update = {name: value} | ({"weight_decay": 0.1} if name == "optimizer" else {})
        other = bench.run("ft", tmp_path / name, recipe=RECIPE.model_copy(update=update)).weights
        assert not equal(base, other), name


def test_a_frozen_head_stays_where_it_was(bench: Bench, tmp_path: Path) -> None:
    result = bench.run("ft", tmp_path, recipe=RECIPE.model_copy(update={"freeze_head": True}))
    assert torch.equal(result.weights["head"], bench.head)
    assert not equal(result.weights, state_dict(bench.clip.classifier(bench.head, torch.device("cpu"))))


def test_the_zero_shot_weights_are_what_setup_sees_on_resume(bench: Bench, tmp_path: Path) -> None:
    """theta_0 copies must be of the start, not of the checkpoint."""
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("lipsum_ft"), tmp_path), 9).run()
    fit = bench.fit(make_method("lipsum_ft"), tmp_path)
    fit.run()
    assert equal(dict(fit.method.reference.state_dict()), dict(bench.model().state_dict()))


def test_weights_load_into_a_fresh_model(bench: Bench, tmp_path: Path) -> None:
    result = bench.run("ft", tmp_path)
    model = load_state(bench.model(), result.weights)
    assert bench.score(model) == (result.trace[-1].accuracy, result.trace[-1].nll)


class Lazy(Method):
    """Fills its state step by step."""

    title, paper = "Lazy", "none"
    resumable = ("momentum",)

    def setup(self, model: ImageClassifier, task: Task) -> list[Phase]:
        self.momentum: dict[str, Tensor] = {}
        return list(super().setup(model, task))

    @torch.no_grad()
    def after_step(self, model: ImageClassifier, step: int) -> None:
        for name, parameter in model.named_parameters():
            if name not in self.momentum:
                self.momentum[name] = torch.zeros_like(parameter)
            self.momentum[name].mul_(0.9).add_(parameter.grad)
            parameter.sub_(1e-3 * self.momentum[name])


def test_state_that_steps_fill_is_resumed(bench: Bench, tmp_path: Path) -> None:
    whole = bench.fit(Lazy(NoSettings()), tmp_path / "whole").run().weights
    with pytest.raises(Killed):
        kill_at(bench.fit(Lazy(NoSettings()), tmp_path / "cut"), 7).run()
    assert equal(bench.fit(Lazy(NoSettings()), tmp_path / "cut").run().weights, whole)


def steps_of(fit: Fit) -> list[int]:
    """The steps that a run takes."""
    steps: list[int] = []
    fit.method.after_step = lambda model, step: steps.append(step)  # type: ignore[method-assign]
    fit.run()
    return steps


def cut(bench: Bench, folder: Path, **changes: str) -> Fit:
    """A run in the folder of one that died after step 7, with a checkpoint of step 4."""
    with pytest.raises(Killed):
        kill_at(bench.fit(make_method("ft"), folder), 7).run()
    return replace(bench.fit(make_method("ft"), folder), **changes)


def test_a_checkpoint_of_other_code_is_not_continued(bench: Bench, tmp_path: Path, caplog) -> None:
    assert steps_of(cut(bench, tmp_path, code="sha256:new")) == list(range(1, 13))
    assert "checkpoint of step 4 was left by other code of this method or of its training; starting anew" in caplog.text


@pytest.mark.parametrize("keep", [-100, 0])
def test_a_damaged_checkpoint_is_thrown_away(bench: Bench, tmp_path: Path, caplog, keep: int) -> None:
    fit = cut(bench, tmp_path)
    path = tmp_path / "checkpoint/checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert steps_of(fit) == list(range(1, 13))
    assert caplog.text.count("the checkpoint is damaged (") == caplog.text.count("; starting anew") == 1


def test_the_seconds_of_both_processes_are_added(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint/checkpoint.safetensors"
    fit = cut(bench, tmp_path)
    tensors, meta = load_tensors(path)
    save_tensors(path, tensors, {**meta, "seconds": {"load": 50.0, "setup": 1000.0}})
    fit.stopwatch.seconds = {"load": 7.0}
    fit.run()
    assert fit.stopwatch.seconds["load"] == 57.0
    assert 1000.0 < fit.stopwatch.seconds["setup"] < 1100.0
    assert fit.stopwatch.seconds["train"] < 100.0


def test_one_step_that_would_move_nothing_is_refused(bench: Bench, tmp_path: Path) -> None:
    one = RECIPE.model_copy(update={"num_steps": 1})
    with pytest.raises(
        PhaseError, match=r"'finetune': its only step would have the learning rate 0.*warmup_fraction: 0"
    ):
        bench.fit(make_method("ft"), tmp_path, recipe=one).run()
    free = bench.run("ft", tmp_path, recipe=one.model_copy(update={"warmup_fraction": 0.0})).weights
    assert not torch.equal(free["head"], bench.head)


def test_a_number_that_is_none_is_null_in_the_metrics(tmp_path: Path) -> None:
    MetricsLog(tmp_path / "metrics.jsonl", Runtime()).write(
        {"step": 3, "a": float("nan"), "b": -float("inf"), "c": 0.5}
    )
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 3, "a": null, "b": null, "c": 0.5}\n'
