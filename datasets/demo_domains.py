"""Five ways of drawing a `Scene`: photograph, painting, clip art, infographic and pencil sketch.

`render(label, domain, seed)` is a pure function. Each painter gets the scene, a `random.Random` for strokes and a numpy
generator for noise, all from that seed, and returns a 64 x 64 RGB picture. Things are drawn on a canvas of twice that
size and reduced, so their edges are smooth; noise and blur are made at the final size, which keeps a picture at 2 ms.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from datasets.demo_scene import CANVAS, COLOURS, RGB, SCALE, SIZE, Scene, compose, shade, tint
from datasets.demo_shapes import Points

Array = npt.NDArray[np.float32]
XY = list[tuple[float, float]]


def render(label: int, domain: str, seed: int, snapshot: bool = True) -> Image.Image:
    """The picture of class `label` in `domain` for `seed`: RGB, 64 x 64; equal arguments give equal pixels.

    A photograph is a careless `snapshot`, as in the data set, or a well-lit, composed one, as in the pre-training pool.
    """
    return draw(label, domain, seed, snapshot)[0]


def draw(label: int, domain: str, seed: int, snapshot: bool) -> tuple[Image.Image, Scene]:
    """`render` together with the scene it shows, for writing captions. Raises KeyError for an unknown domain."""
    painter = PAINTERS[domain]
    rng = _random(label, domain, seed)
    scene = compose(rng, label, domain, snapshot)
    return painter(scene, rng, np.random.default_rng(rng.getrandbits(64))), scene


def scene_of(label: int, domain: str, seed: int, snapshot: bool) -> Scene:
    """The scene that `draw` shows, without drawing it."""
    return compose(_random(label, domain, seed), label, domain, snapshot)


def _random(label: int, domain: str, seed: int) -> random.Random:
    return random.Random(f"{domain}-{label}-{seed}")


def _xy(points: Points) -> XY:
    return [(float(x), float(y)) for x, y in points]


def _reduce(image: Image.Image) -> Image.Image:
    return image.reduce(SCALE)


def _array(image: Image.Image) -> Array:
    return np.asarray(image, dtype=np.float32)


def _image(pixels: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _fill(image: Image.Image, scene: Scene) -> None:
    """The thing in flat colours."""
    pen = ImageDraw.Draw(image)
    for points, role in scene.parts:
        pen.polygon(_xy(points), fill=scene.fills[role])


def _mask(scene: Scene) -> Image.Image:
    """The thing's silhouette on the canvas, 0 or 255."""
    mask = Image.new("L", (CANVAS, CANVAS), 0)
    pen = ImageDraw.Draw(mask)
    for points, _ in scene.parts:
        pen.polygon(_xy(points), fill=255)
    return mask


def _clouds(noise: np.random.Generator, cells: int, strength: float) -> Array:
    """Smooth grey noise of shape (SIZE, SIZE, 1) around zero with `cells` bumps to a side."""
    grid = np.clip(128 + noise.normal(0, strength, (cells, cells)), 0, 255).astype(np.uint8)
    return _array(Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC))[..., None] - 128


def _slope(rng: random.Random, strength: float) -> Array:
    """A linear gradient in a random direction, shape (SIZE, SIZE, 1), from -strength to strength."""
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    plane = math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    return (plane[..., None] * strength).astype(np.float32)


def _scenery(scene: Scene, rng: random.Random) -> Image.Image:
    """A photograph's background at final size: sky and ground or a wall, with out-of-focus things in front of it."""
    image = Image.new("RGB", (SIZE, SIZE), scene.background)
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.6:
        horizon = rng.uniform(0.45, 0.85) * SIZE
        tilt = rng.uniform(-5, 5)
        ground = shade(scene.background, rng.choice((0.6, 0.75, 1.25)))
        pen.polygon([(0, horizon - tilt), (SIZE, horizon + tilt), (SIZE, SIZE), (0, SIZE)], fill=ground)
    for _ in range(rng.randint(1, 5)):
        x, y, r = rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(3, 10)
        colour = tint(rng, rng.choice(COLOURS))
        if rng.random() < 0.5:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        else:
            pen.rectangle((x - r, y - 1.5 * r, x + r, y + 1.5 * r), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.5)))


def photo(scene: Scene, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """A shaded, textured thing that casts a shadow on blurred scenery, with lens blur and grain."""
    blur, graininess, exposures = (
        ((0.4, 1.1), (3, 10), (0.55, 1.1)) if scene.snapshot else ((0.2, 0.9), (2, 8), (0.8, 1.15))
    )
    flat = Image.new("RGB", (CANVAS, CANVAS), scene.fills["main"])
    _fill(flat, scene)
    mask = _reduce(_mask(scene))
    light = _slope(rng, rng.uniform(25, 65))
    thing = _array(_reduce(flat)) + light + _clouds(noise, 14, 12)
    behind = _array(_scenery(scene, rng)) + _slope(rng, 30) + _clouds(noise, 6, 14) + _clouds(noise, 24, 9)
    shadow = _array(mask.filter(ImageFilter.GaussianBlur(3)))[..., None] / 255
    shift = (rng.randint(1, 5), rng.randint(-5, 5))
    behind *= 1 - np.float32(rng.uniform(0.3, 0.6)) * np.roll(shadow, shift, (0, 1))
    alpha = _array(mask)[..., None] / 255
    # A rim that turns away from the light, as on a solid body: the blurred silhouette is darkest at its border.
    thing *= 0.7 + 0.3 * shadow
    pixels = behind * (1 - alpha) + thing * alpha
    image = _image(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(*blur)))
    grain = noise.normal(0, rng.uniform(*graininess), (SIZE, SIZE, 1)).astype(np.float32)
    exposure = np.float32(rng.uniform(*exposures))
    return _image(_array(image) * exposure + grain)


@dataclass(frozen=True, slots=True)
class _Brush:
    """Strokes of similar direction; lengths and widths are canvas pixels, angles radians."""

    lengths: tuple[float, float]
    widths: tuple[int, int]
    angle: float
    spread: float

    def stroke(self, pen: ImageDraw.ImageDraw, rng: random.Random, x: float, y: float, colour: RGB) -> None:
        """One stroke through (x, y) whose colour wanders from the given one."""
        length, angle = rng.uniform(*self.lengths), self.angle + rng.gauss(0, self.spread)
        dx, dy = math.cos(angle) * length / 2, math.sin(angle) * length / 2
        wander = rng.randint(-26, 26)
        r, g, b = (min(255, max(0, value + wander + rng.randint(-9, 9))) for value in colour)
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=(r, g, b), width=rng.randint(*self.widths))


def painting(scene: Scene, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """Brush strokes: long ones for a two-toned background, short ones that follow the thing's own colours."""
    image = Image.new("RGB", (CANVAS, CANVAS), scene.background)
    pen = ImageDraw.Draw(image)
    other = tint(rng, scene.backdrop) if rng.random() < 0.6 else shade(scene.background, rng.choice((0.7, 1.3)))
    horizon = rng.uniform(0.3, 0.8) * CANVAS
    broad = _Brush((20, 46), (6, 11), rng.uniform(-0.6, 0.6), 0.3)
    for _ in range(75):
        x, y = rng.uniform(0, CANVAS), rng.uniform(0, CANVAS)
        broad.stroke(pen, rng, x, y, scene.background if y < horizon else other)
    _fill(image, scene)
    flat, inside = np.asarray(image), np.asarray(_mask(scene))
    fine = _Brush((6, 13), (3, 5), rng.uniform(0, math.pi), 0.5)
    for _ in range(110):
        x, y = (c + rng.uniform(-scene.radius, scene.radius) for c in scene.centre)
        row, column = (int(min(CANVAS - 1, max(0, c))) for c in (y, x))
        if inside[row, column]:
            r, g, b = flat[row, column].tolist()
            fine.stroke(pen, rng, x, y, (r, g, b))
    weave = np.add.outer(np.arange(SIZE) % 2, np.arange(SIZE) % 2).astype(np.float32)[..., None] * 7 - 7
    return _image(_array(_reduce(image)) + weave + _clouds(noise, 10, 7))


def _outline(pen: ImageDraw.ImageDraw, corners: XY, colour: RGB, width: int) -> None:
    pen.line([*corners, corners[0]], fill=colour, width=width, joint="curve")


def _badge(pen: ImageDraw.ImageDraw, scene: Scene, scale: float, colour: RGB) -> None:
    """A disc behind the thing."""
    (x, y), r = scene.centre, scene.radius * scale
    pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def clipart(scene: Scene, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """Flat bright colours inside a dark outline on white, on a pastel or on a badge."""
    paper = (255, 255, 255) if rng.random() < 0.65 else scene.background
    image = Image.new("RGB", (CANVAS, CANVAS), paper)
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.3:
        _badge(pen, scene, 1.25, scene.background if paper == (255, 255, 255) else shade(scene.background, 0.85))
    for _ in range(rng.choice((0, 0, 2, 4))):
        x, y, r = rng.uniform(0, CANVAS), rng.uniform(0, CANVAS), rng.uniform(2, 6)
        pen.polygon([(x, y - r), (x + r / 3, y), (x, y + r), (x - r / 3, y)], fill=tint(rng, rng.choice(COLOURS)))
    ink, width = shade(scene.fills["main"], rng.choice((0.1, 0.25))), rng.randint(2, 4)
    for points, role in scene.parts:
        corners = _xy(points)
        pen.polygon(corners, fill=scene.fills[role])
        _outline(pen, corners, ink, width)
    return _reduce(image)


def _text(pen: ImageDraw.ImageDraw, rng: random.Random, box: tuple[float, float, float], rows: int, ink: RGB) -> None:
    """Bars of word length that stand for text; `box` is left, top and width in canvas pixels."""
    left, top, width = box
    for row in range(rows):
        x, y = left, top + row * 6
        while x < left + width - 5:
            word = min(rng.uniform(5, 14), left + width - x)
            pen.rectangle((x, y, x + word, y + 2), fill=ink)
            x += word + 3


def _chart(pen: ImageDraw.ImageDraw, rng: random.Random, left: float, bottom: float, colours: list[RGB]) -> None:
    """A small bar, pie or line chart whose lower left corner is given."""
    kind = rng.randrange(3)
    if kind == 0:
        for k in range(4):
            bar = (left + 8 * k, bottom - rng.uniform(6, 30), left + 8 * k + 5, bottom)
            pen.rectangle(bar, fill=colours[k % len(colours)])
    elif kind == 1:
        stops = [0, *sorted(rng.uniform(30, 330) for _ in range(2)), 360]
        for k in range(3):
            pen.pieslice((left, bottom - 28, left + 28, bottom), stops[k], stops[k + 1], fill=colours[k % len(colours)])
    else:
        points = [(left + 8 * k, bottom - rng.uniform(2, 26)) for k in range(5)]
        pen.line(points, fill=colours[0], width=2)
        for x, y in points:
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colours[1])


def infograph(scene: Scene, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """A pale poster with a title band, lines of text and charts, and the thing as one flat pictogram among them."""
    image = Image.new("RGB", (CANVAS, CANVAS), scene.background)
    pen = ImageDraw.Draw(image)
    colours = [tint(rng, rng.choice(COLOURS)) for _ in range(3)]
    ink = shade(scene.background, rng.uniform(0.35, 0.6))
    if rng.random() < 0.7:
        pen.rectangle((0, 0, CANVAS, 14), fill=colours[2])
        _text(pen, rng, (8, 6, rng.uniform(40, 110)), 1, shade(colours[2], 1.8))
    corners = [(6.0, 120.0), (88.0, 120.0), (6.0, 52.0), (88.0, 52.0)]
    rng.shuffle(corners)
    for left, bottom in corners[: rng.randint(1, 2)]:
        _chart(pen, rng, left, bottom, colours)
    for left, bottom in corners[2 : rng.randint(3, 4)]:
        _text(pen, rng, (left, bottom - 26, 34), rng.randint(2, 5), ink)
    if rng.random() < 0.6:
        _badge(pen, scene, 1.15, shade(scene.background, rng.choice((0.88, 1.6))))
    two_tone = rng.random() < 0.5
    for points, role in scene.parts:
        pen.polygon(_xy(points), fill=scene.fills["main" if two_tone and role == "accent" else role])
    return _reduce(image)


def _hatch(scene: Scene, rng: random.Random, grey: int, image: Image.Image) -> Image.Image:
    """The picture with parallel pencil lines inside the silhouette; they never lighten an outline."""
    layer = Image.new("RGB", (CANVAS, CANVAS), (255, 255, 255))
    pen = ImageDraw.Draw(layer)
    angle, step = rng.uniform(0.5, 1.1), rng.uniform(5, 9)
    dx, dy = math.cos(angle) * CANVAS, math.sin(angle) * CANVAS
    for k in range(int(-CANVAS / step), int(2 * CANVAS / step)):
        x = k * step + rng.uniform(-1, 1)
        pen.line((x, 0, x - dx, dy), fill=(grey, grey, grey), width=1)
    blank = Image.new("RGB", (CANVAS, CANVAS), (255, 255, 255))
    return ImageChops.darker(image, Image.composite(layer, blank, _mask(scene)))


def sketch(scene: Scene, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """Shaky pencil outlines drawn once or twice on paper, sometimes hatched."""
    tone = rng.randint(222, 252)
    paper = (tone, tone, tone - rng.randint(0, 14))
    image = Image.new("RGB", (CANVAS, CANVAS), paper)
    grey = rng.randint(15, 100)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 3)):
        x, y, angle = rng.uniform(0, CANVAS), rng.uniform(0, CANVAS), rng.uniform(0, math.pi)
        pen.line((x, y, x + 22 * math.cos(angle), y + 22 * math.sin(angle)), fill=(170, 170, 170), width=1)
    for _ in range(rng.randint(1, 2)):
        for points, _role in scene.parts:
            shaky = _xy(points + noise.normal(0, 1.1, points.shape) + noise.normal(0, 0.8, 2))
            pen.polygon(shaky, fill=paper)
            _outline(pen, shaky, (grey, grey, grey), rng.randint(2, 3))
    if rng.random() < 0.45:
        image = _hatch(scene, rng, min(200, grey + 90), image)
    return _image(_array(_reduce(image)) + noise.normal(0, 4, (SIZE, SIZE, 1)).astype(np.float32))


PAINTERS: dict[str, Callable[[Scene, random.Random, np.random.Generator], Image.Image]] = {
    "real": photo, "painting": painting, "clipart": clipart, "infograph": infograph, "sketch": sketch,
}  # fmt: skip
