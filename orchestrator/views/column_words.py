"""What the columns of a panel are, in words: their domains, their unit, the reference. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.views.spec import PERCENT, Column, Metric, Panel

LONGEST_AXIS = 72
"""Letters of an axis's title: more do not fit."""
METRICS: dict[Metric, str] = {
    "accuracy": "accuracy",
    "class_accuracy": "class-balanced accuracy",
    "harmonic": "harmonic mean of accuracies",
    "relative_accuracy": "relative accuracy",
    "ece": "calibration error (ECE)",
    "nll": "negative log-likelihood",
    "energy_gap": "energy gap",
    "feature_distortion": "feature distortion",
}
UNITS: dict[Metric, str] = {
    "relative_accuracy": "relative accuracy: that on the shifted domain over that on the reference domain",
    "ece": "calibration error (ECE) as a fraction, 0 to 1",
    "nll": "negative log-likelihood in nats",
    "energy_gap": "energy gap: mean squared difference of energies",
    "feature_distortion": "feature distortion: mean distance of normalised features, 0 to 2",
}
"""Of what is not in percent; docs/metrics.md defines them."""


def axis_title(panel: Panel, columns: Sequence[Column], first: Column) -> str:
    """'accuracy on real (reference), %'; of several columns what they measure."""
    what = METRICS[first.metric] + {"feature_distortion": " (normalised features)", "nll": ", nats"}.get(
        first.metric, ""
    )
    unit = ", %" if first.metric in PERCENT else ""
    if len(columns) > 1:
        return what + unit
    if first.metric == "relative_accuracy":
        return " / ".join(f"accuracy on {name}" for name in _names(panel, first))
    text = f"{'mean ' if _is_mean(first) else ''}{what} on {', '.join(_names(panel, first))}{_reference(panel, first)}{unit}"
    return text if first.domains and len(text) <= LONGEST_AXIS else f"{what}, {first.title}{unit}"


def short_title(panel: Panel, column: Column) -> str:
    """What a column is about, for a bar or the name of a figure: 'painting', 'real (reference)', 'shift mean'."""
    if column.metric == "relative_accuracy" or len(column.domains) == 1:
        return _names(panel, column)[0] + _reference(panel, column)
    return column.title


def columns_in_words(panel: Panel) -> str:
    """'R*: real (the reference); P: painting; shift mean: over painting, clipart'; '' where titles say it all."""
    return "; ".join(_in_words(panel))


def _in_words(panel: Panel) -> Iterator[str]:
    for column in panel.columns:
        title, names = column.title, _names(panel, column)
        if column.over:
            yield f"{title}: mean of {', '.join(column.over)}"
        elif column.metric == "harmonic":
            yield f"{title}: harmonic mean of {' and '.join(names)}"
        elif column.metric == "relative_accuracy":
            yield f"{title}: {names[0]} over {names[1]}"
        elif _is_mean(column):
            yield f"{title}: over {', '.join(names)}"
        elif not column.domains:
            yield f"{title}: {column.dataset or panel.dataset}, mean over the held-out domains"
        else:
            reference = " (the reference: what is fine-tuned on)" if column.domains == panel.sources else ""
            yield f"{title}: {names[0]}{reference}"


def _names(panel: Panel, column: Column) -> list[str]:
    """Its domains; with the dataset where a name alone says nothing: 'imagenet-a'."""
    dataset = (column.dataset or panel.dataset).split("@")[0]
    return [name if len(name) > 2 else f"{dataset}-{name}" for name in column.domains]


def _is_mean(column: Column) -> bool:
    return len(column.domains) > 1 and column.metric not in ("harmonic", "relative_accuracy")


def _reference(panel: Panel, column: Column) -> str:
    return " (reference)" if column.domains == panel.sources else ""
