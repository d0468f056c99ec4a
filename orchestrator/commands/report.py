"""The command line of `report`, which `orchestrator.cli` registers. It needs neither Ray, torch nor a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.commands.figures import FiguresOption, FormatOption, report_figures
from orchestrator.commands.live import watch_report
from orchestrator.commands.views import ListViews, ViewOption, report_view
from orchestrator.exit_codes import exit_codes

REPORT_EXAMPLES = (
    "Examples: report results; report results --watch; report results --selection reference_val; "
    "report results --ece-bins 10; report results --view lipsum-table-1; report results --figures figures --format pdf; "
    "report results --view lipsum-figure-5 --figures figures"
)

FORMAT_ALONE = "--format goes with --figures FOLDER"


def report(
    results: Annotated[Path, typer.Argument(help="Folder that `run` wrote.", metavar="RESULTS")],
    selection: Annotated[
        Literal["reference_val", "reference_test", "last", "oracle"] | None,
        typer.Option(
            help="Only trials whose weights this rule chose while they trained. reference_val also adds the best point of "
            "each grid on held-out reference images; oracle keeps all and adds the best on the shifted domains."
        ),
    ] = None,
    ece_bins: Annotated[
        str | None,
        typer.Option(
            help="Bins of confidence of the calibration error, computed again from per-image outcomes; default: 15, those of "
            "the records.",
            metavar="N",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Make it again whenever records change, until Ctrl-C.")
    ] = False,
    view: ViewOption = None,
    list_views: ListViews = False,
    figures: FiguresOption = None,
    format: FormatOption = None,
) -> None:
    """Make the leaderboard again from the records alone; works on any machine, without a manifest."""
    with exit_codes():
        others = {"--watch": watch, "--selection": selection, "--ece-bins": ece_bins}
        if view is not None:
            if figures is None and format is not None:
                raise BadInputError([FORMAT_ALONE])
            report_view(results, view, figures, format, others)
            return
        bins = _bins(ece_bins)
        if figures is not None:
            if watch:
                raise BadInputError(["--figures and --watch do not go together"])
            report_figures(results, selection, bins, figures, format or "png")
            return
        if format is not None:
            raise BadInputError([FORMAT_ALONE])
        from orchestrator.report import build_report

        if watch:
            watch_report(results, lambda: build_report(results, selection, bins), selection)
            return
        from orchestrator.records import ResultsError

        with bad_input(OSError, ResultsError):
            paths = build_report(results, selection, bins)
        for path in paths:  # not within: a closed pipe is no wrong input
            typer.echo(str(path))


def _bins(text: str | None) -> int:
    """The number of bins that was asked for. Raises BadInputError with one line for what is none."""
    from orchestrator.analysis.metrics import NUM_BINS
    from orchestrator.analysis.rebinning import MOST_BINS

    if text is None:
        return NUM_BINS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_BINS:
        raise BadInputError(
            [f"--ece-bins {text!r}: expected a whole number from 1 to {MOST_BINS}, as 15 (the default)"]
        )
    return int(text)
