"""What the statistics of a table's rows are once computed: intervals, ranks, calibration, classes. No ray, no torch.

`board_statistics` computes them from per-image outcomes and keeps them on disk; tables and figures show them.
"""

from __future__ import annotations

from pydantic import Field

from training.config import Frozen


class Interval(Frozen):
    """95 %, of a fraction or of a difference of fractions."""

    low: float
    high: float


class ComparisonIntervals(Frozen):
    """Of the differences to another row; None for the row itself, or where the other has none."""

    reference: Interval | None = None
    shift: Interval | None = None


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
    to_zero_shot: ComparisonIntervals = ComparisonIntervals()
    to_baseline: ComparisonIntervals = ComparisonIntervals()
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
