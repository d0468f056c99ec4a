"""Datasets that a model was not trained on: whose text tower makes the heads, and what is not measured and says why."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets import pixel_cache
from datasets.decoding import Decoded
from datasets.shards import Prepared
from datasets.stream import Sample, read_image
from methods.flyp import FLYP
from methods.greedy_ensemble import Ensemble
from orchestrator.conformance.bench import Bench as TinyBench
from orchestrator.conformance.bench import Killed, kill_at
from orchestrator.records import Results
from orchestrator.trials.trial import run_trial
from orchestrator.trials.warm import TrialError
from tests.datasets.conftest import cache  # noqa: F401
from tests.datasets.faulty_server import serving
from tests.orchestrator.transfer_runs import CPU, Runs, by_hand, others, runs, transferred
from tests.orchestrator.trials import planned
from training.checkpoint import load_tensors
from training.model import ImageClassifier, PretrainedClip, TextEncoder
from training.runtime import Runtime

__all__ = ["others", "runs"]


def test_zero_shot_is_measured_with_heads_of_each_datasets_own_classes_and_templates(
    runs: Runs, others: dict[str, Prepared], tiny_clip: PretrainedClip
) -> None:
    found = transferred(runs("zero_shot"))
    assert {name: n for name, (n, _) in found.items()} == {"shades:disc": 9, "shades:ring": 9, "plain": 6}
    clip = tiny_clip
    for place, (_, nll) in found.items():
        name, _, domain = place.partition(":")
        expected = by_hand(clip, clip.visual, clip.text, clip.text.logit_scale, others[name], domain or "box")
        assert nll == pytest.approx(expected, rel=1e-5), place
    assert runs("zero_shot").data.splitlines() == [p.attestation for p in (runs.blobs, *others.values())]


def test_a_tuned_image_tower_meets_heads_of_the_pretrained_text_tower(
    runs: Runs, others: dict[str, Prepared], tiny_clip: PretrainedClip
) -> None:
    record = runs("ft")
    folder = runs.results.trial(record.id)
    assert not (folder / "text.safetensors").exists()
    visual = tuned_visual(tiny_clip, folder)
    scale = tiny_clip.text.logit_scale
    expected = by_hand(tiny_clip, visual, tiny_clip.text, scale, others["shades"], "ring")
    assert transferred(record)["shades:ring"][1] == pytest.approx(expected, rel=1e-5)
    assert transferred(record) != transferred(runs("zero_shot"))


def tuned_visual(clip: PretrainedClip, folder: Path) -> torch.nn.Module:
    weights, _ = load_tensors(folder / "model.safetensors")
    model: ImageClassifier = clip.classifier(weights["head"], CPU)
    model.load_state_dict(weights)
    return model.visual


@pytest.mark.parametrize("method", ["flyp", "arf", "carot"])
def test_a_method_that_tunes_the_text_tower_is_measured_with_its_own(
    method: str, runs: Runs, others: dict[str, Prepared], tiny_clip: PretrainedClip
) -> None:
    record = runs(method)
    folder = runs.results.trial(record.id)
    tuned, _ = load_tensors(folder / "text.safetensors")
    weights, meta = load_tensors(folder / "model.safetensors")
    assert meta["text"] is True
    tower = TextEncoder(copy.deepcopy(tiny_clip.text.clip), tiny_clip.text.tokenizer)
    assert not all(torch.equal(value, tuned[key]) for key, value in tower.state_dict().items())
    tower.load_state_dict(tuned)
    scale = float(weights["logit_scale"])
    assert scale == pytest.approx(float(tuned["clip.logit_scale"].exp()), rel=1e-6)
    assert torch.equal(tower.zero_shot_head(runs.blobs.classnames, runs.blobs.templates), weights["head"])
    visual = tuned_visual(tiny_clip, folder)
    expected = by_hand(tiny_clip, visual, tower, scale, others["plain"], "box")
    assert transferred(record)["plain"][1] == pytest.approx(expected, rel=1e-5)


def test_the_selected_steps_text_tower_survives_an_interruption_bit_for_bit(
    blobs: Prepared, tiny_clip: PretrainedClip, tmp_path: Path
) -> None:
    def fit(run: str) -> Any:
        made = TinyBench(tiny_clip, blobs).fit(FLYP(FLYP.Config()), tmp_path / run, selection="reference_val")
        made.score = lambda _: (1 / (1 + made.step), 1.0)  # the first evaluation, at step 4, stays the best
        return made

    whole = fit("whole").run()
    with pytest.raises(Killed):
        kill_at(fit("cut"), 10).run()
    resumed = fit("cut").run()
    assert whole.selected_step == resumed.selected_step == 4
    assert whole.text.keys() == tiny_clip.text.state_dict().keys()
    assert all(torch.equal(value, resumed.text[key]) for key, value in whole.text.items())
    last = fit("last")
    last.selection = "last"
    ended = last.run().text
    assert not all(torch.equal(value, ended[key]) for key, value in whole.text.items())


@pytest.mark.parametrize("base", ["ft", "flyp"])
def test_wise_ft_interpolates_both_towers_between_its_ends(base: str, runs: Runs) -> None:
    tuned = runs(base)
    wise = runs("wise_ft", settings={"alphas": [0, 0.5, 1]}, inputs=(tuned.id,))
    assert transferred(wise, "alpha=0") == transferred(runs("zero_shot"))
    assert transferred(wise, "alpha=1") == transferred(tuned)
    assert transferred(wise, "alpha=0.5").keys() == transferred(tuned).keys()
    assert transferred(wise, "alpha=0.5") not in (transferred(tuned), transferred(runs("zero_shot")))
    assert wise.no_transfer == {}


@pytest.mark.parametrize("method", ["uniform_soup", "greedy_soup", "greedy_ensemble"])
def test_of_a_single_input_soup_and_ensemble_are_that_input(method: str, runs: Runs) -> None:
    tuned = runs("flyp")
    assert transferred(runs(method, inputs=(tuned.id,))) == transferred(tuned)


def test_each_input_counts_with_its_own_text_tower(runs: Runs, tiny_clip: PretrainedClip) -> None:
    one, two = runs("flyp"), runs("flyp", seed=1)
    stock = runs("model_stock", inputs=(one.id, two.id))
    assert transferred(stock).keys() == transferred(one).keys()
    assert stock.no_transfer == {}
    classifiers = [
        tiny_clip.classifier(torch.zeros(16, 3), CPU).with_text(
            load_tensors(runs.results.trial(id) / "text.safetensors")[0]
        )
        for id in (one.id, two.id)
    ]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rebuilt = Ensemble(classifiers, "logits").with_heads(lambda c: c.text_weights["clip.text_projection"][:16, :5])
        logits = [scores(c, c.text_weights["clip.text_projection"][:16, :5], images) for c in classifiers]
        assert torch.equal(rebuilt(images), torch.stack(logits).mean(dim=0))
        assert not torch.equal(*logits)


def scores(classifier: ImageClassifier, head: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return classifier.logit_scale * classifier.encode_image(images) @ head


def test_a_linear_probe_transfers_as_the_zero_shot_model(runs: Runs) -> None:
    assert transferred(runs("linear_probe")) == transferred(runs("zero_shot"))


def test_without_a_text_tower_of_its_own_nothing_is_measured_and_the_record_says_why(runs: Runs) -> None:
    settings = {"iterations": 1}
    derived = runs("tpgm", inputs=(runs("flyp").id,), settings=settings)
    assert transferred(derived) == {}
    assert derived.no_transfer[""].startswith("the text tower was tuned in training, and the method does not say")
    assert {e.domain for e in derived.evaluations} == {"disc", "box", "ring"}
    assert transferred(runs("tpgm", inputs=(runs("ft").id,), settings=settings)).keys() == {
        "shades:disc",
        "shades:ring",
        "plain",
    }


BARE = '''
"""A predictor that is a bare function."""

from methods.base import PostHoc, Variant


class Bare(PostHoc):
    title = "Bare"
    paper = "none"

    def derive(self, inputs):
        (state,) = inputs.finetuned.values()
        model = inputs.build(state)
        return [Variant(name="", predictor=lambda images: 2 * model(images))]
'''


def test_a_predictor_without_heads_is_not_measured_and_the_record_says_why(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(BARE)
    record = runs("bare", plugins=[tmp_path], inputs=(runs("ft").id,))
    assert transferred(record) == {}
    untransferred = planned(runs.blobs, runs.config, "bare", plugins=[tmp_path], inputs=(runs("ft").id,))
    location = untransferred.location.model_copy(update={"plugins": (str(tmp_path),)})
    untransferred = untransferred.model_copy(update={"location": location})
    assert run_trial(untransferred, runs.results, Runtime(), attempt=1).no_transfer == {}
    assert record.no_transfer == {"": "function cannot be given a head for other classes (it has no `with_heads`)"}


def test_data_that_is_not_what_the_plan_saw_is_refused_before_training(runs: Runs, tmp_path: Path) -> None:
    trial = runs.trial("ft", seed=7)
    moved = trial.location.model_copy(update={"transfer": {}})
    with pytest.raises(TrialError, match="does not say where dataset 'shades' lies; run the same command again"):
        run_trial(trial.model_copy(update={"location": moved}), Results(tmp_path), Runtime(), attempt=1)
    swapped = trial.location.model_copy(update={"transfer": dict.fromkeys(("shades", "plain"), runs.blobs.root)})
    with pytest.raises(TrialError, match="has changed since the plan was made"):
        run_trial(trial.model_copy(update={"location": swapped}), Results(tmp_path), Runtime(), attempt=1)
    assert not (Results(tmp_path).trial(trial.id) / "checkpoint").exists()


def test_with_a_cache_of_pixels_it_is_measured_the_same_and_decoded_once(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "node"))
    expected = runs("zero_shot").evaluations
    decoded = list[str]()

    def count(sample: Sample) -> Decoded:
        decoded.append(sample.key)
        return read_image(sample)

    monkeypatch.setattr(pixel_cache, "read_image", count)
    for name in ("cold", "warm"):
        record = run_trial(runs.trial("zero_shot"), Results(tmp_path / name), Runtime(cache_gib=1.0), attempt=1)
        assert record.evaluations == expected
        assert len(decoded) == sum(e.num_images for e in expected), f"{name}: each image once, by the first trial"


def test_over_http_it_is_measured_the_same_and_fetching_is_told(
    runs: Runs,
    others: dict[str, Prepared],
    cache: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    trial, heard = runs.trial("zero_shot"), list[dict[str, float]]()
    with serving(Path(others["plain"].root).parent) as server:
        server.faults["plain/box/test-000000.tar"] = ["500", "cut"]
        places = {name: f"{server.url}/{name}" for name in others}
        moved = trial.model_copy(update={"location": trial.location.model_copy(update={"transfer": places})})
        record = run_trial(moved, Results(tmp_path), Runtime(report=heard.append), attempt=1)
    assert (record.evaluations, record.data) == (runs("zero_shot").evaluations, runs("zero_shot").data)
    told = [line for line in heard if "shards_here" in line or "transfer_evaluated" in line]
    one_domain = {"shards_here": 1.0, "shards_needed": 1.0}
    assert told == [event for number in (1, 2, 3) for event in (one_domain, {"transfer_evaluated": float(number)})]
    assert server.requests["plain/box/test-000000.tar"] >= 3, "two faults are survived"
    assert not any("train" in name for name in server.requests)
