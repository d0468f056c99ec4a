"""What the user reads while a sweep runs."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.records import Evaluation, Results, TrialRecord
from orchestrator.sweeps.progress import Progress, accuracies, duration, one_line
from tests.orchestrator.ray_fakes import make_trial

TRIALS = [make_trial("ft", seed=seed) for seed in range(4)]


def make_record(accuracies_: dict[tuple[str, str], float], index: int = 0) -> TrialRecord:
    return TrialRecord(
        id=TRIALS[index].id,
        spec=TRIALS[index].spec,
        status="completed",
        evaluations=tuple(
            Evaluation(
                variant=variant, domain=domain, split="test", num_images=100, num_correct=0, accuracy=value, nll=1.0
            )
            for (variant, domain), value in accuracies_.items()
        ),
        started_at="2026-01-01T00:00:00+00:00",
        finished_at="2026-01-01T00:00:01+00:00",
    )


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_progress(clock: Clock, terminal: bool) -> tuple[Progress, StringIO]:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    return Progress(TRIALS, 2, Results(Path("/results")), console, clock), out


def test_plain_lines(clock: Clock):
    progress, out = make_progress(clock, terminal=False)
    with progress:
        progress.event(TRIALS[0].id, {"kind": "started", "slot": 0, "attempt": 1})
        clock.now += 12.34
        progress.end(TRIALS[0].id, make_record({("", "real"): 0.412, ("", "sketch"): 0.3, ("", "x"): 0.4}), None)
        progress.event(TRIALS[1].id, {"kind": "started", "slot": 0, "attempt": 2})
        progress.end(TRIALS[1].id, None, "permanent: ValueError: the loss is NaN\nsecond line")
    assert out.getvalue().splitlines() == [
        f"[1/4] {TRIALS[0].id}  reference 41.2 %, shifted 35.0 %  12.3 s",
        f"{TRIALS[1].id}: its worker was lost, attempt 2 starts",
        f"[2/4] {TRIALS[1].id}  FAILED  0.0 s  permanent: ValueError: the loss is NaN"
        f"  (/results/trials/{TRIALS[1].id}/record.json)",
        "1 of 4 trials failed:",
        f"  {TRIALS[1].id}: permanent: ValueError: the loss is NaN  (/results/trials/{TRIALS[1].id}/record.json)",
    ]


def test_a_heartbeat_every_thirty_seconds(clock: Clock):
    progress, out = make_progress(clock, terminal=False)
    with progress:
        progress.beat()
        progress.event(TRIALS[0].id, {"kind": "started", "slot": 0, "attempt": 1})
        progress.event(TRIALS[0].id, {"kind": "metrics", "metrics": {"images_per_second": 1234.4}})
        clock.now += 29
        progress.beat()
        assert out.getvalue() == ""
        clock.now += 1
        progress.beat("a remark")
        progress.beat()
        clock.now += 10
        progress.end(TRIALS[0].id, make_record({("", "real"): 0.5}), None)
        clock.now += 20
        progress.beat()
    beats = [line for line in out.getvalue().splitlines() if not line.startswith("[")]
    assert beats == [
        "0 done, 1 running, 3 waiting, 0 failed, 30 s elapsed, 1,234 images/s; a remark",
        "1 done, 0 running, 3 waiting, 0 failed, 60 s elapsed, about 60 s left",
    ]


def test_the_live_table(clock: Clock):
    progress, out = make_progress(clock, terminal=True)
    with progress:
        progress.event(TRIALS[0].id, {"kind": "started", "slot": 0, "attempt": 1})
        metrics = {"step": 30.0, "num_steps": 150.0, "loss": 1.23456, "images_per_second": 512.0}
        progress.event(TRIALS[0].id, {"kind": "metrics", "metrics": metrics})
        clock.now += 5
        progress.beat()
    text = out.getvalue()
    for part in (TRIALS[0].id, "30/150", "1.235", "512", "0 done, 1 running, 3 waiting, 0 failed"):
        assert part in text


def test_time_left_uses_the_fraction_of_running_trials(clock: Clock):
    progress, _ = make_progress(clock, terminal=False)
    progress.event(TRIALS[0].id, {"kind": "started", "slot": 0, "attempt": 1})
    clock.now += 10
    progress.end(TRIALS[0].id, make_record({("", "real"): 0.5}), None)
    progress.event(TRIALS[1].id, {"kind": "started", "slot": 0, "attempt": 1})
    progress.event(TRIALS[1].id, {"kind": "metrics", "metrics": {"step": 50, "num_steps": 100}})
    clock.now += 8
    # 8 s more of the running one, 10 s for each of the two that wait, over two slots
    assert progress.board.time_left(clock.now, [TRIALS[2].id, TRIALS[3].id]) == pytest.approx(14)


def test_accuracies_of_several_variants_are_ranges():
    record = make_record(
        {("alpha=0", "real"): 0.4, ("alpha=1", "real"): 0.5, ("alpha=0", "s"): 0.3, ("alpha=1", "s"): 0.2}
    )
    assert accuracies(record) == "reference 40.0-50.0 %, shifted 20.0-30.0 % (2 variants)"


def test_words():
    assert [duration(s) for s in (45, 720, 11_100)] == ["45 s", "12 min", "3 h 05 min"]
    assert one_line("\n  first\nsecond") == "first"
    assert one_line("x" * 400) == "x" * 299 + "…"
