"""The columns of a panel in a file of views: written out, or laid out over the scenario's domains. No ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.manifest.errors import Problems
from orchestrator.manifest.yaml_lines import KeyPath
from orchestrator.views.schema import PanelEntry
from orchestrator.views.spec import Column, Metric

Domains = Mapping[str, str]
"""the paper's names -> ours, in the paper's order"""
OF_TWO: tuple[Metric, ...] = ("harmonic", "relative_accuracy")
AVERAGED: tuple[Metric, ...] = ("accuracy", "class_accuracy", "feature_distortion")
"""Metrics whose mean over the shifted domains is a column of its own; papers give none of calibration."""


def columns_of(
    entry: PanelEntry, domains: Domains, reference: str, path: KeyPath, problems: Problems
) -> tuple[Column, ...]:
    """The columns of a panel with this reference domain; what is wrong is noted."""
    if entry.columns and entry.pairs:
        problems.add((*path, "pairs"), "stands in the place of columns, give one of them")
    if entry.columns:
        return _written(entry, domains, path, problems)
    if not domains:
        problems.add(path, "the scenario has no domains to lay out, so columns must be written out")
        return ()
    shifted = {name: domain for name, domain in domains.items() if name != reference}
    if entry.pairs:
        if "harmonic" in entry.pairs:
            problems.add((*path, "pairs"), "harmonic is of two domains that only written columns can name")
        return tuple(_pair(n, d, m, domains.get(reference, "")) for n, d in shifted.items() for m in entry.pairs)
    if entry.metric in OF_TWO:
        problems.add((*path, "metric"), f"{entry.metric} is of two domains: write the columns out, or use pairs")
    mean = Column("shift mean", tuple(shifted.values()), tuple(shifted), entry.metric)
    if entry.layout == "axes":
        first = Column(f"{reference}*", (domains.get(reference, ""),), (reference,), entry.metric)
        return (first, mean) if shifted else (first,)
    each = [Column(n if n in shifted else f"{n}*", (d,), (n,), entry.metric) for n, d in domains.items()]
    every = Column(entry.average, tuple(domains.values()), tuple(domains), entry.metric)
    several = len(shifted) > 1  # the mean of one is that column again
    return (*each, *([mean] if several and entry.metric in AVERAGED else []), *([every] if entry.average else []))


def _pair(name: str, domain: str, metric: Metric, reference: str) -> Column:
    of = (domain, reference) if metric == "relative_accuracy" else (domain,)
    return Column(f"{name} {metric.replace('_', ' ')}", of, (), metric)


def _written(entry: PanelEntry, domains: Domains, path: KeyPath, problems: Problems) -> tuple[Column, ...]:
    for i, column in enumerate(entry.columns):
        at = (*path, "columns", i)
        if column.metric in OF_TWO and len(column.domains) != 2:
            problems.add(at, f"{column.metric} is of two domains, got {len(column.domains)}")
        for j, name in enumerate(column.domains):
            if domains and not column.dataset and name not in domains.values():
                problems.unknown((*at, "domains", j), "domain", name, domains.values())
        earlier = [known.title for known in entry.columns[:i] if not known.over]
        for j, name in enumerate(column.over):
            if name not in earlier:
                problems.unknown((*at, "over", j), "earlier column", name, earlier)
    return tuple(
        Column(
            c.title,
            c.domains,
            (c.over or (c.title,)) if c.published is None else c.published,
            c.metric,
            c.dataset,
            c.held_out,
            c.over,
        )
        for c in entry.columns
    )
