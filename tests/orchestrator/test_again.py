"""`run --again` and `run --rerun-stale`, with a sweep that runs nothing but writes records: what moves, stays and is said."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import orchestrator.sweeps.sweep
from orchestrator.analysis.aggregate import aggregate
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import ErrorInfo, Loaded, Results, load_plans, read_record, write_record
from orchestrator.report.page import html_text
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps.driver import SweepError, SweepRefusedError
from tests.orchestrator.manifest_fixtures import BASE, changed, folder, write
from tests.orchestrator.page_browser import inspected
from tests.orchestrator.record_factory import demo
from tests.orchestrator.test_cli import call
from tests.orchestrator.test_plan import record_of

__all__ = ["folder"]

MORE_STEPS = changed("num_steps: 10", "num_steps: 12")


class Runs:
    """In place of Ray: a record for each trial it is given."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.before: Callable[[PlannedTrial], None] = lambda _: None
        self.error: ErrorInfo | None = None

    def __call__(self, trials: Sequence[PlannedTrial], ended: dict[str, str | None], results: Results, *_: Any) -> None:
        plan = load_plans(results)[0]
        place = {trial.id: index for index, trial in enumerate(plan.trials)}
        for trial in trials:
            self.ran.append(trial.id)
            self.before(trial)
            write_record(results, record_of(plan, place[trial.id], self.error))
            ended[trial.id] = "permanent: NaN" if self.error else None


@pytest.fixture
def runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A folder in which all trials of the manifest are done."""
    made = Runs()
    monkeypatch.setattr(orchestrator.sweeps.sweep, "_run", made)
    write(BASE)
    assert call("run", "--no-report").exit_code == 0
    assert len(made.ran) == 13
    made.ran.clear()
    return made


def planned(label: str, of: str | None = None, seed: int = 0) -> PlannedTrial:
    [plan] = make_plans(load_manifest(Path("benchmarks.yaml")), None)
    [found] = [t for t in plan.trials if (t.label, t.of, t.spec.seed) == (label, of, seed)]
    return found


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_stale_trials_run_only_when_asked(folder: Path, runs: Runs) -> None:
    lost = Results(folder / "results").trial(planned("wise_ft", "ft").id)
    (lost / "record.json").unlink()
    write(MORE_STEPS)
    left = call("run", "--no-report")
    stale = "11 stale: their cells have records of other code, data or settings (`plan` says which); --rerun-stale runs them"
    assert left.stdout.splitlines() == [
        "13 trials: 1 done, 1 to run (1 of them waiting for stale ones), 11 stale (recorded before something changed)",
        f"{stale}; 1 trial more waits for them",
    ]
    assert (left.exit_code, runs.ran) == (1, [])
    assert "main: 13 trials: 1 done, 0 failed, 11 stale, 1 missing\n" in call("status").stdout
    plan = call("plan").stdout
    assert "  to run:     0 steps, 0 training images, 0 evaluation images\n" in plan
    assert (
        "  stale, by the first thing that changed: 6 recipe.num_steps, 5 inputs; `run --rerun-stale` runs them\n"
        in plan
    )
    asked = call("run", "--no-report", "--rerun-stale")
    assert (asked.exit_code, len(runs.ran)) == (0, 12), asked.output
    assert call("run", "--no-report").stdout == "13 trials: 13 done, 0 to run\n"


def test_what_is_new_runs_beside_what_is_stale_and_the_exit_code_says_that_something_is_left(
    folder: Path, runs: Runs
) -> None:
    write(changed("num_steps: 10", "num_steps: 12").replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    result = call("run", "--no-report")
    assert result.exit_code == 1
    assert {id.split("-s")[-1][0] for id in runs.ran} == {"2"} and len(runs.ran) == 6
    assert "6 trials completed in 0 s\nnot run: 12 stale: their cells" in result.stdout


def test_a_trial_that_is_done_runs_again_and_no_other_is_touched(folder: Path, runs: Runs) -> None:
    results, ft, wise = Results(folder / "results"), planned("ft"), planned("wise_ft", "ft")
    (results.trial(ft.id) / "model.safetensors").write_text("weights")
    others = {name: text for name, text in contents(results.root / "trials").items() if not name.startswith(ft.id)}

    def look(trial: PlannedTrial) -> None:
        assert not results.trial(trial.id).exists(), "it starts from nothing"
        assert (results.root / "aside" / trial.id / "model.safetensors").read_text() == "weights"

    runs.before = look
    result = call("run", "--no-report", "--again", ft.id)
    assert (result.exit_code, runs.ran) == (0, [ft.id]), result.output
    assert f"again: {ft.id}; nothing else runs but what is missing for that\n" in result.stdout
    assert (
        f"built on that and not run again: {wise.id} (the same code, data and settings give the same" in result.stdout
    )
    assert [path.name for path in results.trial(ft.id).iterdir()] == ["record.json"]
    assert not (results.root / "aside").exists()
    now = {name: text for name, text in contents(results.root / "trials").items() if not name.startswith(ft.id)}
    assert now == others


def test_several_run_again_and_what_they_lack_with_them(folder: Path, runs: Runs) -> None:
    results, ft, wise, other = (
        Results(folder / "results"),
        planned("ft"),
        planned("wise_ft", "ft"),
        planned("zero_shot"),
    )
    results.record(ft.id).unlink()
    result = call("run", "--no-report", "--again", wise.id, "--again", other.id)
    assert result.exit_code == 0
    assert runs.ran == [other.id, ft.id, wise.id]
    assert "built on that" not in result.stdout


@pytest.mark.parametrize("end", ["fails", "is interrupted", "is cut short"])
def test_the_earlier_record_is_kept_until_there_is_a_new_one(folder: Path, runs: Runs, end: str) -> None:
    results, ft = Results(folder / "results"), planned("ft", seed=1)
    before = results.record(ft.id).read_bytes()

    def interrupt(trial: PlannedTrial) -> None:
        (results.trial(trial.id) / "checkpoint").mkdir(parents=True)
        raise KeyboardInterrupt if end == "is interrupted" else SweepError("Tune stopped early")

    if end == "fails":
        runs.error = ErrorInfo(failure_class="permanent", type="ValueError", message="NaN")
    else:
        runs.before = interrupt
    result = call("run", "--no-report", "--again", ft.id)
    kept = results.root / "aside" / ft.id
    assert result.exit_code == (130 if end == "is interrupted" else 1)
    assert (kept / "record.json").read_bytes() == before
    assert f"{ft.id} is not completed again: its earlier record is kept in {kept} until it is\n" in result.stdout
    runs.error, runs.before = None, lambda _: None
    (results.trial(ft.id) / "checkpoint").mkdir(parents=True, exist_ok=True)
    assert call("run", "--no-report", "--again", ft.id).exit_code == 0
    assert (results.trial(ft.id) / "checkpoint").exists(), "it goes on where it stood"
    assert read_record(results.record(ft.id)).status == "completed" and not kept.exists()


def test_a_sweep_that_never_comes_to_the_trial_leaves_its_record_in_place(folder: Path, runs: Runs) -> None:
    before = contents(folder / "results" / "trials")

    def refuse(trial: PlannedTrial) -> None:
        raise SweepRefusedError("no slot fits")

    runs.before = refuse
    result = call("run", "--no-report", "--again", planned("ft").id)
    assert (result.exit_code, result.stderr) == (2, "no slot fits\n")
    assert contents(folder / "results" / "trials") == before and not (folder / "results" / "aside").exists()


def test_wrong_ids_are_bad_input_and_start_nothing(folder: Path, runs: Runs) -> None:
    ft = planned("ft")
    before = contents(folder / "results")
    result = call("run", "--again", f"{ft.id[:-2]}zz")
    assert result.exit_code == 2
    assert f"did you mean {ft.id}" in result.stderr and result.stderr.count("\n") == 1
    assert contents(folder / "results") == before and runs.ran == []


def commands(results: Path) -> dict[str, list[str]]:
    board = aggregate(load_plans(Results(results)), Loaded())
    return {row["name"]: shlex.split(row["command"]) for row in inspected(html_text(board))}


def test_the_page_has_the_command_that_runs_a_row_again(folder: Path, runs: Runs) -> None:
    ids = [planned("ft", seed=seed).id for seed in (0, 1)]
    base = ["python", "-m", "orchestrator", "run", "benchmarks.yaml", "main"]
    again = [word for id in ids for word in ("--again", id)]
    assert commands(folder / "results")["ft"] == [*base, *again]
    assert call("run", "--no-report", "--results", "results").exit_code == 0, "the manifest's own"
    assert commands(folder / "results")["ft"] == [*base, *again]
    assert call(*commands(folder / "results")["ft"][3:], "--no-report").exit_code == 0
    assert runs.ran == ids
    assert call("run", "--no-report", "--results", "my results").exit_code == 0
    assert commands(folder / "my results")["ft"] == [*base, "--results", "my results", *again]


def test_a_plan_of_an_older_version_has_the_name_of_its_manifest() -> None:
    made = demo(seeds=(0,))
    row = next(row for row in inspected(html_text(aggregate(made.plans(), Loaded()))) if row["name"] == "ft")
    ft = next(t.id for t in made.plan if t.label == "ft")
    assert row["command"] == f"python -m orchestrator run benchmarks.yaml demo --again {ft}"
