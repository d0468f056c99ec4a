"""What a run costs is counted: texts of its steps (not of heads and `setup`), images through any image encoder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch

from datasets.shards import Prepared
from methods.base import Method
from tests.bench import RECIPE, Bench
from training.model import ImageClassifier, PretrainedClip
from training.types import Batch, Losses, Phase, Task


class Reads(Method):
    """Encodes three texts a step."""

    title: ClassVar[str] = "Reads"
    paper: ClassVar[str] = "none"

    def setup(self, model: ImageClassifier, task: Task) -> list[Phase]:
        self.text = task.text
        self.text.zero_shot_head(task.classnames, task.templates)
        return list(super().setup(model, task))

    def loss(self, model: ImageClassifier, batch: Batch) -> Losses:
        self.text.encode(self.text.random_tokens(3, 4, torch.Generator()))
        return super().loss(model, batch)

    def export(self, model: ImageClassifier) -> ImageClassifier:
        self.text.zero_shot_head(["one"], ["a {}"])
        return model


def test_a_run_counts_the_texts_of_its_steps(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    assert bench.fit(Reads(Reads.Config()), tmp_path / "reads").run().texts_seen == 3 * RECIPE.num_steps
    assert bench.fit(Method(Method.Config()), tmp_path / "plain").run().texts_seen == 0


@pytest.mark.parametrize(("name", "passes"), [("ft", 1), ("ema", 1), ("kd", 2), ("lipsum_ft", 2), ("ldifs", 2)])
def test_a_run_counts_the_passes_through_image_encoders(
    name: str, passes: int, tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path
) -> None:
    done = Bench(tiny_clip, blobs).run(name, tmp_path)
    assert done.images_encoded == passes * done.images_seen > 0


def test_passes_of_setup_count(tiny_clip: PretrainedClip, blobs: Prepared, tmp_path: Path) -> None:
    bench = Bench(tiny_clip, blobs)
    probed = bench.run("linear_probe", tmp_path / "probe")
    assert probed.images_seen == 0
    assert probed.images_encoded >= len(bench.train)
