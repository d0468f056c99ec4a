"""Records and plans -> tables of means over seeds. Pure functions; no ray, no torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.grid import Kind, Outcome, infer_plans, outcome
from orchestrator.records import Evaluation, Loaded
from orchestrator.series import Series, combine, difference
from orchestrator.spec import BenchmarkPlan, PlannedTrial

BASELINE = "ft"
"""The method that others are compared with, next to the zero-shot model: plain fine-tuning."""


@dataclass(frozen=True, slots=True)
class Row:
    """One predictor of a table: a method with its settings, and for a post-hoc method what it builds on and the variant."""

    label: str
    of: str | None
    variant: str
    parameters: Mapping[str, float]
    """what sets the variant apart: {'alpha': 0.5}"""
    kind: Kind
    method: str
    accuracy: Mapping[str, Series]
    """domain -> top-1 on its test split, as a fraction"""
    nll: Mapping[str, Series]
    """domain -> mean negative log-likelihood on its test split, nats"""
    reference: Series
    shift: Series
    reference_nll: Series
    shift_nll: Series

    @property
    def name(self) -> str:
        """The row in words: 'wise_ft of lipsum_ft, alpha=0.5'."""
        return self.label + (f" of {self.of}" if self.of else "") + (f", {self.variant}" if self.variant else "")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of a row to another, paired by seed, as fractions; empty with a reason for the row itself."""

    reference: Series
    shift: Series


@dataclass(frozen=True, slots=True)
class Table:
    """One benchmark, model and set of reference domains."""

    benchmark: str
    model: str
    sources: tuple[str, ...]
    """reference domains; empty if nothing of the benchmark trains"""
    shifted: tuple[str, ...]
    rows: tuple[Row, ...]
    zero_shot: Row | None
    baseline: Row | None
    to_zero_shot: tuple[Comparison, ...]
    """one for each row"""
    to_baseline: tuple[Comparison, ...]
    """one for each row"""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything a report shows."""

    plans: tuple[BenchmarkPlan, ...]
    tables: tuple[Table, ...]
    outcomes: tuple[Outcome, ...]
    """one for each planned trial; a trial of two benchmarks comes twice"""
    inferred: bool
    """True: there were no plans, the grid was rebuilt from the records"""
    unplanned: tuple[str, ...]
    """ids of records that no plan lists"""
    unreadable: Mapping[str, str]
    """'trials/<id>/record.json' -> why it cannot be read"""


def aggregate(plans: Sequence[BenchmarkPlan], loaded: Loaded, baseline: str = BASELINE) -> Board:
    """Tables of all benchmarks. Without plans the grid is inferred from the records.

    `baseline` is the method that rows are compared with besides the zero-shot model.
    """
    inferred = not plans
    plans = tuple(plans) or tuple(infer_plans(loaded.records))
    damaged = {path.parent.name: reason.removeprefix(f"{path}: ") for path, reason in loaded.unreadable.items()}
    outcomes = [outcome(trial, loaded, damaged) for plan in plans for trial in plan.trials]
    tables = []
    for plan in plans:
        own = [o for o in outcomes if o.trial.benchmark == plan.benchmark]
        for model in dict.fromkeys(o.trial.model for o in own):
            tables += _tables(plan, model, [o for o in own if o.trial.model == model], baseline)
    planned = {o.trial.id for o in outcomes}
    return Board(
        plans=plans,
        tables=tuple(tables),
        outcomes=tuple(outcomes),
        inferred=inferred,
        unplanned=tuple(sorted(set(loaded.records) - planned)),
        unreadable={f"trials/{id}/record.json": reason for id, reason in sorted(damaged.items())},
    )


def _tables(plan: BenchmarkPlan, model: str, outcomes: Sequence[Outcome], baseline: str) -> list[Table]:
    """One table for each set of reference domains; trials without one (zero-shot) are part of each."""
    sources = dict.fromkeys(o.trial.spec.data.sources for o in outcomes if o.trial.spec.data.sources)
    tables = []
    for source in sources or [()]:
        own = [o for o in outcomes if o.trial.spec.data.sources in ((), source)]
        targets = {domain for o in own for domain in o.trial.spec.data.targets}
        order = dict.fromkeys([*plan.domains, *sorted(targets)])
        shifted = tuple(domain for domain in order if domain in targets and domain not in source)
        tables.append(_table(plan.benchmark, model, source, shifted, _rows(own, source, shifted), baseline))
    return tables


def _table(
    benchmark: str, model: str, sources: tuple[str, ...], shifted: tuple[str, ...], rows: Sequence[Row], baseline: str
) -> Table:
    zero_shot = next((row for row in rows if row.kind == "reference"), None)
    plain = [row for row in rows if row.kind == "trained" and row.method == baseline]
    # With a grid over plain fine-tuning, only the point that bears the method's bare name is the baseline.
    base = plain[0] if len(plain) == 1 else next((row for row in plain if row.label == baseline), None)
    no_base = (
        f"{len(plain)} rows of {baseline}, none of them is the baseline" if plain else f"no {baseline} in this table"
    )
    return Table(
        benchmark=benchmark,
        model=model,
        sources=sources,
        shifted=shifted,
        rows=tuple(rows),
        zero_shot=zero_shot,
        baseline=base,
        to_zero_shot=tuple(_compare(row, zero_shot, "no zero-shot model in this table") for row in rows),
        to_baseline=tuple(_compare(row, base, no_base) for row in rows),
    )


def _compare(row: Row, other: Row | None, no_other: str) -> Comparison:
    if other is None or other is row:
        nothing = Series({}, absent=no_other if other is None else "the row compared with")
        return Comparison(nothing, nothing)
    return Comparison(
        difference(row.reference, other.reference, other.name), difference(row.shift, other.shift, other.name)
    )


def _rows(outcomes: Sequence[Outcome], sources: tuple[str, ...], shifted: tuple[str, ...]) -> list[Row]:
    groups: dict[tuple[str, str | None], list[Outcome]] = {}
    for o in outcomes:
        groups.setdefault((o.trial.label, o.trial.of), []).append(o)
    return [
        _row(group, variant, parameters, sources, shifted)
        for group in groups.values()
        for variant, parameters in _variants(group)
    ]


def _variants(outcomes: Sequence[Outcome]) -> list[tuple[str, Mapping[str, float]]]:
    """Variants of a row's trials with what sets each apart, by their parameters; one nameless while none is known."""
    found: dict[str, Mapping[str, float]] = {}
    for o in outcomes:
        if o.record is not None:
            for evaluation in o.record.evaluations:
                found.setdefault(evaluation.variant, o.record.variants.get(evaluation.variant, {}))
    return sorted(found.items(), key=lambda item: tuple(item[1].values())) or [("", {})]


def _row(
    outcomes: Sequence[Outcome],
    variant: str,
    parameters: Mapping[str, float],
    sources: tuple[str, ...],
    shifted: tuple[str, ...],
) -> Row:
    trial = outcomes[0].trial
    evaluations = {o.trial.id: _tested(o, variant) for o in outcomes}

    def series(domain: str, metric: Callable[[Evaluation], float]) -> Series:
        return _series(outcomes, evaluations, variant, domain, metric)

    accuracy = {domain: series(domain, lambda e: e.accuracy) for domain in (*sources, *shifted)}
    nll = {domain: series(domain, lambda e: e.nll) for domain in (*sources, *shifted)}
    return Row(
        label=trial.label,
        of=trial.of,
        variant=variant,
        parameters=parameters,
        kind=trial.kind,
        method=trial.spec.method,
        accuracy=accuracy,
        nll=nll,
        reference=_over(accuracy, sources, "no reference domain"),
        shift=_over(accuracy, shifted, "no shifted domain"),
        reference_nll=_over(nll, sources, "no reference domain"),
        shift_nll=_over(nll, shifted, "no shifted domain"),
    )


def _over(series: Mapping[str, Series], domains: Iterable[str], absent: str) -> Series:
    chosen = [series[domain] for domain in domains]
    return combine(statistics.fmean, *chosen) if chosen else Series({}, absent=absent)


def _tested(o: Outcome, variant: str) -> dict[str, Evaluation]:
    if o.status != "done" or o.record is None:
        return {}
    return {e.domain: e for e in o.record.evaluations if e.split == "test" and e.variant == variant}


def _series(
    outcomes: Sequence[Outcome],
    evaluations: Mapping[str, Mapping[str, Evaluation]],
    variant: str,
    domain: str,
    metric: Callable[[Evaluation], float],
) -> Series:
    values: dict[int, float] = {}
    missing: dict[int, str] = {}
    by_seed: dict[int, list[PlannedTrial]] = {}
    for o in outcomes:
        by_seed.setdefault(o.trial.spec.seed, []).append(o.trial)
    for o in outcomes:
        seed, tested = o.trial.spec.seed, evaluations[o.trial.id]
        if len(rivals := by_seed[seed]) > 1:
            missing[seed] = f"{len(rivals)} trials share this row and seed: {', '.join(t.id for t in rivals)}"
        elif o.status != "done":
            missing[seed] = o.reason
        elif domain in tested:
            values[seed] = metric(tested[domain])
        else:
            missing[seed] = f"not evaluated on {domain}" if tested else f"has no variant {variant}"
    return Series(values, missing, constant=len(outcomes) == 1 and outcomes[0].trial.kind == "reference")
