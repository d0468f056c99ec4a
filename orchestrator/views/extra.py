"""Views that are no table of published values beside ours: each has a builder of its own. No ray, no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.views.drawing import Drawn


class NotHereError(ValueError):
    """A view needs what is not on this machine (data, a package); the message says what, and what to do about it."""


@dataclass(frozen=True, slots=True)
class ExtraView:
    """A view that builds its own files."""

    name: str
    title: str
    source: str
    benchmarks: tuple[str, ...]
    """of benchmarks.yaml, that together fill it"""
    build: Callable[[Path, Path], list[Path]]
    """(folder of results, folder to write into) -> the files written. Raises NotHereError, ValueError for an unreadable plan"""
    draw: Callable[[Path], list[Drawn]]
    """folder of results -> its figures alone; raises the same"""


def _tsne(results: Path, into: Path) -> list[Path]:
    # Imported here, as below: who only lists the views needs neither scikit-learn nor Pillow.
    from orchestrator.views.tsne_page import build

    return build(results, into, EXTRA["lipsum-figure-15"])


def _tsne_figures(results: Path) -> list[Drawn]:
    from orchestrator.views.tsne_page import figures

    return figures(results, "lipsum-figure-15")


def _gallery(results: Path, into: Path) -> list[Path]:
    from orchestrator.views.gallery_page import build

    return build(results, into, EXTRA["lipsum-figure-16"])


def _gallery_figures(results: Path) -> list[Drawn]:
    from orchestrator.views.gallery_page import figures

    return figures(results, EXTRA["lipsum-figure-16"])


_PAPER = "Nam et al., Lipsum-FT, ICLR 2024, arXiv:2404.00860"
_BENCHMARKS = ("lipsum_table_1_domainnet", "lipsum_table_1_imagenet")

EXTRA: dict[str, ExtraView] = {
    view.name: view
    for view in (
        ExtraView(
            "lipsum-figure-15",
            "t-SNE of energy vectors before and after fine-tuning",
            f"{_PAPER}, Figure 15 and appendix B",
            _BENCHMARKS,
            _tsne,
            _tsne_figures,
        ),
        ExtraView(
            "lipsum-figure-16",
            "Example images of every domain",
            f"{_PAPER}, Figure 16",
            _BENCHMARKS,
            _gallery,
            _gallery_figures,
        ),
    )
}
"""All of them by name."""
