"""Reads a manifest: YAML -> shape -> names looked up -> `Manifest`, or every problem at once with its line.

A value of a benchmark wins over the same key in `defaults:`; recipes are merged key by key. Relative paths are made
absolute here (see `orchestrator.paths`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from datasets.base import Dataset
from methods import MethodError
from orchestrator.manifest.benchmark import Benchmark, BenchmarkResolver
from orchestrator.manifest.errors import ManifestError, Problems, suggestion
from orchestrator.manifest.methods import MethodResolver
from orchestrator.manifest.models import Model, resolve_models
from orchestrator.manifest.schema import ManifestFile, Resources, fill_empty
from orchestrator.manifest.yaml_lines import Document, KeyPath, YamlError, load_yaml
from orchestrator.paths import data_place, is_url, lasting, shipped
from orchestrator.tracking.sinks import TrackerName

__all__ = ["Benchmark", "Manifest", "ManifestError", "Model", "load_manifest"]


@dataclass(frozen=True)
class Manifest:
    """A valid manifest: every name in it exists, every path is absolute."""

    path: Path
    results: Path
    data: Path | str
    """folder or URL with one prepared dataset in each sub-folder"""
    plugins: tuple[Path, ...]
    resources: Resources
    run: tuple[str, ...]
    """benchmarks that are taken when none is named; may be empty"""
    benchmarks: dict[str, Benchmark]
    track: tuple[TrackerName, ...] = ()
    """further outputs of a sweep"""
    notes: tuple[str, ...] = ()
    """what to tell the user: paths that were resolved against another folder"""
    given: tuple[str, ...] = ()
    """the path and the folders of `at` that are others than its own, as words of a command line"""

    def select(self, names: Sequence[str] | None) -> list[Benchmark]:
        """The benchmarks of these names, or those of `run:`. Raises ManifestError for an unknown name, or none at all."""
        chosen = list(dict.fromkeys(names or self.run or (self.benchmarks if len(self.benchmarks) == 1 else ())))
        known = ", ".join(self.benchmarks)
        if not chosen:
            raise ManifestError([f"{self.path}: name a benchmark, or list some under run:; known: {known}"])
        unknown = [name for name in chosen if name not in self.benchmarks]
        if unknown:
            raise ManifestError(
                f"{self.path}: unknown benchmark {name!r}{suggestion(name, self.benchmarks)}" for name in unknown
            )
        return [self.benchmarks[name] for name in chosen]

    def at(self, results: str | None = None, data: str | None = None) -> Manifest:
        """This manifest with other folders for results and data, relative ones against the current folder."""
        changed = self
        for key, text in (("results", results), ("data", data)):
            if text is None:
                continue
            try:
                path, moved = _place(key, text, Path.cwd())
            except ValueError as error:
                raise ManifestError([f"--{key}: {error}"]) from None
            notes = tuple(note for note in changed.notes if not note.startswith(f"{key}:"))
            changed = replace(changed, notes=(*notes, _moved(key, path)) if moved else notes)
            if path != (self.data if key == "data" else self.results):
                changed = replace(changed, given=(*changed.given, f"--{key}", text))
            changed = replace(changed, data=path) if key == "data" else replace(changed, results=Path(path))
        return changed


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest. Raises ManifestError with all problems found, one line each."""
    try:
        document = load_yaml(path)
    except YamlError as error:
        raise ManifestError([str(error)]) from None
    problems = Problems(document)
    file = _shape(document, problems)
    folder = path.absolute().parent
    results, data, notes = _folders(file, folder, problems)
    plugins = _plugins(file, folder, problems)
    models = resolve_models(file, folder, problems)
    benchmarks = _benchmarks(document, file, folder, plugins, models, problems)
    _check_run(document, file, problems)
    if problems:
        raise ManifestError(problems.lines())
    return Manifest(
        path=path.absolute(),
        given=(str(path),),
        results=results,
        data=data,
        plugins=plugins,
        resources=file.resources,
        run=file.run or (),
        track=tuple(dict.fromkeys(file.track)),
        benchmarks=benchmarks,
        notes=notes,
    )


def _shape(document: Document, problems: Problems) -> ManifestFile:
    """The file without what has the wrong shape; each such value is noted, so that the rest can be checked as well."""
    data = fill_empty(copy.deepcopy(document.data))
    for key in ("models", "benchmarks"):
        if key not in document.data:
            problems.add((), f"key {key!r} is missing")
        elif document.data[key] in (None, {}):
            problems.add((key,), "must not be empty")
    while True:
        try:
            return ManifestFile.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            paths = [problems.shape(ManifestFile, item) for item in error.errors(include_url=False)]
            removed = [_remove(data, path) for path in paths]
            if not any(removed):
                raise RuntimeError("a problem of the manifest lies in no value of it") from error


def _remove(data: dict[str, Any], path: KeyPath) -> bool:
    """Leave out the value at `path`: of a list the whole list, so that no index shifts; its parent if it is not there.

    False if nothing is left of it, because another problem had it removed.
    """
    while path:
        parent: Any = data
        for part in path[:-1]:
            parent = parent.get(part) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and path[-1] in parent:
            del parent[path[-1]]
            return True
        path = path[:-1]
    return False


def _folders(file: ManifestFile, folder: Path, problems: Problems) -> tuple[Path, Path | str, tuple[str, ...]]:
    found, notes = dict[str, Path | str](), []
    for key, text in (("results", file.results), ("data", file.data)):
        try:
            found[key], moved = _place(key, text, folder)
        except ValueError as error:
            problems.add((key,), str(error))
            continue
        if moved:
            notes.append(_moved(key, found[key]))
    return Path(found.get("results", folder)), found.get("data", folder), tuple(notes)


def _place(key: str, text: str, folder: Path) -> tuple[Path | str, bool]:
    """As `lasting`; data may lie at a URL. Raises ValueError."""
    if key == "data":
        return data_place(text, folder)
    if is_url(text):
        raise ValueError(f"must be a folder of this machine, got {text!r}")
    return lasting(text, folder)


def _moved(key: str, path: Path | str) -> str:
    return f"{key}: {path} (the working directory of a submitted job is a temporary copy)"


def _plugins(file: ManifestFile, folder: Path, problems: Problems) -> tuple[Path, ...]:
    """The plugin folders that exist."""
    found: list[Path] = []
    for i, text in enumerate(file.plugins):
        path = shipped(text, folder)
        if not path.is_dir():
            problems.add(("plugins", i), f"plugin folder {path} does not exist; it is taken from the manifest's folder")
        elif path in found:
            problems.add(("plugins", i), f"{text!r} is listed twice")
        else:
            found.append(path)
    return tuple(found)


def _benchmarks(
    document: Document,
    file: ManifestFile,
    folder: Path,
    plugins: tuple[Path, ...],
    models: dict[str, Model],
    problems: Problems,
) -> dict[str, Benchmark]:
    try:
        methods = MethodResolver(plugins, problems, folder)
    except MethodError as error:  # two files of one name
        problems.add(("plugins",), str(error))
        methods = MethodResolver((), problems, folder)
    datasets: dict[str, Dataset | str] = {}
    resolved = {
        name: BenchmarkResolver(document, file, folder, models, methods, datasets, problems, name).resolve()
        for name in file.benchmarks
    }
    return {name: benchmark for name, benchmark in resolved.items() if benchmark is not None}


def _check_run(document: Document, file: ManifestFile, problems: Problems) -> None:
    known = document.data.get("benchmarks")
    known = list(known) if isinstance(known, dict) else []
    for i, name in enumerate(file.run or ()):
        if name not in known:
            problems.unknown(("run", i), "benchmark", name, known)
        elif name in (file.run or ())[:i]:
            problems.add(("run", i), f"{name!r} is listed twice")
