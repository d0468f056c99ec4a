"""The command lines of `compare` and `merge`, which `orchestrator.cli` registers. Neither needs Ray, torch or a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.exit_codes import EXIT_FAILED, exit_codes

if TYPE_CHECKING:
    from orchestrator.analysis.compare import DomainComparison, Side

COMPARE_EXAMPLES = """Examples:

compare lipsum_ft ft

compare lipsum_ft ft --on sketch

compare "wise_ft of ft, alpha=0.5" zero_shot --benchmark domainnet --source real

Names are those of the leaderboard's first column. Differences are taken image by image and seed by seed; p is adjusted for the
number of domains (Holm)."""

MERGE_EXAMPLES = """Examples:

merge results_gpu1 results_gpu2 -o results

merge mine yours theirs -o all

Records of one trial must agree; where they do not, each is named and nothing is written."""

ADVICE = "Of a trial that differs decide which copy is right and move trials/ID out of the other folder."


def compare(
    first: Annotated[str, typer.Argument(help="A row of the leaderboard.", metavar="A")],
    second: Annotated[str, typer.Argument(help="The row it is compared with.", metavar="B")],
    on: Annotated[
        list[str] | None, typer.Option(help="A domain; may be repeated. Default: all.", metavar="DOMAIN")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder that `run` wrote.")] = Path("results"),
    benchmark: Annotated[str | None, typer.Option(help="If the rows stand in several benchmarks.")] = None,
    model: Annotated[str | None, typer.Option(help="If the rows stand in tables of several models.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Reference domain (several: a+b), if there are tables of several.")
    ] = None,
    classes: Annotated[int, typer.Option(min=0, help="Classes shown that gain most, and that lose most.")] = 3,
) -> None:
    """Compare two rows: the difference on each domain, how sure it is, and which classes gain and lose."""
    with exit_codes():
        from orchestrator.analysis.compare import CompareError, pick, sides, unfinished_rows
        from orchestrator.analysis.compare import compare as compare_rows
        from orchestrator.analysis.predictions import PredictionsError
        from orchestrator.records import Results, ResultsError, load_plans, load_records

        folder = Results(results)
        with bad_input(CompareError, PredictionsError, ResultsError):
            plans = load_plans(folder)
            if not plans:
                raise BadInputError([f"{results} holds no plans of benchmarks; give the folder that `run` wrote"])
            known = list(sides(plans, load_records(folder)))
            one, two = pick(known, first, second, benchmark, model, source, unfinished_rows(plans, known))
            found = compare_rows(folder, one, two, on)
        names = next(plan.classnames for plan in plans if plan.benchmark == one.benchmark)
        _print(one, two, found, names, classes)


def _print(one: Side, two: Side, found: list[DomainComparison], names: tuple[str, ...], shown: int) -> None:
    from rich.table import Table

    from datasets.wording import number_of
    from orchestrator.planning.plan_view import make_console

    console = make_console()
    seeds = number_of(found[0].estimate.num_seeds, "seed")
    table = Table(title=f"{one.name} minus {two.name} ({one.place})", title_justify="left")
    for heading in (
        "domain",
        "A, %",
        "B, %",
        "difference, points",
        "95 % interval",
        "p",
        "adjusted p",
        "only A",
        "only B",
    ):
        table.add_column(heading, justify="left" if heading == "domain" else "right")
    for c in found:
        e = c.estimate
        interval = f"{100 * e.low:+.1f} to {100 * e.high:+.1f}"
        first, second = (f"{100 * accuracy:.1f}" for accuracy in c.accuracies)
        counts = (f"{c.only_first:,}", f"{c.only_second:,}")
        table.add_row(c.domain, first, second, f"{100 * e.value:+.1f}", interval, _p(e.p), _p(c.adjusted_p), *counts)
    console.print(table)
    console.print(
        f"A: {one.name}; B: {two.name}; {seeds}, paired. only A, only B: images that one of them gets right and the other does "
        "not, added up over the seeds.",
        markup=False,
        highlight=False,
    )
    for side in (one, two):
        if side.unfinished:
            which = ", ".join(f"s{seed}" for seed in side.unfinished)
            text = f"WARNING {side.name} is not complete, {which} not finished: the leaderboard shows no mean of it"
            console.print(text, markup=False, highlight=False)
    for c in (c for c in found if c.classes and shown):
        gains = [_class(row, names) for row in c.classes[:shown] if row[1] > 0]
        losses = [_class(row, names) for row in c.classes[::-1][:shown] if row[1] < 0]
        text = f"{c.domain}: gains {', '.join(gains) or 'none'}; losses {', '.join(losses) or 'none'}"
        console.print(text, markup=False, highlight=False)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _class(row: tuple[int, float, int], names: tuple[str, ...]) -> str:
    label, difference, num_images = row
    name = names[label] if label < len(names) else f"class {label}"
    return f"{name} {100 * difference:+.1f} (n = {num_images})"


def merge(
    sources: Annotated[list[Path], typer.Argument(help="Folders that `run` wrote.", metavar="RESULTS...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder.")],
) -> None:
    """Join folders of results of several machines or people into a new one, and make its leaderboard."""
    with exit_codes():
        from datasets.wording import number_of
        from orchestrator.analysis.merge import MergeConflictError
        from orchestrator.analysis.merge import merge as merge_folders
        from orchestrator.report import build_report

        try:
            with bad_input(OSError):
                merged = merge_folders(sources, output)
        except MergeConflictError as error:
            typer.echo("\n".join(error.problems), err=True)
            typer.echo(f"{number_of(len(error.problems), 'conflict')}; nothing was written. {ADVICE}", err=True)
            raise typer.Exit(EXIT_FAILED) from None
        typer.echo(f"{number_of(merged.trials, 'trial')} of {len(sources)} folders in {output}")
        for ids, what in (
            (merged.repeated, "in several folders with the same outcome"),
            (merged.unusable, "with outcomes that cannot be used, another folder's were taken where there are any"),
            (merged.completed_elsewhere, "failed in one folder and completed in another, the completed one was taken"),
            (merged.failed_differently, "failed in several folders, the newest record was taken"),
            (merged.unfinished, "without a record, left where they are"),
            (merged.baselines, "with several baselines, that of the plan with most trials was taken"),
        ):
            if ids:
                typer.echo(f"{len(ids):,} {what}: {', '.join(ids[:5])}{' ...' * (len(ids) > 5)}")
        with bad_input(OSError):
            written = build_report(output)
        for path in written:
            typer.echo(str(path))
