"""The pool that the demo's tiny CLIP is pre-trained on: drawings of all domains with captions as careless as the web's.

Four things are taken from how web data is, and leave the room that fine-tuning fills: captions often do not name what is
seen, some name it by another word or name something else (`CAPTION_NOISE`, most of it on photographs), photographs are a
minority (`DOMAIN_SHARE`), and they are composed and well lit where the data set has snapshots. The pictures come from
seeds that the data set itself never uses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datasets.demo import image_seed
from datasets.demo_domains import draw
from datasets.demo_scene import DOMAINS, SIZE, TEMPLATES, Scene, caption
from datasets.demo_shapes import CLASSNAMES

DOMAIN_SHARE: dict[str, float] = {"real": 0.18, "painting": 0.25, "clipart": 0.14, "infograph": 0.22, "sketch": 0.21}
# domain -> shares of captions that (say nothing of the thing, name it by another word, name another thing)
CAPTION_NOISE: dict[str, tuple[float, float, float]] = {
    "real": (0.20, 0.15, 0.05), "painting": (0.05, 0.03, 0.02), "clipart": (0.05, 0.03, 0.02),
    "infograph": (0.05, 0.03, 0.02), "sketch": (0.05, 0.03, 0.02),
}  # fmt: skip
OTHER_WORD: dict[str, str] = {
    "apple": "fruit", "bell": "chime", "boat": "ship", "butterfly": "insect", "cactus": "plant", "car": "vehicle",
    "crown": "jewel", "fish": "animal", "flower": "blossom", "heart": "love", "house": "building", "key": "lock",
    "lightning": "storm", "moon": "night", "mug": "cup", "mushroom": "fungus", "rocket": "space", "star": "sky",
    "tree": "forest", "umbrella": "rain",
}  # fmt: skip
VAGUE: tuple[str, ...] = ("thing", "picture from the web", "free download", "new one", "favourite of mine", "find")
CAPTIONS_PER_IMAGE = 2


@dataclass(frozen=True, slots=True)
class Pool:
    """`images` is uint8 (n, 64, 64, 3), `captions` holds n tuples, `labels` and `domains` are int64 (n,) indices."""

    images: npt.NDArray[np.uint8]
    captions: list[tuple[str, ...]]
    labels: npt.NDArray[np.int64]
    domains: npt.NDArray[np.int64]


def web_caption(rng: random.Random, scene: Scene, mode: str) -> str:
    """A caption of `scene`; `mode` is "exact", "vague" (no class), "other word" or "wrong" (any class)."""
    if mode == "exact":
        return caption(rng, scene)
    if mode == "vague":
        words = rng.choice(VAGUE)
    else:
        words = OTHER_WORD[scene.classname] if mode == "other word" else rng.choice(CLASSNAMES)
    if scene.domain != "sketch" and rng.random() < 0.2:
        words = f"{scene.colour} {words}"
    return rng.choice(TEMPLATES[scene.domain]).format(words)


def _mode(rng: random.Random, domain: str) -> str:
    vague, other, wrong = CAPTION_NOISE[domain]
    return rng.choices(("vague", "other word", "wrong", "exact"), (vague, other, wrong, 1 - vague - other - wrong))[0]


def _draw_all(specs: list[tuple[int, str, int]]) -> tuple[npt.NDArray[np.uint8], list[Scene]]:
    """Pictures (n, 64, 64, 3) and scenes of n (label, domain, seed)."""
    images, scenes = np.empty((len(specs), SIZE, SIZE, 3), np.uint8), []
    for row, spec in enumerate(specs):
        image, scene = draw(*spec, snapshot=False)
        images[row] = np.asarray(image)
        scenes.append(scene)
    return images, scenes


def _pool(specs: list[tuple[int, str, int]], captions: list[tuple[str, ...]], images: npt.NDArray[np.uint8]) -> Pool:
    labels = np.array([label for label, _, _ in specs], np.int64)
    return Pool(images, captions, labels, np.array([DOMAINS.index(domain) for _, domain, _ in specs], np.int64))


def make_pool(size: int, seed: int) -> Pool:
    """Draw `size` captioned pictures; a longer pool of the same seed starts with the shorter one."""
    rngs = [random.Random(image_seed("any", "pretrain", index, seed)) for index in range(size)]
    specs = []
    for index, rng in enumerate(rngs):
        domain = rng.choices(DOMAINS, [DOMAIN_SHARE[name] for name in DOMAINS])[0]
        specs.append((rng.randrange(len(CLASSNAMES)), domain, image_seed(domain, "pretrain", index, seed)))
    images, scenes = _draw_all(specs)
    captions = []
    for rng, scene in zip(rngs, scenes, strict=True):
        mode = _mode(rng, scene.domain)
        captions.append(tuple(web_caption(rng, scene, mode) for _ in range(CAPTIONS_PER_IMAGE)))
    return _pool(specs, captions, images)


def held_out(per_domain: int, seed: int) -> Pool:
    """Balanced pictures that neither the pool nor the data set has, with exact captions, to watch zero-shot accuracy.

    Photographs are composed ones, as in the pool: accuracy on the data set's snapshots is lower.
    """
    specs = []
    for domain in DOMAINS:
        for index in range(per_domain):
            specs.append((index % len(CLASSNAMES), domain, image_seed(domain, "held-out", index, seed)))
    images, scenes = _draw_all(specs)
    captions: list[tuple[str, ...]] = [(caption(random.Random(row), scene),) for row, scene in enumerate(scenes)]
    return _pool(specs, captions, images)


def cached_pool(size: int, seed: int, path: Path) -> Pool:
    """`make_pool`, kept as an npz file at `path`. The name of `path` must change with whatever changes the pool."""
    if not path.exists():
        pool = make_pool(size, seed)
        partial = path.with_suffix(".partial.npz")
        captions = np.array(pool.captions)
        np.savez(partial, images=pool.images, captions=captions, labels=pool.labels, domains=pool.domains)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as arrays:
        rows = [tuple(row) for row in arrays["captions"].tolist()]
        return Pool(arrays["images"], rows, arrays["labels"], arrays["domains"])
