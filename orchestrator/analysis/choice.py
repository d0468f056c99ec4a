"""Choosing at report time: which rows a rule admits, and the best point of a grid. Pure functions; no ray, no torch.

Which weights of a run are kept is decided while it trains (`training.config.SelectionRule`), and the others are gone. So
another rule can be applied to a record afterwards only where it would have kept the same ones: what any rule kept at the last
step is what `last` keeps. Else a report can only be restricted to the trials that a rule selected. What can be chosen
afterwards is the point of a grid, since every point has its own records, and the variant (an alpha of WiSE-FT), since a record
has all of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from orchestrator.analysis.grid import Outcome
from orchestrator.records import Loaded, ResultsError, TrialRecord
from orchestrator.selection import describe
from orchestrator.spec import BenchmarkPlan, TrialSpec
from training.config import SelectionRule

Rule = Literal["reference_val", "reference_test", "last", "oracle"]

GRID_CHOICES: dict[Rule, str] = {
    "reference_val": "best of grid on reference validation",
    "oracle": "oracle: best of grid on the shifted domains that are reported",
}
"""Rules that also choose a point of each grid, as the row is labelled."""

Point = tuple[str, str]
"""label and variant"""
Points = dict[Point, dict[tuple[str, ...], list[Outcome]]]
"""of a grid: point -> sources -> a trial for each seed"""


def restrict(plans: Sequence[BenchmarkPlan], loaded: Loaded, rule: Rule) -> tuple[list[BenchmarkPlan], Loaded]:
    """Plans and records of the trials whose weights were chosen by `rule`, of what builds on them and of what does not train.

    `last` also admits what another rule kept at the last step. If there is any, all trials stay in the plans, and
    `Loaded.left_out` says why the others are not admitted. `oracle` chooses among grid points, not among weights, and leaves
    all of them.
    Raises ResultsError if no trial was selected by the rule.
    """
    specs = {id: record.spec for id, record in loaded.records.items()}
    specs |= {trial.id: trial.spec for plan in plans for trial in plan.trials}
    if rule == "last" and any(_ended(record) for record in loaded.records.values()):
        refused = _refused_by_last(specs, loaded.records)
        records = {id: record for id, record in loaded.records.items() if id not in refused}
        return list(plans), replace(loaded, records=records, left_out=refused)
    kept = {id for id in specs if rule == "oracle" or _admits(rule, id, specs)}
    present = sorted({spec.selection for spec in specs.values() if spec.recipe and spec.selection})
    if rule != "oracle" and rule not in present:
        raise ResultsError(
            f"no trial here has weights that were chosen by {rule!r}; there are: {', '.join(present) or 'none that train'}"
            " (the rule is applied while a trial trains: set selection: in the manifest and run it)"
        )
    restricted = [
        plan.model_copy(update={"trials": tuple(trial for trial in plan.trials if trial.id in kept)}) for plan in plans
    ]
    records = {id: record for id, record in loaded.records.items() if id in kept}
    return restricted, replace(loaded, records=records)


def grid_choices(outcomes: Sequence[Outcome], rule: Rule, joined: bool) -> list[Outcome]:
    """Outcomes of one more row for each method with a grid or with variants: its best point, which the label names.

    `outcomes` are of one benchmark and model. The point is chosen for each set of sources by the mean over seeds of the
    accuracy that the rule allows: for `reference_val` on held-out images of the sources, never on a test split. `joined`:
    sets of sources share a row, whose label then names a point only if all have the same. While a trial of a grid has no
    result there is no choice, and the row is empty and says why. Empty for rules that choose no grid point.
    """
    if rule not in GRID_CHOICES:
        return []
    found: list[Outcome] = []
    for (_, key, _), points in _grids(outcomes).items():
        if len(points) < 2:
            continue
        everywhere = list(dict.fromkeys(sources for by_sources in points.values() for sources in by_sources))
        chosen = [_choose(key, points, sources, rule) for sources in everywhere]
        names = {label for label, _ in chosen}
        if joined and len(names) > 1:
            name = f"{key}, {GRID_CHOICES[rule]} (for each held-out domain its own)"
            chosen = [(name, row) for _, row in chosen]
        found += [_labelled(o, label) for label, row in chosen for o in row]
    return found


def _grids(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str | None], Points]:
    """The points of each method, key and what it builds on; of a label without results one nameless variant."""
    variants: dict[tuple[str, str | None], dict[str, None]] = {}
    for o in outcomes:
        if o.record is not None and o.status == "done":
            variants.setdefault((o.trial.label, o.trial.of), {}).update({e.variant: None for e in o.record.evaluations})
    grids: dict[tuple[str, str, str | None], Points] = {}
    for o in outcomes:
        trial = o.trial
        if trial.kind != "reference":
            points = grids.setdefault((trial.spec.method, _key(trial.label), trial.of), {})
            for variant in variants.get((trial.label, trial.of), {"": None}):
                by_sources = points.setdefault((trial.label, variant), {})
                by_sources.setdefault(trial.spec.data.sources, []).append(replace(o, chosen=variant))
    return grids


def _choose(key: str, points: Points, sources: tuple[str, ...], rule: Rule) -> tuple[str, list[Outcome]]:
    """Label and outcomes of the best point; of two that are equal the first in the plan."""
    here = {point: by_sources[sources] for point, by_sources in points.items() if sources in by_sources}
    name = f"{key}, {GRID_CHOICES[rule]}"
    if why := next(_holes(here, rule), None):
        first = next(iter(here.values()))
        return name, [replace(o, status="missing", record=None, reason=why, stale=None, chosen="") for o in first]
    means = {
        point: statistics.fmean(score for o in row if (score := _score(o, rule)) is not None)
        for point, row in here.items()
    }
    best = max(means, key=lambda point: means[point])
    label, variant = best
    return f"{name}: {' '.join(filter(None, [label.removeprefix(key).strip(), variant]))}", here[best]


def _holes(points: Mapping[Point, Sequence[Outcome]], rule: Rule) -> Iterator[str]:
    """Why a grid has no best point yet."""
    for (label, variant), row in points.items():
        for o in row:
            name = f"no point is chosen: {', '.join(filter(None, [label, variant]))}, seed {o.trial.spec.seed}"
            if o.status != "done":
                yield f"{name}: {o.reason}"
            elif _score(o, rule) is None:
                what = "held-out accuracy of its sources" if rule == "reference_val" else "accuracy on shifted domains"
                yield f"{name} has no {what}"


def _score(o: Outcome, rule: Rule) -> float | None:
    """What a point is chosen by, as a fraction; None if the record lacks it."""
    data = o.trial.spec.data
    shifted = [domain for domain in data.targets if domain not in data.sources]
    domains, split = (data.sources, "val") if rule == "reference_val" else (shifted, "test")
    evaluations = o.record.evaluations if o.record else ()
    measured = {(e.domain, str(e.split)): e for e in evaluations if e.variant == o.chosen}
    if not domains or any((domain, split) not in measured for domain in domains):
        return None
    return statistics.fmean(measured[domain, split].accuracy for domain in domains)


def _labelled(o: Outcome, label: str) -> Outcome:
    return replace(o, trial=o.trial.model_copy(update={"label": label}))


def _key(label: str) -> str:
    """The method's key: 'lipsum_ft' of 'lipsum_ft strength=0.3'."""
    words = label.split(" ")
    return " ".join(words[: next((i for i, word in enumerate(words) if i and "=" in word), len(words))])


def _admits(rule: Rule, id: str, specs: Mapping[str, TrialSpec]) -> bool:
    """Whether all weights behind a trial were chosen by the rule; what does not train has none."""
    spec = specs.get(id)
    if spec is None:
        return False  # an input that is neither planned nor here
    if spec.recipe is not None:
        return spec.selection == rule
    return all(_admits(rule, input, specs) for input in spec.inputs)


def _last_step(record: TrialRecord) -> int | None:
    """Of a record that trained: after the last step there is always an evaluation; early records have no trace."""
    return record.trace[-1].step if record.trace else record.spec.recipe.num_steps if record.spec.recipe else None


def _ended(record: TrialRecord) -> bool:
    """Whether a trial trained and the weights of its last step were kept, by whatever rule."""
    if record.status != "completed" or record.spec.recipe is None:
        return False
    return record.spec.selection == "last" or record.selected_step == _last_step(record)


def _refused_by_last(specs: Mapping[str, TrialSpec], records: Mapping[str, TrialRecord]) -> dict[str, str]:
    """Completed trials whose weights, or those that they are made of, are not those of the last step; each with the reason."""

    def why(id: str) -> str:
        spec, record = specs.get(id), records.get(id)
        if spec is not None and spec.recipe is None:
            return next((f"built on {input}: {found}" for input in spec.inputs if (found := why(input))), "")
        if record is None or record.status != "completed":
            return "" if spec is not None and spec.selection == "last" else "which weights it kept is not known"
        if _ended(record):
            return ""
        step = "not known" if record.selected_step is None else f"{record.selected_step:,}"
        return f"its weights are not of the last step, {_last_step(record):,}: {spec_rule(record)} chose step {step}"

    def spec_rule(record: TrialRecord) -> str:
        return record.spec.selection or "its rule"

    return {id: found for id, record in records.items() if record.status == "completed" and (found := why(id))}


def page_stem(rule: Rule | None) -> str:
    """'leaderboard', or 'leaderboard.<rule>' of a report by a rule.

    So a restricted page never takes the place of the whole one, which `run` makes again, and two rules can lie side by side.
    """
    return "leaderboard" if rule is None else f"leaderboard.{rule}"


def rule_text(rule: Rule) -> str:
    """What a report that is restricted to a rule shows, in words."""
    if rule == "oracle":
        return "with an oracle's choice of grid points, made on the domains that are reported: no method can have it"
    text, optimistic = describe(rule)
    warning = ", selects on the reported split" if optimistic else ""
    if rule == "last":
        warning = "; also those that another rule chose at the last step"
    return f"only weights chosen by {rule}: {text}{warning}"


assert set(get_args(SelectionRule)) < set(get_args(Rule))  # noqa: S101 - a rule of training is one of reports
