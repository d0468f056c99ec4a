"""The command line: `python -m orchestrator COMMAND`.

Exit codes: 0 all is done, 1 a trial failed or is not done because something is stale or the sweep ended early, 2 the input
is wrong (nothing was started), 130 interrupted. What takes seconds to import is imported by the command that needs it, so
that help and `schema` are quick.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.bad_input import BadInputError, bad_input, check_results_folder
from orchestrator.commands.live import SERVE_EXAMPLES, serve
from orchestrator.commands.prepare import PREPARE_EXAMPLES, VERIFY_EXAMPLES, Prepare, prepare, verify
from orchestrator.commands.report import REPORT_EXAMPLES, report
from orchestrator.commands.results import COMPARE_EXAMPLES, MERGE_EXAMPLES, compare, merge
from orchestrator.exit_codes import EXIT_BAD_INPUT, EXIT_FAILED, Commands, exit_codes

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.manifest.read import Manifest

__all__ = ["EXIT_BAD_INPUT", "app"]

app = typer.Typer(
    cls=Commands,
    help="Did fine-tuning keep the robustness of a CLIP model? Plans, runs and reports benchmarks of fine-tuning methods.",
    epilog="Start with: python -m orchestrator plan; then: python -m orchestrator run. A command's own help: COMMAND --help.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

ManifestArgument = Annotated[Path, typer.Argument(help="The file of benchmarks.", metavar="[MANIFEST]")]
Names = Annotated[
    list[str] | None, typer.Argument(help="Benchmarks in it; default: those under run:", metavar="[BENCHMARK]...")
]
ResultsOption = Annotated[str | None, typer.Option("--results", help="Folder of results, instead of the manifest's.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Folder or URL of prepared datasets, instead of the manifest's.")
]
DEFAULT_MANIFEST = Path("benchmarks.yaml")


def _console() -> Console:
    from orchestrator.planning.plan_view import make_console

    return make_console()


def _load(path: Path, results: str | None, data: str | None) -> Manifest:
    """The manifest with the folders of the command line; prints what it has to say about them."""
    from orchestrator.manifest.read import ManifestError, load_manifest

    if not path.exists() and path.suffix == "" and DEFAULT_MANIFEST.exists():
        raise BadInputError([f"{path}: no such file; for a benchmark of that name: {DEFAULT_MANIFEST} {path}"])
    with bad_input(ManifestError):
        manifest = load_manifest(path).at(results, data)
    check_results_folder(manifest.results)
    for note in manifest.notes:
        typer.echo(note)
    return manifest


@app.command(epilog="Examples: plan; plan benchmarks.yaml domainnet --trials")
def plan(
    manifest: ManifestArgument = DEFAULT_MANIFEST,
    benchmarks: Names = None,
    results: ResultsOption = None,
    data: DataOption = None,
    trials: Annotated[bool, typer.Option("--trials", help="List the id of every trial and what it builds on.")] = False,
) -> None:
    """Show what `run` would run, what is done of it, and how much work it is. Writes nothing."""
    with exit_codes():
        loaded = _load(manifest, results, data)
        from orchestrator.manifest.read import ManifestError
        from orchestrator.planning.plan import image_counts, make_plans, statuses
        from orchestrator.planning.plan_view import counted, print_plan, print_unprepared, say
        from orchestrator.planning.stale import stale_of_plans
        from orchestrator.planning.todo import held
        from orchestrator.planning.unprepared import to_download, unprepared
        from orchestrator.records import Results

        with bad_input(ManifestError):
            plans = make_plans(loaded, benchmarks)
            missing = unprepared(loaded, benchmarks)
        folder = Results(loaded.results)
        status = statuses(plans, folder)
        stale = stale_of_plans(plans, folder, {id for id, kind in status.items() if kind == "stale"})
        former, waiting = held(plans, status)
        console = _console()
        for made in plans:
            print_plan(console, made, status, image_counts(loaded, made.benchmark), trials, stale, waiting)
        if len(plans) > 1:
            say(console, f"together, shared trials counted once: {counted(list(status), status, waiting)}")
        print_unprepared(console, missing)
        left = {*former, *waiting}
        for line in to_download(t for p in plans for t in p.trials if status[t.id] != "done" and t.id not in left):
            say(console, line)


@app.command(
    epilog="Examples: run; run benchmarks.yaml pacs; run benchmarks.yaml domainnet --gpus-per-trial 0.25; "
    "run benchmarks.yaml pacs --rerun-stale. Running again continues: what is done is not run again. Exit codes: 0 all is "
    "done, 1 a trial failed or is not done because something is stale, 2 the input is wrong (nothing was started), 130 "
    "interrupted. In a job submitted to Ray with a working directory, "
    "relative folders of results and data are taken from $ROBUST_FT_BENCH_HOME (default: ~/robust-ft-bench)."
)
def run(
    manifest: ManifestArgument = DEFAULT_MANIFEST,
    benchmarks: Names = None,
    results: ResultsOption = None,
    data: DataOption = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Trials at the same time; default: what the machines allow.")
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(min=0, help="GPUs of a trial; a fraction shares a GPU between trials.")
    ] = None,
    workers_per_trial: Annotated[
        int | None, typer.Option(min=1, help="Data-parallel workers of a trial; default: 1.")
    ] = None,
    cpus_per_trial: Annotated[int | None, typer.Option(min=1, help="CPU threads of a trial.")] = None,
    cache_gib: Annotated[
        float | None,
        typer.Option(min=0, help="GiB on each machine's disk for decoded pixels, so that no image is decoded twice."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed/--skip-failed", help="Run trials again that failed before, or leave them.")
    ] = True,
    rerun_stale: Annotated[
        bool,
        typer.Option(
            "--rerun-stale",
            help="Also run stale trials, whose cells have records of other code, data or settings; otherwise they are left, "
            "and what needs them waits.",
        ),
    ] = False,
    again: Annotated[
        list[str] | None,
        typer.Option(
            help="Run this trial, done or not, and no others but what it needs; its record stays in the results under aside/ "
            "until the new one is there. May be repeated.",
            metavar="TRIAL_ID",
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Make the leaderboard at the end.")] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Train nothing if a zero-shot accuracy differs from a published one.")
    ] = False,
) -> None:
    """Run the trials that are not done yet and make the leaderboard."""
    with exit_codes():
        loaded = _load(manifest, results, data)
        from orchestrator.sweeps.run import Flags, run_benchmarks

        flags = Flags(
            slots=slots,
            gpus_per_trial=gpus_per_trial,
            workers_per_trial=workers_per_trial,
            cpus_per_trial=cpus_per_trial,
            retry_failed=retry_failed,
            report=report,
            strict=strict,
            cache_gib=cache_gib,
            rerun_stale=rerun_stale,
            again=tuple(dict.fromkeys(again or ())),
        )
        all_done = run_benchmarks(loaded, benchmarks, flags, _console())
    raise typer.Exit(0 if all_done else EXIT_FAILED)


@app.command()
def status(
    manifest: ManifestArgument = DEFAULT_MANIFEST,
    benchmarks: Names = None,
    results: ResultsOption = None,
    data: DataOption = None,
) -> None:
    """Say what is done, failed (and why), stale (and why) and missing."""
    with exit_codes():
        loaded = _load(manifest, results, data)
        from orchestrator.manifest.read import ManifestError
        from orchestrator.planning.plan import make_plans, statuses
        from orchestrator.planning.plan_view import print_status, say
        from orchestrator.planning.stale import stale_of_plans
        from orchestrator.records import Results

        folder = Results(loaded.results)
        with bad_input(ManifestError):
            plans = make_plans(loaded, benchmarks)
        found = statuses(plans, folder)
        stale = stale_of_plans(plans, folder, {id for id, kind in found.items() if kind == "stale"})
        console = _console()
        for made in plans:
            print_status(console, made, found, folder, stale)
        say(console, f"records and logs: {folder.root / 'trials'}")


app.command(epilog=REPORT_EXAMPLES)(report)
app.command(cls=Prepare, epilog=PREPARE_EXAMPLES)(prepare)
app.command(epilog=VERIFY_EXAMPLES)(verify)
app.command(epilog=COMPARE_EXAMPLES)(compare)
app.command(epilog=MERGE_EXAMPLES)(merge)
app.command(epilog=SERVE_EXAMPLES)(serve)


@app.command(
    epilog="Examples: check my_methods/mine.py; check my_methods/mine.py --settings '{\"strength\": 0.5}'. "
    "It takes about a minute on a CPU and needs no data and no weights."
)
def check(
    path: Annotated[Path, typer.Argument(help="File of a method of your own.", metavar="PATH")],
    settings: Annotated[str, typer.Option(help="Its settings, as JSON; default: its own defaults.")] = "{}",
) -> None:
    """Check a method's file against the contract: what holds, what does not, and what to do about it."""
    with exit_codes():
        try:
            chosen = json.loads(settings)
        except ValueError as error:
            raise BadInputError([f"--settings is no JSON: {error}"]) from None
        if not isinstance(chosen, dict):
            raise BadInputError(["--settings must be a JSON object, like '{\"strength\": 0.5}'"])
        import methods
        from orchestrator.conformance.report import check_file, quiet

        with quiet(), bad_input(methods.MethodError, FileNotFoundError):
            holds = check_file(path, chosen, typer.echo)
    raise typer.Exit(0 if holds else EXIT_FAILED)


@app.command(
    "list",
    epilog="Examples: list methods; list methods lipsum_ft; list methods --plugins my_methods; list datasets; "
    "list datasets domainnet; list models",
)
def list_(
    what: Annotated[Literal["methods", "datasets", "models"], typer.Argument(help="What to list.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Methods or datasets to show in full; default: all, in short.", metavar="[NAME]..."),
    ] = None,
    plugins: Annotated[
        list[Path] | None, typer.Option(help="Folder with methods of your own; may be repeated.")
    ] = None,
    cards: Annotated[
        Path | None, typer.Option(help="Write cards of all methods into this Markdown file, below its marked line.")
    ] = None,
) -> None:
    """List what a manifest can name: methods with their settings, datasets, or open_clip models with published weights."""
    with exit_codes():
        import datasets
        import methods
        from orchestrator import cards as method_cards
        from orchestrator import catalog

        if what != "methods" and (cards or plugins):
            raise BadInputError([f"--plugins and --cards go with `list methods`, not with `list {what}`"])
        if what == "models" and names:
            raise BadInputError(["names go with `list methods` and `list datasets`, not with `list models`"])
        with bad_input(methods.MethodError, datasets.DatasetError, FileNotFoundError, method_cards.CardsError):
            match what:
                case "methods" if cards:
                    method_cards.write(cards, plugins or ())
                    lines = iter([str(cards)])
                case "methods" if names:
                    lines = catalog.method_in_full(names, plugins or ())
                case "methods":
                    lines = catalog.methods_lines(plugins or ())
                case "datasets" if names:
                    lines = catalog.dataset_in_full(names)
                case "datasets":
                    lines = catalog.datasets_lines()
                case "models":
                    lines = catalog.models_lines()
            for line in lines:
                typer.echo(line)


@app.command(epilog="Example: schema > manifest.schema.json")
def schema() -> None:
    """Print the JSON Schema of the manifest, for completion and checks in an editor."""
    from orchestrator.manifest.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
