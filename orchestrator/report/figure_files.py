"""Figures as files, PNG, SVG or PDF, in ink on paper. Drawn by plotly in a browser that is on this machine (kaleido).

kaleido is an extra, and it needs Chrome or Chromium. The browser starts without a network: its proxy is a closed port.
"""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from orchestrator.report.drawing import Figure, escape_html

Format = Literal["png", "svg", "pdf"]
WIDTH, TITLE_HEIGHT = 800, 64
"""Pixels of a figure, and of the title above it, which on the page is text."""
TITLE_LETTER, LETTER, LINE = 10.0, 6.8, 20
"""Pixels of a letter of the title, of one of the lines below it, and of a line."""
RIGHT = 28
"""Pixels at the right: half of an axis's last number stands there."""
SCALE = 2
"""Pixels of a PNG for each of these."""
INK, PAPER, GRID = "#1b1d21", "#ffffff", "#e3e3dc"
SECONDS = 120.0
"""for one figure; a browser takes about one"""
NO_NETWORK = "http://127.0.0.1:9"
"""The discard port, where nothing listens: a request can only fail."""


class FigureExportError(ValueError):
    """Figures cannot be drawn here; the message says what to install."""


def ready(folder: Path, kind: str) -> ModuleType:
    """kaleido, before anything is computed for it.

    Raises FigureExportError without it, for a format that is none, or where the folder is a file.
    """
    if kind not in get_args(Format):
        raise FigureExportError(f"{kind!r} is no format of figures; there are: {', '.join(get_args(Format))}")
    if folder.exists() and not folder.is_dir():
        raise FigureExportError(f"{folder} is a file; name a folder, which is made if it is not there")
    try:
        import kaleido
    except ImportError:
        raise FigureExportError(
            "figures as files need kaleido: pip install 'kaleido>=1', or the extra `figures`"
        ) from None
    module: ModuleType = kaleido
    return module


def write_figures(named: Mapping[str, Figure], folder: Path, kind: Format) -> list[Path]:
    """Draw all figures, then write each as `folder`/NAME.`kind`; the paths, in the figures' order.

    Raises FigureExportError without kaleido or a browser, or if the browser fails; nothing is written then.
    """
    drawn = asyncio.run(_draw(ready(folder, kind), list(named.values()), kind))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for name in named]
    for path, content in zip(paths, drawn, strict=True):
        # The figure of an earlier call stays whole until this one is.
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_bytes(content)
        temporary.replace(path)
    return paths


def apart(named: Iterable[tuple[str, Figure]]) -> Iterator[tuple[str, Figure]]:
    """The same with a number behind names that were there before: names that differ in what a file's name cannot have."""
    used: set[str] = set()
    for stem, figure in named:
        name, number = stem, 1
        while name in used:
            number += 1
            name = f"{stem}-{number}"
        used.add(name)
        yield name, figure


def file_name(*parts: str) -> str:
    """'demo-tiny-reference-real-scatter-logit-axes': letters and digits of any script, so that no name leaves the folder."""
    words = (re.sub(r"[\W_]+", "-", part).strip("-").lower()[:60] for part in parts)
    return "-".join(word for word in words if word)


def standing_alone(figure: Figure, title: str, where: str) -> Figure:
    """In ink on paper, with the title that the page has beside it; `where` stands below that, and may have several lines."""
    axis = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": INK}
    layout = figure["layout"]
    width = layout.get("width", WIDTH)
    head = textwrap.wrap(title, round(width / TITLE_LETTER)) or [""]
    below = [part for line in where.split("\n") for part in textwrap.wrap(line, round(width / LETTER))]
    lines = [f"<b>{escape_html(line)}</b>" for line in head]
    lines += [f"<span style='font-size:12px'>{escape_html(line)}</span>" for line in below]
    room = TITLE_HEIGHT + LINE * (len(lines) - 2)
    return {
        "data": [_inked(trace) for trace in figure["data"]],
        "layout": {
            **layout,
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "font": {"color": INK, "family": "sans-serif", "size": 13},
            "title": {
                **{"text": "<br>".join(lines), "font": {"size": 16}},
                **{"x": 0.02, "xanchor": "left", "y": 1, "yanchor": "top", "yref": "container", "pad": {"t": 26}},
            },
            "margin": {**layout["margin"], "t": layout["margin"]["t"] + room, "r": max(layout["margin"]["r"], RIGHT)},
            "xaxis": {**layout["xaxis"], **axis},
            "yaxis": {**layout["yaxis"], **axis},
            "width": width,
            "height": layout["height"] + room,
        },
    }


def _inked(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace whose colour is the page's ink."""
    if not (trace.get("meta") or {}).get("ink"):
        return trace
    return {**trace, "marker": {**trace["marker"], "color": INK, "line": {"color": PAPER, "width": 1}}}


async def _draw(kaleido: ModuleType, figures: Sequence[Figure], kind: Format) -> list[bytes]:
    from choreographer import errors

    drawn = []
    try:
        # MathJax would come from a CDN; plotly is the one that is installed.
        async with kaleido.Kaleido(mathjax=False, timeout=SECONDS, proxy_server=NO_NETWORK) as browser:
            for figure in figures:
                size = {"width": figure["layout"]["width"], "height": figure["layout"]["height"]}
                options = {"format": kind, **size, "scale": SCALE if kind == "png" else 1}
                drawn.append(await browser.calc_fig(figure, options))
    except errors.ChromeNotFoundError:
        raise FigureExportError(
            "figures as files need a browser, and none was found: install Chrome or Chromium (`apt-get install chromium`), "
            "or set BROWSER_PATH to its executable"
        ) from None
    except (errors.BrowserFailedError, errors.BrowserClosedError, errors.BrowserDepsError, TimeoutError) as error:
        raise FigureExportError(
            f"the browser failed ({type(error).__name__}: {error}); is BROWSER_PATH right?"
        ) from None
    return drawn
