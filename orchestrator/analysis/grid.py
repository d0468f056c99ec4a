"""The grid of a benchmark: which trials make up a row, and how each ended. No ray, no torch.

The grid comes from the stored plans. A folder without plans (merged, or moved without them) still has its records, and
`infer_plans` rebuilds what can be known from those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.planning.stale import Stale
from orchestrator.records import Loaded, TrialRecord
from orchestrator.spec import BenchmarkPlan, Kind, Location, PlannedTrial, TrialSpec

Status = Literal["done", "failed", "stale", "missing"]
"""stale: it has no record, but its cell has one that was made with other code, data, weights or settings"""

NOWHERE = Location(data="", pretrained="")
"""Location of a trial known only by its record: records do not say where a trial ran."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A planned trial and what came of it."""

    trial: PlannedTrial
    status: Status
    record: TrialRecord | None
    reason: str = ""
    """why there is no result; '' for done"""
    stale: Stale | None = None
    """of a stale trial: the record that its cell had before code, data or settings changed"""
    no_ece: str = ""
    """why its ECE cannot be had in the bins that were asked for"""
    chosen: str | None = None
    """of a row that was chosen when the report was made (`orchestrator.analysis.choice`): which variant; None: no such row"""

    def shown(self, variant: str) -> str:
        """The variant of its record that a row of `variant` shows."""
        return variant if self.chosen is None else self.chosen


def outcome(
    trial: PlannedTrial, loaded: Loaded, unreadable: Mapping[str, str], stale: Mapping[str, Stale] | None = None
) -> Outcome:
    """How a planned trial ended. `unreadable` maps the ids of damaged records to the reason, `stale` those of planned
    trials to the records of their cells that no longer match."""
    record = loaded.records.get(trial.id)
    if record is None:
        if trial.id in unreadable:
            return Outcome(trial, "missing", None, f"record cannot be read: {unreadable[trial.id]}")
        if trial.id in loaded.left_out:
            return Outcome(trial, "missing", None, loaded.left_out[trial.id])
        former = (stale or {}).get(trial.id)
        return (
            Outcome(trial, "stale", None, former.reason, former)
            if former
            else Outcome(trial, "missing", None, "not run")
        )
    if record.error is None:
        return Outcome(trial, "done", record, no_ece=loaded.no_ece.get(trial.id, ""))
    kind = "dependency failed" if record.error.failure_class == "dependency" else "failed"
    return Outcome(trial, "failed", record, f"{kind}: {record.error.type}: {record.error.message}")


def infer_plans(records: Mapping[str, TrialRecord]) -> list[BenchmarkPlan]:
    """One plan for each dataset (by content) and preprocessing among the records.

    Labels are the method's name and the settings that vary. Trials that never ran are unknown to it.
    """
    protocols = _grouped(records.values(), _protocol)
    names = _names(protocols, [group[0].spec.data.name for group in protocols.values()])
    return [_infer_plan(names[key], group) for key, group in protocols.items()]


def _infer_plan(name: str, records: Sequence[TrialRecord]) -> BenchmarkPlan:
    models = _grouped(records, lambda spec: spec.model.model_dump(mode="json"))
    model_names = _names(models, [group[0].spec.model.name for group in models.values()])
    trials = [trial for key, group in models.items() for trial in _infer_trials(name, model_names[key], group)]
    # A trained trial's targets begin with its source; those of what does not train are in the dataset's order.
    ordered = sorted(records, key=lambda record: bool(record.spec.data.sources))
    targets = dict.fromkeys(domain for record in ordered for domain in record.spec.data.targets)
    dataset = records[0].spec.data.name
    return BenchmarkPlan(
        benchmark=name,
        manifest="",
        dataset=dataset,
        dataset_title=dataset,
        domains=tuple(targets),
        leave_one_out=_leaves_one_out(
            {r.spec.data.sources: r.spec.data.targets for r in records if r.spec.data.sources}
        ),
        trials=tuple(trials),
    )


def _leaves_one_out(targets: Mapping[tuple[str, ...], tuple[str, ...]]) -> bool:
    """Whether sets of sources (several domains each, with their targets) leave out one target each, and not the same."""
    held_out = [set(evaluated) - set(sources) for sources, evaluated in targets.items()]
    single = all(len(left) == 1 and len(sources) > 1 for left, sources in zip(held_out, targets, strict=True))
    return single and len(held_out) > 1 and len(set.union(*held_out)) == len(held_out)


def _infer_trials(benchmark: str, model: str, records: Sequence[TrialRecord]) -> list[PlannedTrial]:
    labels: dict[str, str] = {}
    for of_source in _grouped(records, lambda spec: spec.data.sources).values():
        configs = _grouped(of_source, _config)
        names = _names(configs, [group[0].spec.method for group in configs.values()])
        labels |= {record.id: names[key] for key, group in configs.items() for record in group}
    order: dict[Kind, int] = {"reference": 0, "trained": 1, "post_hoc": 2}
    trials = [
        PlannedTrial(
            id=record.id,
            spec=record.spec,
            location=NOWHERE,
            benchmark=benchmark,
            label=labels[record.id],
            of=_of(record.spec, labels),
            model=model,
            kind=_kind(record.spec),
        )
        for record in records
    ]
    return sorted(trials, key=lambda t: (order[t.kind], t.label, t.of or "", t.spec.data.sources, t.spec.seed))


def _of(spec: TrialSpec, labels: Mapping[str, str]) -> str | None:
    # The method's name leads an id, for inputs whose records are not here.
    return " + ".join(dict.fromkeys(labels.get(id, id.split("-")[0]) for id in spec.inputs)) or None


def _kind(spec: TrialSpec) -> Kind:
    if spec.inputs:
        return "post_hoc"
    return "trained" if spec.recipe is not None else "reference"


def _protocol(spec: TrialSpec) -> dict[str, Any]:
    data = spec.data.model_dump(include={"name", "identity", "target_split", "class_names"})
    transfer = ", ".join(f"{ref.name} {ref.identity[:12]}" for ref in spec.data.transfer)
    return {**data, "transfer": transfer, "preprocessing": spec.preprocessing}


def _config(spec: TrialSpec) -> dict[str, Any]:
    """What makes a row, seeds and inputs aside."""
    fields = {"method", "method_version", "settings", "recipe", "selection"}
    # Where images are pooled, each seed has its own split.
    split = {"val_fraction", "split_seed"} if spec.data.target_split == "test" else {"val_fraction"}
    data = {"targets": sorted(spec.data.targets), **spec.data.model_dump(include=split)}
    return {**spec.model_dump(mode="json", include=fields), **data}


def _grouped(records: Iterable[TrialRecord], key: Callable[[TrialSpec], Any]) -> dict[str, list[TrialRecord]]:
    """Records by the canonical JSON of a part of their spec."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in sorted(records, key=lambda r: r.id):
        groups.setdefault(json.dumps(key(record.spec), sort_keys=True), []).append(record)
    return groups


def _names(keys: Mapping[str, Any], stems: Sequence[str]) -> dict[str, str]:
    """A name for each key (canonical JSON): its stem, plus the values in which keys of one stem differ."""
    flat = {key: _flatten(json.loads(key)) for key in keys}
    names = {}
    for key, stem in zip(keys, stems, strict=True):
        rivals = [flat[other] for other, s in zip(keys, stems, strict=True) if s == stem]
        varying = [path for path in flat[key] if len({json.dumps(r.get(path)) for r in rivals}) > 1]
        names[key] = " ".join([stem, *(f"{path.rpartition('.')[2]}={_short(flat[key][path])}" for path in varying)])
    return names


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.removeprefix("sha256:")[:12]


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    items = (_flatten(child, f"{path}.{key}" if path else key) for key, child in value.items())
    return {key: leaf for part in items for key, leaf in part.items()}
