"""Records and plans -> tables of means over seeds. Pure functions; no ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.analysis.choice import Rule, grid_choices
from orchestrator.analysis.grid import Outcome, infer_plans, outcome
from orchestrator.analysis.intervals import TableStatistics
from orchestrator.analysis.metrics import NUM_BINS
from orchestrator.analysis.rows import Fold, Row, RowMaker, Split
from orchestrator.analysis.series import Series, difference
from orchestrator.planning.stale import completed_unplanned, find_stale
from orchestrator.records import Loaded
from orchestrator.spec import BenchmarkPlan
from orchestrator.transfer import places


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of a row to another, paired by seed, as fractions; empty with a reason for the row itself."""

    reference: Series
    shift: Series


@dataclass(frozen=True, slots=True)
class Table:
    """One benchmark, model and set of reference domains; or all sets together if each domain is held out in turn."""

    benchmark: str
    model: str
    sources: tuple[str, ...]
    """reference domains; empty if nothing of the benchmark trains, or each domain is held out in turn"""
    shifted: tuple[str, ...]
    """shifted domains, or those held out in turn"""
    rows: tuple[Row, ...]
    zero_shot: Row | None
    baseline: Row | None
    to_zero_shot: tuple[Comparison, ...]
    """one for each row"""
    to_baseline: tuple[Comparison, ...]
    """one for each row"""
    leave_one_out: bool = False
    """a shifted domain's column is of the trials that have all others as sources; 'reference' is the mean over the folds"""
    transfer: tuple[str, ...] = ()
    """results of datasets that nothing was trained on"""
    reference_split: Split = "test"
    """images of the reference domains that their numbers are from; 'val': held out from training"""
    ece_bins: int = NUM_BINS
    """of its calibration errors and calibration curves"""
    statistics: TableStatistics | None = None
    """intervals and ranks, from per-image outcomes (`orchestrator.analysis.board_statistics`); None: not computed"""

    @property
    def has_reference(self) -> bool:
        """Whether something trains."""
        return bool(self.sources) or self.leave_one_out

    @property
    def over(self) -> str:
        """The reference domains in words."""
        return " + ".join(self.sources) if self.sources else "the source domains"


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
    rule: Rule | None = None
    """of selection, that plans and records were restricted to; None: all"""
    ece_bins: int = NUM_BINS
    """of its tables"""


def aggregate(
    plans: Sequence[BenchmarkPlan], loaded: Loaded, rule: Rule | None = None, ece_bins: int = NUM_BINS
) -> Board:
    """Tables of all benchmarks. Without plans the grid is inferred from the records, and no row is the baseline.

    With a `rule` that chooses points of grids, each grid has one more row, its best point. `ece_bins`: what the ECE of the
    records was computed with; of other than NUM_BINS see `orchestrator.analysis.rebinning`.
    """
    inferred = not plans
    plans = tuple(plans) or tuple(infer_plans(loaded.records))
    damaged = {path.parent.name: reason.removeprefix(f"{path}: ") for path, reason in loaded.unreadable.items()}
    listed = {trial.id: trial for plan in plans for trial in plan.trials}
    stale = find_stale(listed.values(), completed_unplanned(loaded.records, listed))
    outcomes = [outcome(trial, loaded, damaged, stale) for plan in plans for trial in plan.trials]
    tables = []
    for plan in plans:
        own = [o for o in outcomes if o.trial.benchmark == plan.benchmark]
        for model in dict.fromkeys(o.trial.model for o in own):
            of_model = [o for o in own if o.trial.model == model]
            more = grid_choices(of_model, rule, plan.leave_one_out) if rule else []
            tables += _tables(plan, model, [*of_model, *more])
    planned = {o.trial.id for o in outcomes}
    return Board(
        plans=plans,
        tables=tuple(replace(table, ece_bins=ece_bins) for table in tables),
        outcomes=tuple(outcomes),
        inferred=inferred,
        unplanned=tuple(sorted(set(loaded.records) - planned)),
        unreadable={f"trials/{id}/record.json": reason for id, reason in sorted(damaged.items())},
        rule=rule,
        ece_bins=ece_bins,
    )


def _tables(plan: BenchmarkPlan, model: str, outcomes: Sequence[Outcome]) -> list[Table]:
    """One table for each set of reference domains; trials without one (zero-shot) are part of each.

    If each domain is held out in turn, one table with all of them.
    """
    sources = dict.fromkeys(o.trial.spec.data.sources for o in outcomes if o.trial.spec.data.sources)
    targets = {domain for o in outcomes for domain in o.trial.spec.data.targets}
    order = list(dict.fromkeys([*plan.domains, *sorted(targets)]))
    if plan.leave_one_out and sources:
        folds = [_fold(own, outcomes, order) for own in sources]
        folds.sort(key=lambda fold: [order.index(domain) for domain in fold.shifted])
        return [_table(plan, model, folds, outcomes)]
    return [_table(plan, model, [_fold(own, outcomes, order)], outcomes) for own in sources or [()]]


def _fold(sources: tuple[str, ...], outcomes: Sequence[Outcome], order: Sequence[str]) -> Fold:
    own = [o.trial.spec.data for o in outcomes if o.trial.spec.data.sources in ((), sources)]
    targets = {domain for data in own for domain in data.targets}
    return Fold(sources, tuple(domain for domain in order if domain in targets and domain not in sources))


def _table(plan: BenchmarkPlan, model: str, folds: Sequence[Fold], outcomes: Sequence[Outcome]) -> Table:
    own = [o for o in outcomes if o.trial.spec.data.sources in ((), *(fold.sources for fold in folds))]
    # Where images are pooled, the sources have nothing but their held-out images to be measured on.
    split: Split = "val" if any(o.trial.spec.data.target_split == "in" for o in own) else "test"
    refs = dict.fromkeys(ref for o in own for ref in o.trial.spec.data.transfer)
    transfer = [places([ref]) for ref in refs]
    rows = RowMaker(folds, split, plan.seen_unseen, transfer).rows(own)
    zero_shot = next((row for row in rows if row.kind == "reference"), None)
    base = next((row for row in rows if row.kind == "trained" and row.label == plan.baseline), None)
    no_base = f"no row {plan.baseline} in this table" if plan.baseline else "the plan names no baseline"
    return Table(
        benchmark=plan.benchmark,
        model=model,
        sources=() if plan.leave_one_out else folds[0].sources,
        shifted=tuple(domain for fold in folds for domain in fold.shifted),
        rows=tuple(rows),
        zero_shot=zero_shot,
        baseline=base,
        to_zero_shot=tuple(_compare(row, zero_shot, "no zero-shot model in this table") for row in rows),
        to_baseline=tuple(_compare(row, base, no_base) for row in rows),
        leave_one_out=plan.leave_one_out and bool(folds[0].sources),
        transfer=tuple(place for of_dataset in transfer for place in of_dataset),
        reference_split=split,
    )


def _compare(row: Row, other: Row | None, no_other: str) -> Comparison:
    if other is None or other is row:
        nothing = Series({}, absent=no_other if other is None else "the row compared with")
        return Comparison(nothing, nothing)
    return Comparison(
        difference(row.reference, other.reference, other.name), difference(row.shift, other.shift, other.name)
    )
