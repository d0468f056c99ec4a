"""Fills a view: the published value, ours over the seeds, and the difference with its interval. No ray, no torch.

Differences are ours minus published, the published value taken as it is: its own error is not known image by image. The
interval is that of our mean over seeds and images where per-image outcomes are there, else the s.d. over our seeds is given.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.image_sets import image_set
from orchestrator.analysis.metrics import expected_calibration_error, pearson, relative_accuracy
from orchestrator.analysis.outcome_file import Counts, check_of_record, counted
from orchestrator.analysis.predictions import PredictionsError, read_predictions
from orchestrator.analysis.rows import harmonic
from orchestrator.analysis.series import Series, combine
from orchestrator.records import Evaluation, Loaded, Results, TrialRecord, load_plans, load_records
from orchestrator.spec import BenchmarkPlan
from orchestrator.views.intervals import Bootstrap, Predictor, held_out
from orchestrator.views.linear_intervals import METRICS as LINEAR
from orchestrator.views.linear_intervals import linear_interval
from orchestrator.views.match import NOT_RUN, Match, NoValueError, Trials, variant_of
from orchestrator.views.published import Key, Published, mean_of, published
from orchestrator.views.spec import Column, Panel, Row, View


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, in the unit of the published table."""

    published: Published | None
    ours: Series
    differences: tuple[str, ...] = ()
    """to the published protocol; not empty: not comparable"""
    interval: tuple[float, float] | None = None
    """95 %, of our mean over seeds and images"""

    @property
    def difference(self) -> float | None:
        """Ours minus published; None if one is missing."""
        if self.published is None or self.ours.mean is None:
            return None
        return self.ours.mean - self.published.mean

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval of the difference."""
        if self.published is None or self.interval is None:
            return None
        return self.interval[0] - self.published.mean, self.interval[1] - self.published.mean

    @property
    def comparable(self) -> bool:
        """Whether the difference means anything."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Line:
    """A row with its cells."""

    row: Row
    cells: tuple[Cell, ...]
    differences: tuple[str, ...]
    remarks: tuple[str, ...]
    """what is good to know and leaves it comparable, or why it is empty"""
    trials: tuple[str, ...]
    """ids of what the numbers are from"""


@dataclass(frozen=True, slots=True)
class FilledPanel:
    """A panel with its lines."""

    panel: Panel
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    """correlations"""


@dataclass(frozen=True, slots=True)
class FilledView:
    """A view with everything that is known."""

    view: View
    panels: tuple[FilledPanel, ...]


@dataclass
class Joiner:
    """Fills views from one folder of results."""

    results: Results
    plans: Sequence[BenchmarkPlan]
    loaded: Loaded
    values: Mapping[Key, Sequence[Published]] = field(default_factory=published)

    def __post_init__(self) -> None:
        self._trials = Trials(self.plans, self.loaded)

    def fill(self, view: View) -> FilledView:
        """The view with its cells."""
        return FilledView(view, tuple(self._panel(view, panel) for panel in view.panels))

    def _panel(self, view: View, panel: Panel) -> FilledPanel:
        bootstrap = Bootstrap(self.results)
        lines = []
        for row in panel.rows:
            names = dict.fromkeys(column.dataset or panel.dataset for column in panel.columns if not column.over)
            matches = {name: self._trials.match(view, panel, row, name) for name in names}
            lines.append(self._line(panel, row, matches, bootstrap))
        found = bootstrap.intervals()
        filled = []
        for at, line in enumerate(lines):
            cells = [replace(cell, interval=found.get((at, n), cell.interval)) for n, cell in enumerate(line.cells)]
            filled.append(replace(line, cells=tuple(cells)))
        return FilledPanel(panel, tuple(filled), tuple(_correlations(panel, filled)) if panel.correlate else ())

    def _line(self, panel: Panel, row: Row, matches: Mapping[str, Match], bootstrap: Bootstrap) -> Line:
        cells: list[Cell] = []
        against_outcomes: list[str] = []
        for column in panel.columns:
            if column.over:
                cells.append(self._over(panel, row, column, cells))
                bootstrap.add([], ())
                continue
            match = matches[column.dataset or panel.dataset]
            ours = self._series(match, row, column)
            against = (*match.differences, *_other_domains(match, column)) if ours.mean is not None else ()
            records = [o.record for o in match.outcomes if o.record is not None and ours.mean is not None]
            done = [_predictor(r, variant_of(r, row.parameters) or "", not column.domains) for r in records]
            asked = column.domains or held_out(done)
            if wrong := bootstrap.not_of_record(done, asked):
                against_outcomes.append(f"no interval: {wrong}")
                done = []
            interval = linear_interval(self.results, done, column) if column.metric in LINEAR else None
            cells.append(Cell(self._published(panel, row, column), ours, against, interval))
            bootstrap.add(done if column.metric == "accuracy" else [], asked)
        bootstrap.end_row()
        used = [o for match in matches.values() for o in match.outcomes if o.status == "done"]
        shown = any(cell.ours.mean is not None for cell in cells)
        return Line(
            row=row,
            cells=tuple(cells),
            differences=tuple(dict.fromkeys(d for cell in cells for d in cell.differences)),
            remarks=(*_remarks(panel, cells), *dict.fromkeys(against_outcomes)),
            trials=tuple(dict.fromkeys(o.trial.id for o in used)) if shown else (),
        )

    def _over(self, panel: Panel, row: Row, column: Column, cells: Sequence[Cell]) -> Cell:
        """The mean of earlier cells, over the seeds that all of them have."""
        by_title = dict(zip((known.title for known in panel.columns), cells, strict=False))
        own = [by_title[title] for title in column.over]
        ours = combine(statistics.fmean, *(cell.ours for cell in own))
        against = dict.fromkeys(text for cell in own for text in cell.differences) if ours.mean is not None else ()
        return Cell(self._published(panel, row, column), ours, tuple(against))

    def _published(self, panel: Panel, row: Row, column: Column) -> Published | None:
        table = row.table or panel.table
        metric = "accuracy" if column.metric in ("class_accuracy", "harmonic") else column.metric
        own = panel.values.get(row.title, {})
        found = []
        for name in column.published:
            if name in own:
                found.append(own[name])
                continue
            where = (table, panel.scenario, panel.reference, panel.backbone, row.published, row.variant, name, metric)
            values = self.values.get(where, ())
            if row.occurrence < len(values):
                found.append(values[row.occurrence])
        return mean_of(found) if found and len(found) == len(column.published) else None

    def _series(self, match: Match, row: Row, column: Column) -> Series:
        if not match.outcomes:
            return Series({}, absent=match.why)
        values: dict[int, list[float]] = {}
        missing: dict[int, str] = {}
        for o in match.outcomes:
            seed = o.trial.spec.seed
            try:
                values.setdefault(seed, []).append(column.scale * self._value(o, row, column))
            except NoValueError as reason:
                missing[seed] = str(reason)
        if not column.domains:
            missing |= _missing_folds(match.outcomes, values)
        means = {seed: statistics.fmean(found) for seed, found in values.items() if seed not in missing}
        trials = [o.trial for o in match.outcomes]
        constant = len({t.spec.seed for t in trials}) == 1 and all(
            t.kind == "reference" or len(t.spec.inputs) > 1 for t in trials
        )
        return Series(means, missing, constant)

    def _value(self, o: Outcome, row: Row, column: Column) -> float:
        """Raises NoValueError with the reason if there is none."""
        if o.status != "done" or o.record is None:
            raise NoValueError(o.reason)
        variant = variant_of(o.record, row.parameters)
        if variant is None:
            raise NoValueError("has no such variant")
        sources, targets = o.trial.spec.data.sources, o.trial.spec.data.targets
        domains = column.domains or tuple(d for d in targets if d not in sources)
        if not column.domains and sources and len(domains) > 1:
            raise NoValueError(f"trained on {', '.join(sources)}, not on all domains but one")
        found = [self._metric(o.record, variant, domain, column) for domain in domains]
        match column.metric:
            case "harmonic":
                return harmonic(found)
            case "relative_accuracy":
                if not found[1]:
                    raise NoValueError(f"no relative accuracy: its accuracy on {domains[1]} is 0")
                return relative_accuracy(*found)
        return statistics.fmean(found)

    def _metric(self, record: TrialRecord, variant: str, domain: str, column: Column) -> float:
        e = next((e for e in record.evaluations if (e.variant, e.domain, e.split) == (variant, domain, "test")), None)
        if e is None:
            raise NoValueError(f"not evaluated on {domain}")
        name = {"harmonic": "class_accuracy", "relative_accuracy": "accuracy"}.get(column.metric, column.metric)
        value = getattr(e, name)
        if value is None and name == "ece":
            value = self._ece(record, e)
        if value is None:
            raise NoValueError(f"its record has no {name.replace('_', ' ')}")
        return float(value)

    def _ece(self, record: TrialRecord, e: Evaluation) -> float:
        try:
            found = read_predictions(self.results.trial(record.id) / "predictions.parquet", e.variant, e.domain)
            place = e.variant, e.domain, e.split
            check_of_record(record.id, place, counted(found.correct), Counts(e.num_images, e.num_correct))
        except PredictionsError as error:
            raise NoValueError(f"no calibration error: {error}") from None
        return expected_calibration_error(found.confidences, found.correct)


def _predictor(record: TrialRecord, variant: str, in_turn: bool) -> Predictor:
    """`in_turn`: of a column over the domains that are held out in turn."""
    data = record.spec.data
    own = tuple(domain for domain in data.targets if domain not in data.sources) if in_turn else ()
    recorded = tuple((e.domain, Counts(e.num_images, e.num_correct)) for e in record.evaluations if _is(e, variant))
    return Predictor(record.id, variant, image_set(data, "test"), own, recorded)


def _is(e: Evaluation, variant: str) -> bool:
    return e.variant == variant and e.split == "test"


def _missing_folds(outcomes: Iterable[Outcome], values: Mapping[int, Sequence[float]]) -> Iterator[tuple[int, str]]:
    """Seeds that do not have every domain held out once; what does not train has all domains in one trial."""
    data = [o.trial.spec.data for o in outcomes]
    if any(not d.sources for d in data):
        return
    domains = {domain for d in data for domain in (*d.sources, *d.targets)}
    for seed, found in values.items():
        if len(found) < len(domains):
            yield seed, f"{len(found)} of {len(domains)} domains held out"


def _other_domains(match: Match, column: Column) -> Iterator[str]:
    """A line if other domains were held out in turn than the published ones."""
    data = [o.trial.spec.data for o in match.outcomes]
    found = {domain for d in data for domain in (*d.sources, *d.targets)}
    if column.held_out and found and found != set(column.held_out):
        yield f"{column.title}: domains {', '.join(sorted(found))}; published: {', '.join(sorted(column.held_out))}"


def _correlations(panel: Panel, lines: Sequence[Line]) -> Iterator[str]:
    """Pearson's coefficient of each pair of columns over the rows that have both, with its interval from four rows on."""
    for at in range(0, len(panel.columns), 2):
        pairs = [(line.cells[at].ours.mean, line.cells[at + 1].ours.mean) for line in lines]
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        name = f"{panel.columns[at].title} and {panel.columns[at + 1].title}"
        found = pearson([x for x, _ in known], [y for _, y in known])
        if math.isnan(found.r):
            yield f"{name}: no correlation, {len(known)} rows"
        else:
            interval = f", 95 % interval [{found.low:+.2f}, {found.high:+.2f}]" if not math.isnan(found.low) else ""
            yield f"{name}: Pearson correlation {found.r:+.2f} over {len(known)} rows{interval}"


def _remarks(panel: Panel, cells: Sequence[Cell]) -> Iterator[str]:
    yield from dict.fromkeys(cell.ours.why for cell in cells if cell.ours.why and cell.ours.why != NOT_RUN)
    counts = sorted({cell.ours.n for cell in cells if cell.ours.mean is not None and not cell.ours.constant})
    there = panel.protocol.num_seeds
    if counts and there is not None and counts != [there]:
        yield f"seeds: {'/'.join(map(str, counts))}, published {there}"


def load(results: Results) -> Joiner:
    """What fills views from a folder. Raises ValueError for a plan that cannot be read."""
    return Joiner(results, load_plans(results), load_records(results))
