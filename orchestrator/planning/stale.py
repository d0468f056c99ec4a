"""Stale records: of a cell of the plan, but made with other code, data, weights or settings. No ray, no torch.

A trial's id is the hash of everything that changes its result, so such a record lies under another id and is never mixed
in: its cell has no result, and `run` leaves it so until it is asked to `--rerun-stale` (`todo.py`). This module only says
why there is no result although there was one.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from orchestrator.records import Results, TrialRecord, read_record
from orchestrator.spec import UNPREPARED, BenchmarkPlan, PlannedTrial, TrialSpec

_log = logging.getLogger(__name__)
SHOWN_FIELDS = 3
"""Differing fields that a reason names; the rest is counted."""

Cell = tuple[str, str, tuple[str, ...], int, str, tuple[str, ...]]
"""method, dataset, sources, seed, architecture and, for what builds on trials, their methods"""


@dataclass(frozen=True, slots=True)
class Stale:
    """The record that a planned trial had before something changed."""

    record: str
    """its id"""
    fields: tuple[str, ...]
    """fields of the spec that differ, in the spec's order: 'method_version', 'settings.strength', 'data.identity'"""

    @property
    def reason(self) -> str:
        """'stale: data.identity changed (record ft-demo-real-s0-0123456789ab)'."""
        shown = ", ".join(self.fields[:SHOWN_FIELDS])
        more = f" and {len(self.fields) - SHOWN_FIELDS} more" if len(self.fields) > SHOWN_FIELDS else ""
        return f"stale: {shown}{more} changed (record {self.record})"


def find_stale(planned: Iterable[PlannedTrial], records: Mapping[str, TrialSpec]) -> dict[str, Stale]:
    """Planned id -> the record of another id that is nearest to it, for each trial that has one in its cell.

    `records` are the specs of completed records that no plan lists, by id. One record belongs to one trial at most: of the
    points of a grid each gets the record that differs in the fewest fields. Trials whose data or weights are not on this
    machine are left out, since their ids say nothing. `planned` has inputs before what needs them, as a plan has.
    """
    trials = {trial.id: trial.spec for trial in planned if not _unprepared(trial.spec)}
    before = _by_cell({id: spec for id, spec in records.items() if id not in trials})
    found: dict[str, Stale] = {}
    successor: dict[str, str] = {}
    """old id -> the planned trial whose record it was: inputs that changed only for theirs are the same inputs"""
    for cell, specs in _by_cell(trials).items():
        for id, stale in _nearest(specs, before[cell], successor) if cell in before else ():
            found[id], successor[stale.record] = stale, id
    return found


def _by_cell(specs: Mapping[str, TrialSpec]) -> dict[Cell, dict[str, TrialSpec]]:
    """Cell -> its specs by id, all in their order."""
    cells = defaultdict[Cell, dict[str, TrialSpec]](dict)
    for id, spec in specs.items():
        cells[_cell(spec)][id] = spec
    return cells


def _nearest(
    specs: Mapping[str, TrialSpec], records: Mapping[str, TrialSpec], successor: Mapping[str, str]
) -> Iterator[tuple[str, Stale]]:
    """Pairs of a planned trial and a record of one cell, each in one pair at most, those that differ least first."""
    new, old = ({id: _flat(spec) for id, spec in some.items()} for some in (specs, records))
    fields = {(id, record): _differing(new[id], old[record]) for id in new for record in old}
    other_inputs = {
        (id, record): tuple(successor.get(i, i) for i in records[record].inputs) != specs[id].inputs
        for id, record in fields
    }
    taken: set[str] = set()
    for id, record in sorted(fields, key=lambda pair: (other_inputs[pair], len(fields[pair]), pair[1])):
        if fields[id, record] and not {id, record} & taken:
            taken |= {id, record}
            yield id, Stale(record, fields[id, record])


def unplanned_records(results: Results, planned: Collection[str], missing: Iterable[str]) -> dict[str, TrialSpec]:
    """Specs of completed records in the cells of the `missing` trials, which neither `planned` nor a stored plan lists.

    Only the records that can matter are read: an id's readable prefix names method, dataset, sources and seed. A benchmark
    is planned anew in `planned`, so the stored plans that count are those of the others.
    """
    prefixes = {_prefix(id) for id in missing}
    folders = {path.parent.name: path for path in (results.root / "trials").glob("*/record.json")} if prefixes else {}
    candidates = {id: path for id, path in folders.items() if id not in planned and _prefix(id) in prefixes}
    found = {}
    for id, path in sorted(candidates.items()):
        try:
            record = read_record(path)
        except (FileNotFoundError, ValueError) as error:
            _log.warning("unreadable record, it is not looked at: %s", error)
        else:
            if record.status == "completed":
                found[id] = record.spec
    return found


def stored_ids(results: Results, except_for: Collection[str]) -> set[str]:
    """Ids in the stored plans of all benchmarks but those of these names. Plans that cannot be read are named in the log."""
    found: set[str] = set()
    for path in sorted((results.root / "plans").glob("*.json")):
        if path.stem in except_for:
            continue
        try:
            found |= {trial.id for trial in BenchmarkPlan.model_validate_json(path.read_bytes()).trials}
        except ValidationError as error:
            _log.warning("%s: not a plan this version can read: %s", path, error.errors()[0]["msg"])
    return found


def stale_of_plans(plans: Sequence[BenchmarkPlan], results: Results, missing: Collection[str]) -> dict[str, Stale]:
    """Planned id -> its stale record, for trials of fresh plans that are `missing` in this folder."""
    trials = {trial.id: trial for plan in plans for trial in plan.trials}
    wanted = set(missing)
    records = unplanned_records(results, trials.keys(), wanted)
    if records:
        elsewhere = stored_ids(results, {plan.benchmark for plan in plans})
        records = {id: spec for id, spec in records.items() if id not in elsewhere}
    return {id: stale for id, stale in find_stale(trials.values(), records).items() if id in wanted}


def completed_unplanned(records: Mapping[str, TrialRecord], planned: Collection[str]) -> dict[str, TrialSpec]:
    """What `find_stale` takes, from loaded records."""
    return {r.id: r.spec for r in records.values() if r.status == "completed" and r.id not in planned}


def tally(found: Iterable[Stale]) -> str:
    """'3 data.identity, 1 settings.strength': stale trials counted by the first field that differs."""
    counts = Counter(stale.fields[0] for stale in found)
    return ", ".join(f"{number} {field}" for field, number in counts.most_common())


def _cell(spec: TrialSpec) -> Cell:
    inputs = tuple(sorted({_method_of(id) for id in spec.inputs}))
    return spec.method, spec.data.name, spec.data.sources, spec.seed, spec.model.name, inputs


def _method_of(id: str) -> str:
    return id.split("-")[0]


def _prefix(id: str) -> str:
    return id.rpartition("-")[0]


def _unprepared(spec: TrialSpec) -> bool:
    return UNPREPARED in (spec.data.identity, spec.model.weights, *(ref.identity for ref in spec.data.transfer))


def _differing(new: Mapping[str, str], old: Mapping[str, str]) -> tuple[str, ...]:
    """Fields in the order of the new spec, then those that only the old one has."""
    return tuple(path for path in dict.fromkeys([*new, *old]) if new.get(path) != old.get(path))


def _flat(spec: TrialSpec) -> dict[str, str]:
    """Path of a field -> its JSON. Settings and parts of the spec are opened, lists are not."""
    flat: dict[str, str] = {}

    def add(value: Any, path: str) -> None:
        if isinstance(value, dict) and value:
            for key, child in value.items():
                add(child, f"{path}.{key}" if path else key)
        else:
            flat[path] = json.dumps(value, sort_keys=True)

    add(spec.model_dump(mode="json"), "")
    return flat
