"""The page's figures as files, PNG, SVG or PDF. Drawn by the page's own plotly in a browser that is on this machine (kaleido).

kaleido is an extra, and it needs Chrome or Chromium. The browser starts without a network: its proxy is a closed port.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from orchestrator.analysis.aggregate import Board
from orchestrator.report.drawing import Figure, escape_html
from orchestrator.report.export import heading
from orchestrator.report.panels import maps, panels

Format = Literal["png", "svg", "pdf"]
WIDTH, TITLE_HEIGHT = 800, 64
"""Pixels of a figure, and of the title above it, which on the page is text."""
SCALE = 2
"""Pixels of a PNG for each of these."""
INK, PAPER, GRID = "#1b1d21", "#ffffff", "#e3e3dc"
SECONDS = 120.0
"""for one figure; a browser takes about one"""
NO_NETWORK = "http://127.0.0.1:9"
"""The discard port, where nothing listens: a request can only fail."""


class FigureExportError(ValueError):
    """Figures cannot be drawn here; the message says what to install."""


def export_figures(board: Board, folder: Path, kind: Format) -> list[Path]:
    """Write every figure of the board's page to `folder` and return the paths, in the order of the page.

    Raises FigureExportError without kaleido or a browser, or if the browser fails.
    """
    if kind not in get_args(Format):
        raise FigureExportError(f"{kind!r} is no format of figures; there are: {', '.join(get_args(Format))}")
    named = dict(named_figures(board))
    if not named:
        raise FigureExportError("the page has no figures: no table has something trained and a shifted domain")
    kaleido = _kaleido()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for name in named]
    asyncio.run(_draw(kaleido, list(named.values()), paths, kind))
    return paths


def named_figures(board: Board) -> Iterator[tuple[str, Figure]]:
    """(name of a file without its ending, figure as it is to be drawn) of all figures, each choice of a figure one of them."""
    used: set[str] = set()
    for plan in board.plans:
        own = [table for table in board.tables if table.benchmark == plan.benchmark]
        shown = [(heading(table), figure) for table in own for figure in panels(table)]
        shown += [(plan.benchmark, figure) for figure in maps(own)]
        for where, panel in shown:
            for label, figure in zip(panel["labels"], panel["json"], strict=True):
                name = stem = _file_name(where, panel["name"], label)
                number = 1
                while name in used:  # names that differ in what a file's name cannot have
                    number += 1
                    name = f"{stem}-{number}"
                used.add(name)
                yield name, _standing_alone(figure, panel["title"], ", ".join(filter(None, (where, label))))


def _file_name(*parts: str) -> str:
    """'demo-tiny-reference-real-scatter-logit-axes': letters and digits of any script, so that no name leaves the folder."""
    words = (re.sub(r"[\W_]+", "-", part).strip("-").lower()[:60] for part in parts)
    return "-".join(word for word in words if word)


def _standing_alone(figure: Figure, title: str, where: str) -> Figure:
    """In ink on paper, with the title that the page has beside it."""
    axis = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": INK}
    layout = figure["layout"]
    text = f"<b>{escape_html(title)}</b><br><span style='font-size:12px'>{escape_html(where)}</span>"
    return {
        "data": [_inked(trace) for trace in figure["data"]],
        "layout": {
            **layout,
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "font": {"color": INK, "family": "sans-serif", "size": 13},
            "title": {"text": text, "x": 0.02, "xanchor": "left", "font": {"size": 16}},
            "margin": {**layout["margin"], "t": layout["margin"]["t"] + TITLE_HEIGHT},
            "xaxis": {**layout["xaxis"], **axis},
            "yaxis": {**layout["yaxis"], **axis},
            "width": WIDTH,
            "height": layout["height"] + TITLE_HEIGHT,
        },
    }


def _inked(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace whose colour is the page's ink."""
    if not (trace.get("meta") or {}).get("ink"):
        return trace
    return {**trace, "marker": {**trace["marker"], "color": INK, "line": {"color": PAPER, "width": 1}}}


def _kaleido() -> ModuleType:
    try:
        import kaleido
    except ImportError:
        raise FigureExportError(
            "figures as files need kaleido: pip install 'kaleido>=1', or the extra `figures`"
        ) from None
    module: ModuleType = kaleido
    return module


async def _draw(kaleido: ModuleType, figures: Sequence[Figure], paths: Sequence[Path], kind: Format) -> None:
    from choreographer import errors

    try:
        # MathJax would come from a CDN; plotly is the one that is installed.
        async with kaleido.Kaleido(mathjax=False, timeout=SECONDS, proxy_server=NO_NETWORK) as browser:
            for figure, path in zip(figures, paths, strict=True):
                size = {"width": figure["layout"]["width"], "height": figure["layout"]["height"]}
                options = {"format": kind, **size, "scale": SCALE if kind == "png" else 1}
                path.write_bytes(await browser.calc_fig(figure, options))
    except errors.ChromeNotFoundError:
        raise FigureExportError(
            "figures as files need a browser, and none was found: install Chrome or Chromium (`apt-get install chromium`), "
            "or set BROWSER_PATH to its executable"
        ) from None
    except (errors.BrowserFailedError, errors.BrowserClosedError, errors.BrowserDepsError, TimeoutError) as error:
        raise FigureExportError(
            f"the browser failed ({type(error).__name__}: {error}); is BROWSER_PATH right?"
        ) from None
