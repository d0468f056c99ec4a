"""Zero-shot trains nothing."""

from __future__ import annotations

import torch

from datasets.shards import Prepared
from tests.bench import Bench, make_method
from training.model import PretrainedClip


def test_nothing_is_trained_and_nothing_changes(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path) -> None:
    bench = Bench(tiny_clip, blobs)
    method = make_method("zero_shot")
    model = bench.model()
    assert not method.trains
    assert list(method.setup(model, bench.fit(method, tmp_path).task)) == []
    assert method.export(model) is model
    assert all(torch.equal(v, bench.model().state_dict()[k]) for k, v in model.state_dict().items())
