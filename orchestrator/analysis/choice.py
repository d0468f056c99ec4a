"""Choosing at report time: which rows a rule admits, and the best point of a grid. Pure functions; no ray, no torch.

Which weights of a run are kept is decided while it trains (`training.config.SelectionRule`), and the others are gone. So
another rule cannot be applied to a record afterwards: a report can only be restricted to the trials that a rule selected.
What can be chosen afterwards is the point of a grid, since every point has its own records.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from orchestrator.analysis.grid import Outcome
from orchestrator.records import Evaluation, Loaded
from orchestrator.selection import describe
from orchestrator.spec import BenchmarkPlan, TrialSpec
from training.config import SelectionRule

Rule = Literal["reference_val", "reference_test", "last", "oracle"]

GRID_CHOICES: dict[Rule, str] = {
    "reference_val": "best of grid on reference validation",
    "oracle": "oracle: best of grid on the shifted domains that are reported",
}
"""Rules that also choose a point of each grid, as the row is labelled."""

Point = tuple[str, tuple[str, ...]]
"""label and sources"""


def restrict(plans: Sequence[BenchmarkPlan], loaded: Loaded, rule: Rule) -> tuple[list[BenchmarkPlan], Loaded]:
    """Plans and records of the trials whose weights were chosen by `rule`, of what builds on them and of what does not train.

    `oracle` chooses among grid points, not among weights, and leaves all of them.
    Raises ValueError if no trial was selected by the rule.
    """
    specs = {id: record.spec for id, record in loaded.records.items()}
    specs |= {trial.id: trial.spec for plan in plans for trial in plan.trials}
    kept = {id for id in specs if rule == "oracle" or _admits(rule, id, specs)}
    present = sorted({spec.selection for spec in specs.values() if spec.recipe and spec.selection})
    if rule != "oracle" and rule not in present:
        raise ValueError(
            f"no trial here has weights that were chosen by {rule!r}; there are: {', '.join(present) or 'none that train'}"
            " (the rule is applied while a trial trains: set selection: in the manifest and run it)"
        )
    restricted = [
        plan.model_copy(update={"trials": tuple(trial for trial in plan.trials if trial.id in kept)}) for plan in plans
    ]
    records = {id: record for id, record in loaded.records.items() if id in kept}
    return restricted, Loaded(records, loaded.unreadable)


def grid_choices(outcomes: Sequence[Outcome], rule: Rule, joined: bool) -> list[Outcome]:
    """Outcomes of one more row for each trained method with a grid: its best point, which the label names.

    `outcomes` are of one benchmark and model. The point is chosen for each set of sources by the mean over seeds of the
    accuracy that the rule allows: for `reference_val` on held-out images of the sources, never on a test split. `joined`:
    sets of sources share a row, whose label then names a point only if all have the same. While a trial of a grid has no
    result there is no choice, and the row is empty and says why. Empty for rules that choose no grid point.
    """
    if rule not in GRID_CHOICES:
        return []
    grids: dict[tuple[str, str], dict[Point, list[Outcome]]] = {}
    for o in outcomes:
        if o.trial.kind == "trained":
            point = o.trial.label, o.trial.spec.data.sources
            grids.setdefault((o.trial.spec.method, _key(o.trial.label)), {}).setdefault(point, []).append(o)
    found: list[Outcome] = []
    for (_, key), points in grids.items():
        labels = list(dict.fromkeys(label for label, _ in points))
        if len(labels) < 2:
            continue
        chosen = [_choose(key, labels, points, sources, rule) for sources in dict.fromkeys(s for _, s in points)]
        names = {label for label, _ in chosen}
        if joined and len(names) > 1:
            everywhere = f"{key}, {GRID_CHOICES[rule]} (for each held-out domain its own)"
            chosen = [(everywhere, row) for _, row in chosen]
        found += [_labelled(o, label) for label, row in chosen for o in row]
    return found


def _choose(
    key: str, labels: Sequence[str], points: Mapping[Point, list[Outcome]], sources: tuple[str, ...], rule: Rule
) -> tuple[str, list[Outcome]]:
    """Label and outcomes of the best point; of two that are equal the first in the plan."""
    here = {label: points[label, sources] for label in labels if (label, sources) in points}
    name = f"{key}, {GRID_CHOICES[rule]}"
    if why := next(_holes(here, rule), None):
        first = next(iter(here.values()))
        return name, [replace(o, status="missing", record=None, reason=why, stale=None) for o in first]
    means = {label: statistics.fmean(_score(o, rule) or 0.0 for o in row) for label, row in here.items()}
    best = max(means, key=lambda label: means[label])
    return f"{name}: {best.removeprefix(key).strip()}", here[best]


def _holes(points: Mapping[str, Sequence[Outcome]], rule: Rule) -> Iterator[str]:
    """Why a grid has no best point yet."""
    for label, row in points.items():
        for o in row:
            if o.status != "done":
                yield f"no point is chosen: {label}, seed {o.trial.spec.seed}: {o.reason}"
            elif _score(o, rule) is None:
                what = "held-out accuracy of its sources" if rule == "reference_val" else "accuracy on shifted domains"
                yield f"no point is chosen: {label}, seed {o.trial.spec.seed} has no {what}"


def _score(o: Outcome, rule: Rule) -> float | None:
    """What a point is chosen by, as a fraction; None if the record lacks it."""
    data = o.trial.spec.data
    shifted = [domain for domain in data.targets if domain not in data.sources]
    domains, split = (data.sources, "val") if rule == "reference_val" else (shifted, "test")
    measured = {(e.domain, str(e.split)): e for e in _evaluations(o)}
    if not domains or any((domain, split) not in measured for domain in domains):
        return None
    return statistics.fmean(measured[domain, split].accuracy for domain in domains)


def _evaluations(o: Outcome) -> list[Evaluation]:
    return [e for e in o.record.evaluations if not e.variant] if o.record else []


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
    return f"only weights chosen by {rule}: {text}{warning}"


assert set(get_args(SelectionRule)) < set(get_args(Rule))  # noqa: S101 - a rule of training is one of reports
