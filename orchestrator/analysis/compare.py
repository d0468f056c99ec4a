"""Two rows of a board, image by image: the difference, how sure it is, and which classes gain and lose. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.analysis.image_sets import First, Inside, image_gains, image_set, over_union, union
from orchestrator.analysis.metrics import class_means
from orchestrator.analysis.outcome_file import Block, check_of_record, counted, counts_of
from orchestrator.analysis.predictions import PredictionsError, read_predictions
from orchestrator.analysis.products import Outcomes, one_thread
from orchestrator.analysis.statistics import Estimate, PairedBootstrap, holm
from orchestrator.manifest.errors import suggestion
from orchestrator.records import Loaded, Results, TrialRecord
from orchestrator.spec import BenchmarkPlan, PlannedTrial

MEAN = "shift mean"
"""Name of the mean over the shifted domains."""
MOST_NAMES = 25
"""That an error lists."""


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
    images: dict[int | None, int]
    """seed -> which images it was measured on, where seeds have images of their own (`image_sets.image_set`)"""
    records: dict[int | None, TrialRecord]
    """seed -> what the trial measured"""
    pooled: bool
    """the sources were measured on their held-out images alone"""
    unfinished: tuple[int, ...] = ()
    """seeds that are planned and have no finished trial"""

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


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two rows on one domain."""

    correct: NDArray[np.bool_]
    """(2, S, N) whether each is right"""
    labels: NDArray[np.int32]
    """(N,)"""
    inside: NDArray[np.bool_] | None = None
    """(2, S, N) whether a row has the image with this seed; None where all have all"""

    @property
    def contributions(self) -> Outcomes:
        """What seeds and images contribute to the accuracies."""
        return self.correct if self.inside is None else over_union(self.correct, self.inside)

    def only(self, row: int) -> NDArray[np.bool_]:
        """(S, N) where `row` is right and the other, which has the image too, is not."""
        only: NDArray[np.bool_] = self.correct[row] & ~self.correct[1 - row]
        return only if self.inside is None else only & self.inside[1 - row]

    def classes(self) -> tuple[tuple[int, float, int], ...]:
        """(class, gain, images that both rows have) of classes that differ, the greatest gain first."""
        both: Inside | None = None if self.inside is None else self.inside[0] & self.inside[1]
        shared, gains = image_gains(self.correct[0], self.correct[1], both)
        found = [(c.label, c.mean, c.num_images) for c in class_means(self.labels[shared], gains)]
        return tuple(sorted((row for row in found if row[1]), key=lambda row: (-row[1], row[0])))


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
    unfinished: dict[tuple[str, str | None], list[int]] = {}
    for trial in trials:
        if trial.id in loaded.records and loaded.records[trial.id].status == "completed":
            groups.setdefault((trial.label, trial.of), []).append(trial)
        else:
            unfinished.setdefault((trial.label, trial.of), []).append(trial.spec.seed)
    for (label, of), group in groups.items():
        variants = dict.fromkeys(e.variant for t in group for e in loaded.records[t.id].evaluations)
        for variant in variants:
            name = label + (f" of {of}" if of else "") + (f", {variant}" if variant else "")
            seeds = {None if _is_constant(t) else t.spec.seed: t for t in group}
            data = group[0].spec.data
            yield Side(
                name=name,
                benchmark=benchmark,
                model=group[0].model,
                sources=sources,
                variant=variant,
                targets=data.targets,
                seeds={seed: trial.id for seed, trial in seeds.items()},
                images={seed: image_set(trial.spec.data, "test") for seed, trial in seeds.items()},
                records={seed: loaded.records[trial.id] for seed, trial in seeds.items()},
                pooled=data.target_split == "in",
                unfinished=tuple(sorted(unfinished.get((label, of), ()))),
            )


def _is_constant(trial: PlannedTrial) -> bool:
    """Whether a trial stands for all seeds: it does not train, or is made of the runs of several seeds."""
    return trial.kind == "reference" or len(trial.spec.inputs) > 1


def unfinished_rows(plans: Sequence[BenchmarkPlan], known: Sequence[Side]) -> set[str]:
    """Rows that are planned and have no finished trial in any table; those of points of a path are not known before."""
    names = {trial.label + (f" of {trial.of}" if trial.of else "") for plan in plans for trial in plan.trials}
    finished = {side.name.removesuffix(f", {side.variant}") if side.variant else side.name for side in known}
    return names - finished


def find(
    known: Sequence[Side],
    name: str,
    benchmark: str | None,
    model: str | None,
    source: str | None,
    unfinished: Set[str] = frozenset(),
) -> list[Side]:
    """The rows of a name, within a benchmark, model and reference domain if given. Raises CompareError if there is none."""
    own = [side for side in known if side.name == name]
    if not own and name in unfinished:
        raise CompareError(
            f"row {name!r} has no finished trial: python -m orchestrator status says whether it failed, is stale or was not run"
        )
    if not own:
        raise CompareError(f"no finished row {name!r}{_near(name, list(dict.fromkeys(side.name for side in known)))}")
    asked = {"--benchmark": benchmark, "--model": model, "--source": source}
    for option, value in asked.items():
        there = list(dict.fromkeys(_options(side)[option] for side in own))
        if value is not None and value not in there:
            raise CompareError(f"{option} {value!r}: no finished row {name!r} is of it{_near(value, there)}")
    given = {option: value for option, value in asked.items() if value is not None}
    found = [side for side in own if given.items() <= _options(side).items()]
    if not found:
        places = "; ".join(dict.fromkeys(side.place for side in own))
        words = " ".join(f"{option} {value}" for option, value in given.items())
        raise CompareError(f"no finished row {name!r} with {words} together; it stands in {places}")
    return found


def _options(side: Side) -> dict[str, str]:
    """What the options of the command would be for it."""
    return {"--benchmark": side.benchmark, "--model": side.model, "--source": "+".join(side.sources)}


def _near(name: str, known: Sequence[str]) -> str:
    """What may have been meant: names that begin so if there are any, else the nearest one and what is known."""
    begin = sorted(of for of in known if name and of.startswith(name))
    if not begin:
        return suggestion(name, known)
    more = f", and {len(begin) - MOST_NAMES} more" if len(begin) > MOST_NAMES else ""
    return f"; those that begin so: {', '.join(map(repr, begin[:MOST_NAMES]))}{more}"


def pick(
    known: Sequence[Side],
    first: str,
    second: str,
    benchmark: str | None,
    model: str | None,
    source: str | None,
    unfinished: Set[str] = frozenset(),
) -> tuple[Side, Side]:
    """Two rows of one table. Raises CompareError if names are unknown, not `unfinished`, or stand in several tables."""
    ones, twos = (find(known, name, benchmark, model, source, unfinished) for name in (first, second))
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
        raise CompareError(_why_not(one, unknown[0]))
    chosen = list(dict.fromkeys(domains or one.targets))  # a domain that is named twice is one test
    seeds = _common(one, two)
    outcomes = {domain: _paired(results, one, two, seeds, domain) for domain in chosen}
    shifted = [domain for domain in chosen if domain not in one.sources]
    questions: list[tuple[str, list[str]]] = [(domain, [domain]) for domain in chosen]
    if len(shifted) > 1 and domains is None:
        questions.append((MEAN, shifted))
    with one_thread():
        bootstrap = PairedBootstrap({domain: pair.contributions for domain, pair in outcomes.items()})
        estimates = [bootstrap.difference(0, 1, asked) for _, asked in questions]
        accuracies = [
            (bootstrap.accuracy(0, asked).value, bootstrap.accuracy(1, asked).value) for _, asked in questions
        ]
    adjusted = holm([estimate.p for estimate in estimates])
    found = []
    for (name, asked), estimate, p, both in zip(questions, estimates, adjusted, accuracies, strict=True):
        first, second = (sum(int(outcomes[d].only(row).sum()) for d in asked) for row in (0, 1))
        classes = outcomes[name].classes() if name in outcomes else ()
        found.append(DomainComparison(name, both, estimate, p, first, second, classes))
    return found


def _why_not(side: Side, domain: str) -> str:
    """Why a row cannot be compared on a domain that is none of its targets."""
    targets = ", ".join(side.targets)
    transfer = {ref.name for record in side.records.values() for ref in record.spec.data.transfer}
    if domain.partition(":")[0] in transfer:
        return (
            f"{domain!r} is a dataset of transfer, which has columns in the leaderboard; rows are compared on {targets}"
        )
    return f"{side.name!r} was not measured on {domain!r}; it was on {targets}"


def _common(one: Side, two: Side) -> list[int | None]:
    """Seeds that both rows have; a row that does not vary with the seed has all of them."""
    if None in one.seeds or None in two.seeds:
        return list(two.seeds if None in one.seeds else one.seeds)
    common = sorted({s for s in one.seeds if s is not None} & {s for s in two.seeds if s is not None})
    if not common:
        raise CompareError(f"{one.name!r} and {two.name!r} have no finished seed in common")
    return list(common)


def _paired(results: Results, one: Side, two: Side, seeds: Sequence[int | None], domain: str) -> _Pair:
    """Raises PredictionsError if a file is missing or not of its record, or its images are others than those before."""
    firsts: dict[int, First] = {}
    rows: list[list[NDArray[np.bool_]]] = []
    sets: list[list[int]] = []
    for side in (one, two):
        split = "val" if one.pooled and domain in one.sources else "test"
        keys = [None if None in side.seeds else seed for seed in seeds]
        sets.append([side.images[key] for key in keys])
        rows.append([])
        for key, own in zip(keys, sets[-1], strict=True):
            path = results.trial(side.seeds[key]) / "predictions.parquet"
            found = read_predictions(path, side.variant, domain, split)
            place = side.variant, domain, split
            check_of_record(side.seeds[key], place, counted(found.correct), counts_of(side.records[key]).get(place))
            block = Block(pa.array(found.keys), found.labels, found.correct, found.confidences, found.nlls)
            known = firsts.setdefault(own, First(side.name, block))
            if not block.same_images(known.block):
                raise PredictionsError(f"{path}: its images of {domain} are others than those of {known.name!r}")
            rows[-1].append(found.correct)
    images = union(firsts)
    if images is None:
        first = next(iter(firsts.values())).block
        if any(not first.same_images(other.block) for other in firsts.values()):
            raise PredictionsError(f"{domain}: an image comes twice with one seed, or has two labels")
        return _Pair(np.array(rows, dtype=np.bool_), first.labels)
    correct = np.stack([images.padded(row, own) for row, own in zip(rows, sets, strict=True)])
    return _Pair(correct, images.labels, np.stack([images.inside(own) for own in sets]))
