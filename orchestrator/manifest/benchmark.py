"""Resolves one benchmark of a manifest: defaults filled in, and every name in it looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets import DatasetError
from datasets.base import Dataset, DatasetInfo
from orchestrator.manifest.domains import DomainResolver
from orchestrator.manifest.errors import Problems
from orchestrator.manifest.feasible import check_inputs, check_labels
from orchestrator.manifest.methods import MethodResolver, MethodUse
from orchestrator.manifest.models import Model
from orchestrator.manifest.protocol import check_combined, check_keys
from orchestrator.manifest.schema import BenchmarkEntry, ManifestFile, Shared
from orchestrator.manifest.yaml_lines import Document, KeyPath
from orchestrator.paths import shipped
from orchestrator.protocols import ALL_BUT_TARGET, PROTOCOLS, Protocol
from orchestrator.spec import ClassNames
from orchestrator.transfer import Transfer, misplaced
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
    sources: tuple[tuple[str, ...], ...]
    """reference domains of each trial, those trained on together in the dataset's order"""
    targets: tuple[str, ...]
    """in the order of the manifest; the sources are among them"""
    leave_one_out: bool
    """the sources are, for each target, all other targets"""
    protocol: Protocol | None
    class_names: ClassNames
    transfer: tuple[Transfer, ...]
    seeds: tuple[int, ...]
    selection: SelectionRule
    preprocessing: Preprocessing
    val_fraction: float
    split_seed: int
    """of what trains; a protocol may have another for each seed, see `split_seed_of`"""
    methods: tuple[MethodUse, ...]
    post_hoc: tuple[MethodUse, ...]
    baseline: str
    """label of the trained method that others are compared with; empty if nothing trains"""

    @property
    def info(self) -> DatasetInfo:
        """Facts about the dataset."""
        return self.dataset.info

    def split_seed_of(self, seed: int) -> int:
        """The seed of the held-out images of a trial with this seed."""
        return seed if self.splits_by_seed else self.split_seed

    @property
    def splits_by_seed(self) -> bool:
        """Whether every seed holds out other images."""
        return self.protocol is not None and self.protocol.split_by_seed

    @property
    def pooled(self) -> bool:
        """Whether the images of a domain are one pool, and a target is measured on those not held out."""
        return self.protocol is not None and self.protocol.pooled


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
        name = self._get("protocol")
        self.protocol = PROTOCOLS[name] if name else None
        if self.protocol:
            # Keys beside `protocol:`, or nearer to the benchmark, must not say something else; `defaults:` may.
            beside = [(self.file.defaults, ("defaults",))] if self._where("protocol")[0] == "defaults" else []
            check_keys(name, self.protocol, [(self.entry, self.path), *beside], self.problems)
        models = self._models()
        dataset_ref, dataset = self._dataset()
        targets = self._targets(dataset)
        methods = self._methods()
        sources = self._sources(dataset, targets, any(use.kind == "trained" for use in methods))
        post_hoc = self._post_hoc(methods)
        if self.protocol and self.protocol.split_by_seed:  # then only trials of one seed are combined
            check_combined(name, self.path, methods, post_hoc, self.problems)
        else:
            check_inputs(self.path, methods, post_hoc, len(set(self._get("seeds"))), self.problems)
        check_labels(self.path, [*methods, *post_hoc], self.problems)
        baseline = self._baseline(methods)
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
            leave_one_out=self._get("sources") == ALL_BUT_TARGET,
            protocol=self.protocol,
            class_names=self._get("class_names"),
            transfer=self._transfer(dataset),
            seeds=self._get("seeds"),
            selection=self._get("selection"),
            preprocessing=self._get("preprocessing"),
            val_fraction=self._get("val_fraction"),
            split_seed=self._get("split_seed"),
            methods=methods,
            post_hoc=post_hoc,
            baseline=baseline,
        )

    def _get(self, key: str) -> Any:
        """What the protocol decides, else the benchmark's value, else that of `defaults:`, else the built-in default."""
        if key != "protocol" and self.protocol and key in self.protocol.settings:
            return self.protocol.settings[key]
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
        return self._load(given, self._where("dataset")) if given is not None else ("", None)

    def _load(self, given: str, place: KeyPath) -> tuple[str, Dataset | None]:
        """A dataset with its reference as `datasets.load` takes it; why there is none is noted at `place`."""
        ref = str(shipped(given, self.folder)) if datasets.is_card_path(given) else given
        if ref not in self.loaded:
            try:
                self.loaded[ref] = datasets.load(Path(ref) if datasets.is_card_path(given) else ref)
            except (DatasetError, OSError) as error:
                self.loaded[ref] = " ".join(str(error).split())
        found = self.loaded[ref]
        if isinstance(found, str):
            self.problems.add(place, found)
            return ref, None
        return ref, found

    def _transfer(self, trained_on: Dataset | None) -> tuple[Transfer, ...]:
        found: list[Transfer] = []
        for i, given in enumerate(self._get("transfer") or ()):
            place = (*self._where("transfer"), i)
            ref, dataset = self._load(given, place)
            if dataset is None:
                continue
            transfer = Transfer(ref, datasets.folder_name(ref), dataset)
            if problem := misplaced(transfer, trained_on, found):
                self.problems.add(place, problem)
            found.append(transfer)
        return tuple(found)

    def _domains(self, dataset: Dataset) -> DomainResolver:
        decided = self.protocol is not None and "sources" in self.protocol.settings
        sources = self._where("protocol" if decided and not self._in_file("sources") else "sources")
        return DomainResolver(
            problems=self.problems,
            dataset=dataset,
            pooled=self.protocol is not None and self.protocol.pooled,
            targets_path=self._where("targets"),
            sources_path=sources,
        )

    def _targets(self, dataset: Dataset | None) -> tuple[str, ...]:
        return self._domains(dataset).targets(self._get("targets")) if dataset is not None else ()

    def _sources(self, dataset: Dataset | None, targets: tuple[str, ...], needed: bool) -> tuple[tuple[str, ...], ...]:
        given = self._get("sources")
        if given is None:
            if needed and not self._in_file("sources"):
                self.problems.add(self.path, "key 'sources' is missing: the domains to fine-tune on")
            return ()
        return self._domains(dataset).sources(given, targets) if dataset is not None else ()

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

    def _baseline(self, methods: Sequence[MethodUse]) -> str:
        """The label that is given, or the first one: with a grid, its first point."""
        labels = [point.label for use in methods if use.kind == "trained" for point in use.points]
        given: str | None = self._get("baseline")
        if given is not None and given not in labels:
            self.problems.unknown(self._where("baseline"), "trained method of this benchmark", given, labels)
        return given or next(iter(labels), "")

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
