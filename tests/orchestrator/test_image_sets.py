"""Where seeds have images of their own: contributions over the union of their images, and boards made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.compare import MEAN, compare, pick, sides
from orchestrator.analysis.intervals import Interval, RowStatistics
from orchestrator.analysis.linear import Contributions, moments, spans
from orchestrator.analysis.predictions import Predictions, PredictionsError, read_predictions
from orchestrator.records import Results, load_plans, load_records
from orchestrator.report import read_board
from orchestrator.spec import PlannedTrial
from orchestrator.trials.outcomes import write_predictions
from orchestrator.views.intervals import Bootstrap, Predictor
from orchestrator.views.linear_intervals import linear_interval
from orchestrator.views.spec import Column
from tests.orchestrator.measured_factory import Pooled, domainbed

POOLS = {"art": 150, "cartoon": 180, "photo": 210}
Floats = NDArray[np.float64]


class Board:
    """A board whose files are read by other means."""

    def __init__(self, root: Path, folder: Pooled) -> None:
        self.folder, self.results = folder, Results(folder.write(root))

    def table(self) -> Table:
        (found,) = read_board(self.results.root).tables
        return found

    def statistics(self, name: str) -> RowStatistics:
        table = self.table()
        assert table.statistics is not None
        return table.statistics.rows[[row.name for row in table.rows].index(name)]

    def seeds(self, label: str, domain: str, split: str = "test", out: str = "") -> list[Predictions]:
        """Of each seed; `out`: the domain held out, which for test images is the domain itself."""
        own = [
            t for t in self.folder.plan if t.label == label and (not t.spec.data.sources or self._out(t, out or domain))
        ]
        own = own * 3 if len(own) == 1 else sorted(own, key=lambda t: t.spec.seed)
        return [read_predictions(self.results.trial(t.id) / "predictions.parquet", "", domain, split) for t in own]

    @staticmethod
    def _out(trial: PlannedTrial, domain: str) -> bool:
        return domain not in trial.spec.data.sources


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(tmp_path_factory.mktemp("domainbed"), domainbed(POOLS))


def by_image(of: Predictions, values: NDArray[np.generic]) -> dict[str, float]:
    return dict(zip(of.keys, values.tolist(), strict=True))


Outcome = Callable[[Predictions], NDArray[np.generic]]


def accuracy(of: Predictions) -> NDArray[np.generic]:
    return of.correct


def nll(of: Predictions) -> NDArray[np.generic]:
    return of.nlls


def drawn_spread(parts: list[tuple[float, list[Predictions]]], outcome: Outcome, resample_seeds: bool) -> float:
    """S.d. of sum of weight x mean over seeds and their images, of 600 draws of images of the unions, by a plain loop.

    Parts of the same images share the draw: all of a domain are given one after another and known by their keys.
    """
    rng = np.random.default_rng(0)
    keys = sorted({key for _, seeds in parts for one in seeds for key in one.keys})
    domains: dict[str, list[str]] = {}
    for key in keys:
        domains.setdefault(key.split("/")[0], []).append(key)
    tables = [(weight, [by_image(one, outcome(one)) for one in seeds]) for weight, seeds in parts]
    place = {key: index for index, key in enumerate(keys)}
    arrays = [
        (weight, [(np.array([place[k] for k in one]), np.array([float(v) for v in one.values()])) for one in seeds])
        for weight, seeds in tables
    ]
    found = []
    for _ in range(600):
        weights = np.zeros(len(keys))
        for own in domains.values():
            np.add.at(weights, [place[own[i]] for i in rng.integers(len(own), size=len(own))], 1)
        chosen = rng.integers(3, size=3) if resample_seeds else np.arange(3)
        number = 0.0
        for weight, seeds in arrays:
            means = [np.average(values, weights=weights[at]) for at, values in seeds]
            number += weight * float(np.mean([means[s] for s in chosen]))
        found.append(number)
    return float(np.std(found))


def cells(board: Board) -> dict[str, tuple[Interval | None, list[tuple[float, list[Predictions]]], Outcome]]:
    """What the board shows -> its interval and what it is made of."""
    ft, kd = board.statistics("ft"), board.statistics("kd")
    third = 1 / len(POOLS)

    def test(label: str, sign: float) -> list[tuple[float, list[Predictions]]]:
        return [(sign * third, board.seeds(label, domain)) for domain in POOLS]

    source = [(third / 2, board.seeds("ft", domain, "val", out)) for out in POOLS for domain in POOLS if domain != out]
    return {
        "domain": (ft.domains["art"], [(1.0, board.seeds("ft", "art"))], accuracy),
        "held-out mean": (ft.shift, test("ft", 1), accuracy),
        "NLL": (ft.nll.shift, test("ft", 1), nll),
        "source mean": (ft.reference, source, accuracy),
        "NLL of sources": (ft.nll.reference, source, nll),
        "minus zero-shot": (ft.to_zero_shot.shift, test("ft", 1) + test("zero_shot", -1), accuracy),
        "minus ft": (kd.to_baseline.shift, test("kd", 1) + test("ft", -1), accuracy),
    }


NAMES = ("domain", "held-out mean", "NLL", "source mean", "NLL of sources", "minus zero-shot", "minus ft")


def contributions(parts: list[tuple[float, list[Predictions]]], outcome: Outcome) -> dict[str, Contributions]:
    """By hand, (1, 3, N) for each domain: the weighted sum of the parts about it."""
    keys: dict[str, list[str]] = {}
    for _, seeds in parts:
        for key in sorted({key for one in seeds for key in one.keys}):
            own = keys.setdefault(key.split("/")[0], [])
            own += [key] if key not in own else []
    found = {domain: np.zeros((1, 3, len(own)), np.float32) for domain, own in keys.items()}
    for weight, seeds in parts:
        own = keys[seeds[0].keys[0].split("/")[0]]
        for seed, one in enumerate(seeds):
            known = by_image(one, outcome(one))
            mean = np.mean([*known.values()])
            z = [mean + (len(own) / len(known) * (known[key] - mean) if key in known else 0) for key in own]
            found[seeds[0].keys[0].split("/")[0]][0, seed] += np.float32(weight) * np.array(z, np.float32)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_intervals_of_a_board_are_those_of_a_plain_bootstrap_over_seeds_and_images(board: Board, name: str) -> None:
    """Image part and all of it within 10 % of a loop that draws seeds and images of unions; Owen's variance, see test_linear."""
    interval, parts, outcome = cells(board)[name]
    assert interval is not None
    of = [moments(z) for z in contributions(parts, outcome).values()]
    [half] = spans([(1.0, one) for one in of]).halves
    middle, own = (interval.low + interval.high) / 2, (interval.high - interval.low) / 2
    by_seed = sum(one.by_seed[0] for one in of)
    assert middle == pytest.approx(by_seed.mean(), abs=1e-6)
    assert own == pytest.approx(half, rel=0.05), "2,000 draws leave 1.6 % of error"
    images = sum(one.image_variance[0] / one.num_images for one in of)
    crossed = sum(one.interaction[0] / one.num_images for one in of)
    assert np.sqrt(images) == pytest.approx(drawn_spread(parts, outcome, False), rel=0.1)
    expected = np.sqrt(2 / 9 * by_seed.var(ddof=1) + images + crossed / 3)
    assert expected == pytest.approx(drawn_spread(parts, outcome, True), rel=0.1)


def test_ranks_calibration_worst_and_classes_are_there(board: Board) -> None:
    table = board.table()
    assert table.statistics is not None and [row.why for row in table.statistics.rows] == ["", "", ""]
    assert table.statistics.num_ranked == 3 and table.statistics.seeds == (0, 1, 2)
    ft, zero_shot = board.statistics("ft"), board.statistics("zero_shot")
    assert (
        zero_shot.rank == (3, 3) and ft.worst is not None and ft.ece.shift is not None and ft.ece.reference is not None
    )
    seeds = [one for domain in POOLS for one in board.seeds("ft", domain)]
    assert sum(of.num_images for of in ft.calibration["shift"].bins) == sum(len(one.keys) for one in seeds)
    assert not table.statistics.rows[0].to_zero_shot.shift
    changes = ft.classes["shift"]
    pairs: dict[int, list[list[float]]] = {}
    for domain in POOLS:
        gains: dict[str, list[float]] = {}
        labels: dict[str, int] = {}
        for ours, other in zip(board.seeds("ft", domain), board.seeds("zero_shot", domain), strict=True):
            known = by_image(other, other.correct)
            labels |= by_image(ours, ours.labels)  # type: ignore[arg-type]
            for key, right in by_image(ours, ours.correct).items():
                if key in known:
                    gains.setdefault(key, []).append(float(right) - float(known[key]))
        for key, found in gains.items():
            pairs.setdefault(labels[key], []).append(found)
    best = max(pairs, key=lambda label: float(np.mean([np.mean(of) for of in pairs[label]])))
    assert (changes.gains[0].label, changes.gains[0].num_images) == (best, len(pairs[best]))
    assert changes.gains[0].difference == pytest.approx(np.mean([np.mean(of) for of in pairs[best]]))


def test_compare_pairs_rows_by_seed(board: Board) -> None:
    known = list(sides(load_plans(board.results), load_records(board.results)))
    for name in ("ft", "zero_shot"):
        kd, other = pick(known, "kd", name, None, None, "art+cartoon")
        found = {c.domain: c for c in compare(board.results, kd, other)}
        assert set(found) == {*POOLS}
        photo = found["photo"]
        pairs = list(zip(board.seeds("kd", "photo"), board.seeds(name, "photo"), strict=True))
        means = [(a.correct.mean(), b.correct.mean()) for a, b in pairs]
        assert photo.accuracies == pytest.approx(tuple(np.mean(means, axis=0)), abs=1e-6)
        assert photo.estimate.low < photo.estimate.value < photo.estimate.high and photo.estimate.num_seeds == 3
        both = [(by_image(a, a.correct), by_image(b, b.correct)) for a, b in pairs]
        assert photo.only_first == sum(a[k] and not b[k] for a, b in both for k in a.keys() & b.keys())
        assert photo.only_second == sum(b[k] and not a[k] for a, b in both for k in a.keys() & b.keys())
        assert found["art"].accuracies[0] == pytest.approx(
            np.mean([one.correct.mean() for one in board.seeds("kd", "art", "val", "photo")]), abs=1e-6
        ), "a source has held-out images alone"
    assert MEAN not in found, "one domain is shifted"


def test_views_take_the_images_of_each_seed_and_the_fold_of_each_domain(board: Board) -> None:
    trials = sorted((t for t in board.folder.plan if t.label == "ft"), key=lambda t: t.spec.seed)
    predictors = [
        Predictor(t.id, "", t.spec.data.split_seed, tuple(d for d in POOLS if d not in t.spec.data.sources))
        for t in trials
    ]
    bootstrap = Bootstrap(board.results)
    bootstrap.add(predictors, tuple(POOLS))
    ft = board.statistics("ft")
    assert ft.shift is not None and ft.nll.shift is not None
    assert bootstrap.intervals()[0, 0] == pytest.approx((100 * ft.shift.low, 100 * ft.shift.high), abs=0.2)
    found = linear_interval(board.results, predictors, Column("", (), (), metric="nll"))
    assert found == pytest.approx((ft.nll.shift.low, ft.nll.shift.high), abs=1e-6)
    assert linear_interval(board.results, predictors, Column("", (), (), metric="class_accuracy")) is not None
    mixed = [p._replace(images=0) for p in predictors]
    assert linear_interval(board.results, mixed, Column("", (), (), metric="nll")) is None, "they ought to be the same"


def test_a_row_of_other_images_than_its_seed_has_is_refused(tmp_path: Path) -> None:
    board = Board(tmp_path, domainbed(POOLS))
    victim = next(
        t for t in board.folder.plan if t.label == "kd" and t.spec.seed == 2 and _sources(t) == ("art", "cartoon")
    )
    found = board.folder.outcomes[victim.id]
    place = ("", "photo", "test")
    found[place] = replace(found[place], keys=tuple(f"other{key}" for key in found[place].keys))
    write_predictions(board.results.trial(victim.id) / "predictions.parquet", found)
    assert board.statistics("kd").why == "its images of photo are others than those of 'ft'"
    assert board.statistics("ft").shift is not None
    known = list(sides(load_plans(board.results), load_records(board.results)))
    with pytest.raises(PredictionsError, match="its images of photo are others than those of 'ft'"):
        compare(board.results, *pick(known, "ft", "kd", None, None, "art+cartoon"))


def test_the_rows_that_can_be_read_say_which_images_there_are(tmp_path: Path) -> None:
    board = Board(tmp_path, domainbed(POOLS))
    victim = next(t for t in board.folder.plan if t.label == "ft" and t.spec.seed == 1)
    (board.results.trial(victim.id) / "predictions.parquet").write_bytes(b"")
    assert board.statistics("ft").why.startswith("predictions.parquet of ")
    kd = board.statistics("kd")
    assert kd.why == "" and kd.shift is not None and kd.reference is not None


def _sources(trial: PlannedTrial) -> tuple[str, ...]:
    return trial.spec.data.sources
