"""`demo`: twenty things in five drawn domains, made from nothing in seconds, with the real trade-off in small.

The pictures come from `demo_shapes` (the things), `demo_scene` (pose, colours, captions) and `demo_domains` (the five
ways of drawing). `demo_assets/demo_vit.safetensors` is a tiny CLIP for them, made by `python -m datasets.demo_pretrain`.

Every picture has its own seed, the hash of (SEED, domain, split, index). Splits therefore share no picture, and one
picture does not change when another is added. Labels cycle through the classes, so every split is balanced.
"""

from __future__ import annotations

import hashlib
import io
import random

from datasets.base import Dataset, DatasetInfo, Entry, Published
from datasets.demo_domains import render, scene_of
from datasets.demo_scene import DOMAINS, TEMPLATES, caption
from datasets.demo_shapes import CLASSNAMES

SEED = 0
COUNTS = {"train": 1200, "test": 600}
JPEG_QUALITY = 92


def image_seed(domain: str, split: str, index: int, seed: int = SEED) -> int:
    """The seed of one picture, a 64-bit hash of its address."""
    digest = hashlib.sha256(f"demo/{seed}/{domain}/{split}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


class Demo(Dataset):
    """Drawings of simple objects in five styles; needs no download."""

    generated = True
    info = DatasetInfo(
        name="demo",
        title="Demo: twenty things, five ways of drawing",
        revision="1",
        domains=DOMAINS,
        classnames=CLASSNAMES,
        templates=tuple(template for domain in DOMAINS for template in TEMPLATES[domain]),
        source="rendered by datasets/demo.py",
        license="Apache-2.0",
        citation="none; part of this repository",
        counts=dict.fromkeys(DOMAINS, COUNTS),
    )

    def entries(self, domain: str, split: str, source: Published | None = None) -> list[Entry]:
        """The pictures of one split, with captions; `source` is not used, a path is '<domain>/<split>/<index>'.

        Raises ValueError for a domain or split that the data set does not have.
        """
        if domain not in DOMAINS or split not in COUNTS:
            known = f"domains: {', '.join(DOMAINS)}; splits: {', '.join(COUNTS)}"
            raise ValueError(f"demo has no split {domain}/{split}; {known}")
        entries = []
        for index in range(COUNTS[split]):
            label, seed = index % len(CLASSNAMES), image_seed(domain, split, index)
            words = caption(random.Random(seed), scene_of(label, domain, seed, snapshot=True))
            key, path = f"{domain}-{split}-{index:06d}", f"{domain}/{split}/{index}"
            entries.append(Entry(key, label, path, caption=words))
        return entries

    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        """Draw the picture: a 64 x 64 JPEG."""
        domain, split, index = entry.path.split("/")
        buffer = io.BytesIO()
        image = render(entry.label, domain, image_seed(domain, split, int(index)))
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue(), "jpg"


DATASET: Dataset = Demo()
