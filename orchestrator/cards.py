"""A Markdown card of each method, from the docstring of its file and its settings: docs/methods.md, below its marked line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import methods
from methods.base import Method, PostHoc
from orchestrator.catalog import LEADS, docstring, kind, paragraphs, settings

MARK = (
    "<!-- cards: written by `python -m orchestrator list methods --cards docs/methods.md`; edit the methods' files -->"
)


class CardsError(ValueError):
    """The file for the cards has no place for them."""


def write(path: Path, plugins: Sequence[Path] = ()) -> None:
    """Replace what stands below the marked line. Raises FileNotFoundError, or CardsError without such a line."""
    head, mark, _ = path.read_text().partition(MARK)
    if not mark:
        raise CardsError(f"{path} has no line {MARK}; add it where the cards should begin")
    path.write_text(f"{head}{mark}\n\n{markdown(plugins)}")


def markdown(plugins: Sequence[Path] = ()) -> str:
    """A table of all methods, then their cards: trained ones first."""
    files = methods.available(plugins)
    found = {name: methods.load(name, plugins) for name in files}
    order = sorted(found, key=lambda name: (issubclass(found[name], PostHoc), name))
    rows = [f"| [{found[name].title}](#{name}) | `{name}` | {kind(found[name])} |" for name in order]
    table = "\n".join(["| method | name | how |", "|---|---|---|", *rows])
    cards = [_card(name, found[name], docstring(files[name])) for name in order]
    return "\n\n".join([table, *cards]) + "\n"


def _card(name: str, cls: type[Method] | type[PostHoc], text: str) -> str:
    parts = [f'<a id="{name}"></a>', f"## {_escaped(cls.title)}", f"`{name}` - {kind(cls)} - {_escaped(cls.paper)}"]
    parts += _body(text)
    rows = list(settings(cls))
    if rows:
        lines = [
            f"| `{key}` | {_cell(type_)} | {_cell(default)} | {_cell(words)} |" for key, type_, default, words in rows
        ]
        parts.append("\n".join(["| setting | type | default | what |", "|---|---|---|---|", *lines]))
    else:
        parts.append("No settings.")
    return "\n\n".join(parts)


def _body(text: str) -> Iterator[str]:
    """Paragraphs and lists; indented lines, the formulas, as blocks of text."""
    lines = list(paragraphs(text))
    for formula, group in itertools.groupby(lines, key=lambda line: not line or line.startswith("    ")):
        block = list(group)
        if not formula:
            yield from map(_lead, map(_escaped, block))
        elif stripped := "\n".join(line.removeprefix("    ") for line in block).strip("\n"):
            yield f"```text\n{stripped}\n```"


def _lead(part: str) -> str:
    """The opening words of a part in bold, as far as the colon."""
    opening, colon, rest = part.partition(":")
    return f"**{opening}:**{rest}" if colon and part.startswith(LEADS) else part


def _escaped(text: str) -> str:
    """Prose in which no sign of a formula is taken for Markdown; what stands between backticks stays as it is."""
    pieces = text.split("`")
    for index in range(0, len(pieces), 2):
        pieces[index] = re.sub(r"([*_~<>|\[\]])", r"\\\1", pieces[index])
    return "`".join(pieces)


def _cell(text: str) -> str:
    return _escaped(text.removeprefix("default "))
