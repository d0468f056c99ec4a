"""A manifest over the tiny dataset and the tiny CLIP, for tests that start `python -m orchestrator` itself.

One of its methods is a user's own, from a folder named under `plugins:`.
"""

from __future__ import annotations

from pathlib import Path

from datasets.shards import Prepared

CARD = """\
kind: folder
name: blobs
title: Blobs
revision: "1"
domains: [disc, box, ring]
classnames: [red, green, blue]
templates: ["a {} thing."]
counts: {disc: {train: 30, test: 12}, box: {train: 30, test: 12}, ring: {train: 30, test: 12}}
test_fraction: 0.3
source: drawn by the tests
license: Apache-2.0
citation: none
"""

MANIFEST = """\
results: results
data: DATA
plugins: [mine]
models: {tiny: {name: tiny_clip, config: CONFIG, pretrained: "random:0"}}
benchmarks:
  blobs:
    dataset: blobs.yaml
    models: [tiny]
    sources: [disc]
    seeds: SEEDS
    recipe: {lr: 1.0e-3, num_steps: STEPS, global_batch_size: 8, eval_every: 3}
    methods: {zero_shot: {}, ft: {}, head_only: {}}
    post_hoc: {wise_ft: {of: [ft], alphas: [0.5]}}
"""


PLUGIN = '''
"""Head only: cross-entropy on the head, the encoder frozen."""

from methods.base import Method
from training.types import Phase


class HeadOnly(Method):
    title = "Head only"
    paper = "none"

    def setup(self, model, task):
        super().setup(model, task)
        return [Phase(name="head", trained=("head",))]
'''


def write_manifest(folder: Path, blobs: Prepared, config: Path, seeds: list[int], steps: int) -> Path:
    """`folder/benchmarks.yaml`, whose results go into `folder/results`."""
    (folder / "blobs.yaml").write_text(CARD)
    (folder / "mine").mkdir()
    (folder / "mine/head_only.py").write_text(PLUGIN)
    text = MANIFEST.replace("DATA", str(Path(blobs.root).parent)).replace("CONFIG", str(config))
    path = folder / "benchmarks.yaml"
    path.write_text(text.replace("SEEDS", str(seeds)).replace("STEPS", str(steps)))
    return path
