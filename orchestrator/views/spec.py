"""What a view is: data that says which published table or figure is put beside which of our trials. No ray, no torch.

A view has panels, a panel one reference domain, one model and a table of rows and columns. Each cell names the published
value it stands for and the trials that measure the same thing; `orchestrator.views.join` fills them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.views.published import Published

Metric = Literal[
    "accuracy", "class_accuracy", "harmonic", "relative_accuracy", "ece", "nll", "energy_gap", "feature_distortion"
]
"""As in the records; harmonic: 2 S U / (S + U) of two `class_accuracy`; relative_accuracy: accuracy on the first domain over that
on the second"""

PERCENT: tuple[Metric, ...] = ("accuracy", "class_accuracy", "harmonic")
"""Metrics that are shown in percent; the others as they are."""


@dataclass(frozen=True, slots=True)
class Column:
    """One measured quantity."""

    title: str
    domains: tuple[str, ...]
    """ours; several: their mean, or with `harmonic` 2 S U / (S + U). Empty: the mean over the domains held out in turn"""
    published: tuple[str, ...]
    """names of the same in the published table, in that order"""
    metric: Metric = "accuracy"
    dataset: str = ""
    """of a panel over several datasets; '': the panel's"""
    held_out: tuple[str, ...] = ()
    """which domains are held out in turn; empty: whichever are"""
    over: tuple[str, ...] = ()
    """titles of earlier columns whose mean it is"""

    @property
    def scale(self) -> float:
        """What a stored value is multiplied by to be in the published unit."""
        return 100.0 if self.metric in PERCENT else 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One predictor."""

    title: str
    method: str
    """ours; '': a published row of something that is not among the methods here"""
    published: str = ""
    """its name in the published table; '': the values are not in the paper's text"""
    variant: str = ""
    """its variant in the published table"""
    occurrence: int = 0
    """which one, where a published table has the same row twice"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """values a trial must have; settings that the paper does not state are not among them"""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """recipe values a trial must have (of a post-hoc method: its input)"""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """which of the variants of one trial: {'alpha': 0.5}"""
    of: Row | None = None
    """what a post-hoc method builds on"""
    table: str = ""
    """where its published values stand, if not in the panel's table"""
    any_recipe: bool = False
    """nothing of the recipe changes its result, so none of it is compared"""
    differs: str = ""
    """what is always different from the published row, if anything; it makes the row not comparable"""
    curve: str = ""
    """of a figure: what its point belongs to together with those of other rows; '': a point of its own"""
    point: str = ""
    """what the point is called on its curve"""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the published values were measured; a trial that differs in any of it is not comparable."""

    dataset: str
    """name with revision, as a manifest has it"""
    what: str
    """in words"""
    num_seeds: int | None
    """None: not stated"""
    preprocessing: str = "lipsum"
    selection: str = "reference_test"
    max_held_out: float = 0.01
    """the paper trains on all images of the train split; holding out so small a share is taken as the same"""
    class_names: str = "as_published"
    target_split: str = "test"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """the published recipe"""
    num_images: Mapping[str, int] = field(default_factory=dict)
    """domain -> test images: other numbers are another revision of the data"""
    weights: tuple[str, ...] = ()
    """the published weights, by tag or content; empty: not checked"""
    unknown: str = ""
    """what is not known about it, so that nothing can be compared; '' if it is known"""


@dataclass(frozen=True, slots=True)
class Panel:
    """A table of one reference domain and model."""

    title: str
    table: str
    """of the published values: what `orchestrator/published/papers/` calls it; '' if there are none"""
    scenario: str
    reference: str
    backbone: str
    sources: tuple[str, ...]
    """our reference domains; empty where each domain is held out in turn"""
    model: str
    """architecture of open_clip"""
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    protocol: Protocol
    values: Mapping[str, Mapping[str, Published]] = field(default_factory=dict)
    """title of a row -> the column's published name -> value, where the view's own file has them"""
    correlate: bool = False
    """columns come in pairs, whose Pearson correlation over the rows is given"""

    @property
    def dataset(self) -> str:
        """Name of the dataset without its revision."""
        return family(self.protocol.dataset)


@dataclass(frozen=True, slots=True)
class View:
    """A table or figure of a paper."""

    name: str
    title: str
    source: str
    panels: tuple[Panel, ...]
    benchmarks: tuple[str, ...]
    """of benchmarks.yaml, that together fill it"""
    notes: tuple[str, ...] = ()
    figure: bool = False
    """whether its panels are drawn, as `orchestrator.views.drawing` says"""


def family(dataset: str) -> str:
    """A dataset's name without its revision: 'domainnet' of 'domainnet@original'."""
    return dataset.split("@")[0]
