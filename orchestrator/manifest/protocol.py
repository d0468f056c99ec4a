"""What a benchmark with `protocol:` must not say besides."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.manifest.errors import Problems
from orchestrator.manifest.methods import MethodUse
from orchestrator.manifest.schema import Shared
from orchestrator.manifest.yaml_lines import KeyPath
from orchestrator.protocols import Protocol


def check_keys(name: str, protocol: Protocol, entries: Sequence[tuple[Shared, KeyPath]], problems: Problems) -> None:
    """Note keys that the protocol decides and `entries`, with where they stand, give another value."""
    for entry, path in entries:
        for key in sorted(entry.model_fields_set & {*protocol.settings, "split_seed"}):
            decided, given = protocol.settings.get(key, "the seed of each trial"), getattr(entry, key)
            if given is not None and given != decided:
                problems.add(
                    (*path, key), f"contradicts protocol {name!r}, where it is {decided}; remove one of the two"
                )


def check_combined(
    name: str, path: KeyPath, methods: Sequence[MethodUse], post_hoc: Sequence[MethodUse], problems: Problems
) -> None:
    """Note what would combine a single trial, under a protocol that holds out other images for each seed.

    Only trials of one seed can be combined then. `path`: of the benchmark.
    """
    points = {use.key: len(use.points) for use in methods}
    for use in (use for use in post_hoc if use.many):
        for i, label in enumerate(use.of):
            if points.get(label) == 1:
                message = (
                    f"{use.key!r} combines the trials of one seed, because protocol {name!r} holds out other images "
                    f"for each seed, and {label!r} has one trial a seed; give {label!r} a grid"
                )
                problems.add((*path, "post_hoc", use.key, "of", i), message)
