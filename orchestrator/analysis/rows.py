"""Rows of a table: one for each predictor, with its numbers over seeds. Pure functions; no ray, no torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from orchestrator.analysis.costs import costs, joined_costs
from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.series import Series, combine
from orchestrator.records import Evaluation
from orchestrator.spec import Kind, PlannedTrial

Split = Literal["val", "test"]
Evaluated = Mapping[tuple[str, str], Evaluation]
"""(domain, split) -> what a trial measured there"""


NO_TRANSFER = Series({}, absent="no dataset beside the benchmark's own")
NOTHING = Series({}, absent="not measured")


class Fold(NamedTuple):
    """A set of reference domains and the domains that are shifted from them."""

    sources: tuple[str, ...]
    shifted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenUnseen:
    """Accuracies of generalised zero-shot learning: over all classes, on images of seen and of unseen ones, as fractions."""

    seen: Series
    unseen: Series
    harmonic: Series
    """2 S U / (S + U)"""
    domains: tuple[str, str]
    """of the seen classes, of the unseen ones"""


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
    """domain -> top-1, as a fraction; of a table with each domain held out: from the trials that did not train on it"""
    nll: Mapping[str, Series]
    """domain -> mean negative log-likelihood, nats"""
    reference: Series
    """mean over the reference domains, and over the folds if there are several"""
    shift: Series
    reference_nll: Series
    shift_nll: Series
    by_image: SeenUnseen | None = None
    """of generalised zero-shot learning: every image counts the same"""
    by_class: SeenUnseen | None = None
    """of generalised zero-shot learning: every class counts the same, the convention of its literature"""
    transfer: Mapping[str, Series] = field(default_factory=dict)
    """result of transfer -> top-1, as a fraction; over the folds if there are several. Never part of `shift`"""
    transfer_mean: Series = NO_TRANSFER
    """mean over the datasets of transfer, of each the mean over its domains"""
    worst: Series = NOTHING
    """the lowest accuracy on a shifted domain, of each seed"""
    reference_ece: Series = NOTHING
    shift_ece: Series = NOTHING
    """calibration error, mean over the domains"""
    costs: Mapping[str, Series] = field(default_factory=dict)
    """what training cost, by the names of `orchestrator.analysis.costs.COSTS`"""
    outcomes: tuple[Outcome, ...] = ()
    """the trials it is made of"""
    folds: tuple[Fold, ...] = ()
    """that its means join"""

    @property
    def name(self) -> str:
        """The row in words: 'wise_ft of lipsum_ft, alpha=0.5'."""
        return self.label + (f" of {self.of}" if self.of else "") + (f", {self.variant}" if self.variant else "")

    @property
    def chosen(self) -> bool:
        """Whether it was chosen among the others when the report was made: no result of its own, and no rival of theirs."""
        return any(o.chosen is not None for o in self.outcomes)

    @property
    def train_seconds(self) -> Series:
        """Wall time of training; of several folds together."""
        return self.costs.get("train_seconds", NOTHING)

    @property
    def gpu_hours(self) -> Series:
        """Training seconds x workers / 3600 where they ran on GPUs; a GPU shared with other trials counts whole."""
        return self.costs.get("gpu_hours", NOTHING)


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Makes the rows of a table."""

    folds: Sequence[Fold]
    """more than one: each has its own trials, and a row joins them"""
    reference_split: Split
    """which images of the reference domains the reference columns are about"""
    seen_unseen: tuple[str, str] | None = None
    transfer: Sequence[Sequence[str]] = ()
    """results of transfer, those of a dataset together"""

    def rows(self, outcomes: Sequence[Outcome]) -> list[Row]:
        """A row for each label and variant."""
        groups: dict[tuple[str, str | None], list[Outcome]] = {}
        for o in outcomes:
            groups.setdefault((o.trial.label, o.trial.of), []).append(o)
        return [
            self._row(group, variant, parameters)
            for group in groups.values()
            for variant, parameters in _variants(group)
        ]

    def _row(self, outcomes: Sequence[Outcome], variant: str, parameters: Mapping[str, float]) -> Row:
        parts = [self._part(fold, outcomes, variant, parameters) for fold in self.folds]
        if len(parts) == 1:
            return parts[0]
        held_out = [(row, domain) for row, fold in zip(parts, self.folds, strict=True) for domain in fold.shifted]
        first = parts[0]
        transfer = {
            place: combine(statistics.fmean, *(row.transfer[place] for row in parts)) for place in first.transfer
        }
        accuracy = {domain: row.accuracy[domain] for row, domain in held_out}
        return Row(
            label=first.label,
            of=first.of,
            variant=variant,
            parameters=parameters,
            kind=first.kind,
            method=first.method,
            accuracy=accuracy,
            nll={domain: row.nll[domain] for row, domain in held_out},
            reference=combine(statistics.fmean, *(row.reference for row in parts)),
            shift=combine(statistics.fmean, *(row.shift for row in parts)),
            reference_nll=combine(statistics.fmean, *(row.reference_nll for row in parts)),
            shift_nll=combine(statistics.fmean, *(row.shift_nll for row in parts)),
            transfer=transfer,
            transfer_mean=self._transfer_mean(transfer),
            worst=combine(min, *accuracy.values()),
            reference_ece=combine(statistics.fmean, *(row.reference_ece for row in parts)),
            shift_ece=combine(statistics.fmean, *(row.shift_ece for row in parts)),
            costs=joined_costs([row.costs for row in parts]),
            outcomes=tuple(outcomes),
            folds=tuple(self.folds),
        )

    def _transfer_mean(self, transfer: Mapping[str, Series]) -> Series:
        means = {places[0]: _over(transfer, places, NO_TRANSFER.absent) for places in self.transfer}
        return _over(means, means, NO_TRANSFER.absent)

    def _part(self, fold: Fold, outcomes: Sequence[Outcome], variant: str, parameters: Mapping[str, float]) -> Row:
        """The row of one fold."""
        trial = outcomes[0].trial
        own = [o for o in outcomes if o.trial.spec.data.sources in ((), fold.sources)]
        evaluations = {o.trial.id: _evaluated(o, variant) for o in own}

        def series(domain: str, metric: Callable[[Evaluation], float | None], no_ece: bool = False) -> Series:
            split: Split = self.reference_split if domain in fold.sources else "test"
            return _series(own, evaluations, variant, (domain, split), metric, no_ece)

        domains = (*fold.sources, *fold.shifted)
        accuracy = {domain: series(domain, lambda e: e.accuracy) for domain in domains}
        nll = {domain: series(domain, lambda e: e.nll) for domain in domains}
        ece = {domain: series(domain, lambda e: e.ece, no_ece=True) for domain in domains}
        transfer = {place: series(place, lambda e: e.accuracy) for places in self.transfer for place in places}
        by_image = by_class = None
        if self.seen_unseen and set(self.seen_unseen) <= set(domains):
            seen, unseen = self.seen_unseen
            by_image = _seen_unseen(accuracy, seen, unseen)
            classes = {domain: series(domain, lambda e: e.class_accuracy) for domain in (seen, unseen)}
            by_class = _seen_unseen(classes, seen, unseen)
        return Row(
            label=trial.label,
            of=trial.of,
            variant=variant,
            parameters=parameters,
            kind=trial.kind,
            method=trial.spec.method,
            accuracy=accuracy,
            nll=nll,
            reference=_over(accuracy, fold.sources, "no reference domain"),
            shift=_over(accuracy, fold.shifted, "no shifted domain"),
            reference_nll=_over(nll, fold.sources, "no reference domain"),
            shift_nll=_over(nll, fold.shifted, "no shifted domain"),
            by_image=by_image,
            by_class=by_class,
            transfer=transfer,
            transfer_mean=self._transfer_mean(transfer),
            worst=combine(min, *(accuracy[d] for d in fold.shifted)) if fold.shifted else NOTHING,
            reference_ece=_over(ece, fold.sources, "no reference domain"),
            shift_ece=_over(ece, fold.shifted, "no shifted domain"),
            costs=costs(own),
            outcomes=tuple(outcomes),
            folds=(fold,),
        )


def harmonic(values: Sequence[float]) -> float:
    """2 S U / (S + U); 0 if both are 0."""
    seen, unseen = values
    return 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0


def _seen_unseen(series: Mapping[str, Series], seen: str, unseen: str) -> SeenUnseen:
    both = series[seen], series[unseen]
    return SeenUnseen(*both, combine(harmonic, *both), (seen, unseen))


def _variants(outcomes: Sequence[Outcome]) -> list[tuple[str, Mapping[str, float]]]:
    """Variants of a row's trials with what sets each apart, by their parameters; one nameless while none is known.

    A chosen row has one, which its label names.
    """
    if any(o.chosen is not None for o in outcomes):
        return [("", {})]
    found: dict[str, Mapping[str, float]] = {}
    for o in outcomes:
        if o.record is not None:
            for evaluation in o.record.evaluations:
                found.setdefault(evaluation.variant, o.record.variants.get(evaluation.variant, {}))
    return sorted(found.items(), key=lambda item: tuple(item[1].values())) or [("", {})]


def _over(series: Mapping[str, Series], domains: Iterable[str], absent: str) -> Series:
    chosen = [series[domain] for domain in domains]
    return combine(statistics.fmean, *chosen) if chosen else Series({}, absent=absent)


def _evaluated(o: Outcome, variant: str) -> Evaluated:
    if o.status != "done" or o.record is None:
        return {}
    shown = o.shown(variant)
    return {(e.domain, e.split): e for e in o.record.evaluations if e.variant == shown}


def _series(
    outcomes: Sequence[Outcome],
    evaluations: Mapping[str, Evaluated],
    variant: str,
    place: tuple[str, Split],
    metric: Callable[[Evaluation], float | None],
    no_ece: bool,
) -> Series:
    """`no_ece`: why an outcome has no ECE is why the metric is missing."""
    if not outcomes:
        return Series({}, absent="no such trial is planned")
    values: dict[int, float] = {}
    missing: dict[int, str] = {}
    by_seed: dict[int, list[PlannedTrial]] = {}
    for o in outcomes:
        by_seed.setdefault(o.trial.spec.seed, []).append(o.trial)
    for o in outcomes:
        seed, found = o.trial.spec.seed, evaluations[o.trial.id]
        value = metric(found[place]) if place in found else None
        if len(rivals := by_seed[seed]) > 1:
            missing[seed] = f"{len(rivals)} trials share this row and seed: {', '.join(t.id for t in rivals)}"
        elif o.status != "done":
            missing[seed] = o.reason
        elif value is not None:
            values[seed] = value
        elif place in found:
            missing[seed] = (no_ece and o.no_ece) or "recorded before this was measured"
        else:
            missing[seed] = _not_evaluated(o, variant, place) if found else f"has no variant {variant}"
    return Series(values, missing, constant=_is_constant(outcomes))


def _is_constant(outcomes: Sequence[Outcome]) -> bool:
    """Whether a row holds for every seed: it does not train, or is made of the runs of several seeds."""
    trials = [o.trial for o in outcomes]
    return len(trials) == 1 and (trials[0].kind == "reference" or len(trials[0].spec.inputs) > 1)


def _not_evaluated(o: Outcome, variant: str, place: tuple[str, Split]) -> str:
    domain, split = place
    if o.record and o.shown(variant) in o.record.no_transfer and domain not in o.trial.spec.data.targets:
        return f"not evaluated on other datasets: {o.record.no_transfer[o.shown(variant)]}"
    return f"not evaluated on {domain}" + (" (held-out images)" if split == "val" else "")
