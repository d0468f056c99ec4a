"""The shape of a manifest: which keys there are and which types their values have. Imports neither torch nor ray.

What a name refers to (is there such a method, has the dataset this domain) is checked in `orchestrator.manifest.read`, after
the shape. A benchmark may leave out a key that `defaults:` gives, so none is required here but in `models:`.
"""

from __future__ import annotations

import difflib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from orchestrator.protocols import ALL_BUT_TARGET, ProtocolName
from orchestrator.spec import ClassNames
from orchestrator.tracking.sinks import TrackerName
from training.config import Frozen, Preprocessing, Recipe, SelectionRule

ALL: Literal["all"] = "all"
RESERVED = ("method", "recipe", "of")
"""Keys of an entry under `methods:` or `post_hoc:` that are no settings of the method."""


def _domains(value: Any) -> Any:
    if value == ALL or (isinstance(value, list) and value and all(isinstance(item, str) for item in value)):
        return value if value == ALL else tuple(value)
    raise ValueError("must be 'all' or a list of domain names")


Domains = Annotated[
    Any,
    AfterValidator(_domains),
    WithJsonSchema({"anyOf": [{"const": ALL}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


def _sources(value: Any) -> Any:
    """Checks the shape; a list in the list, domains of one trial, becomes a tuple."""
    if isinstance(value, str) and value in (ALL, ALL_BUT_TARGET):
        return value
    if isinstance(value, list) and value:
        given = [tuple(item) if isinstance(item, list) else item for item in value]
        named = [domain for item in given for domain in (item if isinstance(item, tuple) else [item])]
        if all(isinstance(domain, str) for domain in named) and () not in given:
            return tuple(given)
    near = isinstance(value, str) and difflib.get_close_matches(value, [ALL_BUT_TARGET], n=1)
    hint = f", did you mean {ALL_BUT_TARGET!r}?" if near else ""
    raise ValueError(
        f"must be '{ALL}', '{ALL_BUT_TARGET}' or a list of domain names (domains trained on together are a list in it), "
        f"got {json.dumps(value)[:60]}{hint}"
    )


Sources = Annotated[
    Any,
    AfterValidator(_sources),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [ALL, ALL_BUT_TARGET]},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
                    },
                },
            ]
        }
    ),
]
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
RecipeGrid = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "propertyNames": {"enum": list(Recipe.model_fields)}}),
]


class ModelEntry(Frozen):
    """One pre-trained CLIP."""

    name: Name = Field(description="open_clip architecture, like ViT-B-16-quickgelu")
    pretrained: Name = Field(description="open_clip tag, path of a weights file, or 'random' for a smoke test")
    config: Name | None = Field(None, description="path of an open_clip model config, for an architecture of your own")


class MethodEntry(Frozen):
    """A method with its settings, which stand beside the reserved keys. A list is a grid: one trial for each value."""

    model_config = ConfigDict(extra="allow")

    method: Name | None = Field(None, description="the method, when the key is a label of your own")
    recipe: RecipeGrid = Field(default_factory=dict, description="changes to the benchmark's recipe; a list is a grid")


class PostHocEntry(Frozen):
    """A post-hoc method with its settings, and the methods whose finished trials it builds on."""

    model_config = ConfigDict(extra="allow")

    method: Name | None = Field(None, description="the method, when the key is a label of your own")
    of: Names | None = Field(None, description="keys under `methods:`")


class Shared(Frozen):
    """What benchmarks can share through `defaults:`."""

    dataset: Name | None = Field(None, description="name of a dataset, or the path of a YAML card")
    models: Names | None = Field(None, description="keys under the top-level `models:`")
    protocol: ProtocolName | None = Field(
        None, description="domainbed: leave one domain out, 20 % held out by seed; it decides the keys of the split"
    )
    sources: Sources | None = Field(
        None,
        description="reference domains, each of its own trials; a list in the list: together in one; 'all': every target; "
        "'all but target': for each target the others together",
    )
    targets: Domains = Field(
        ALL, description="domains evaluated, the sources included; 'all': the dataset's without its optional ones"
    )
    transfer: Names | None = Field(
        None, description="datasets that models are evaluated on without training on them, with heads made from text"
    )
    class_names: ClassNames = Field(
        "as_published", description="in prompts; spaces: with a space for each underscore of the published names"
    )
    baseline: Name | None = Field(
        None, description="label of the trained method that others are compared with; default: the first that trains"
    )
    seeds: Seeds = Field((0,), description="seeds of the trained methods")
    recipe: Recipe = Field(default_factory=Recipe, description="changes to the default recipe")
    selection: SelectionRule = Field("reference_val", description="how the reported step is chosen")
    preprocessing: Preprocessing = Field("lipsum", description="evaluation preprocessing")
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share of the train split held out for selection")
    split_seed: int = Field(0, ge=0, description="seed of that split")


class BenchmarkEntry(Shared):
    """A benchmark: a dataset, models, source and target domains, and the methods that are compared."""

    description: str = Field("", description="one line for the report")
    methods: dict[Name, MethodEntry] = Field(
        default_factory=dict, description="a method's name, or a label of your own with `method:`"
    )
    post_hoc: dict[Name, PostHocEntry] = Field(
        default_factory=dict, description="methods that build on finished trials"
    )


class Resources(Frozen):
    """What a trial gets; a flag of `run` wins over it, and what neither gives is chosen for the machine."""

    slots: int | None = Field(None, ge=1, description="trials that run at the same time")
    gpus_per_trial: float | None = Field(
        None, ge=0, description="GPUs of a trial, all its workers together; a fraction shares one GPU between trials"
    )
    workers_per_trial: int = Field(1, ge=1, description="data-parallel workers of a trial")
    cpus_per_trial: int | None = Field(
        None, ge=1, description="CPU threads of a trial, all its workers together: a multiple of their number"
    )
    cache_gib: float = Field(
        0.0,
        ge=0,
        description="GiB on each machine's disk for decoded pixels, so that no image is decoded twice; 0: none",
    )
    silence_minutes: float | None = Field(
        None,
        gt=0,
        description="minutes without a line of progress after which a trial counts as hung: its workers are ended and it is "
        "tried again; longer than its longest silent stage. Default: no limit",
    )


class ManifestFile(Frozen):
    """A file of benchmarks."""

    model_config = ConfigDict(title="Benchmark manifest")

    results: Name = Field("results", description="folder of records and of the leaderboard")
    data: Name = Field(
        "data", description="folder, or URL as s3://bucket/prepared, with one prepared dataset in each sub-folder"
    )
    run: Names | None = Field(None, description="benchmarks that `run` and `plan` take when none is named")
    plugins: tuple[Name, ...] = Field((), description="folders with methods of your own, one <name>.py each")
    resources: Resources = Field(default_factory=Resources)
    track: tuple[TrackerName, ...] = Field(
        (), description="further outputs of `run`, beside the records: tensorboard, mlflow, wandb"
    )
    defaults: Shared = Field(default_factory=Shared, description="values for benchmarks that do not give their own")
    models: dict[Name, ModelEntry] = Field(default_factory=dict)
    benchmarks: dict[FileName, BenchmarkEntry] = Field(default_factory=dict)


def fill_empty(data: dict[str, Any]) -> dict[str, Any]:
    """The file with `{}` for an entry with nothing behind its key (`zero_shot:`) and without other such keys.

    Settings and recipes keep their nulls: there `null` is a value.
    """
    top = {key: value for key, value in data.items() if value is not None}
    for section in ("models", "benchmarks"):
        if isinstance(top.get(section), dict):
            top[section] = {name: _given(entry) for name, entry in top[section].items()}
    for section in ("defaults", "resources"):
        if section in top:
            top[section] = _given(top[section])
    for benchmark in top["benchmarks"].values() if isinstance(top.get("benchmarks"), dict) else ():
        for section in ("methods", "post_hoc"):
            if isinstance(benchmark, dict) and isinstance(benchmark.get(section), dict):
                entries = benchmark[section]
                benchmark[section] = {name: {} if entry is None else entry for name, entry in entries.items()}
    return top


def _given(entry: Any) -> Any:
    return {k: v for k, v in (entry or {}).items() if v is not None} if isinstance(entry, dict | None) else entry


def json_schema() -> dict[str, Any]:
    """JSON Schema of a manifest, for editors: the shape, without what names refer to."""
    schema = ManifestFile.model_json_schema(mode="validation")
    for entry in ("MethodEntry", "PostHocEntry"):
        schema["$defs"][entry]["type"] = ["object", "null"]
    schema["required"] = ["models", "benchmarks"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
