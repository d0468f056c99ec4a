"""What a trial is: everything that changes its result, and the id made from it. No ray, no torch.

A `TrialSpec` holds what changes the result and nothing else; its id is a readable prefix and a versioned hash of its
canonical JSON. Where files lie, how many workers run it and what the manifest calls it stand in `PlannedTrial`, beside it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from training.config import Frozen, Preprocessing, Recipe, SelectionRule

TRIAL_ID_VERSION = 1
"""Part of every hash: raise it when the meaning of an unchanged spec changes."""

ClassNames = Literal["as_published", "spaces"]
Kind = Literal["reference", "trained", "post_hoc"]

UNPREPARED = "unprepared"
"""Identity of data or weights that are not on this machine: such trials can be planned, not run."""


class TransferRef(Frozen):
    """A dataset that a trial is evaluated on without having been trained on it."""

    name: str
    identity: str = Field(description="sha256 of dataset.json, or 'unprepared'")
    domains: tuple[str, ...]


class DataRef(Frozen):
    """Which images: the dataset by content, the domains trained on and the domains evaluated."""

    name: str = Field(description="dataset name, for people; the identity decides")
    identity: str = Field(description="sha256 of dataset.json, or 'unprepared'")
    sources: tuple[str, ...] = Field(description="reference domains; empty for a method that does not train")
    targets: tuple[str, ...] = Field(description="domains whose test split is evaluated, references included")
    val_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of each source's train split held out for selection"
    )
    split_seed: int = Field(0, ge=0)
    target_split: Literal["test", "in"] = Field(
        "test",
        description="images a target is measured on; in: of all its images together those that are not held out (DomainBed)",
    )
    class_names: ClassNames = Field(
        "as_published", description="spaces: underscores of class names are replaced in prompts"
    )
    transfer: tuple[TransferRef, ...] = Field(
        (), description="datasets not trained on, evaluated with heads rebuilt from text"
    )


class ModelRef(Frozen):
    """Which pre-trained CLIP: the architecture and the content of its weights."""

    name: str = Field(description="open_clip architecture")
    weights: str = Field(
        description="'sha256:...' of a local file, 'tag:...' of a published one, 'random:SEED', or 'unprepared'"
    )
    architecture: str | None = Field(
        None, description="sha256 of the model config file, for architectures open_clip does not list"
    )


class TrialSpec(Frozen):
    """One trial. Every field changes the result; nothing that does not is here."""

    method: str
    method_version: int = Field(1, ge=1)
    settings: dict[str, Any] = Field(description="the method's complete settings, defaults filled in; JSON values")
    data: DataRef
    model: ModelRef
    recipe: Recipe | None = Field(description="None for what does not train")
    preprocessing: Preprocessing = "lipsum"
    selection: SelectionRule | None = Field("reference_val", description="None for what does not train")
    seed: int = Field(0, ge=0)
    inputs: tuple[str, ...] = Field((), description="ids of the finished trials a post-hoc method builds on")


ADDED: dict[tuple[str, str], Any] = {
    ("data", "target_split"): "test",
    ("data", "class_names"): "as_published",
    ("data", "transfer"): [],
    ("recipe", "freeze_head"): False,
    ("recipe", "balance_domains"): False,
}
"""Fields that came after the first records, with the value that stands for what was done before. They enter the hash only
with another value, so that a new field leaves the trials of old records done."""


def canonical_json(spec: TrialSpec) -> str:
    """The text that is hashed: sorted keys, no spaces, shortest floats. Stable over Python versions and machines."""
    content = spec.model_dump(mode="json")
    for (part, key), before in ADDED.items():
        if content[part] is not None and content[part][key] == before:
            del content[part][key]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def trial_id(spec: TrialSpec) -> str:
    """`<method>-<dataset>-<source>-s<seed>-<12 hex digits>`: a name to read and a hash that decides."""
    digest = hashlib.sha256(f"{TRIAL_ID_VERSION}:{canonical_json(spec)}".encode()).hexdigest()[:12]
    source = "+".join(spec.data.sources) or "any"
    return f"{spec.method}-{spec.data.name}-{source}-s{spec.seed}-{digest}"


class Location(Frozen):
    """Where a trial's inputs lie on the machines that run it: absolute paths or URIs. Not part of the identity."""

    data: str = Field(description="folder or URL prefix with dataset.json")
    pretrained: str = Field(description="absolute path of a weights file, or an open_clip tag")
    model_config_file: str | None = Field(None, description="absolute path of an open_clip model config")
    plugins: tuple[str, ...] = Field((), description="absolute paths of folders with the user's own methods")
    files: dict[str, str] = Field(
        default_factory=dict, description="identity in a setting -> absolute path of what it identifies"
    )
    transfer: dict[str, str] = Field(
        default_factory=dict, description="dataset of `data.transfer` -> folder or URL prefix with its dataset.json"
    )


class PublishedValue(Frozen):
    """What others measured under the protocol of a trial that does not train."""

    domain: str
    accuracy: float = Field(ge=0, le=1)
    source: str = Field(description="paper or repository, and the place in it")


class PlannedTrial(Frozen):
    """A trial in a benchmark: its spec, its id, what the manifest calls it and where its inputs lie."""

    id: str
    spec: TrialSpec
    location: Location
    benchmark: str
    label: str = Field(
        description="the method's key in the manifest plus the grid values that vary, e.g. 'lipsum_ft strength=0.3'"
    )
    of: str | None = Field(None, description="label of the method that a post-hoc method builds on")
    model: str = Field(description="the model's key in the manifest")
    kind: Kind = Field(description="reference: does not train (zero-shot)")
    takes_steps: bool = Field(
        True, description="false: a trained method that solves for everything at once, without a step of its recipe"
    )
    expected: tuple[PublishedValue, ...] = Field(
        (), description="published values that its accuracies are compared with before others train"
    )


class BenchmarkPlan(Frozen):
    """All trials of one benchmark in running order (inputs before what needs them); stored as results/plans/<benchmark>.json."""

    benchmark: str
    description: str = ""
    manifest: str = Field(description="absolute path of the manifest it was made from")
    given: tuple[str, ...] = Field(
        (),
        description="the manifest as `run` was given it, then --results and --data if they are others than its own: for "
        "commands that the page shows; empty in plans of older versions",
    )
    dataset: str
    dataset_title: str
    domains: tuple[str, ...] = Field(description="domains of the benchmark in display order")
    classnames: tuple[str, ...] = Field((), description="in label order; empty in plans of older versions")
    baseline: str = Field("", description="label of the trained method that others are compared with; empty: none")
    leave_one_out: bool = Field(False, description="each trained trial has all domains but one as sources")
    seen_unseen: tuple[str, str] | None = Field(
        None, description="domains of seen and unseen classes, for generalised zero-shot learning"
    )
    trials: tuple[PlannedTrial, ...]
