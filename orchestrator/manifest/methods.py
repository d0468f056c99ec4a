"""Turns the entries under `methods:` and `post_hoc:` into points: complete, validated settings, one for each grid point."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

import methods
from methods.base import Method, PostHoc
from orchestrator.identity import pool_identity
from orchestrator.manifest.errors import Problems, missing_key, plain
from orchestrator.manifest.feasible import check_recipes
from orchestrator.manifest.schema import RESERVED, MethodEntry, PostHocEntry
from orchestrator.manifest.yaml_lines import KeyPath
from orchestrator.paths import is_url, lasting
from orchestrator.spec import Kind
from training.config import PoolPath, Recipe

MAX_POINTS = 10_000
"""Largest grid of one entry: more is a slip of the pen."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Point:
    """One grid point of an entry."""

    label: str
    settings: dict[str, Any]
    """complete, defaults filled in; JSON values"""
    recipe: Recipe | None
    """None for what does not train"""
    files: Mapping[str, str] = field(default_factory=dict)
    """identity that stands in a setting -> absolute path of what it identifies"""


@dataclass(frozen=True, slots=True)
class MethodUse:
    """An entry under `methods:` or `post_hoc:`, resolved."""

    key: str
    method: str
    version: int
    kind: Kind
    points: tuple[Point, ...]
    many: bool = False
    """post-hoc: one trial for all inputs together"""
    of: tuple[str, ...] = ()
    """post-hoc: keys of the entries it builds on"""
    fewest: int = 1
    """post-hoc: inputs that a trial needs at least"""
    takes_steps: bool = True
    """False: a trained method that solves for everything at once, without a step of its recipe"""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One setting or recipe value of an entry and the values it takes."""

    path: KeyPath
    key: str
    in_recipe: bool
    values: Sequence[Any]
    is_grid: bool


class MethodResolver:
    """Loads methods by name, each once, and validates entries against them."""

    def __init__(self, plugins: tuple[Path, ...], problems: Problems, folder: Path = Path()) -> None:
        """`folder`: that of the manifest, which relative paths in settings are taken from."""
        self._plugins = plugins
        self._folder = folder
        self._problems = problems
        self._classes: dict[str, type[Method] | type[PostHoc] | None] = {}
        self.known = sorted(methods.available(plugins))

    def method(self, path: KeyPath, entry: MethodEntry, base: Mapping[str, Any]) -> MethodUse | None:
        """The entry at `path` under `methods:`; `base` is the benchmark's recipe. None if a problem was noted."""
        name, cls = self._class(path, entry.method)
        if cls is None:
            return None
        if not issubclass(cls, Method):
            self._problems.add(
                path, f"{name!r} is a post-hoc method: put it under post_hoc: and name its inputs with of:"
            )
            return None
        if entry.recipe and not cls.trains:
            self._problems.add((*path, "recipe"), f"{name!r} does not train, a recipe changes nothing")
            return None
        given = self._axes(path, entry.model_extra or {}, cls.Config, "setting", ("method", "recipe"))
        given += self._axes((*path, "recipe"), entry.recipe, Recipe, "key")
        points = self._points(path, given, cls.Config, base if cls.trains else None)
        check_recipes(path, entry.recipe, cls, [point.recipe for point in points if point.recipe], self._problems)
        kind: Kind = "trained" if cls.trains else "reference"
        key = str(path[-1])
        return MethodUse(key, name, cls.version, kind, points, takes_steps=cls.takes_steps) if points else None

    def post_hoc(self, path: KeyPath, entry: PostHocEntry) -> MethodUse | None:
        """The entry at `path` under `post_hoc:`, without a look at what `of` names. None if a problem was noted."""
        name, cls = self._class(path, entry.method)
        if cls is None:
            return None
        if not issubclass(cls, PostHoc):
            self._problems.add(path, f"{name!r} is not a post-hoc method: put it under methods:")
            return None
        settings = dict(entry.model_extra or {})
        if "recipe" in settings:
            self._problems.add((*path, "recipe"), "a post-hoc method does not train, it has no recipe")
            return None
        given = self._axes(path, settings, cls.Config, "setting", ("method", "of"))
        points = self._points(path, given, cls.Config, None)
        if not points:
            return None
        fewest = cls.fewest if cls.many else 1
        return MethodUse(str(path[-1]), name, cls.version, "post_hoc", points, cls.many, entry.of or (), fewest)

    def _class(self, path: KeyPath, given: str | None) -> tuple[str, type[Method] | type[PostHoc] | None]:
        name, where = (given, (*path, "method")) if given else (str(path[-1]), path)
        if name not in self.known:
            self._problems.unknown(where, "method", name, self.known)
            return name, None
        if name not in self._classes:
            self._classes[name] = self._load(where, name)
        return name, self._classes[name]

    def _load(self, where: KeyPath, name: str) -> type[Method] | type[PostHoc] | None:
        try:
            cls = methods.load(name, self._plugins)
        except methods.MethodError as error:
            self._problems.add(where, " ".join(str(error).split()))
            return None
        if clash := [key for key in RESERVED if key in cls.Config.model_fields]:
            self._problems.add(
                where, f"method {name!r} has a setting {clash[0]!r}, a word the manifest needs; rename it"
            )
            return None
        return cls

    def _points(
        self, path: KeyPath, axes: Sequence[_Axis], config: type[BaseModel], base: Mapping[str, Any] | None
    ) -> tuple[Point, ...]:
        if any(not axis.values for axis in axes):
            return ()
        if (size := math.prod(len(axis.values) for axis in axes)) > MAX_POINTS:
            self._problems.add(path, f"the lists make a grid of {size} points, more than {MAX_POINTS}")
            return ()
        points: dict[str, Point] = {}
        for choice in itertools.product(*(range(len(axis.values)) for axis in axes)):
            point = self._point(path, axes, choice, config, base)
            if point is None:
                continue
            content = json.dumps(
                [point.settings, point.recipe and point.recipe.model_dump(mode="json")], sort_keys=True
            )
            if content in points:
                self._problems.add(path, f"the grid has {point.label!r} twice")
            points.setdefault(content, point)
        return tuple(points.values())

    def _axes(
        self, path: KeyPath, given: dict[str, Any], model: type[BaseModel], what: str, reserved: tuple[str, ...] = ()
    ) -> list[_Axis]:
        depths = list_depths(model)
        axes = []
        for key, value in given.items():
            where = (*path, key)
            if key not in depths:
                self._problems.unknown(where, what, key, [*depths, *reserved])
                continue
            is_grid = _depth(value) > depths[key]
            if is_grid and not value:
                self._problems.add(where, "an empty list makes no trial; remove the key for the default")
            axes.append(_Axis(where, key, what == "key", value if is_grid else [value], is_grid))
        return axes

    def _point(
        self,
        path: KeyPath,
        axes: Sequence[_Axis],
        choice: Sequence[int],
        config: type[BaseModel],
        base: Mapping[str, Any] | None,
    ) -> Point | None:
        chosen = [(axis, i, axis.values[i]) for axis, i in zip(axes, choice, strict=True)]
        places = {(a.in_recipe, a.key): (*a.path, i) if a.is_grid else a.path for a, i, _ in chosen}
        settings = {a.key: value for a, _, value in chosen if not a.in_recipe}
        checked = self._validate(config, settings, path, {k: v for (r, k), v in places.items() if not r})
        recipe = None
        if base is not None:
            merged = {**base, **{a.key: value for a, _, value in chosen if a.in_recipe}}
            recipe = self._validate(
                Recipe, merged, (*path, "recipe"), {k: v for (r, k), v in places.items() if r}, only_placed=True
            )
        if checked is None or (base is not None and recipe is None):
            return None
        values = checked.model_dump(mode="json")
        try:
            json.dumps(values, allow_nan=False)
        except (TypeError, ValueError) as error:
            self._problems.add(path, f"the settings are no JSON values: {error}")
            return None
        label = _label(str(path[-1]), axes, values, recipe)
        identified = self._identify_pools(config, values, path, places)
        return Point(label, identified[0], recipe, identified[1]) if identified else None

    def _identify_pools(
        self,
        config: type[BaseModel],
        values: dict[str, Any],
        path: KeyPath,
        places: Mapping[tuple[bool, str], KeyPath],
    ) -> tuple[dict[str, Any], dict[str, str]] | None:
        """The settings with identities in place of `PoolPath`s, and identity -> path; None with problems noted."""
        files: dict[str, str] = {}
        known = True
        for name, info in config.model_fields.items():
            if values[name] is None or not any(isinstance(mark, PoolPath) for mark in info.metadata):
                continue
            if is_url(str(values[name])):
                problem = f"a pool of image-text pairs must be a folder of this machine, got {values[name]!r}"
                self._problems.add(places.get((False, name), (*path, name)), problem)
                known = False
                continue
            folder = lasting(str(values[name]), self._folder)[0]
            try:
                values[name] = pool_identity(folder)
                files[values[name]] = str(folder)
            except (OSError, ValueError) as error:
                self._problems.add(places.get((False, name), (*path, name)), " ".join(str(error).split()))
                known = False
        return (values, files) if known else None

    def _validate(
        self,
        model: type[_Model],
        values: dict[str, Any],
        path: KeyPath,
        places: Mapping[str, KeyPath],
        only_placed: bool = False,
    ) -> _Model | None:
        """The checked values, or None with problems noted; `only_placed`: those of other keys are noted elsewhere."""
        try:
            return model.model_validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                key = str(item["loc"][0]) if item["loc"] else ""
                if only_placed and key and key not in places:
                    continue
                missing = item["type"] == "missing" and key not in places
                where = path if missing or not key else places[key]
                self._problems.add(where, missing_key(item["loc"]) if missing else plain(item))
            return None


def list_depths(model: type[BaseModel]) -> dict[str, int]:
    """How deeply lists nest in a valid value of each field; a value that nests deeper is a grid."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return {name: _schema_depth(part, definitions) for name, part in schema.get("properties", {}).items()}


def _schema_depth(schema: Any, definitions: Mapping[str, Any], level: int = 0) -> int:
    if not isinstance(schema, dict) or level > 20:
        return 0
    if "$ref" in schema:
        return _schema_depth(definitions.get(schema["$ref"].rsplit("/", 1)[-1]), definitions, level + 1)
    if schema.get("type") == "array":
        inner = [schema.get("items"), *schema.get("prefixItems", [])]
        return 1 + max(_schema_depth(part, definitions, level + 1) for part in inner)
    options = [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]
    return max((_schema_depth(part, definitions, level + 1) for part in options), default=0)


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _label(key: str, axes: Sequence[_Axis], settings: Mapping[str, Any], recipe: Recipe | None) -> str:
    """`key` and the values that vary: 'lipsum_ft strength=0.3'."""
    varying = [axis for axis in axes if len(axis.values) > 1]
    names = [axis.key for axis in varying]
    words = [key]
    for axis in varying:
        value = recipe.model_dump(mode="json")[axis.key] if axis.in_recipe and recipe else settings.get(axis.key)
        prefix = "recipe." if axis.in_recipe and names.count(axis.key) > 1 else ""
        shown = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        words.append(f"{prefix}{axis.key}={shown}")
    return " ".join(words)
