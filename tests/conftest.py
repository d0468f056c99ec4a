"""What many tests need: a tiny dataset on disk, a tiny CLIP with random weights, and plans over them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from datasets.base import Dataset, DatasetInfo, RawSample
from datasets.shards import Prepared, write_prepared
from training.model import PretrainedClip, load_clip

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)  # tiny tensors gain nothing from more, and lose much where cores are shared

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


class Blobs(Dataset):
    """Three classes (colours) in three domains (shapes), 36 px: learnable in a few steps."""

    generated = True
    info = DatasetInfo(
        name="blobs",
        title="Blobs",
        revision="1",
        domains=("disc", "box", "ring"),
        classnames=("red", "green", "blue"),
        templates=("a {} thing.", "a drawing of a {} thing."),
        source="drawn by the tests",
        license="Apache-2.0",
        citation="none",
        counts={d: {"train": 30, "test": 12} for d in ("disc", "box", "ring")},
    )

    def samples(self, domain: str, split: str, source: Path | None) -> Iterator[RawSample]:
        """Draw them."""
        for index in range(self.info.counts[domain][split]):
            rng = random.Random(f"{domain}-{split}-{index}")
            label = index % 3
            colour = [rng.randint(0, 120) for _ in range(3)]
            colour[label] = 255
            image = Image.new("RGB", (36, 36), (rng.randint(100, 160),) * 3)
            x, y, r = rng.randint(10, 24), rng.randint(10, 24), rng.randint(6, 10)
            draw, box = ImageDraw.Draw(image), (x - r, y - r, x + r, y + r)
            if domain == "box":
                draw.rectangle(box, fill=tuple(colour))
            else:
                draw.ellipse(box, fill=tuple(colour) if domain == "disc" else None, outline=tuple(colour), width=3)
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            yield RawSample(f"{split}-{index:04d}", buffer.getvalue(), "png", label)


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The dataset Blobs, prepared as any other: `<tmp>/data/blobs`."""
    return write_prepared(Blobs(), tmp_path_factory.mktemp("data") / "blobs", source=None)


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model config file of a tiny CLIP; the architecture is called as the file's stem."""
    path = tmp_path_factory.mktemp("model") / "tiny_clip.json"
    path.write_text(json.dumps(TINY_CLIP))
    return path


@pytest.fixture(scope="session")
def tiny_clip(tiny_config: Path) -> PretrainedClip:
    """A tiny CLIP with random weights."""
    return load_clip("tiny_clip", "random:0", tiny_config)
