"""Published values that may stand in the scatter of a table: same dataset, model, reference domain, shifts and metric.

They come from the panels of `orchestrator.views`, which know what a published column is called and under which protocol it was
measured. Of a panel whose columns cover all domains of a table, every row with a value on each of them is a point.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.analysis.aggregate import Table
from orchestrator.analysis.grid import Outcome
from orchestrator.views.catalog import readable_views, wrong_files
from orchestrator.views.protocol import differences
from orchestrator.views.published import Key, Published, mean_of, published
from orchestrator.views.spec import Panel, Row, View

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One published row."""

    name: str
    paper: str
    """its authors"""
    place: str
    """where the values stand in it"""
    reference: float
    """as a fraction"""
    shift: float
    """mean over the shifted domains of the table, as a fraction"""
    differences: tuple[str, ...]
    """of the protocol it was measured by to that of the table's trials; empty: none is known"""


def published_points(table: Table, values: Mapping[Key, tuple[Published, ...]] | None = None) -> list[PublishedPoint]:
    """All of them for one table; of rows that several published tables repeat the first.

    A file of views or values that cannot be read costs its points and a warning: the page is about our own results.
    """
    if len(table.sources) != 1 or not table.shifted or table.reference_split != "test":
        return []
    known = _values() if values is None else values
    found: dict[tuple[str, float, float], PublishedPoint] = {}
    for view in readable_views().values():
        for panel in view.panels:
            if _about(table, panel):
                for point in _points(table, view, panel, known):
                    found.setdefault((point.name, point.reference, point.shift), point)
    return list(found.values())


def missing_points() -> str:
    """Which published values no figure can show, in a sentence for a caption; '' if every file of views can be read."""
    if not (names := wrong_files()):
        return ""
    return f"Published values of {', '.join(names)} are missing: what is wrong there is said by `report --list-views`."


@lru_cache(maxsize=1)
def _values() -> Mapping[Key, tuple[Published, ...]]:
    """All published values; none, with one warning, if a file of them is wrong."""
    try:
        return published()
    except (ValueError, OSError) as error:
        _log.warning("%s; until it is mended, charts show no published points of tables", error)
        return {}


def _about(table: Table, panel: Panel) -> bool:
    """Whether a panel is of the table's dataset, model and reference domain."""
    spec = next((o.trial.spec for row in table.rows for o in row.outcomes), None)
    if spec is None:
        return False
    return (panel.dataset, panel.model, panel.sources) == (spec.data.name, spec.model.name, table.sources)


def _points(
    table: Table, view: View, panel: Panel, values: Mapping[Key, tuple[Published, ...]]
) -> Iterator[PublishedPoint]:
    for row in panel.rows:
        accuracy = [_accuracy(panel, row, domain, values) for domain in (*table.sources, *table.shifted)]
        known = [value for value in accuracy if value is not None]
        if len(known) < len(accuracy):
            continue
        yield PublishedPoint(
            name=row.title,
            paper=view.source.split(",")[0],
            place=f"Table {place}" if (place := row.table or panel.table).isdigit() else place or view.title,
            reference=known[0],
            shift=statistics.fmean(known[1:]),
            differences=_differences(table, panel, row),
        )


def _accuracy(panel: Panel, row: Row, domain: str, values: Mapping[Key, tuple[Published, ...]]) -> float | None:
    """The published accuracy on one of our domains, as a fraction."""
    column = next((c for c in panel.columns if c.domains == (domain,) and c.metric == "accuracy"), None)
    if column is None:
        return None
    own = panel.values.get(row.title, {})
    head = (row.table or panel.table, panel.scenario, panel.reference, panel.backbone, row.published, row.variant)
    found: list[Published] = []
    for name in column.published:
        cells = (own[name],) if name in own else values.get((*head, name, "accuracy"), ())[row.occurrence :]
        found += cells[:1]
    return mean_of(found).mean / 100 if found and len(found) == len(column.published) else None


def _differences(table: Table, panel: Panel, row: Row) -> tuple[str, ...]:
    """Between the published protocol and that of the table's trials: those of the same method, else of the baseline."""
    own = [r for r in table.rows if r.method == row.method and not r.variant]
    for ours in (*own, table.baseline, *table.rows):
        done = [o for o in ours.outcomes if o.status == "done"] if ours is not None else []
        if done:
            o: Outcome = done[0]
            return tuple(dict.fromkeys(differences(o.trial.spec, o.record, panel, row)))
    return ("none of the table's trials is done: nothing to compare its protocol with",)
