"""The tables and figures of Nam et al., "Lipsum-FT: Robust Fine-Tuning of Zero-Shot Models Using Random Text Guidance"
(ICLR 2024, arXiv:2404.00860), as views. No ray, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.views.lipsum_rows import (
    ABLATION,
    CUB_PANEL,
    FEAT_KD,
    FT,
    HEADS,
    METHODS,
    MODELS,
    SCENARIOS,
    TRAINED,
    both,
    combined,
    distortion,
    energy,
    figure,
    grid,
    panel,
    post_hoc,
    texts,
)
from orchestrator.views.spec import Row, View

SOURCE = "Nam et al., Lipsum-FT, ICLR 2024, arXiv:2404.00860"

PROTOCOL_NOTES = (
    "Published: central crop of 87.5 % before the resize (other papers resize and crop: about -2 points on ImageNet-A, +1.5 on "
    "R and Sketch for the same weights), the step chosen on the reference domain's own test images, all training images "
    "used, mean and s.d. of 5 runs on TPUs.",
    "DomainNet: the cleaned lists (TPGM, FTP, SPD and LP-FT publish on the original ones, DomainBed without duplicates and with "
    "quickdraw). ImageNet: the mean is over four shifts (WiSE-FT, FLYP and CaRot publish the mean over five, with ObjectNet).",
)

ROW_NAMES = (
    "Which of the two middle rows is which is inferred: the check marks are lost in the text of the paper we have."
)
MIXING = "The mixing coefficients are inferred from the rows' order: they are lost in the text of the paper we have."
DISTORTION = (
    "Mean Euclidean distance of normalised features from the zero-shot model's; whether the paper normalises them is not in its "
    "text."
)
ENERGY = (
    "Mean squared difference of energies without a temperature over 10,000 random texts; the paper's scale is not in its text. "
    "Relative accuracy: that on the shifted domain over that on the reference domain."
)
NO_VALUES = "The figure's values are not in the paper's text, so there is nothing published beside ours."


def _imagenet_rows(rows: Sequence[Row]) -> dict[str, Sequence[Row]]:
    """FeatKD is published for ImageNet alone, in section 5.3."""
    return {"DomainNet": rows, "ImageNet": (*rows[:-1], FEAT_KD, rows[-1])}


VIEWS = (
    View(
        "lipsum-table-1",
        "Accuracy of robust fine-tuning methods",
        f"{SOURCE}, Table 1 (FeatKD: section 5.3)",
        tuple(panel("1", s, "B/16", rows) for s, rows in _imagenet_rows(METHODS).items()),
        ("lipsum_table_1_domainnet", "lipsum_table_1_imagenet"),
        PROTOCOL_NOTES,
    ),
    View(
        "lipsum-table-2",
        "Calibration error and negative log-likelihood",
        f"{SOURCE}, Table 2",
        (*both("2", "B/16", METHODS, "ece", ", ECE"), *both("2", "B/16", METHODS, "nll", ", NLL")),
        ("lipsum_table_1_domainnet", "lipsum_table_1_imagenet"),
        (*PROTOCOL_NOTES, "The paper does not say how many bins its ECE has; ours has 15."),
    ),
    View(
        "lipsum-table-3",
        "Loss and text guidance, DomainNet",
        f"{SOURCE}, Table 3, with the s.d. of Table 9",
        (panel("9", "DomainNet", "B/16", ABLATION),),
        ("lipsum_table_9_domainnet",),
        (*PROTOCOL_NOTES, ROW_NAMES),
    ),
    View(
        "lipsum-table-4",
        "Initialisation of the head",
        f"{SOURCE}, Table 4",
        tuple(panel("4", s, b, HEADS) for s in SCENARIOS for b in MODELS),
        tuple(f"lipsum_table_4_{s}{b}" for s in ("domainnet", "imagenet") for b in ("", "_l14")),
        PROTOCOL_NOTES,
    ),
    View(
        "lipsum-table-5",
        "Accuracy with B/32 and L/14",
        f"{SOURCE}, Table 5",
        tuple(panel("5", s, b, METHODS) for b in ("B/32", "L/14") for s in SCENARIOS),
        tuple(f"lipsum_table_5_{s}_{b}" for b in ("b32", "l14") for s in ("domainnet", "imagenet")),
        PROTOCOL_NOTES,
    ),
    View(
        "lipsum-table-6",
        "WiSE-FT, TPGM and TPGM-C, DomainNet",
        f"{SOURCE}, Table 6",
        (panel("6", "DomainNet", "B/16", post_hoc()),),
        ("lipsum_table_6",),
        (*PROTOCOL_NOTES, MIXING),
    ),
    View(
        "lipsum-table-7",
        "WiSE-FT, TPGM and TPGM-C, ImageNet",
        f"{SOURCE}, Table 7",
        (panel("7", "ImageNet", "B/16", post_hoc()),),
        ("lipsum_table_7",),
        (*PROTOCOL_NOTES, MIXING),
    ),
    View(
        "lipsum-table-8",
        "Length and number of random texts",
        f"{SOURCE}, Table 8",
        tuple(both("8", "B/16", texts())),
        ("lipsum_table_8_domainnet", "lipsum_table_8_imagenet"),
        (*PROTOCOL_NOTES, "The paper prints L=8, M=80 twice, on ImageNet with different values."),
    ),
    View(
        "lipsum-table-9",
        "Loss and text guidance",
        f"{SOURCE}, Table 9",
        tuple(both("9", "B/16", ABLATION)),
        ("lipsum_table_9_domainnet", "lipsum_table_9_imagenet"),
        (*PROTOCOL_NOTES, ROW_NAMES),
    ),
    View(
        "lipsum-table-10",
        "DomainNet with other reference domains",
        f"{SOURCE}, Table 10",
        tuple(
            panel("10", "DomainNet", "B/16", TRAINED, reference=r, title=f"DomainNet, B/16, reference {r}")
            for r in "PCIS"
        ),
        ("lipsum_table_10",),
        (*PROTOCOL_NOTES, "The paper's Average has the reference domain in it; the shift mean here has not."),
    ),
    View(
        "lipsum-table-11",
        "Generalised zero-shot learning",
        f"{SOURCE}, Table 11",
        (CUB_PANEL,),
        ("lipsum_table_11",),
        (
            "S, U and H here: every class counts the same, over the logits of all 200 classes. Published on CUB, 3 runs.",
        ),
    ),
    View(
        "lipsum-figure-2",
        "Learning rate and steps: reference against shift, DomainNet",
        f"{SOURCE}, Figure 2",
        (figure("DomainNet", grid("DomainNet")),),
        ("lipsum_figure_2",),
        (NO_VALUES, "The learning rates and steps are this project's: the paper does not name them."),
        figure=True,
    ),
    View(
        "lipsum-figure-5",
        "Post-hoc methods: reference against shift, DomainNet",
        f"{SOURCE}, Figure 5, with the values of Table 6",
        (figure("DomainNet", post_hoc(), "6"),),
        ("lipsum_table_6",),
        (*PROTOCOL_NOTES, MIXING),
        figure=True,
    ),
    View(
        "lipsum-figure-6",
        "Soups and ensembles: reference against shift",
        f"{SOURCE}, Figure 6, with the values of Table 1 for what they are compared with",
        tuple(figure(s, combined(), "1") for s in SCENARIOS),
        (
            *("lipsum_figure_6_domainnet", "lipsum_figure_6_imagenet"),
            "lipsum_table_1_domainnet",
            "lipsum_table_1_imagenet",
        ),
        (*PROTOCOL_NOTES, "The pool of models is a part of the paper's grid, whose size it does not give."),
        figure=True,
    ),
    View(
        "lipsum-figure-7",
        "Learning rate and steps: reference against shift, ImageNet",
        f"{SOURCE}, Figure 7",
        (figure("ImageNet", grid("ImageNet")),),
        ("lipsum_figure_7",),
        (NO_VALUES, "The learning rates and steps are this project's: the paper does not name them."),
        figure=True,
    ),
    View(
        "lipsum-figure-8",
        "Learning rate and steps, every shift",
        f"{SOURCE}, Figure 8",
        tuple(figure(s, grid(s), detailed=True) for s in SCENARIOS),
        ("lipsum_figure_2", "lipsum_figure_7"),
        (NO_VALUES, "The learning rates and steps are this project's: the paper does not name them."),
        figure=True,
    ),
    View(
        "lipsum-figure-14",
        "Post-hoc methods: reference against shift, ImageNet",
        f"{SOURCE}, Figure 14, with the values of Table 7",
        (figure("ImageNet", post_hoc(), "7"),),
        ("lipsum_table_7",),
        (*PROTOCOL_NOTES, MIXING),
        figure=True,
    ),
    View(
        "lipsum-figure-3",
        "Feature distortion of FT on the reference and the shifted domains",
        f"{SOURCE}, Figure 3",
        tuple(distortion(s, "B/16", [FT]) for s in SCENARIOS),
        ("lipsum_table_1_domainnet", "lipsum_table_1_imagenet"),
        (NO_VALUES, DISTORTION),
        figure=True,
    ),
    View(
        "lipsum-figure-9",
        "Feature distortion of FT with three models, DomainNet",
        f"{SOURCE}, Figure 9",
        tuple(distortion("DomainNet", b, [FT]) for b in MODELS),
        ("lipsum_table_4_domainnet", "lipsum_table_4_domainnet_l14"),
        (NO_VALUES, DISTORTION),
        figure=True,
    ),
    View(
        "lipsum-figure-10",
        "Feature distortion of FT with three models, ImageNet",
        f"{SOURCE}, Figure 10",
        tuple(distortion("ImageNet", b, [FT]) for b in MODELS),
        ("lipsum_table_4_imagenet", "lipsum_table_4_imagenet_l14"),
        (NO_VALUES, DISTORTION),
        figure=True,
    ),
    View(
        "lipsum-figure-11",
        "Feature distortion of LP-FT and FT with three models, DomainNet",
        f"{SOURCE}, Figure 11",
        tuple(distortion("DomainNet", b, HEADS[1:3]) for b in MODELS),
        ("lipsum_table_4_domainnet", "lipsum_table_4_domainnet_l14"),
        (NO_VALUES, DISTORTION),
        figure=True,
    ),
    View(
        "lipsum-figure-12",
        "Feature distortion of LP-FT and FT with three models, ImageNet",
        f"{SOURCE}, Figure 12",
        tuple(distortion("ImageNet", b, HEADS[1:3]) for b in MODELS),
        ("lipsum_table_4_imagenet", "lipsum_table_4_imagenet_l14"),
        (NO_VALUES, DISTORTION),
        figure=True,
    ),
    View(
        "lipsum-figure-4",
        "Energy gap against relative accuracy, DomainNet",
        f"{SOURCE}, Figure 4",
        (energy("DomainNet"),),
        ("lipsum_table_1_domainnet",),
        (NO_VALUES, ENERGY),
    ),
    View(
        "lipsum-figure-13",
        "Energy gap against relative accuracy, ImageNet",
        f"{SOURCE}, Figure 13",
        (energy("ImageNet"),),
        ("lipsum_table_1_imagenet",),
        (NO_VALUES, ENERGY),
    ),
)
