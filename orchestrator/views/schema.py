"""The shape of a file of views: which keys there are and which types their values have. No ray, no torch.

What names refer to (is there such a row, has the scenario this domain) is checked in `orchestrator.views.paper`.
`docs/views.md` shows how a file is written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from orchestrator.spec import ClassNames
from orchestrator.views.spec import Metric
from training.config import Frozen, Preprocessing, SelectionRule


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


def _text(value: Any) -> Any:
    """A table's number is text, with or without quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(_listed)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Settings = dict[str, Any]
Grid = dict[str, Annotated[tuple[Any, ...], Field(min_length=1), BeforeValidator(_listed)]]


class BackboneEntry(Frozen):
    """A model of the paper."""

    model: Name = Field(description="architecture of open_clip")
    weights: tuple[Name, ...] = Field((), description="the published weights, by tag or content; empty: not checked")


class ScenarioEntry(Frozen):
    """A dataset with the protocol that the paper measures it by."""

    like: Name | None = Field(None, description="a scenario whose values hold where this one gives none")
    dataset: Name | None = Field(None, description="as manifests name it")
    what: str = Field("", description="the revision and what else identifies the data, in words")
    domains: dict[str, Name] = Field(
        default_factory=dict, description="the paper's names -> ours, the reference first; empty: held out in turn"
    )
    reference: Name | None = Field(None, description="what published values call the reference, if it is no domain")
    num_seeds: Annotated[int, Field(ge=1)] | None = Field(None, description="null: not stated")
    preprocessing: Preprocessing = "lipsum"
    selection: SelectionRule = "reference_test"
    max_held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.01, description="so large a share held out of training is taken as none"
    )
    class_names: ClassNames = "as_published"
    target_split: Literal["test", "in"] = "test"
    recipe: Settings = Field(default_factory=dict, description="what the paper states of it")
    recipe_of: dict[str, Settings] = Field(default_factory=dict, description="backbone -> what differs for it")
    num_images: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="our domain -> test images, which tell revisions apart"
    )
    unknown: str = Field("", description="what is not known about the protocol; then nothing is compared")


class RowEntry(Frozen):
    """A row, or with `grid` several. `{name}` in its texts and values stands for a value of the grid."""

    like: Name | None = Field(None, description="a row whose values hold where this one gives none")
    grid: Annotated[tuple[Grid, ...], BeforeValidator(_listed)] = Field(
        (), description="name -> values, all combinations; a list of such: one after the other"
    )
    title: Name | None = None
    method: str | None = Field(None, description="'' : none of the methods here, published values alone")
    published: str | None = Field(None, description="its name among the published values (the title); '': none there")
    variant: str = Field("", description="its variant among the published values")
    table: str = Field("", description="where its published values stand, if not in the panel's table")
    settings: Settings = Field(default_factory=dict, description="values that a trial must have")
    recipe: Settings = Field(default_factory=dict, description="recipe values that a trial must have")
    parameters: Settings = Field(default_factory=dict, description="which of the variants of one trial")
    of: Name | None = Field(None, description="the row that a post-hoc method builds on")
    differs: str = Field("", description="what is always different from the published row")
    any_recipe: bool = Field(False, description="nothing of the recipe changes its result")
    curve: str = Field("", description="in a figure, rows of one curve are joined by a line; '': a point of its own")
    point: str = Field("", description="what the row is called on its curve")


class ColumnEntry(Frozen):
    """A column that is written out."""

    title: Name
    domains: tuple[Name, ...] = Field((), description="ours; empty: the mean over the domains held out in turn")
    published: tuple[Name, ...] | None = Field(None, description="names among the published values (the title)")
    metric: Metric = "accuracy"
    dataset: str = Field("", description="of a panel over several datasets")
    held_out: tuple[Name, ...] = Field((), description="the domains that are held out in turn; empty: whichever are")
    over: tuple[Name, ...] = Field((), description="titles of earlier columns: their mean, seed by seed")


class PanelEntry(Frozen):
    """A table; lists of scenarios, backbones and references make one for each, in this order."""

    scenario: Names
    backbone: Names
    reference: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field(
        (), description="default: the first domain"
    )
    rows: Names = Field(description="names of rows and of lists")
    title: Name = "{scenario}, {backbone}"
    table: Annotated[str, BeforeValidator(_text)] = Field("", description="of the published values")
    published: bool = Field(True, description="false: the values of the paper are not known")
    layout: Literal["domains", "axes"] = Field(
        "domains", description="every domain and the mean over the shifted ones; axes: the reference and the mean"
    )
    average: str = Field("", description="title of a last column, the mean over all domains, the reference included")
    metric: Metric = "accuracy"
    pairs: tuple[Metric, Metric] | None = Field(
        None, description="instead of a layout: both for every shifted domain, and their correlation over the rows"
    )
    columns: tuple[ColumnEntry, ...] = Field((), description="instead of a layout: written out")
    values: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="row title -> published values in the columns' order: a number, [mean, s.d.] or null",
    )


class ViewEntry(Frozen):
    """A table or figure of the paper."""

    name: FileName
    title: Name
    place: str = Field("", description="where in the paper")
    benchmarks: tuple[Name, ...] = Field(description="of a manifest, that together fill it")
    panels: Annotated[tuple[PanelEntry, ...], Field(min_length=1)]
    notes: tuple[Name, ...] = Field((), description="keys under `notes:`, or texts")
    figure: bool = Field(
        False, description="draw it: accuracies of the first column against each other one, `pairs`, or bars"
    )


class PaperFile(Frozen):
    """A paper's views."""

    source: Name = Field(description="how the paper is cited")
    backbones: Annotated[dict[str, BackboneEntry], Field(min_length=1)]
    scenarios: Annotated[dict[str, ScenarioEntry], Field(min_length=1)]
    rows: Annotated[dict[str, RowEntry], Field(min_length=1)]
    lists: dict[str, Names] = Field(default_factory=dict, description="name -> names of rows and of earlier lists")
    notes: dict[str, Name] = Field(default_factory=dict)
    views: Annotated[tuple[ViewEntry, ...], Field(min_length=1)]
