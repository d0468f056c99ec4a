"""Two rows of a board, image by image: the difference, how sure it is, and which classes gain and lose. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.predictions import PredictionsError, read_predictions
from orchestrator.analysis.statistics import Estimate, PairedBootstrap, holm
from orchestrator.manifest.errors import suggestion
from orchestrator.records import Loaded, Results
from orchestrator.spec import BenchmarkPlan, PlannedTrial

MEAN = "shift mean"
"""Name of the mean over the shifted domains."""


class CompareError(ValueError):
    """Two rows cannot be compared; the message says why and what to give instead."""


@dataclass(frozen=True, slots=True)
class Side:
    """One row: its name and the finished trial of each seed; `seeds` has the key None for a row that does not vary with it."""

    name: str
    benchmark: str
    model: str
    sources: tuple[str, ...]
    variant: str
    targets: tuple[str, ...]
    seeds: dict[int | None, str]
    """seed -> trial id"""

    @property
    def place(self) -> str:
        """Where in the results the row stands."""
        return f"{self.benchmark}, {self.model}" + (f", reference {'+'.join(self.sources)}" if self.sources else "")


@dataclass(frozen=True, slots=True)
class DomainComparison:
    """Row minus row on one domain or on the mean of the shifted ones."""

    domain: str
    accuracies: tuple[float, float]
    """of the two rows"""
    estimate: Estimate
    adjusted_p: float
    """Holm's, over the domains compared"""
    only_first: int
    """images that only the first row gets right, added up over the seeds"""
    only_second: int
    classes: tuple[tuple[int, float, int], ...]
    """(class, difference in accuracy, images) of each class that differs, the greatest gain first; empty for a mean"""


def sides(plans: Sequence[BenchmarkPlan], loaded: Loaded) -> Iterator[Side]:
    """Every row with at least one finished trial. What does not train stands in each table, so it is given once for each."""
    for plan in plans:
        cells = dict.fromkeys((t.model, t.spec.data.sources) for t in plan.trials)
        for model, sources in cells:
            own = [t for t in plan.trials if t.model == model and t.spec.data.sources in ((), sources)]
            if not sources and any(other_model == model and other for other_model, other in cells):
                continue
            yield from _rows(plan.benchmark, sources, own, loaded)


def _rows(benchmark: str, sources: tuple[str, ...], trials: Sequence[PlannedTrial], loaded: Loaded) -> Iterator[Side]:
    groups: dict[tuple[str, str | None], list[PlannedTrial]] = {}
    for trial in trials:
        if trial.id in loaded.records and loaded.records[trial.id].status == "completed":
            groups.setdefault((trial.label, trial.of), []).append(trial)
    for (label, of), group in groups.items():
        variants = dict.fromkeys(e.variant for t in group for e in loaded.records[t.id].evaluations)
        for variant in variants:
            name = label + (f" of {of}" if of else "") + (f", {variant}" if variant else "")
            seeds = {None if _is_constant(t) else t.spec.seed: t.id for t in group}
            targets = group[0].spec.data.targets
            yield Side(name, benchmark, group[0].model, sources, variant, targets, seeds)


def _is_constant(trial: PlannedTrial) -> bool:
    """Whether a trial stands for all seeds: it does not train, or is made of the runs of several seeds."""
    return trial.kind == "reference" or len(trial.spec.inputs) > 1


def find(known: Sequence[Side], name: str, benchmark: str | None, model: str | None, source: str | None) -> list[Side]:
    """The rows of a name, within a benchmark, model and reference domain if given. Raises CompareError if there is none."""
    found = [
        side
        for side in known
        if side.name == name
        and benchmark in (None, side.benchmark)
        and model in (None, side.model)
        and source in (None, "+".join(side.sources))
    ]
    if not found:
        names = list(dict.fromkeys(side.name for side in known))
        raise CompareError(f"no finished row {name!r}{suggestion(name, names)}")
    return found


def pick(
    known: Sequence[Side], first: str, second: str, benchmark: str | None, model: str | None, source: str | None
) -> tuple[Side, Side]:
    """Two rows of one table. Raises CompareError if names are unknown or stand in several tables."""
    ones, twos = (find(known, name, benchmark, model, source) for name in (first, second))
    pairs = [(one, two) for one in ones for two in twos if one.place == two.place]
    if not pairs:
        raise CompareError(f"{first!r} and {second!r} stand in no table together")
    if len(pairs) > 1:
        places = "; ".join(one.place for one, _ in pairs)
        raise CompareError(
            f"{first!r} and {second!r} stand in several tables: {places}; give --benchmark, --model or --source"
        )
    return pairs[0]


def compare(results: Results, one: Side, two: Side, domains: Sequence[str] | None = None) -> list[DomainComparison]:
    """`one` minus `two` on each domain, and on the mean of the shifted ones where there are several, paired by seed and image.

    Raises CompareError for an unknown domain or no seed in common, PredictionsError for outcomes that are missing or of
    other images.
    """
    if unknown := [d for d in domains or () if d not in one.targets]:
        raise CompareError(f"{one.name!r} was not measured on {unknown[0]!r}; it was on {', '.join(one.targets)}")
    chosen = list(domains or one.targets)
    seeds = _common(one, two)
    outcomes = {domain: _paired(results, one, two, seeds, domain) for domain in chosen}
    bootstrap = PairedBootstrap({domain: correct for domain, (correct, _) in outcomes.items()})
    shifted = [domain for domain in chosen if domain not in one.sources]
    questions: list[tuple[str, list[str]]] = [(domain, [domain]) for domain in chosen]
    if len(shifted) > 1 and domains is None:
        questions.append((MEAN, shifted))
    estimates = [bootstrap.difference(0, 1, asked) for _, asked in questions]
    adjusted = holm([estimate.p for estimate in estimates])
    found = []
    for (name, asked), estimate, p in zip(questions, estimates, adjusted, strict=True):
        first, second = (sum(int(_only(outcomes[d][0], row).sum()) for d in asked) for row in (0, 1))
        classes = _classes(*outcomes[name]) if name in outcomes else ()
        accuracies = bootstrap.accuracy(0, asked).value, bootstrap.accuracy(1, asked).value
        found.append(DomainComparison(name, accuracies, estimate, p, first, second, classes))
    return found


def _common(one: Side, two: Side) -> list[int | None]:
    """Seeds that both rows have; a row that does not vary with the seed has all of them."""
    if None in one.seeds or None in two.seeds:
        return list(two.seeds if None in one.seeds else one.seeds)
    common = sorted({s for s in one.seeds if s is not None} & {s for s in two.seeds if s is not None})
    if not common:
        raise CompareError(f"{one.name!r} and {two.name!r} have no finished seed in common")
    return list(common)


def _paired(
    results: Results, one: Side, two: Side, seeds: Sequence[int | None], domain: str
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """(2, S, N) whether each row is right, and the N labels. Raises PredictionsError if the images differ."""
    rows = []
    keys: tuple[str, ...] = ()
    labels: NDArray[np.int32] = np.empty(0, dtype=np.int32)
    for side in (one, two):
        row = []
        for seed in seeds:
            path = _path(results, side, seed)
            found = read_predictions(path, side.variant, domain)
            if keys and found.keys != keys:
                raise PredictionsError(f"{path}: its images of {domain} are others than those of {one.name!r}")
            keys, labels = found.keys, found.labels
            row.append(found.correct)
        rows.append(row)
    return np.array(rows, dtype=bool), labels


def _path(results: Results, side: Side, seed: int | None) -> Path:
    return results.trial(side.seeds[None if None in side.seeds else seed]) / "predictions.parquet"


def _only(correct: NDArray[np.bool_], row: int) -> NDArray[np.bool_]:
    """(S, N) where `row` is right and the other is not."""
    only: NDArray[np.bool_] = correct[row] & ~correct[1 - row]
    return only


def _classes(correct: NDArray[np.bool_], labels: NDArray[np.int32]) -> tuple[tuple[int, float, int], ...]:
    difference = correct[0].mean(axis=0) - correct[1].mean(axis=0)
    rows = [(int(c), float(difference[labels == c].mean()), int((labels == c).sum())) for c in np.unique(labels)]
    return tuple(sorted((row for row in rows if row[1]), key=lambda row: (-row[1], row[0])))
