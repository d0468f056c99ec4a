"""Protocols by name: what one key of a manifest stands for. No ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ProtocolName = Literal["domainbed"]
ALL_BUT_TARGET: Literal["all but target"] = "all but target"


@dataclass(frozen=True)
class Protocol:
    """A named protocol."""

    settings: Mapping[str, Any]
    """keys of a benchmark that it decides, with their values"""
    split_by_seed: bool
    """every trial seed holds out other images; what does not train, and what joins seeds, has the split of seed 0"""
    pooled: bool
    """the images of a domain are one pool, whatever splits its authors made: a share is held out, and a target is measured
    on the rest"""


PROTOCOLS: Mapping[ProtocolName, Protocol] = {
    # facebookresearch/DomainBed@b93c22a: leave one domain out; holdout_fraction 0.2 by trial seed; selection
    # `IIDAccuracySelectionMethod` (mean accuracy on the 20 % of the source domains); reported on the 80 % of the target.
    "domainbed": Protocol(
        settings={"sources": ALL_BUT_TARGET, "val_fraction": 0.2, "selection": "reference_val"},
        split_by_seed=True,
        pooled=True,
    )
}
