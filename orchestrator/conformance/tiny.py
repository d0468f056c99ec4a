"""A dataset that is drawn in a moment and a CLIP with random weights, both too small to mean anything."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from datasets.base import Dataset, DatasetInfo, Entry, Published
from training.model import PretrainedClip, load_clip

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


class Blobs(Dataset):
    """Three classes (colours) in three domains (shapes), 36 px, with captions: learnable in a few steps."""

    generated = True
    info = DatasetInfo(
        name="blobs",
        title="Blobs",
        revision="1",
        domains=("disc", "box", "ring"),
        classnames=("red", "green", "blue"),
        templates=("a {} thing.", "a drawing of a {} thing."),
        source="drawn",
        license="Apache-2.0",
        citation="none",
        counts={d: {"train": 30, "test": 12} for d in ("disc", "box", "ring")},
    )

    def entries(self, domain: str, split: str, source: Published | None) -> list[Entry]:
        """Classes in turn; a path is '<domain>-<split>-<index>', which is also the seed of the picture."""
        return [
            Entry(f"{split}-{i:04d}", i % 3, f"{domain}-{split}-{i}", None, f"a {self.info.classnames[i % 3]} {domain}")
            for i in range(self.info.counts[domain][split])
        ]

    def read(self, entry: Entry, source: Published | None) -> tuple[bytes, str]:
        """Draw one."""
        domain, rng = entry.path.partition("-")[0], random.Random(entry.path)
        colour = [rng.randint(0, 120) for _ in range(3)]
        colour[entry.label] = 255
        image = Image.new("RGB", (36, 36), (rng.randint(100, 160),) * 3)
        x, y, r = rng.randint(10, 24), rng.randint(10, 24), rng.randint(6, 10)
        draw, box = ImageDraw.Draw(image), (x - r, y - r, x + r, y + r)
        fill: tuple[int, int, int] = (colour[0], colour[1], colour[2])
        if domain == "box":
            draw.rectangle(box, fill=fill)
        else:
            draw.ellipse(box, fill=fill if domain == "disc" else None, outline=fill, width=3)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue(), "png"


def write_config(folder: Path) -> Path:
    """The model config file of the tiny CLIP; the architecture is called as the file's stem."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_clip.json"
    path.write_text(json.dumps(TINY_CLIP))
    return path


def load_tiny_clip(config: Path) -> PretrainedClip:
    """The tiny CLIP, with the same random weights every time."""
    return load_clip("tiny_clip", "random:0", config)
