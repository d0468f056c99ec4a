"""Resolves one benchmark of a manifest: defaults filled in, and every name in it looked up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo
from orchestrator.manifest_errors import Problems
from orchestrator.manifest_methods import MethodResolver, MethodUse
from orchestrator.manifest_models import Model
from orchestrator.manifest_schema import ALL, BenchmarkEntry, ManifestFile, Shared
from orchestrator.paths import shipped
from orchestrator.yaml_lines import Document, KeyPath
from training.config import Preprocessing, SelectionRule

REQUIRED = ("dataset", "models", "methods")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark with everything looked up."""

    name: str
    description: str
    dataset: Dataset
    dataset_ref: str
    """the dataset as `datasets.load` takes it: a name, or the absolute path of a card"""
    models: tuple[Model, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    """in the order of the manifest; the sources are among them"""
    seeds: tuple[int, ...]
    selection: SelectionRule
    preprocessing: Preprocessing
    val_fraction: float
    split_seed: int
    methods: tuple[MethodUse, ...]
    post_hoc: tuple[MethodUse, ...]

    @property
    def info(self) -> DatasetInfo:
        """Facts about the dataset."""
        return self.dataset.info


@dataclass
class BenchmarkResolver:
    """Looks up the names of one benchmark and notes what is wrong."""

    document: Document
    file: ManifestFile
    folder: Path
    known_models: dict[str, Model]
    resolver: MethodResolver
    loaded: dict[str, Dataset | str]
    """datasets met so far, or why they cannot be loaded; shared between benchmarks"""
    problems: Problems
    name: str

    def __post_init__(self) -> None:
        self.entry: BenchmarkEntry = self.file.benchmarks[self.name]
        self.path: KeyPath = ("benchmarks", self.name)

    def resolve(self) -> Benchmark | None:
        """The benchmark, or None if something it cannot do without is wrong (and noted)."""
        for key in REQUIRED:
            if not self._in_file(key) or (key == "methods" and not self._raw("methods")):
                self.problems.add(
                    self.path, f"key {key!r} is missing" if not self._in_file(key) else "methods is empty"
                )
        models = self._models()
        dataset_ref, dataset = self._dataset()
        targets = self._targets(dataset)
        methods = self._methods()
        sources = self._sources(dataset, targets, any(use.kind == "trained" for use in methods))
        post_hoc = self._post_hoc(methods)
        self._check_labels([*methods, *post_hoc])
        self._check_repeats(("seeds",), self._get("seeds"))
        if dataset is None or not models or not targets or not methods:
            return None
        return Benchmark(
            name=self.name,
            description=self.entry.description,
            dataset=dataset,
            dataset_ref=dataset_ref,
            models=models,
            sources=sources,
            targets=targets,
            seeds=self._get("seeds"),
            selection=self._get("selection"),
            preprocessing=self._get("preprocessing"),
            val_fraction=self._get("val_fraction"),
            split_seed=self._get("split_seed"),
            methods=methods,
            post_hoc=post_hoc,
        )

    def _get(self, key: str) -> Any:
        """The benchmark's value, else that of `defaults:`, else the built-in default."""
        own = key in self.entry.model_fields_set or key not in Shared.model_fields
        return getattr(self.entry if own else self.file.defaults, key)

    def _where(self, key: str) -> KeyPath:
        """Where the value of `_get` stands."""
        shared = ("defaults", key)
        return (
            shared
            if (*self.path, key) not in self.document.lines and shared in self.document.lines
            else (*self.path, key)
        )

    def _in_file(self, key: str) -> bool:
        """Whether the file gives a value, be it of the wrong shape."""
        value: Any = self.document.data
        for part in self._where(key):
            value = value.get(part) if isinstance(value, dict) else None
        return value is not None

    def _raw(self, key: str) -> Any:
        """The benchmark's value as it stands in the file, of whatever shape."""
        return (self.document.data["benchmarks"][self.name] or {}).get(key)

    def _models(self) -> tuple[Model, ...]:
        keys: Sequence[str] = self._get("models") or ()
        declared = self.document.data.get("models")
        known = list(declared) if isinstance(declared, dict) else []
        for i, key in enumerate(keys):
            if key not in known:
                self.problems.unknown((*self._where("models"), i), "model", key, known)
        self._check_repeats(("models",), keys)
        found = tuple(self.known_models[key] for key in dict.fromkeys(keys) if key in self.known_models)
        for i, model in enumerate(found):
            if same := [m.key for m in found[:i] if (m.ref, m.pretrained) == (model.ref, model.pretrained)]:
                self.problems.add(self._where("models"), f"{model.key!r} is the same model as {same[0]!r}; remove one")
        return found

    def _dataset(self) -> tuple[str, Dataset | None]:
        given: str | None = self._get("dataset")
        if given is None:
            return "", None
        ref = str(shipped(given, self.folder)) if datasets.is_card_path(given) else given
        if ref not in self.loaded:
            try:
                self.loaded[ref] = datasets.load(Path(ref) if datasets.is_card_path(given) else ref)
            except (DatasetError, OSError) as error:
                self.loaded[ref] = " ".join(str(error).split())
        found = self.loaded[ref]
        if isinstance(found, str):
            self.problems.add(self._where("dataset"), found)
            return ref, None
        return ref, found

    def _targets(self, dataset: Dataset | None) -> tuple[str, ...]:
        given = self._get("targets")
        if dataset is None:
            return () if given == ALL else given
        if given == ALL:
            return tuple(dataset.info.domains)
        self._check_domains("targets", given, dataset)
        return tuple(given)

    def _sources(self, dataset: Dataset | None, targets: tuple[str, ...], needed: bool) -> tuple[str, ...]:
        given = self._get("sources")
        if given is None:
            if needed and not self._in_file("sources"):
                self.problems.add(self.path, "key 'sources' is missing: the domains to fine-tune on")
            return ()
        if given == ALL:
            return targets
        if dataset is not None:
            self._check_domains("sources", given, dataset)
            for i, domain in enumerate(given):
                if domain in dataset.info.domains and domain not in targets:
                    message = (
                        f"source {domain!r} is missing from the targets; the reference domain is evaluated as well"
                    )
                    self.problems.add((*self._where("sources"), i), message)
        return tuple(given)

    def _check_domains(self, key: str, given: Sequence[str], dataset: Dataset) -> None:
        for i, domain in enumerate(given):
            if domain not in dataset.info.domains:
                what = f"domain of dataset {dataset.info.name!r}:"
                self.problems.unknown((*self._where(key), i), what, domain, dataset.info.domains)
        self._check_repeats((key,), given)

    def _check_repeats(self, key: KeyPath, values: Sequence[Any]) -> None:
        where = self._where(str(key[0])) if len(key) == 1 else (*self.path, *key)
        for i, value in enumerate(values):
            if value in values[:i]:
                self.problems.add((*where, i), f"{value!r} is listed twice")

    def _methods(self) -> tuple[MethodUse, ...]:
        layers = (self.file.defaults.recipe, self.entry.recipe)
        base = {k: v for layer in layers for k, v in layer.model_dump(mode="json", exclude_unset=True).items()}
        found = [
            self.resolver.method((*self.path, "methods", k), entry, base) for k, entry in self.entry.methods.items()
        ]
        return tuple(use for use in found if use is not None)

    def _post_hoc(self, methods: Sequence[MethodUse]) -> tuple[MethodUse, ...]:
        declared = self._raw("methods")
        kinds = dict.fromkeys(declared, "") if isinstance(declared, dict) else {}
        kinds |= {use.key: use.kind for use in methods}
        found = []
        for key, entry in self.entry.post_hoc.items():
            path = (*self.path, "post_hoc", key)
            if ((self._raw("post_hoc") or {}).get(key) or {}).get("of") is None:
                self.problems.add(path, "key 'of' is missing: the methods it builds on")
            for i, label in enumerate(entry.of or ()):
                if label not in kinds:
                    self.problems.unknown((*path, "of", i), "method of this benchmark", label, kinds)
                elif kinds[label] == "reference":
                    self.problems.add((*path, "of", i), f"{label!r} does not train, there are no weights to build on")
            self._check_repeats(("post_hoc", key, "of"), entry.of or ())
            use = self.resolver.post_hoc(path, entry)
            if use and any(other.key == key for other in methods):
                self.problems.add(path, f"{key!r} is the key of a method as well; give it another name and set method:")
            found.append(use)
        return tuple(use for use in found if use is not None)

    def _check_labels(self, uses: Sequence[MethodUse]) -> None:
        """Two entries must not make the same trials, nor go by the same label."""
        contents: dict[str, str] = {}
        labels: set[str] = set()
        for use in uses:
            path = (*self.path, "post_hoc" if use.kind == "post_hoc" else "methods", use.key)
            for point in use.points:
                recipe = point.recipe and point.recipe.model_dump(mode="json")
                content = json.dumps([use.method, point.settings, recipe], sort_keys=True)
                same = [contents[f"{of}:{content}"] for of in use.of or ("",) if f"{of}:{content}" in contents]
                if same:
                    self.problems.add(path, f"{point.label!r} makes the same trials as {same[0]!r}; remove one")
                elif point.label in labels:
                    self.problems.add(path, f"two entries make the label {point.label!r}; rename one")
                contents |= {f"{of}:{content}": point.label for of in use.of or ("",)}
                labels.add(point.label)
