"""Reads a paper's YAML file: shape -> names looked up -> `View`s, or every problem with its line. No ray, no torch."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.manifest.errors import ManifestError, Problems, shown
from orchestrator.manifest.yaml_lines import KeyPath, YamlError, load_yaml
from orchestrator.views.paper_columns import Domains, columns_of
from orchestrator.views.paper_rows import Rows, filled, inherited
from orchestrator.views.protocol import RECIPE_KEYS
from orchestrator.views.published import Published
from orchestrator.views.schema import PanelEntry, PaperFile, ViewEntry
from orchestrator.views.spec import Column, Panel, Protocol, Row, View


class ViewError(ManifestError):
    """A file of views is wrong, or there is no such view: `problems` has one line each."""


def load_paper(path: Path) -> tuple[View, ...]:
    """The views of a file in its order. Raises ViewError with all problems found, one line each."""
    try:
        document = load_yaml(path)
    except YamlError as error:
        raise ViewError([str(error)]) from None
    problems = Problems(document)
    try:
        file = PaperFile.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        for item in found:
            # A list whose items are all wrong counts as too short as well.
            below = (e for e in found if e["loc"][: len(item["loc"])] == item["loc"] and e is not item)
            if item["type"] != "too_short" or not any(below):
                problems.shape(PaperFile, item)
        raise ViewError(problems.lines()) from None
    views = _Reader(file, problems).views()
    if problems:
        raise ViewError(problems.lines())
    return views


@dataclass(frozen=True, slots=True)
class _Scenario:
    """A scenario with what it is `like` filled in."""

    protocol: Protocol
    domains: Domains
    reference: str
    recipe_of: Mapping[str, Mapping[str, Any]]


class _Reader:
    """Looks up the names of a file that has the right shape."""

    def __init__(self, file: PaperFile, problems: Problems) -> None:
        self.file, self.problems = file, problems
        self.rows = Rows(file, problems)
        self.scenarios = {name: found for name in file.scenarios if (found := self._scenario(name))}

    def views(self) -> tuple[View, ...]:
        """All views; what is wrong is noted."""
        found: list[View] = []
        for index, entry in enumerate(self.file.views):
            path: KeyPath = ("views", index)
            if any(entry.name == view.name for view in found):
                self.problems.add((*path, "name"), f"another view has the name {entry.name!r}")
            panels = [panel for i, e in enumerate(entry.panels) for panel in self._panels(e, (*path, "panels", i))]
            found.append(
                View(
                    name=entry.name,
                    title=entry.title,
                    source=f"{self.file.source}, {entry.place}" if entry.place else self.file.source,
                    panels=tuple(panels),
                    benchmarks=entry.benchmarks,
                    notes=self._notes(entry, path),
                    figure=entry.figure,
                )
            )
        return tuple(found)

    def _notes(self, entry: ViewEntry, path: KeyPath) -> tuple[str, ...]:
        for i, note in enumerate(entry.notes):
            if note not in self.file.notes and " " not in note:
                self.problems.unknown((*path, "notes", i), "note", note, self.file.notes)
        return tuple(self.file.notes.get(note, note) for note in entry.notes)

    def _scenario(self, name: str) -> _Scenario | None:
        path: KeyPath = ("scenarios", name)
        values = inherited(self.file.scenarios, name, path, self.problems)
        if "dataset" not in values:
            self.problems.add(path, "key 'dataset' is missing")
            return None
        domains, recipe_of = values.pop("domains", {}), values.pop("recipe_of", {})
        reference = values.pop("reference", None) or next(iter(domains), "")
        if not reference:
            self.problems.add(path, "give domains, or the reference that published values name")
        if domains:
            self._known((*path, "reference"), "domain", [reference], domains)
            self._known((*path, "num_images"), "domain", values.get("num_images", {}), domains.values())
        self._known((*path, "recipe"), "recipe key", values.get("recipe", {}), RECIPE_KEYS)
        self._known((*path, "recipe_of"), "backbone", recipe_of, self.file.backbones)
        for backbone, recipe in recipe_of.items():
            self._known((*path, "recipe_of", backbone), "recipe key", recipe, RECIPE_KEYS)
        names = {field.name for field in dataclasses.fields(Protocol)}
        protocol = Protocol(**{"what": "", "num_seeds": None, **{k: v for k, v in values.items() if k in names}})
        return _Scenario(protocol, domains, reference, recipe_of)

    def _known(self, path: KeyPath, what: str, names: Any, known: Any) -> None:
        """Note the names that are not known; `path` leads to their mapping or list."""
        for i, name in enumerate(names):
            if name not in known:
                self.problems.unknown((*path, name if isinstance(names, Mapping) else i), what, name, known)

    def _panels(self, entry: PanelEntry, path: KeyPath) -> list[Panel]:
        """A panel for every scenario, backbone and reference of an entry."""
        for key, known in (("scenario", self.file.scenarios), ("backbone", self.file.backbones)):
            self._known((*path, key), key, getattr(entry, key), known)
        rows = self.rows.find(entry.rows, (*path, "rows"))
        if not entry.published:
            rows = tuple(replace(row, published="") for row in rows)
        panels = [
            self._panel(entry, name, backbone, reference or self.scenarios[name].reference, rows, path)
            for name, backbone, reference in itertools.product(entry.scenario, entry.backbone, entry.reference or [""])
            if name in self.scenarios and backbone in self.file.backbones
        ]
        if entry.values and len(panels) > 1:
            self.problems.add((*path, "values"), f"belong to one panel, and the lists here make {len(panels)}")
        return panels

    def _panel(
        self, entry: PanelEntry, name: str, backbone: str, reference: str, rows: tuple[Row, ...], path: KeyPath
    ) -> Panel:
        scenario, model = self.scenarios[name], self.file.backbones[backbone]
        if scenario.domains:
            self._known((*path, "reference"), "domain", [reference], scenario.domains)
        columns = columns_of(entry, scenario.domains, reference, path, self.problems)
        point = {"scenario": name, "backbone": backbone, "reference": reference}
        recipe = {**scenario.protocol.recipe, **scenario.recipe_of.get(backbone, {})}
        return Panel(
            title=filled(entry.title, point, (*path, "title"), self.problems),
            table=entry.table,
            scenario=name,
            reference=reference,
            backbone=backbone,
            sources=(scenario.domains[reference],) if reference in scenario.domains else (),
            model=model.model,
            rows=_numbered(rows),
            columns=columns,
            protocol=replace(scenario.protocol, recipe=recipe, weights=model.weights),
            values=self._values(entry, rows, columns, (*path, "values")),
            correlate=entry.pairs is not None,
        )

    def _values(
        self, entry: PanelEntry, rows: tuple[Row, ...], columns: tuple[Column, ...], path: KeyPath
    ) -> dict[str, dict[str, Published]]:
        """What the file itself says is published, row by row."""
        names = [column.published[0] for column in columns if len(column.published) == 1]
        found: dict[str, dict[str, Published]] = {}
        for title, numbers in entry.values.items():
            at = (*path, title)
            if title not in (titles := [row.title for row in rows]):
                self.problems.unknown(at, "row", title, titles)
            if len(numbers) != len(names):
                message = f"must have {len(names)} values ({', '.join(names)}), got {len(numbers)}"
                self.problems.add(at, message)
                continue
            given = {n: self._value(v, (*at, i)) for i, (n, v) in enumerate(zip(names, numbers, strict=True))}
            found[title] = {name: value for name, value in given.items() if value}
        return found

    def _value(self, value: Any, path: KeyPath) -> Published | None:
        numbers = value if isinstance(value, list) and len(value) == 2 else [value]
        if value is None:
            return None
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
            self.problems.add(path, f"must be a number, [mean, s.d.] or null, got {shown(value)}")
            return None
        return Published(float(numbers[0]), float(numbers[1]) if len(numbers) == 2 else None)


def _numbered(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Where a table prints a row several times, ours stand for the first, the second ... of them."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for row in rows:
        key = row.table, row.published, row.variant
        found.append(replace(row, occurrence=seen[key]) if row.published else row)
        seen[key] += 1
    return tuple(found)
