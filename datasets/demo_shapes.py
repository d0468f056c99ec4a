"""The twenty things that the `demo` data set draws, as coloured polygons.

A thing is a list of parts, drawn in order. A part is a closed polygon in object coordinates (x to the right, y *down*,
all within about [-1, 1]) and a role that says which of the scene's four colours fills it. Every builder takes a number
`v` in [0, 1) that varies the thing itself (petals, teeth, slimness): pictures of a class differ in more than their pose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Role = Literal["main", "accent", "dark", "light"]


class Part(NamedTuple):
    """One filled polygon: points of shape (n, 2) in object coordinates, and the role of its colour."""

    points: Points
    role: Role


def polygon(points: Iterable[tuple[float, float]], role: Role = "main") -> Part:
    """A part from its corners."""
    return Part(np.array(list(points), dtype=np.float64), role)


def box(left: float, top: float, right: float, bottom: float, role: Role = "main") -> Part:
    """An axis-aligned rectangle."""
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)], role)


def arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0, turn: float = 0.0) -> Points:
    """Points of shape (n, 2) on an ellipse from angle `start` to `stop`, turned by `turn` (degrees, clockwise)."""
    angles = np.radians(np.linspace(start, stop, max(4, int(abs(stop - start) / 15) + 1)))
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    px, py = rx * np.cos(angles), ry * np.sin(angles)
    return np.stack([x + cos * px - sin * py, y + sin * px + cos * py], axis=1)


def disc(x: float, y: float, rx: float, ry: float | None = None, role: Role = "main", turn: float = 0.0) -> Part:
    """A filled circle, or an ellipse where `ry` is given."""
    return Part(arc(x, y, rx, rx if ry is None else ry, turn=turn), role)


def ring(x: float, y: float, outer: float, inner: float, gap: float, role: Role = "main") -> Part:
    """A ring as one polygon; its seam lies at angle `gap` (degrees), to be hidden behind another part."""
    rim = arc(x, y, outer, outer, gap, gap + 360)
    hole = arc(x, y, inner, inner, gap + 360, gap)
    return Part(np.concatenate([rim, hole]), role)


def spikes(count: int, inner: float, role: Role = "main") -> Part:
    """A star of `count` points whose inner corners lie at radius `inner`."""
    angles = -math.pi / 2 + np.arange(2 * count) * math.pi / count
    radii = np.where(np.arange(2 * count) % 2 == 0, 0.98, inner)
    return Part(np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1), role)


def apple(v: float) -> list[Part]:
    """A round body with a dent at the top, a stem and a leaf."""
    angles = np.radians(np.arange(-180, 180, 12.0))  # 0 is the bottom
    top, bottom = np.exp(-((math.pi - np.abs(angles)) ** 2) / 0.12), np.exp(-(angles**2) / 0.1)
    radii = 0.74 - 0.30 * top - 0.10 * bottom
    body = np.stack([radii * np.sin(angles) * (1 + 0.12 * v), 0.22 + radii * np.cos(angles)], axis=1)
    stem = polygon([(-0.05, -0.25), (0.05, -0.25), (0.14, -0.82), (0.03, -0.85)], "dark")
    return [Part(body, "main"), stem, disc(0.38, -0.66, 0.30, 0.14, "accent", turn=-25)]


def bell(v: float) -> list[Part]:
    """A bell with its clapper."""
    flare = 0.72 + 0.15 * v
    side = [(0.12, -0.75), (0.36, -0.62), (0.46, -0.3), (0.52, 0.2), (flare, 0.55)]
    body = side + [(-x, y) for x, y in reversed(side)]
    clapper, knob = disc(0, 0.68, 0.2, role="dark"), disc(0, -0.8, 0.14, role="accent")
    return [clapper, knob, polygon(body), box(-flare, 0.48, flare, 0.64, "accent")]


def boat(v: float) -> list[Part]:
    """A sailing boat with two sails."""
    hull = polygon([(-0.9, 0.35), (0.9, 0.35), (0.55, 0.85), (-0.6, 0.85)])
    sail = polygon([(0.06, -0.92), (0.55 + 0.25 * v, 0.18), (0.06, 0.18)], "light")
    jib = polygon([(-0.1, -0.7), (-0.1, 0.18), (-0.45 - 0.2 * v, 0.18)], "accent")
    return [box(-0.06, -0.95, 0.04, 0.4, "dark"), sail, jib, hull]


def butterfly(v: float) -> list[Part]:
    """Four wings with spots around a dark body."""
    wings = []
    for side in (-1, 1):
        wings.append(disc(side * 0.42, 0.38, 0.42, 0.26, "accent", turn=side * 50))
        wings.append(disc(side * 0.5, -0.32, 0.58, 0.34 + 0.08 * v, "main", turn=side * -40))
        wings.append(disc(side * 0.55, -0.36, 0.16, role="light"))
        wings.append(polygon([(0, -0.5), (side * 0.22, -0.95), (side * 0.28, -0.92), (side * 0.05, -0.45)], "dark"))
    return [*wings, disc(0, 0, 0.1, 0.62, "dark")]


def cactus(v: float) -> list[Part]:
    """A column with two arms in a pot."""
    elbow = 0.1 + 0.25 * v
    left, right = _cactus_arm(-1, 0.2, -0.4), _cactus_arm(1, elbow, -0.6)
    column = Part(np.concatenate([arc(0, -0.68, 0.24, 0.28, 180, 360), [[0.24, 0.6], [-0.24, 0.6]]]), "main")
    return [left, right, column, polygon([(-0.48, 0.5), (0.48, 0.5), (0.36, 0.96), (-0.36, 0.96)], "accent")]


def _cactus_arm(side: int, elbow: float, tip: float) -> Part:
    """An L-shaped arm that leaves the column at height `elbow` and ends at `tip`."""
    outer = [(0.2, elbow), (0.7, elbow), (0.76, elbow - 0.1), (0.76, tip + 0.1), (0.66, tip)]
    inner = [(0.54, tip + 0.1), (0.54, elbow - 0.22), (0.2, elbow - 0.22)]
    return polygon([(side * x, y) for x, y in outer + inner])


def car(v: float) -> list[Part]:
    """A car seen from the side."""
    roof = -0.42 - 0.12 * v
    cabin = polygon([(-0.55, -0.02), (-0.36, roof), (0.28, roof), (0.55, -0.02)])
    rear = polygon([(-0.4, -0.04), (-0.28, roof + 0.1), (-0.04, roof + 0.1), (-0.04, -0.04)], "light")
    front = polygon([(0.06, -0.04), (0.06, roof + 0.1), (0.22, roof + 0.1), (0.4, -0.04)], "light")
    body = polygon([(-0.95, 0.05), (-0.85, -0.05), (0.75, -0.05), (0.95, 0.12), (0.95, 0.4), (-0.95, 0.4)])
    tyres = [disc(x, 0.4, 0.24, role="dark") for x in (-0.5, 0.5)]
    hubs = [disc(x, 0.4, 0.1, role="light") for x in (-0.5, 0.5)]
    return [cabin, body, rear, front, *tyres, *hubs]


def crown(v: float) -> list[Part]:
    """Three points with balls on a band."""
    dip = 0.25 * v
    body = polygon([(-0.75, 0.55), (-0.9, -0.45), (-0.42, dip), (0, -0.65), (0.42, dip), (0.9, -0.45), (0.75, 0.55)])
    balls = [disc(x, y, 0.13, role="accent") for x, y in ((-0.88, -0.5), (0, -0.72), (0.88, -0.5))]
    return [body, *balls, box(-0.75, 0.45, 0.75, 0.72, "accent"), disc(0, 0.2, 0.13, 0.17, "light")]


def fish(v: float) -> list[Part]:
    """A fish with a tail, fins and an eye."""
    body = disc(-0.15, 0, 0.7, 0.36 + 0.12 * v)
    tail = polygon([(0.4, 0), (0.95, -0.48), (0.8, 0), (0.95, 0.48)], "accent")
    fin = polygon([(-0.3, -0.3), (0.1, -0.72), (0.2, -0.25)], "accent")
    flipper = polygon([(-0.15, 0.05), (0.15, -0.1), (0.15, 0.22)], "accent")
    eye = [disc(-0.52, -0.1, 0.12, role="light"), disc(-0.53, -0.1, 0.06, role="dark")]
    return [tail, fin, body, *eye, flipper]


def flower(v: float) -> list[Part]:
    """Five to eight petals on a stem with a leaf."""
    count = 5 + int(4 * v)
    petals = []
    for k in range(count):
        turn = 360 * k / count - 90
        x, y = 0.36 * math.cos(math.radians(turn)), -0.35 + 0.36 * math.sin(math.radians(turn))
        petals.append(disc(x, y, 0.27, 0.435 / math.sqrt(count), "main", turn=turn))
    stem, leaf = box(-0.05, -0.2, 0.05, 0.97, "dark"), disc(0.28, 0.6, 0.28, 0.12, "dark", turn=-30)
    return [stem, leaf, *petals, disc(0, -0.35, 0.19, role="light")]


def heart(v: float) -> list[Part]:
    """A heart with a glint."""
    t = np.radians(np.arange(0, 360, 12.0))
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    outline = np.stack([16 * np.sin(t) ** 3 / 17, -y / 17 * (0.9 + 0.2 * v)], axis=1)
    return [Part(outline, "main"), disc(-0.45, -0.35, 0.16, 0.1, "light", turn=-40)]


def house(v: float) -> list[Part]:
    """A wall with a door and a window under a roof with a chimney."""
    peak = -0.95 + 0.25 * v
    chimney, wall = box(0.35, -0.8, 0.55, -0.2, "dark"), box(-0.65, -0.15, 0.65, 0.88)
    roof = polygon([(-0.9, -0.1), (0, peak), (0.9, -0.1)], "accent")
    door, window = box(-0.42, 0.28, -0.1, 0.88, "dark"), box(0.12, 0.15, 0.48, 0.5, "light")
    return [chimney, wall, roof, door, window]


def key(v: float) -> list[Part]:
    """A key with a round bow and two or three teeth."""
    teeth = [box(x, 0.08, x + 0.13, 0.42 - 0.1 * (x > 0.6)) for x in ((0.45, 0.75) if v < 0.5 else (0.3, 0.55, 0.8))]
    return [*teeth, ring(-0.55, 0, 0.42, 0.2, gap=0), box(-0.2, -0.11, 0.96, 0.11)]


def lightning(v: float) -> list[Part]:
    """A zigzag bolt."""
    w = 0.12 * v
    down = [(0.15 + w, -0.97), (-0.55, 0.12), (-0.08, 0.12), (-0.28 - w, 0.97)]
    return [polygon([*down, (0.56, -0.22), (0.06, -0.22), (0.5, -0.97)])]


def moon(v: float) -> list[Part]:
    """A crescent with two craters."""
    rim, bite = arc(0.1, 0, 0.9, 0.92, 70, 290), arc(0.42 + 0.15 * v, 0, 0.66, 0.84, 270, 90)
    craters = [disc(-0.52, -0.15, 0.1, role="accent"), disc(-0.4, 0.32, 0.07, role="accent")]
    return [Part(np.concatenate([rim, bite]), "main"), *craters]


def mug(v: float) -> list[Part]:
    """A mug with a handle and a stripe."""
    handle = ring(0.42, 0.05, 0.42, 0.24, gap=180)
    body = polygon([(-0.72, -0.6), (0.45, -0.6), (0.4, 0.78), (-0.67, 0.78)])
    stripe = box(-0.7, -0.05 + 0.2 * v, 0.43, 0.22 + 0.2 * v, "accent")
    return [handle, body, stripe, disc(-0.135, -0.6, 0.585, 0.14, "light")]


SPOTS = ((-0.45, -0.2, 0.16), (0.1, -0.45, 0.17), (0.5, -0.12, 0.14))  # x, y, radius on the cap


def mushroom(v: float) -> list[Part]:
    """A spotted cap on a pale stem."""
    top = Part(np.concatenate([arc(0, 0.1, 0.92, 0.85 + 0.15 * v, 180, 360), arc(0, 0.1, 0.92, 0.14, 0, 180)]), "main")
    dots = [disc(x, y, r, 0.8 * r, "light") for x, y, r in SPOTS]
    return [polygon([(-0.24, 0.05), (0.24, 0.05), (0.34, 0.93), (-0.34, 0.93)], "light"), top, *dots]


def rocket(v: float) -> list[Part]:
    """A rocket with fins, a porthole and a flame."""
    side = [(0.2, -0.7), (0.3, -0.3), (0.3, 0.4), (0.2, 0.6)]
    hull = polygon([(0, -0.97), *side, *((-x, y) for x, y in reversed(side))])
    fins = [polygon([(s * 0.28, 0.1), (s * (0.6 + 0.15 * v), 0.7), (s * 0.22, 0.55)], "accent") for s in (-1, 1)]
    nose = polygon([(0, -0.97), (0.2, -0.7), (0.26, -0.5), (-0.26, -0.5), (-0.2, -0.7)], "accent")
    flame = polygon([(-0.16, 0.6), (0.16, 0.6), (0, 0.97)], "dark")
    return [flame, *fins, hull, nose, disc(0, -0.15, 0.15, role="light")]


def star(v: float) -> list[Part]:
    """A five-pointed star."""
    return [spikes(5, 0.38 + 0.12 * v)]


TIERS = ((-0.3, 0.75, 0.55), (-0.62, 0.6, 0.1), (-0.97, 0.42, -0.35))  # top, half width, lower edge of a fir's tiers


def tree(v: float) -> list[Part]:
    """A fir of three tiers, or a tree with a round crown."""
    trunk = box(-0.13, 0.3, 0.13, 0.97, "dark")
    if v < 0.6:
        return [trunk, *(polygon([(0, top), (half, low), (-half, low)]) for top, half, low in TIERS)]
    return [trunk, disc(-0.36, 0.02, 0.42), disc(0.36, 0.02, 0.42), disc(0, -0.42, 0.5)]


def umbrella(v: float) -> list[Part]:
    """A canopy of scallops over a hooked stick."""
    scallops = [arc(x, 0, 0.315, 0.13 + 0.08 * v, 0, -180) for x in (0.63, 0.0, -0.63)]
    canopy = Part(np.concatenate([arc(0, 0, 0.945, 0.85, 180, 360), *scallops]), "main")
    middle = Part(np.concatenate([arc(0, 0, 0.315, 0.85, 180, 360), scallops[1]]), "accent")
    hook = np.concatenate([arc(0.16, 0.72, 0.22, 0.22, 180, 0), arc(0.16, 0.72, 0.12, 0.12, 0, 180)])
    return [box(-0.05, -0.95, 0.05, 0.74, "dark"), Part(hook, "dark"), canopy, middle]


BUILDERS: tuple[Callable[[float], list[Part]], ...] = (
    apple, bell, boat, butterfly, cactus, car, crown, fish, flower, heart,
    house, key, lightning, moon, mug, mushroom, rocket, star, tree, umbrella,
)  # fmt: skip
"""Class index -> the function that builds the thing; alphabetical."""
CLASSNAMES: tuple[str, ...] = tuple(builder.__name__ for builder in BUILDERS)
