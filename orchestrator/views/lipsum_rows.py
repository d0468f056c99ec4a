"""Rows, columns, panels and protocols of the Lipsum-FT paper's tables, which `lipsum.py` makes views of. No ray, no torch.

Settings that the paper's text does not give (the strengths of L2SP, KD, CAR-FT and of the two middle rows of Tables 3 and 9,
EMA's decay) are not asked of a trial; the benchmarks use this project's defaults for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.views.spec import Column, Metric, Panel, Protocol, Row

MODELS = {"B/32": "ViT-B-32-quickgelu", "B/16": "ViT-B-16-quickgelu", "L/14": "ViT-L-14-quickgelu"}
# Hashes of OpenAI's own files, from the addresses in open_clip 3.3.0, pretrained.py.
WEIGHTS = {
    "B/32": ("tag:openai", "sha256:40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "B/16": ("tag:openai", "sha256:5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
    "L/14": ("tag:openai", "sha256:b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
}
RECIPE: Mapping[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-5,
    "weight_decay": 0.0,
    "warmup_fraction": 0.1,
    "grad_clip": None,
    "label_smoothing": 0.0,
    "crop_scale": (0.08, 1.0),
    "flip": True,
    "freeze_head": False,
}
"""Section B.1 and cs-giung/lipsum-ft@1331873d21a4; steps and batch depend on data and model."""

SCENARIOS = {
    "DomainNet": Protocol(
        dataset="domainnet",
        what="cleaned lists, without quickdraw",
        num_seeds=5,
        recipe={**RECIPE, "num_steps": 5000},
        num_images={"real": 52041, "painting": 21850, "clipart": 14604, "infograph": 15582, "sketch": 20916},
    ),
    "ImageNet": Protocol(
        dataset="imagenet",
        what="validation split and four shifts, without ObjectNet; R and A over their 200 classes",
        num_seeds=5,
        recipe={**RECIPE, "num_steps": 50000},
        num_images={"imagenet": 50000, "v2": 10000, "r": 30000, "a": 7500},
    ),
}
DOMAINS = {
    "DomainNet": {"R": "real", "P": "painting", "C": "clipart", "I": "infograph", "S": "sketch"},
    "ImageNet": {"IN": "imagenet", "V2": "v2", "R": "r", "A": "a", "S": "sketch"},
}
SELECTED_ON_TEST = "fitted on held-out training images; published: on the reference domain's test images"

ZERO_SHOT = Row("Zero-shot", "zero_shot", "Zero-shot")
FT = Row("FT", "ft", "FT")
EMA = Row("EMA", "ema", "EMA")
L2SP = Row("L2SP", "l2sp", "L2SP")
KD = Row("KD", "kd", "KD")
CAR_FT = Row("CAR-FT", "car_ft", "CAR-FT", settings={"loss": "kld", "text": "context"})
LIPSUM_SETTINGS: Mapping[str, Any] = {"num_texts": 80, "token_length": 8, "strength": 1.0}
LIPSUM_FT = Row("Lipsum-FT", "lipsum_ft", "Lipsum-FT", settings=LIPSUM_SETTINGS)
TRAINED = (FT, EMA, L2SP, KD, CAR_FT, LIPSUM_FT)
METHODS = (ZERO_SHOT, *TRAINED)
FEAT_KD = Row("FeatKD", "feat_kd", "FeatKD")
ABLATION = (
    CAR_FT,
    Row("CAR-FT (MSE)", "car_ft", "CAR-FT (MSE)", "row name inferred", settings={"loss": "mse", "text": "context"}),
    Row(
        "Lipsum-FT (KLD)", "car_ft", "Lipsum-FT (KLD)", "row name inferred", settings={"loss": "kld", "text": "random"}
    ),
    LIPSUM_FT,
)
HEADS = (
    Row("Scratch-FT", "scratch_ft", "Scratch-FT"),
    Row("LP-FT", "lp_ft", "LP-FT"),
    FT,
    Row("Linear-probed", "linear_probe", "Linear-probed"),
    ZERO_SHOT,
)
ALPHAS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
STRENGTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
GRID_LRS = (1e-6, 3e-6, 1e-5, 3e-5)
GRID_STEPS = {"DomainNet": (1000, 3000, 5000, 7000), "ImageNet": (10000, 30000, 50000, 70000)}


def panel(
    table: str,
    scenario: str,
    backbone: str,
    rows: Sequence[Row],
    metric: Metric = "accuracy",
    *,
    reference: str = "",
    title: str = "",
    columns: Sequence[Column] = (),
) -> Panel:
    """A panel of the paper's usual shape: the reference domain, then the others."""
    domains = DOMAINS[scenario]
    reference = reference or next(iter(domains))
    batch = 128 if backbone == "L/14" else 256
    protocol = SCENARIOS[scenario]
    return Panel(
        title=title or f"{scenario}, {backbone}",
        table=table,
        scenario=scenario,
        reference=reference,
        backbone=backbone,
        sources=(domains[reference],),
        model=MODELS[backbone],
        rows=tuple(rows),
        columns=tuple(columns) or per_domain(scenario, metric, reference),
        protocol=replace(protocol, recipe={**protocol.recipe, "global_batch_size": batch}, weights=WEIGHTS[backbone]),
        other_tables={"FeatKD": "lipsum-ft paper"},
    )


def per_domain(scenario: str, metric: Metric = "accuracy", reference: str = "") -> tuple[Column, ...]:
    """A column for each domain in the paper's order; of accuracies and distortions also the mean over the shifted ones."""
    domains = DOMAINS[scenario]
    shifted = {name: domain for name, domain in domains.items() if name != (reference or next(iter(domains)))}
    columns = [Column(name + "*" * (name not in shifted), (d,), (name,), metric) for name, d in domains.items()]
    mean = Column("shift mean", tuple(shifted.values()), tuple(shifted), metric)
    return (*columns, *([mean] if metric in ("accuracy", "feature_distortion") else []))


def two_axes(scenario: str, metric: Metric = "accuracy") -> tuple[Column, ...]:
    """The reference domain and the mean over the shifted ones, for figures."""
    (name, domain), *shifted = DOMAINS[scenario].items()
    names, domains = zip(*shifted, strict=True)
    return Column(f"{name}*", (domain,), (name,), metric), Column("shift mean", domains, names, metric)


def both(table: str, backbone: str, rows: Sequence[Row], metric: Metric = "accuracy", title: str = "") -> list[Panel]:
    """The DomainNet and the ImageNet panel of a table."""
    return [panel(table, s, backbone, rows, metric, title=f"{s}, {backbone}{title}") for s in SCENARIOS]


BASES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (("", "ft", {}), ("Lipsum-FT + ", "lipsum_ft", LIPSUM_SETTINGS))
"""What post-hoc methods build on: prefix of the published name, method, settings."""


def post_hoc() -> tuple[Row, ...]:
    """WiSE-FT of FT and of Lipsum-FT, then TPGM and TPGM-C of each, in the paper's order."""
    return (*(row for base in BASES for row in _wise(*base)), *(row for base in BASES for row in _tpgm(*base)))


def _wise(prefix: str, of: str, wanted: Mapping[str, Any]) -> Iterator[Row]:
    name = f"{prefix}WiSE"
    for alpha in ALPHAS:
        variant = f"alpha={alpha} (inferred)"
        title = f"{name}, alpha={alpha}"
        yield Row(title, "wise_ft", name, variant, parameters={"alpha": alpha}, of=of, of_settings=wanted)


def _tpgm(prefix: str, of: str, wanted: Mapping[str, Any]) -> Iterator[Row]:
    plain = Row(f"{prefix}TPGM", "tpgm", f"{prefix}TPGM", of=of, of_settings=wanted, differs=SELECTED_ON_TEST)
    yield plain
    name = f"{prefix}TPGM-C"
    for reg in STRENGTHS:
        title = f"{name}, reg={reg}"
        row = replace(plain, title=title, method="tpgm_c", published=name, variant=f"reg={reg}")
        yield replace(row, settings={"strength": reg})


def texts() -> tuple[Row, ...]:
    """Lipsum-FT over lengths, then over numbers of texts; the paper prints 8 and 80 twice, with other runs."""
    points = [(length, 80, 0) for length in (1, 2, 4, 8, 16, 32)]
    points += [(8, number, int(number == 80)) for number in (10, 20, 40, 80, 160, 320)]
    return tuple(
        Row(
            f"L={length}, M={number}",
            "lipsum_ft",
            "Lipsum-FT",
            f"token_length={length};num_tokens={number}",
            occurrence,
            settings={"token_length": length, "num_texts": number, "strength": 1.0},
        )
        for length, number, occurrence in points
    )


def grid(scenario: str) -> tuple[Row, ...]:
    """FT over learning rates and steps; the paper's figures name neither."""
    points = [(lr, steps) for lr in GRID_LRS for steps in GRID_STEPS[scenario]]
    rows = [Row(f"FT, lr={lr:g}, {steps:,} steps", "ft", recipe={"lr": lr, "num_steps": steps}) for lr, steps in points]
    return (replace(ZERO_SHOT, published=""), *rows)


def combined() -> tuple[Row, ...]:
    """Greedy soups and ensembles beside what they are made of; the figure's values are not in the text."""
    rows = [ZERO_SHOT, FT, LIPSUM_FT]
    for prefix, of, wanted in BASES:
        for method, name in (("greedy_soup", "Soup"), ("greedy_ensemble", "Ensemble")):
            rows.append(Row(f"{prefix}{name}", method, of=of, of_settings=wanted, differs=SELECTED_ON_TEST))
    return tuple(rows)


def figure(scenario: str, rows: Sequence[Row], table: str = "", detailed: bool = False) -> Panel:
    """A panel with the reference domain on one axis and the mean over the shifted ones on the other."""
    columns = per_domain(scenario) if detailed else two_axes(scenario)
    return panel(table, scenario, "B/16", rows, columns=columns)


CUB = Protocol(
    dataset="cub",
    what="proposed split, 150 seen and 50 unseen classes, head frozen at zero-shot",
    num_seeds=3,
    weights=WEIGHTS["B/16"],
    num_images={"seen": 1764, "unseen": 2967},
    unknown="steps, learning rate, prompts, and whether every class or every image counts the same are not in the paper",
)
CUB_ROWS = (
    ZERO_SHOT,
    FT,
    CAR_FT,
    LIPSUM_FT,
    Row("Zero-shot (published elsewhere)", "", "Zero-shot", "published elsewhere"),
    Row("CoOp (published elsewhere)", "", "CoOp", "published elsewhere"),
    Row("CoOp + SHIP (published elsewhere)", "", "CoOp + SHIP", "published elsewhere"),
)
CUB_PANEL = Panel(
    title="CUB-200-2011, B/16",
    table="11",
    scenario="CUB",
    reference="seen",
    backbone="B/16",
    sources=("seen",),
    model=MODELS["B/16"],
    rows=CUB_ROWS,
    columns=(
        Column("S", ("seen",), ("seen",), "class_accuracy"),
        Column("U", ("unseen",), ("unseen",), "class_accuracy"),
        Column("H", ("seen", "unseen"), ("harmonic_mean",), "harmonic"),
    ),
    protocol=CUB,
)


def distortion(scenario: str, backbone: str, rows: Sequence[Row]) -> Panel:
    """How far the features have moved on each domain; the figures' values are not in the text."""
    unpublished = tuple(replace(row, published="") for row in rows)
    return panel("", scenario, backbone, unpublished, "feature_distortion")


def energy(scenario: str) -> Panel:
    """Energy gap and relative accuracy of each method on each shifted domain; the figures' values are not in the text."""
    (_, reference), *shifted = DOMAINS[scenario].items()
    columns = [
        column
        for name, domain in shifted
        for column in (
            Column(f"{name} energy gap", (domain,), (), "energy_gap"),
            Column(f"{name} relative accuracy", (domain, reference), (), "relative_accuracy"),
        )
    ]
    rows = tuple(replace(row, published="") for row in TRAINED)
    return replace(panel("", scenario, "B/16", rows, columns=columns), correlate=True)
