"""All views by name. No ray, no torch."""

from __future__ import annotations

from orchestrator.manifest_errors import suggestion
from orchestrator.views import lipsum
from orchestrator.views.lipsum_rows import CAR_FT, FT, LIPSUM_FT, MODELS, WEIGHTS, ZERO_SHOT
from orchestrator.views.spec import Column, Panel, Protocol, View


class ViewError(ValueError):
    """There is no such view; the message says which there are."""


DOMAINBED = {
    "vlcs": "VLCS",
    "pacs": "PACS",
    "office_home": "OfficeHome",
    "terra_incognita": "TerraIncognita",
    "domainnet": "DomainNet",
}

CAR_FT_DOMAINBED = View(
    name="car-ft-domainbed",
    title="CAR-FT on DomainBed, each domain held out in turn",
    source="Mao et al., CAR-FT, IJCV 2024, arXiv:2211.16175, as quoted by a later paper's table",
    panels=(
        Panel(
            title="DomainBed, B/16",
            table="CAR-FT via a 2026 DG table",
            scenario="DomainBed",
            reference="leave-one-domain-out",
            backbone="B/16",
            sources=(),
            model=MODELS["B/16"],
            rows=(ZERO_SHOT, FT, CAR_FT, LIPSUM_FT),
            columns=tuple(Column(name, (), (name,), dataset=dataset) for dataset, name in DOMAINBED.items()),
            protocol=Protocol(
                dataset="domainbed",
                what="leave one domain out",
                num_seeds=None,
                preprocessing="openai",
                selection="reference_val",
                target_split="in",
                max_held_out=0.2,
                weights=WEIGHTS["B/16"],
                unknown="steps, learning rate and selection of the published row are not known; it is second-hand",
            ),
        ),
    ),
    benchmarks=tuple(f"domainbed_{dataset}" for dataset in DOMAINBED),
    notes=(
        "Mean over the held-out domains of each dataset, DomainNet with quickdraw and without its duplicates. Only CAR-FT has "
        "published values here; ours are by DomainBed's protocol (docs/protocols.md).",
    ),
)

VIEWS: dict[str, View] = {view.name: view for view in (*lipsum.VIEWS, CAR_FT_DOMAINBED)}

NOT_BUILT = {
    "lipsum-figure-15": "t-SNE of energy vectors",
    "lipsum-figure-16": "a gallery of images from the shards",
}
"""Figures of the paper that are no view yet -> what they show."""


def find(name: str) -> list[View]:
    """The view of a name, or all of them for 'all'. Raises ViewError."""
    if name == "all":
        return list(VIEWS.values())
    if name in VIEWS:
        return [VIEWS[name]]
    if name in NOT_BUILT:
        raise ViewError(f"view {name!r} ({NOT_BUILT[name]}) is not built yet; --list-views shows those that are")
    raise ViewError(f"no view {name!r}{suggestion(name, list(VIEWS))}; --list-views shows all")
