"""The mean of outputs against the official script, the greedy choice against a reference written here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import methods
from datasets.shards import Prepared
from methods.greedy_ensemble import Ensemble, combine
from tests.bench import Bench
from tests.methods.post_hoc import Pool, bench_inputs, golden, make, trained
from training.evaluate import evaluate
from training.model import PretrainedClip, load_state


def test_the_mean_of_logits_equals_the_official_ensemble() -> None:
    pool = Pool()
    ensemble = Ensemble([pool.build(state) for state in pool.models.values()], "logits")
    official = torch.tensor(golden("greedy_ensemble")["logits"])
    torch.testing.assert_close(ensemble(pool.points), official, rtol=1e-5, atol=1e-6)


def test_the_mean_of_probabilities_is_one() -> None:
    logits = 50 * torch.randn(3, 5, 7, dtype=torch.float64)
    combined = combine(logits, "probabilities")
    assert torch.allclose(combined.softmax(-1), sum(z.softmax(-1) for z in logits) / 3, atol=1e-12)
    assert torch.allclose(combined.exp().sum(-1), torch.ones(5, dtype=torch.float64))
    assert combine(torch.tensor([[[0.0, -1e4]], [[0.0, -1e4]]]), "probabilities").isfinite().all()


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_choice_is_greedy_and_limited(average: str) -> None:
    pool = Pool()
    outputs = {name: pool.build(state)(pool.points) for name, state in pool.models.items()}
    if average == "probabilities":
        outputs = {name: z.softmax(-1) for name, z in outputs.items()}

    def accuracy(names: list[str]) -> float:
        mean = torch.stack([outputs[name] for name in names]).mean(0)
        return (mean.argmax(1) == pool.labels).double().mean().item()

    chosen: list[str] = []
    for name in sorted(outputs, key=lambda n: (-accuracy([n]), -int(n.split("_")[1]))):
        if len(chosen) < 4 and (not chosen or accuracy([*chosen, name]) > accuracy(chosen)):
            chosen.append(name)
    variant = pool.derive(make("greedy_ensemble", {"average": average}))
    assert [list(pool.models)[i] for i in _members(pool, variant)] == chosen
    assert variant.parameters == {"num_ingredients": len(chosen)}
    assert pool.accuracy(variant.predictor) >= max(accuracy([name]) for name in outputs)
    (only,) = pool.derive(make("greedy_ensemble", {"average": average, "max_size": 1})).predictor.members
    assert only.state is pool.models[chosen[0]]


def _members(pool: Pool, variant) -> list[int]:
    states = list(pool.models.values())
    return [next(i for i, s in enumerate(states) if s is m.state) for m in variant.predictor.members]


def test_it_stands_on_any_trained_method(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    weights = trained(bench, tmp_path, count=4)
    (variant,) = make("greedy_ensemble").derive(bench_inputs(bench, weights))
    alone = [bench.score(load_state(bench.model(), state))[0] for state in weights.values()]
    outcome = evaluate({"": variant.predictor}, bench.pass_over(bench.val), bench.normalise, bench.runtime)[""]
    assert outcome.accuracy >= max(alone)


def test_an_ensemble_of_copies_is_the_copy(tiny_clip: PretrainedClip, blobs: Prepared) -> None:
    model = Bench(tiny_clip, blobs).model()
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(Ensemble([model, model], "logits")(images), model(images))
    probabilities = Ensemble([model, model, model], "probabilities")(images).softmax(-1)
    assert torch.allclose(probabilities, model(images).softmax(-1), atol=1e-6)


@pytest.mark.parametrize("bad", [{"max_size": 0}, {"average": "votes"}, {"size": 4}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        methods.load("greedy_ensemble").Config.model_validate(bad)
