"""What the statistics of a table's rows are once computed: intervals, ranks, calibration, classes. No ray, no torch.

`board_statistics` computes them from per-image outcomes and keeps them on disk; tables and figures show them.
"""

from __future__ import annotations

from pydantic import Field

from training.config import Frozen


class Interval(Frozen):
    """95 %, of a fraction, of a difference of fractions, or of nats."""

    low: float
    high: float


class Difference(Interval):
    """Of a difference of accuracies to another row, with its test."""

    p: float | None = Field(None, description="two-sided, against 0")
    adjusted_p: float | None = Field(
        None,
        description="Holm's, over the rows of the table that are compared with the same row on the same part; None for a row "
        "that was chosen when the report was made",
    )


class PartIntervals(Frozen):
    """Of a number on the reference domains and on the shifted ones; None without."""

    reference: Interval | None = None
    shift: Interval | None = None


class PartDifferences(PartIntervals):
    """Of the difference to another row on the reference domains and on the shifted ones; None without."""

    reference: Difference | None = None
    shift: Difference | None = None


class SeenUnseenIntervals(Frozen):
    """Of generalised zero-shot learning."""

    seen: Interval | None = None
    unseen: Interval | None = None
    harmonic: Interval | None = None


class CurveBin(Frozen):
    """The images of one bin of confidence; bins without images are left out."""

    num_images: int
    accuracy: float
    confidence: float


class Calibration(Frozen):
    """Of the images of some domains and all seeds together."""

    bins: tuple[CurveBin, ...]


class ClassChange(Frozen):
    """How a row's accuracy on the images of a class differs from the zero-shot model's, mean over the seeds."""

    label: int
    difference: float
    num_images: int


class ClassChanges(Frozen):
    """The classes that gain and those that lose most against the zero-shot model."""

    gains: tuple[ClassChange, ...] = ()
    losses: tuple[ClassChange, ...] = ()


class RowStatistics(Frozen):
    """Of one row of a table."""

    why: str = Field("", description="why there are no intervals; '' if there are")
    domains: dict[str, Interval] = Field(
        default_factory=dict, description="of the accuracy on each domain or result of transfer"
    )
    reference: Interval | None = None
    shift: Interval | None = None
    worst: Interval | None = None
    versus_zero_shot: dict[str, Interval] = Field(
        default_factory=dict, description="of the difference to the zero-shot model on each domain"
    )
    to_zero_shot: PartDifferences = PartDifferences()
    to_baseline: PartDifferences = PartDifferences()
    nll: PartIntervals = PartIntervals()
    ece: PartIntervals = Field(PartIntervals(), description="in as many bins as the table has")
    by_class: SeenUnseenIntervals = SeenUnseenIntervals()
    by_image: SeenUnseenIntervals = SeenUnseenIntervals()
    rank: tuple[int, int] | None = Field(None, description="best and worst place by shift mean that cannot be excluded")
    calibration: dict[str, Calibration] = Field(default_factory=dict, description="'reference', 'shift'")
    classes: dict[str, ClassChanges] = Field(default_factory=dict, description="'reference', 'shift'")

    @property
    def tied(self) -> bool:
        """Whether no row is surely better: the best, or a tie with it."""
        return self.rank is not None and self.rank[0] == 1


class TableStatistics(Frozen):
    """Of all rows of a table, in its order."""

    rows: tuple[RowStatistics, ...]
    num_ranked: int = Field(0, description="rows that take part in the ranking")
    seeds: tuple[int, ...] = Field((), description="seeds that the rows with intervals share; empty if none varies")

    @property
    def has_intervals(self) -> bool:
        """Whether any row has one."""
        return any(not row.why for row in self.rows)
