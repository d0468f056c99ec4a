"""Which domains a benchmark trains on and is evaluated on: `targets:` and `sources:` looked up in the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets.base import Dataset
from orchestrator.manifest.errors import Problems
from orchestrator.manifest.schema import ALL
from orchestrator.manifest.yaml_lines import KeyPath
from orchestrator.protocols import ALL_BUT_TARGET


@dataclass(frozen=True)
class DomainResolver:
    """Looks up the domains of one benchmark and notes what is wrong."""

    problems: Problems
    dataset: Dataset
    pooled: bool
    """the protocol splits the images of a domain itself, so that any domain can be trained on and evaluated"""
    targets_path: KeyPath
    sources_path: KeyPath
    """where the two keys, or what stands for them, are in the file"""

    def targets(self, given: Any) -> tuple[str, ...]:
        """The domains to evaluate, of the key's value: in its order, or the dataset's default ones."""
        found = tuple(self.dataset.info.default_domains if given == ALL else given)
        places = [self.targets_path if given == ALL else (*self.targets_path, i) for i in range(len(found))]
        for domain, place in zip(found, places, strict=True):
            if self._known(place, domain) and not self._has(domain, "test"):
                self.problems.add(
                    place,
                    f"domain {domain!r} has no test split to be evaluated on; those that have one: {self._those('test')}; "
                    "`protocol: domainbed` splits domains itself",
                )
        self._check_repeats(self.targets_path, found)
        return found

    def sources(self, given: Any, targets: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """The domains that each trial trains on, of the key's value; those of one trial in the dataset's order."""
        path = self.sources_path
        if given == ALL_BUT_TARGET:
            if len(targets) == 1:
                self.problems.add(path, f"leaves no source: {targets[0]!r} is the only target")
            cells = [tuple(domain for domain in targets if domain != held_out) for held_out in targets]
        else:
            cells = [(d,) for d in targets] if given == ALL else [(d,) if isinstance(d, str) else d for d in given]
        for i, cell in enumerate(cells):
            place = path if isinstance(given, str) else (*path, i)
            self._check_cell(place, cell, () if isinstance(given, str) or isinstance(given[i], str) else place, targets)
        ordered = [tuple(domain for domain in self.dataset.info.domains if domain in cell) for cell in cells]
        self._check_repeats(path, [" + ".join(cell) for cell in ordered])
        return tuple(ordered)

    def _check_cell(self, place: KeyPath, cell: Sequence[str], inner: KeyPath, targets: tuple[str, ...]) -> None:
        """`place`: of the item; `inner`: of the list that the item is, if it is one."""
        for j, domain in enumerate(cell):
            if not self._known((*inner, j) if inner else place, domain):
                continue
            if domain not in targets:
                message = f"source {domain!r} is missing from the targets; the reference domain is evaluated as well"
                self.problems.add(place, message)
            if not self._has(domain, "train"):
                message = f"source {domain!r} has no train split; those that have one: {self._those('train')}"
                self.problems.add(place, message)
        if inner:
            self._check_repeats(inner, cell)

    def _known(self, place: KeyPath, domain: str) -> bool:
        known = self.dataset.info.domains
        if domain not in known:
            self.problems.unknown(place, f"domain of dataset {self.dataset.info.name!r}:", domain, known)
        return domain in known

    def _has(self, domain: str, split: str) -> bool:
        """Whether there are such images; a dataset that does not state its counts is asked when it is prepared."""
        counts = self.dataset.info.counts
        return self.pooled or domain not in counts or counts[domain].get(split, 0) > 0

    def _those(self, split: str) -> str:
        return ", ".join(domain for domain in self.dataset.info.domains if self._has(domain, split)) or "none"

    def _check_repeats(self, path: KeyPath, values: Sequence[str]) -> None:
        for i, value in enumerate(values):
            if value and value in values[:i]:
                self.problems.add((*path, i), f"{value!r} is listed twice")
