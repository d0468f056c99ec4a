"""The rows of a file of views: `like`, grids and names become `Row`s. No ray, no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

from orchestrator.manifest.errors import Problems
from orchestrator.manifest.yaml_lines import KeyPath
from orchestrator.views.protocol import RECIPE_KEYS
from orchestrator.views.schema import PaperFile, RowEntry
from orchestrator.views.spec import Row

MERGED = ("settings", "recipe", "parameters", "recipe_of")
"""Mappings that an entry and the one it is `like` share, key by key; of every other key the nearer one counts."""


class Rows:
    """Looks up rows and lists of rows by name, and notes what is wrong with them."""

    def __init__(self, file: PaperFile, problems: Problems) -> None:
        self.file, self.problems = file, problems
        self._made: dict[str, tuple[Row, ...]] = {}
        self._lists: dict[str, tuple[Row, ...]] = {}
        for name in file.rows:
            self._row(name)
        for name, members in file.lists.items():
            path: KeyPath = ("lists", name)
            if name in file.rows:
                problems.add(path, "a row has the same name")
            self._lists[name] = self.find(members, path)

    def find(self, names: tuple[str, ...], path: KeyPath) -> tuple[Row, ...]:
        """The rows of these names of rows and lists, which stand at `path`; unknown ones are noted and left out."""
        found: list[Row] = []
        known = {**self._made, **self._lists}
        for i, name in enumerate(names):
            if name not in known:
                self.problems.unknown((*path, i), "row or list", name, known)
            found += known.get(name, ())
        return tuple(found)

    def _row(self, name: str) -> tuple[Row, ...]:
        if name not in self._made:
            self._made[name] = ()  # a row that is built on itself finds nothing
            self._made[name] = tuple(self._expanded(name))
        return self._made[name]

    def _expanded(self, name: str) -> Iterator[Row]:
        path: KeyPath = ("rows", name)
        fields = inherited(self.file.rows, name, path, self.problems)
        for key in ("title", "method"):
            if key not in fields:
                self.problems.add(path, f"key {key!r} is missing")
        for key in fields.get("recipe", {}):
            if key not in RECIPE_KEYS:
                self.problems.unknown((*path, "recipe", key), "recipe key", key, RECIPE_KEYS)
        of = self._of(fields.pop("of", None), path)
        if not {"title", "method"} <= fields.keys():
            return
        if fields.get("published") is None:
            fields["published"] = fields["title"]
        for point in _points(fields.pop("grid", ())):
            values = {key: self._filled(value, point, (*path, key)) for key, value in fields.items()}
            yield Row(**values, of=of)

    def _of(self, name: str | None, path: KeyPath) -> Row | None:
        if name is None:
            return None
        if name not in self.file.rows:
            self.problems.unknown((*path, "of", 0), "row", name, self.file.rows)
            return None
        found = self._row(name)
        if len(found) != 1:
            self.problems.add((*path, "of"), f"must name one row that does not build on this one, got {name!r}")
        return found[0] if found else None

    def _filled(self, value: Any, point: Mapping[str, Any], path: KeyPath) -> Any:
        if isinstance(value, Mapping):
            # What is nothing but a name keeps its type: a setting of '{alpha}' is a number.
            alone = {f"{{{name}}}": known for name, known in point.items()}
            return {
                key: alone[item] if isinstance(item, str) and item in alone else self._filled(item, point, (*path, key))
                for key, item in value.items()
            }
        return filled(value, point, path, self.problems) if isinstance(value, str) else value


def inherited(entries: Mapping[str, Any], name: str, path: KeyPath, problems: Problems) -> dict[str, Any]:
    """The values that an entry gives, over those of the entry that it is `like`."""
    chain: list[str] = []
    at: str | None = name
    while at is not None:
        if at in chain:
            problems.add((*path, "like"), f"must not lead back to itself: {' -> '.join([*chain, at])}")
            break
        if at not in entries:
            problems.unknown((*path[:-1], chain[-1], "like", 0), "name", at, entries)
            break
        chain.append(at)
        at = entries[at].like
    values: dict[str, Any] = {}
    for known in reversed(chain):
        entry: RowEntry = entries[known]
        own = {key: getattr(entry, key) for key in entry.model_fields_set - {"like"}}
        values |= {key: {**values.get(key, {}), **value} if key in MERGED else value for key, value in own.items()}
    return values


def filled(text: str, point: Mapping[str, Any], path: KeyPath, problems: Problems) -> str:
    """`text` with the values of `point` for `{name}`; what is wrong is noted."""
    try:
        for _, name, _, _ in Formatter().parse(text):
            if name is not None and name not in point:
                problems.add(path, f"{{{name}}} stands for nothing here; known: {', '.join(point) or 'none'}")
                return text
        return text.format_map(point)
    except (ValueError, TypeError, LookupError) as error:  # the latter: a name inside a format, '{a:{b}}'
        problems.add(path, f"cannot be filled: {error}; a brace that is meant is written twice")
        return text


def _points(grids: tuple[Mapping[str, tuple[Any, ...]], ...]) -> Iterator[dict[str, Any]]:
    """All combinations of each grid, its first name the slowest; one empty point without any grid."""
    for grid in grids or ({},):
        for values in itertools.product(*grid.values()):
            yield dict(zip(grid, values, strict=True))
