"""Prompt templates of the downstream datasets, as the authors of CLIP publish them.

Facts from openai/CLIP@d05afc4 data/prompts.md: the same strings in the same order, class names in `classnames/`.
"""

from __future__ import annotations

_CALTECH_A = (
    "a photo of a {}.",
    "a painting of a {}.",
    "a plastic {}.",
    "a sculpture of a {}.",
    "a sketch of a {}.",
    "a tattoo of a {}.",
    "a toy {}.",
    "a rendition of a {}.",
    "a embroidered {}.",
    "a cartoon {}.",
    "a {} in a video game.",
    "a plushie {}.",
    "a origami {}.",
    "art of a {}.",
    "graffiti of a {}.",
    "a drawing of a {}.",
    "a doodle of a {}.",
)


def _with_the(template: str) -> str:
    """The same with the definite article before the class: 'a toy {}.' becomes 'the toy {}.'."""
    start, of, rest = template.partition(" of a ")
    return f"{start} of the {rest}" if of else "the" + template.removeprefix("a")


CLIP_TEMPLATES: dict[str, tuple[str, ...]] = {
    "caltech101": (*_CALTECH_A, *map(_with_the, _CALTECH_A)),
    "dtd": tuple(
        f"a photo of {article} {{}} {noun}."
        for article in ("a", "the")
        for noun in ("texture", "pattern", "thing", "object")
    ),
    "eurosat": (
        "a centered satellite photo of {}.",
        "a centered satellite photo of a {}.",
        "a centered satellite photo of the {}.",
    ),
    "fgvc_aircraft": ("a photo of a {}, a type of aircraft.", "a photo of the {}, a type of aircraft."),
    "flowers102": ("a photo of a {}, a type of flower.",),
    "food101": ("a photo of {}, a type of food.",),
    "oxford_pets": ("a photo of a {}, a type of pet.",),
    "stanford_cars": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of my {}.",
        "i love my {}!",
        "a photo of my dirty {}.",
        "a photo of my clean {}.",
        "a photo of my new {}.",
        "a photo of my old {}.",
    ),
    "sun397": ("a photo of a {}.", "a photo of the {}."),
    "ucf101": tuple(
        f"a {medium} of {article} person {verb}{{}}."
        for verb in ("", "using ", "doing ", "during ", "performing ", "practicing ")
        for article in ("a", "the")
        for medium in ("photo", "video", "example", "demonstration")
    ),
}
"""Dataset -> templates; an ensemble where there are several."""
