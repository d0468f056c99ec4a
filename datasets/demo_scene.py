"""What is in a picture of the `demo` data set, before anyone draws it: a thing, its pose, its colours and its caption.

The same `Scene` can be drawn in any domain. One property depends on the domain on purpose: in `real` things mostly have
their natural colour and stand before their natural background (`NATURAL`), elsewhere colours are free. A model that is
fine-tuned on `real` can therefore gain by learning that apples are red, and loses by it in every other domain. This is
the shortcut that makes robust fine-tuning worth measuring, in a size that runs on a laptop.
"""

from __future__ import annotations

import colorsys
import math
import random
from dataclasses import dataclass

import numpy as np

from datasets.demo_shapes import BUILDERS, CLASSNAMES, Part, Role

SIZE = 64  # pixels of a finished picture
SCALE = 2  # things are drawn at SIZE * SCALE and reduced, which smooths their edges
CANVAS = SIZE * SCALE

RGB = tuple[int, int, int]

# name -> (hue, saturation, value) in [0, 1]
PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.99, 0.82, 0.84), "orange": (0.07, 0.85, 0.95), "yellow": (0.14, 0.80, 0.95), "green": (0.35, 0.68, 0.62),
    "teal": (0.49, 0.70, 0.65), "blue": (0.60, 0.75, 0.80), "purple": (0.76, 0.58, 0.68), "pink": (0.92, 0.45, 0.93),
    "brown": (0.07, 0.58, 0.50), "grey": (0.60, 0.08, 0.50), "white": (0.12, 0.05, 0.95), "black": (0.65, 0.20, 0.18),
}  # fmt: skip
COLOURS: tuple[str, ...] = tuple(PALETTE)


@dataclass(frozen=True, slots=True)
class Framing:
    """How things are placed: range of the radius (share of the canvas), share of the free room used, tilt (radians)."""

    radius: tuple[float, float]
    room: float
    tilt: float


CENTRED = Framing((0.30, 0.42), 0.45, 0.16)
POSTER = Framing((0.26, 0.34), 0.45, 0.16)  # infographics: leaves room for charts and text
SNAPSHOT = Framing((0.24, 0.38), 0.60, 0.26)  # a photograph that nobody composed

# class -> (its usual colours, its usual backgrounds) in `real`
NATURAL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "apple": (("red", "green"), ("brown", "white")), "bell": (("yellow",), ("grey", "brown")),
    "boat": (("white", "brown"), ("blue", "teal")), "butterfly": (("orange", "blue"), ("green",)),
    "cactus": (("green",), ("orange", "brown")), "car": (("red", "grey"), ("grey", "black")),
    "crown": (("yellow",), ("purple", "red")), "fish": (("orange", "grey"), ("blue", "teal")),
    "flower": (("pink", "purple"), ("green",)), "heart": (("red", "pink"), ("white", "black")),
    "house": (("white", "orange"), ("blue", "green")), "key": (("grey", "yellow"), ("brown", "black")),
    "lightning": (("yellow", "white"), ("black", "purple")), "moon": (("yellow", "white"), ("black", "blue")),
    "mug": (("white", "blue"), ("brown", "grey")), "mushroom": (("red", "brown"), ("green", "brown")),
    "rocket": (("white", "red"), ("black", "blue")), "star": (("yellow",), ("black", "purple")),
    "tree": (("green",), ("blue", "teal")), "umbrella": (("red", "black"), ("grey", "teal")),
}  # fmt: skip
NATURAL_SHARE = 0.6  # of the pictures in `real`, drawn for colour and background independently

TEMPLATES: dict[str, tuple[str, ...]] = {
    "real": ("a photo of a {}.", "a blurry photo of the {}.", "a close-up photo of a {}."),
    "painting": ("a painting of a {}.", "an oil painting of the {}.", "a work of art with a {}."),
    "clipart": ("clipart of a {}.", "a cartoon {}.", "an icon of the {}."),
    "infograph": ("an infographic about the {}.", "a chart with a {}.", "a poster with a {}."),
    "sketch": ("a sketch of a {}.", "a pencil drawing of the {}.", "a doodle of a {}."),
}
DOMAINS: tuple[str, ...] = tuple(TEMPLATES)


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture's content. Points are pixels of the enlarged canvas, colours are 8-bit RGB."""

    label: int
    domain: str
    colour: str  # name of the thing's main colour
    backdrop: str  # name of the background's colour
    size: str  # "small", "" or "large"
    parts: tuple[Part, ...]
    centre: tuple[float, float]
    radius: float  # half the thing's extent, canvas pixels
    fills: dict[Role, RGB]
    background: RGB
    snapshot: bool  # a photograph taken carelessly: small, off centre, tilted, dim, blurred

    @property
    def classname(self) -> str:
        """The name of the thing."""
        return CLASSNAMES[self.label]


def shade(rgb: RGB, factor: float) -> RGB:
    """Darker (`factor` < 1) or lighter (> 1: towards white) version of a colour."""
    if factor <= 1:
        return (int(rgb[0] * factor), int(rgb[1] * factor), int(rgb[2] * factor))
    mix = factor - 1
    return (int(rgb[0] + (255 - rgb[0]) * mix), int(rgb[1] + (255 - rgb[1]) * mix), int(rgb[2] + (255 - rgb[2]) * mix))


def tint(rng: random.Random, name: str, spread: float = 1.0) -> RGB:
    """A random variant of a named colour; `spread` 0 gives the palette's own."""
    hue, saturation, value = PALETTE[name]
    hue = (hue + rng.uniform(-0.02, 0.02) * spread) % 1.0
    saturation = min(1.0, max(0.0, saturation * (1 + rng.uniform(-0.2, 0.15) * spread)))
    value = min(1.0, max(0.08, value * (1 + rng.uniform(-0.15, 0.12) * spread)))
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, value)
    return (int(255 * r), int(255 * g), int(255 * b))


def contrast(a: RGB, b: RGB) -> float:
    """How different two colours look, 0 to about 1 (luma counts most)."""
    luma = abs(0.30 * (a[0] - b[0]) + 0.59 * (a[1] - b[1]) + 0.11 * (a[2] - b[2]))
    chroma = math.dist(a, b) / math.sqrt(3)
    return (0.6 * luma + 0.4 * chroma) / 255


def _pose(rng: random.Random, label: int, framing: Framing) -> tuple[tuple[Part, ...], tuple[float, float], float]:
    """The thing's parts in canvas pixels after a random size, tilt, stretch, shear and place; their centre and radius."""
    radius = CANVAS * rng.uniform(*framing.radius)
    room = CANVAS / 2 - radius * 0.95
    shift = (framing.room * rng.uniform(-1, 1), framing.room * rng.uniform(-1, 1))
    centre = (CANVAS / 2 + room * shift[0], CANVAS / 2 + room * shift[1])
    tilt = rng.gauss(0, framing.tilt)
    mirror = rng.choice((-1, 1))
    stretch_x, stretch_y, shear = rng.uniform(0.85, 1.1) * mirror, rng.uniform(0.85, 1.1), rng.uniform(-0.1, 0.1)
    cos, sin = math.cos(tilt), math.sin(tilt)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch_x, shear], [0.0, stretch_y]]) * radius
    parts = BUILDERS[label](rng.random())
    return tuple(Part(part.points @ matrix.T + centre, part.role) for part in parts), centre, radius


def _colours(rng: random.Random, label: int, domain: str) -> tuple[str, str, dict[Role, RGB], RGB]:
    """Names and values of the colours: (main name, backdrop name, fill of each role, background)."""
    natural_fill, natural_backdrop = NATURAL[CLASSNAMES[label]]
    keep_fill = domain == "real" and rng.random() < NATURAL_SHARE
    keep_backdrop = domain == "real" and rng.random() < NATURAL_SHARE
    for _ in range(20):
        colour = rng.choice(natural_fill if keep_fill else COLOURS)
        backdrop = rng.choice(natural_backdrop if keep_backdrop else COLOURS)
        main, background = tint(rng, colour), tint(rng, backdrop)
        if domain in ("clipart", "infograph"):
            background = shade(background, 1.75)
        if contrast(main, background) >= 0.22:
            break
        keep_backdrop = False  # a thing that cannot be told from its usual background stands before another
    accents = [name for name in COLOURS if name != colour]
    accent = max((tint(rng, rng.choice(accents)) for _ in range(3)), key=lambda rgb: contrast(rgb, main))
    fills: dict[Role, RGB] = {"main": main, "accent": accent, "dark": shade(main, 0.35), "light": shade(main, 1.75)}
    if contrast(fills["dark"], main) < 0.1:
        fills["dark"] = (30, 26, 30)
    return colour, backdrop, fills, background


def compose(rng: random.Random, label: int, domain: str, snapshot: bool) -> Scene:
    """Draw the content of one picture from `rng`; `snapshot` matters in `real` alone."""
    snapshot = snapshot and domain == "real"
    framing = SNAPSHOT if snapshot else POSTER if domain == "infograph" else CENTRED
    parts, centre, radius = _pose(rng, label, framing)
    colour, backdrop, fills, background = _colours(rng, label, domain)
    low, high = framing.radius
    share = (radius / CANVAS - low) / (high - low)
    size = "small" if share < 0.25 else "large" if share > 0.75 else ""
    return Scene(label, domain, colour, backdrop, size, parts, centre, radius, fills, background, snapshot)


def caption(rng: random.Random, scene: Scene) -> str:
    """What a person would write under the picture, in the words of its domain; a sketch has no colour to name."""
    words = [scene.classname]
    if scene.domain != "sketch" and rng.random() < 0.2:
        words.insert(0, scene.colour)
    if scene.size and rng.random() < 0.15:
        words.insert(0, scene.size)
    return rng.choice(TEMPLATES[scene.domain]).format(" ".join(words))
