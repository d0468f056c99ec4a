"""Planned trials over the tiny dataset and the tiny CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import methods
from datasets.shards import Prepared
from methods.base import PostHoc
from orchestrator.identity import file_identity
from orchestrator.spec import DataRef, Location, ModelRef, PlannedTrial, TrialSpec, trial_id
from training.config import Recipe

RECIPE = Recipe(lr=1e-3, num_steps=8, global_batch_size=8, eval_every=4, crop_scale=(0.5, 1.0))


def planned(prepared: Prepared, config: Path, method: str, **changes: Any) -> PlannedTrial:
    """A trial of `method` on source 'disc', as the planner would make it; `changes` go into its spec."""
    found = methods.load(method, map(Path, changes.pop("plugins", ())))
    post_hoc = issubclass(found, PostHoc)
    trains = not post_hoc and found.trains
    settings = found.Config.model_validate(changes.pop("settings", {})).model_dump(mode="json")
    spec: dict[str, Any] = {
        "method": method,
        "method_version": found.version,
        "settings": settings,
        "data": DataRef(
            name=prepared.name,
            identity=prepared.identity,
            sources=("disc",) if trains or post_hoc else (),
            targets=("disc", "box", "ring"),
            val_fraction=0.2,
        ),
        "model": ModelRef(name="tiny_clip", weights="random:0", architecture=file_identity(config)),
        "recipe": RECIPE if trains else None,
        "selection": "reference_val" if trains else None,
    }
    made = TrialSpec.model_validate(spec | changes)
    return PlannedTrial(
        id=trial_id(made),
        spec=made,
        location=Location(data=prepared.root, pretrained="random:0", model_config_file=str(config)),
        benchmark="blobs",
        label=method,
        model="tiny_clip",
        kind="post_hoc" if post_hoc else "trained" if trains else "reference",
    )
