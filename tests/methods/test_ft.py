"""FT against a bare PyTorch loop written here."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from datasets.shards import Prepared
from tests.bench import RECIPE, Bench, make_method
from training.model import PretrainedClip
from training.optim import lr_factor


def test_it_equals_a_bare_loop(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    fit = bench.fit(make_method("ft"), tmp_path)
    model = bench.model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RECIPE.lr, betas=(0.9, 0.999), eps=1e-8)
    for step, raw in enumerate(fit.stream.batches(0, RECIPE.num_steps)):
        optimizer.param_groups[0]["lr"] = RECIPE.lr * lr_factor(step, RECIPE.num_steps, 0.1)
        batch = bench.normalise(raw)
        optimizer.zero_grad()
        F.cross_entropy(model(batch.images), batch.labels).backward()
        optimizer.step()
    weights = fit.run().weights
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_encoder_and_head_are_trained(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    method = make_method("ft")
    (phase,) = method.setup(bench.model(), bench.fit(method, tmp_path).task)
    assert set(phase.trained) == {name for name, _ in bench.model().named_parameters()}
