"""Several processes write the same bytes as one; killed at any moment, the same command goes on and does less."""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets import DatasetError, shard_file
from datasets.parallel import Tick, _heard_later, processes
from datasets.shard_journal import JOURNAL
from datasets.shards import Done, write_prepared
from tests.conftest import ROOT
from tests.datasets.fakes import COUNTS, Fake
from tests.datasets.parallel_fakes import Deadly, Failing, Slow
from tests.datasets.test_bad_input import contents
from tests.orchestrator.processes import hear_ctrl_c

TOTAL = sum(sum(splits.values()) for splits in COUNTS.values())


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 2)


def test_any_number_of_processes_writes_the_same_bytes(tmp_path):
    seen: list[Done] = []
    one = write_prepared(Fake(), tmp_path / "one", None, short_side=8)
    two = write_prepared(Fake(), tmp_path / "two", None, short_side=8, runner=processes(2), progress=seen.append)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert one.identity == two.identity
    assert len({shard.name for shard in two.shards}) == 4 + 2 + 3 + 2
    assert seen[-1].images == seen[-1].total == TOTAL
    assert [done.images for done in seen] == sorted(done.images for done in seen)


def test_a_killed_worker_is_named_and_the_rest_is_kept(tmp_path):
    with pytest.raises(
        DatasetError, match="a worker process was killed, perhaps because memory ran out; what is finished"
    ):
        write_prepared(Deadly(), tmp_path / "fake", None, runner=processes(2))
    again = Fake()
    write_prepared(again, tmp_path / "fake", None)
    assert again.made == ["oil/test/2"]
    write_prepared(Fake(), tmp_path / "whole", None)
    assert contents(tmp_path / "fake") == contents(tmp_path / "whole")


def test_an_error_of_a_worker_is_raised_here(tmp_path):
    with pytest.raises(OSError, match="the disk is on fire"):
        write_prepared(Failing(), tmp_path / "fake", None, runner=processes(2))
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "fake/dataset.json").exists()


SCRIPT = """
import sys
from pathlib import Path
from datasets import shard_file
from datasets.parallel import Tick, processes
from datasets.shards import write_prepared
from tests.datasets.parallel_fakes import Slow

if __name__ == "__main__":
    shard_file.MAX_SAMPLES = 5
    write_prepared(Slow(Path(sys.argv[2])), Path(sys.argv[1]), None, runner=processes(int(sys.argv[3])))
"""


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def until(condition, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


@pytest.mark.parametrize(("how", "workers"), [(signal.SIGKILL, 2), (signal.SIGKILL, 1), (signal.SIGINT, 2)])
def test_killed_then_continued_gives_the_same_files_with_less_work(tmp_path, how, workers):
    log, script, to = tmp_path / "log", tmp_path / "script.py", tmp_path / "fake"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(to), str(log), str(workers)]
    first = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,
    )
    journal = to / JOURNAL
    assert until(lambda: journal.exists() and len(journal.read_text().splitlines()) >= 4), "three shards are done"
    first.send_signal(how)
    _, errors = first.communicate(timeout=30)
    assert first.returncode != 0 and not (to / "dataset.json").exists()
    if how == signal.SIGINT:
        assert errors.count(b"Traceback") == 1, "workers do not print theirs"
    pids = {int(line.split()[0]) for line in log.read_text().splitlines()}
    assert len(pids) == workers
    assert until(lambda: not any(map(alive, pids)), 10), "workers end with their parent"
    finished = [
        json.loads(line)["shard"]["count"] for line in journal.read_text().splitlines()[1:] if line.endswith("}")
    ]
    log.write_text("")
    again = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60)
    assert again.returncode == 0
    assert len(log.read_text().splitlines()) == 80 - sum(finished) <= 65
    shard_file.MAX_SAMPLES = 5  # the fixture sets it back
    write_prepared(Slow(tmp_path / "other"), tmp_path / "whole", None)
    assert contents(to) == contents(tmp_path / "whole")


def touch(job: int, tick: Tick) -> int:
    """Page faults of taking and giving back 8 MB, five times, after the first."""
    bytearray(job)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(job)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep memory")
def test_workers_keep_freed_memory_for_the_next_image():
    found = dict(processes(2)(touch, [8_000_000] * 2, lambda number, images: None))
    assert max(found.values()) < 5 * 8_000_000 // 4096 // 4


def test_ctrl_c_while_processes_start_is_heard_when_they_have():
    """Neither lost nor in the midst of it; a process that is started meanwhile is not reached."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = []
    blocked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    try:
        with pytest.raises(KeyboardInterrupt), _heard_later():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True).stdout)
        assert reached == ["True\n"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGINT, before)
