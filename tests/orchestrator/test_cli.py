"""The command line: bad input, plans, runs and their exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import orchestrator.sweeps.run
from orchestrator.cli import app
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import ErrorInfo, Results, load_plans, write_record
from orchestrator.sweeps.driver import SweepRefusedError
from orchestrator.sweeps.sweep import SweepOptions, SweepSummary
from tests.orchestrator.manifest_fixtures import BASE, changed, folder, write
from tests.orchestrator.test_plan import record_of

__all__ = ["folder"]

ROOT = Path(__file__).resolve().parents[2]


THREE_MISTAKES = BASE.replace("num_steps: 10", "num_steps: -5").replace("lipsum_ft: {s", "lipsumft: {s")


THREE_MISTAKES = THREE_MISTAKES.replace("of: [ft, lipsum_ft]", "of: [ft]").replace("[real]", "[reel]")


MISTAKES = [
    "benchmarks.yaml:7: benchmarks.main.sources: unknown domain of dataset 'tiny': 'reel', did you mean 'real'? "
    "known: painting, real, sketch",
    "benchmarks.yaml:9: benchmarks.main.recipe.num_steps: must be at least 1, got -5",
    "benchmarks.yaml:13: benchmarks.main.methods: unknown method 'lipsumft', did you mean 'lipsum_ft'? known: ",
]


def call(*arguments: str):
    return CliRunner().invoke(app, arguments)


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts)


class FakeSweep:
    """Stands in for the sweep: records what it was called with and writes a record for each trial that has none."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.options: list[SweepOptions] = []

    def __call__(self, plans, results, options, *, console=None, observers=()) -> SweepSummary:
        self.options.append(options)
        before = completed = failed = 0
        for plan in plans:
            for i, trial in enumerate(plan.trials):
                if results.record(trial.id).exists():
                    before += 1
                elif trial.spec.method == self.failing:
                    error = ErrorInfo(failure_class="permanent", type="ValueError", message="the loss\nis NaN")
                    write_record(results, record_of(plan, i, error))
                    failed += 1
                else:
                    write_record(results, record_of(plan, i))
                    completed += 1
        return SweepSummary(before, completed, failed, 1.0)


@pytest.fixture
def sweep(monkeypatch) -> FakeSweep:
    fake = FakeSweep()
    monkeypatch.setattr(orchestrator.sweeps.run, "run_sweep", fake)
    monkeypatch.setattr(orchestrator.sweeps.run, "build_report", lambda root: [root / "leaderboard.html"])
    return fake


@pytest.mark.usefixtures("folder")
class TestBadInput:
    @pytest.mark.parametrize("command", ["plan", "run", "status"])
    def test_three_mistakes_are_three_lines_and_exit_code_2(self, folder, command, sweep):
        write(THREE_MISTAKES)
        before = files(folder)
        result = call(command)
        assert result.exit_code == 2
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 3
        assert all(line.startswith(start) for line, start in zip(lines, MISTAKES, strict=True)), lines
        assert files(folder) == before
        assert sweep.options == []

    def test_the_same_in_a_process_of_its_own(self, folder):
        text = "".join(
            line.replace("dataset: tiny", "dataset: demo") for line in THREE_MISTAKES.splitlines(keepends=True)
        )
        path = folder / write(text)
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "run", str(path)],
            cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "80"}, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [f"{path}:{n}" for n in (7, 9, 13)]
        assert done.stdout == ""
        assert not (folder / "results").exists()

    def test_missing_file_and_unknown_benchmark(self):
        assert call("plan").stderr == "benchmarks.yaml: no such file\n"
        write(BASE)
        result = call("run", "main")
        assert result.exit_code == 2
        assert result.stderr == "main: no such file; for a benchmark of that name: benchmarks.yaml main\n"
        result = call("plan", "benchmarks.yaml", "mian")
        assert result.exit_code == 2
        assert "unknown benchmark 'mian', did you mean 'main'? known: main\n" in result.stderr

    def test_run_refuses_what_is_not_on_this_machine_and_starts_nothing(self, folder, sweep):
        (folder / "vit.safetensors").unlink()
        write(changed("dataset: tiny", "dataset: published"))
        before = files(folder)
        result = call("run")
        assert result.exit_code == 2
        data, weights = result.stderr.splitlines()
        assert data.startswith(
            f"dataset 'tiny' is not in {folder / 'data' / 'tiny'}; run: python -m orchestrator prepare"
        )
        assert weights.startswith(f"weights of model 'vit' are not at {folder / 'vit.safetensors'}; put the file there")
        assert files(folder) == before
        assert sweep.options == []

    def test_generated_data_are_not_made_when_weights_are_missing(self, folder, sweep):
        (folder / "vit.safetensors").unlink()
        write(BASE)
        assert call("run").exit_code == 2
        assert not (folder / "data").exists()

    def test_wrong_results_data_flags_and_reports(self, folder, sweep, monkeypatch):
        write(BASE)
        assert (
            call("plan", "--results", "s3://bucket").stderr
            == "--results: must be a folder of this machine, got 's3://bucket'\n"
        )
        assert call("run", "--slots", "0").exit_code == 2
        assert call("report", "nowhere").exit_code == 2
        assert "nowhere" in call("report", "nowhere").stderr
        result = call("prepare", "nothing")
        assert result.exit_code == 2
        assert result.stderr.startswith("unknown dataset 'nothing'")
        assert call("list", "things").exit_code == 2
        (folder / "file").write_text("")
        result = call("run", "--results", "file")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)

        def refuse(*_, **__):
            raise SweepRefusedError("another sweep is writing")

        monkeypatch.setattr(orchestrator.sweeps.run, "run_sweep", refuse)
        result = call("run")
        assert (result.exit_code, result.stderr) == (2, "another sweep is writing\n")


@pytest.mark.usefixtures("folder")
class TestPlan:
    def test_says_what_would_run_and_writes_nothing(self, folder):
        write(BASE)
        before = files(folder)
        result = call("plan")
        assert result.exit_code == 0, result.stderr
        rows = [line.split() for line in result.stdout.splitlines()]
        assert ["zero_shot", "-", "vit", "-", "-", "1", "-", "1", "-"] in rows
        assert ["lipsum_ft", "strength=0.5", "-", "vit", "real", "0-1", "2", "-", "2", "-"] in rows
        assert ["wise_ft", "ft", "vit", "real", "0-1", "2", "-", "2", "-"] in rows
        assert "  13 trials: 0 done, 13 to run\n" in result.stdout
        # 6 trained trials of 10 steps of 4 images; 13 x 12 test images and 6 x 3 passes over 2 validation images
        assert "  all trials: 60 steps, 240 training images, 192 evaluation images\n" in result.stdout
        assert f"unprepared: dataset 'tiny' is not in {folder}/data/tiny; `run` makes it\n" in result.stdout
        assert files(folder) == before

    def test_counts_what_is_done_and_failed(self, folder):
        [plan] = make_plans(load_manifest(write(BASE)), None)
        write_record(Results(folder / "results"), record_of(plan, 1))
        error = ErrorInfo(failure_class="permanent", type="ValueError", message="NaN")
        write_record(Results(folder / "results"), record_of(plan, 2, error))
        result = call("plan", "--trials")
        assert ["ft", "-", "vit", "real", "0-1", "2", "1", "-", "1"] in [x.split() for x in result.stdout.splitlines()]
        assert "  13 trials: 1 done, 12 to run (1 of them failed before)\n" in result.stdout
        assert "  to run:     50 steps, 200 training images," in result.stdout
        assert f"  failed  {plan.trials[2].id}\n" in result.stdout
        assert f"  missing {plan.trials[7].id}  <- {plan.trials[1].id}\n" in result.stdout

    def test_soups_and_markup_in_labels(self, folder):
        entry = "'[red]soup': {method: soup, of: [ft]}"
        text = "plugins: [plugins]\n" + changed("wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}", entry)
        write(text)
        result = call("plan")
        assert ["[red]soup", "ft", "vit", "real", "2", "together", "1", "-", "1", "-"] in [
            line.split() for line in result.stdout.splitlines()
        ]


@pytest.mark.usefixtures("folder")
class TestRun:
    def test_prepares_runs_and_reports_and_then_has_nothing_to_do(self, folder, sweep):
        write(BASE)
        result = call("run", "--slots", "2", "--skip-failed")
        assert result.exit_code == 0, result.output
        assert (folder / "data" / "tiny" / "dataset.json").exists()
        assert "13 trials: 0 done, 13 to run\n" in result.stdout
        assert result.stdout.endswith(f"{folder}/results/leaderboard.html\n")
        assert sweep.options == [SweepOptions(slots=2, retry_failed=False)]
        [plan] = load_plans(Results(folder / "results"))
        assert plan == make_plans(load_manifest(Path("benchmarks.yaml")), None)[0]
        again = call("run", "--no-report")
        assert again.exit_code == 0
        assert again.stdout == "13 trials: 13 done, 0 to run\n"
        assert ["13 trials: 13 done, 0 failed, 0 missing" in call("status").stdout] == [True]

    def test_a_failed_trial_makes_exit_code_1_and_status_says_why(self, folder, sweep):
        sweep.failing = "ft"
        write("resources: {slots: 3, gpus_per_trial: 0.25}\n" + BASE)
        result = call("run", "--gpus-per-trial", "0.5")
        assert result.exit_code == 1
        assert "2 failed" in result.stdout
        assert "leaderboard.html" in result.stdout
        assert sweep.options == [SweepOptions(slots=3, gpus_per_trial=0.5)]
        status = call("status")
        assert status.exit_code == 0
        assert "main: 13 trials: 11 done, 2 failed, 0 missing\n" in status.stdout
        assert status.stdout.count("permanent: ValueError: the loss is NaN\n") == 2
        assert status.stdout.count("log.txt\n") == 2
        assert f"records and logs: {folder}/results/trials\n" in status.stdout

    def test_other_folders_for_results_and_data(self, folder, sweep):
        write(BASE)
        assert call("run", "--results", "out", "--data", str(folder / "shards")).exit_code == 0
        assert (folder / "out" / "plans" / "main.json").exists()
        assert (folder / "shards" / "tiny" / "dataset.json").exists()
        assert not (folder / "results").exists()

    def test_interrupted(self, folder, sweep, monkeypatch):
        write(BASE)

        def interrupt(*_, **__):
            raise KeyboardInterrupt("signal 15")

        monkeypatch.setattr(orchestrator.sweeps.run, "run_sweep", interrupt)
        result = call("run")
        assert result.exit_code == 130
        assert result.stderr == "interrupted: run the same command again to continue\n"

    def test_a_bug_keeps_its_traceback(self, folder, sweep, monkeypatch):
        write(BASE)
        monkeypatch.setattr(orchestrator.sweeps.run, "write_plan", lambda *_: 1 / 0)
        assert isinstance(call("run").exception, ZeroDivisionError)
