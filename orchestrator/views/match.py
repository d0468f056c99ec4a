"""Which of our trials measure what a row of a published table does. No ray, no torch.

A trial is taken by what it is (method, settings, dataset, model, reference domain), never by its label. Where several
configurations fit, those of the view's own benchmarks are preferred, then the one closest to the published protocol; if that
leaves two, none is taken, and the reason says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.analysis.grid import Outcome, infer_plans, outcome
from orchestrator.records import Loaded, TrialRecord
from orchestrator.spec import BenchmarkPlan, TrialSpec
from orchestrator.views.protocol import differences
from orchestrator.views.spec import Panel, Row, View

NOT_RUN = "not run"
"""Why a row has no trials: none of the folder's plans or records has any."""


class NoValueError(Exception):
    """A trial has not what is to be shown; the message is the reason. None of Python's own: a bug must not pass for one."""


@dataclass(frozen=True, slots=True)
class Match:
    """The trials of one row on one dataset, all of one configuration."""

    outcomes: tuple[Outcome, ...]
    """by seed, and by held-out domain where each is held out in turn"""
    differences: tuple[str, ...]
    """to the published protocol"""
    why: str = ""
    """why there is none"""


class Trials:
    """All planned trials of a folder; without plans, those that left a record."""

    def __init__(self, plans: Sequence[BenchmarkPlan], loaded: Loaded) -> None:
        damaged = {path.parent.name: reason for path, reason in loaded.unreadable.items()}
        self.benchmarks: dict[str, set[str]] = {}
        self.outcomes: dict[str, Outcome] = {}
        for trial in (trial for plan in plans or infer_plans(loaded.records) for trial in plan.trials):
            self.benchmarks.setdefault(trial.id, set()).add(trial.benchmark)
            self.outcomes.setdefault(trial.id, outcome(trial, loaded, damaged))

    def match(self, view: View, panel: Panel, row: Row, dataset: str) -> Match:
        """The trials of a row on a dataset of its panel."""
        if not row.method:
            return Match((), (), "not a method of this project")
        fits = [o for o in self.outcomes.values() if self._fits(o.trial.spec, panel, row, dataset)]
        own = [o for o in fits if self.benchmarks[o.trial.id] & set(view.benchmarks)]
        groups: dict[str, list[Outcome]] = {}
        for o in own or fits:
            groups.setdefault(self._configuration(o.trial.spec, row), []).append(o)
        if not groups:
            return Match((), (), NOT_RUN)
        ranked = sorted((self._differences(group, panel, row), key) for key, group in groups.items())
        fewest = len(min((found for found, _ in ranked), key=len))
        best = [(found, key) for found, key in ranked if len(found) == fewest]
        if len(best) > 1:
            which = ", ".join(sorted(groups[key][0].trial.id for _, key in best)[:3])
            reason = f"{len(best)} configurations fit ({which}); one of the view's benchmarks would decide"
            return Match((), (), reason)
        found, key = best[0]
        return Match(_one_each(groups[key]), found)

    def _fits(self, spec: TrialSpec, panel: Panel, row: Row, dataset: str) -> bool:
        if (spec.method, spec.data.name, spec.model.name) != (row.method, dataset, panel.model):
            return False
        if not _has(spec.settings, row.settings) or not _lists(spec.settings, row.parameters):
            return False
        if panel.sources and spec.data.sources not in ((), panel.sources):
            return False
        if not spec.inputs:
            return row.of is None and (spec.recipe is None or _has(spec.recipe.model_dump(mode="json"), row.recipe))
        return row.of is not None and all(self._is_input(id, row.of, row.recipe) for id in spec.inputs)

    def _is_input(self, id: str, of: Row, recipe: Mapping[str, Any]) -> bool:
        known = self.outcomes.get(id)
        if known is None:  # merged folders may lack it; the method leads an id
            return id.split("-")[0] == of.method and not of.settings
        spec = known.trial.spec
        own = spec.recipe.model_dump(mode="json") if spec.recipe else {}
        return spec.method == of.method and _has(spec.settings, of.settings) and _has(own, recipe)

    def _configuration(self, spec: TrialSpec, row: Row) -> str:
        """Everything that changes a result but the seed, the fold, and what else was measured in the same trial."""
        content = spec.model_dump(mode="json", exclude={"seed", "inputs"})
        for key in ("sources", "targets", "transfer", "split_seed"):
            del content["data"][key]
        content["settings"] = {k: v for k, v in spec.settings.items() if not (row.parameters and isinstance(v, list))}
        known = [self.outcomes[id].trial.spec for id in spec.inputs if id in self.outcomes]
        content["inputs"] = sorted({self._configuration(found, Row("", "")) for found in known})
        return json.dumps(content, sort_keys=True)

    def _differences(self, group: Sequence[Outcome], panel: Panel, row: Row) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for o in group:
            found |= dict.fromkeys(differences(o.trial.spec, o.record, panel, row))
            inputs = (self.outcomes[id] for id in o.trial.spec.inputs if id in self.outcomes)
            many = len(o.trial.spec.inputs) > 1  # a soup's ingredients are meant to differ in their recipe
            own = replace(row.of or row, recipe={} if many else row.recipe)
            for given in inputs:
                found |= dict.fromkeys(differences(given.trial.spec, given.record, panel, own, any_recipe=many))
        return tuple(found)


def _one_each(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """One for each seed and fold. Two benchmarks may measure one training on other targets: a finished trial stands for both."""
    found: dict[tuple[int, tuple[str, ...]], Outcome] = {}
    for o in sorted(outcomes, key=lambda o: (o.status != "done", o.trial.id)):
        found.setdefault((o.trial.spec.seed, o.trial.spec.data.sources), o)
    return tuple(found[key] for key in sorted(found))


def _has(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(key in values and values[key] == value for key, value in wanted.items())


def _lists(settings: Mapping[str, Any], parameters: Mapping[str, float]) -> bool:
    """Whether a trial with such settings has the variant: one of its settings lists the value."""
    lists: Iterable[list[Any]] = [value for value in settings.values() if isinstance(value, list)]
    return all(any(value in listed for listed in lists) for value in parameters.values())


def variant_of(record: TrialRecord, parameters: Mapping[str, float]) -> str | None:
    """Name of the variant with these parameters; '' without any, None if the record has none such."""
    if not parameters:
        return ""
    return next((name for name, found in record.variants.items() if dict(found) == dict(parameters)), None)
