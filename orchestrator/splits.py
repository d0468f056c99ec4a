"""Which images of a domain a trial trains on, holds out, and measures a target on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from datasets.shards import Prepared
from datasets.stream import Sample, hold_out
from orchestrator.spec import DataRef


@dataclass(frozen=True)
class Splits:
    """The images of each domain in their three roles.

    With target_split 'test', training and held-out images come from the train split, a target is measured on the test split.
    With 'in' all images of a domain are one pool: a target is measured on what a source would train on.
    """

    data: DataRef
    prepared: Prepared
    read: Callable[[str, str], list[Sample]]
    """(domain, split) -> its samples"""
    _held_out: dict[str, tuple[list[Sample], list[Sample]]] = field(default_factory=dict)

    def train(self, domain: str) -> list[Sample]:
        """What a source trains on."""
        return self._split(domain)[0]

    def val(self, domain: str) -> list[Sample]:
        """The held-out images."""
        return self._split(domain)[1]

    def target(self, domain: str) -> list[Sample]:
        """What a target is measured on."""
        return self.read(domain, "test") if self.data.target_split == "test" else self.train(domain)

    def measured(self) -> list[tuple[str, str, list[Sample]]]:
        """(domain, 'test' or 'val', images) of everything that a trial is evaluated on.

        'test': every target; 'val': the held-out images of the sources. Of a pool, the sources have held-out images alone,
        and a trial without sources has them for every target: what it is compared with is measured on such.
        """
        pooled, sources, targets = self.data.target_split == "in", self.data.sources, self.data.targets
        tested = [domain for domain in targets if not (pooled and domain in sources)]
        held_out = sources or (targets if pooled else ())
        return [(d, "test", self.target(d)) for d in tested] + [(d, "val", self.val(d)) for d in held_out]

    def measured_from(self) -> list[tuple[str, str]]:
        """(domain, split of the prepared dataset) of all images that targets are measured on."""
        if self.data.target_split == "test":
            return [(domain, "test") for domain in self.data.targets]
        return [(domain, split) for domain in self.data.targets for split in self._parts(domain)]

    def _parts(self, domain: str) -> list[str]:
        return [split for split in ("train", "test") if sum(self.prepared.counts[domain].get(split, []))]

    def _split(self, domain: str) -> tuple[list[Sample], list[Sample]]:
        if domain not in self._held_out:
            chosen = self.read(domain, "train") if self.data.target_split == "test" else self._pool(domain)
            self._held_out[domain] = hold_out(chosen, self.data.val_fraction, self.data.split_seed)
        return self._held_out[domain]

    def _pool(self, domain: str) -> list[Sample]:
        """All images of a domain, those of 'train' first; with the split in their keys if two have the same."""
        parts = {split: self.read(domain, split) for split in self._parts(domain)}
        pool = [sample for part in parts.values() for sample in part]
        if max(Counter(sample.key for sample in pool).values(), default=0) < 2:
            return pool
        return [
            replace(sample, key=f"{domain}/{split}/{sample.key.removeprefix(f'{domain}/')}")
            for split, part in parts.items()
            for sample in part
        ]
