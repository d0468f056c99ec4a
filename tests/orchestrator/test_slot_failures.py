"""What a worker makes of an error: record, verdict, and whether it lets its group be replaced. No Ray runs here."""

import asyncio
import errno
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributed import DistBackendError

from orchestrator.records import ErrorInfo, Results, read_record
from orchestrator.spec import PlannedTrial
from orchestrator.sweeps import failures, slot
from orchestrator.sweeps.broker import Broker, Event, Lease
from orchestrator.sweeps.failures import failure_class, is_lost_peer
from tests.orchestrator.ray_fakes import make_trial
from training.runtime import Runtime

TRIAL = make_trial("noop")
RESET = (
    "[third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:28335: Connection reset by peer. This is "
    "typically caused by a remote worker hanging or bugs in the application."
)


@dataclass
class Group:
    """The workers of slot 0, whose calls of the broker are answered at once."""

    results: Results
    broker: Broker = field(default_factory=lambda: Broker(max_attempts=2))

    def __post_init__(self) -> None:
        asyncio.run(self.broker.offer({TRIAL.id: TRIAL.model_dump_json()}))
        asyncio.run(self.broker.submit(TRIAL.id))

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.broker, name)
        return SimpleNamespace(remote=lambda *arguments: asyncio.run(asyncio.wait_for(call(*arguments), 5)))

    def lease(self) -> Lease:
        lease = asyncio.run(self.broker.lease(0, "an incarnation"))
        assert lease is not None
        return lease

    def serve(self, lease: Lease, run: Callable[..., Any], rank: int = 0, of: int = 1) -> None:
        config = slot.SlotConfig(0, "broker", str(self.results.root), "an:entry", cpus=1, gpus=0, recycle_after=None)
        slot._serve(slot._Worker(config, self, run, Runtime(rank=rank, world_size=of)), lease)

    @property
    def verdict(self) -> Event | None:
        return self.broker._verdicts.get(TRIAL.id)

    @property
    def error(self) -> ErrorInfo:
        error = read_record(self.results.record(TRIAL.id)).error
        assert error is not None
        return error


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setattr(slot.ray, "get", lambda answer: answer)
    monkeypatch.setattr(slot, "_clean_up", lambda worker: None)  # of this process, it takes seconds
    return Group(Results(tmp_path))


def raising(error: BaseException) -> Callable[..., Any]:
    def run(trial: PlannedTrial, results: Results, runtime: Runtime, attempt: int) -> None:
        raise error

    return run


def test_a_method_that_leaves_the_process_has_failed(group: Group):
    group.serve(group.lease(), raising(SystemExit("usage: mine.py [--strength X]")))
    assert (group.error.failure_class, group.error.type) == ("permanent", "SystemExit")
    assert group.error.message == "usage: mine.py [--strength X]"
    assert group.verdict == {
        "kind": "failed",
        "reason": "permanent: SystemExit: usage: mine.py [--strength X]",
        "attempt": 1,
    }


@pytest.mark.parametrize("error", [RuntimeError(RESET), DistBackendError("NCCL error: remote process exited")])
def test_who_sees_another_worker_go_fails_nothing_and_the_trial_is_run_again(group: Group, error: Exception):
    for attempt in (1, 2):
        lease = group.lease()
        assert (lease.attempt, lease.lost) == (attempt, False)
        with pytest.raises(slot.GroupBroken):
            group.serve(lease, raising(error), of=2)
        assert group.verdict is None
        assert not group.results.record(TRIAL.id).exists()
    for rank in (0, 1):
        group.serve(Lease(TRIAL.id, 2, lost=True, cause=f"worker 0 saw: {error}"), raising(error), rank, of=2)
    assert group.error.failure_class == "transient"
    assert group.error.message == f"worker lost 2 times; the last time: worker 0 saw: {error}"


def test_a_closed_connection_of_a_lone_worker_is_its_own_failure(group: Group):
    group.serve(group.lease(), raising(RuntimeError(RESET)))
    assert group.error.failure_class == "permanent"


@pytest.mark.parametrize("echo", [ValueError("not finite on another worker"), RuntimeError(RESET)])
def test_of_two_workers_that_fail_the_first_writes_record_and_verdict(group: Group, echo: Exception):
    lease = group.lease()
    for rank, error in ((1, ValueError("cat.jpg cannot be decoded")), (0, echo)):
        with pytest.raises(slot.GroupBroken):
            group.serve(lease, raising(error), rank, of=2)
    assert group.error.message == "cat.jpg cannot be decoded"
    assert group.verdict is not None
    assert group.verdict["reason"] == "permanent: ValueError: cat.jpg cannot be decoded"


def test_a_record_that_cannot_be_written_leaves_a_verdict(group: Group, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(slot, "write_record", full)
    group.serve(group.lease(), raising(ValueError("the cause")))
    assert group.verdict is not None
    assert group.verdict["reason"].startswith("permanent: ValueError: the cause (and its record could not be written: ")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError(RESET), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:44763."), True),
        (
            DistBackendError("NCCL error in: ProcessGroupNCCL.cpp, remote process exited or there was a network error"),
            True,
        ),
        (
            RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:79] Timed out waiting 1800000ms for recv operation"),
            False,
        ),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), False),
        (NotImplementedError("broken pipe"), False),
        (RuntimeError("Expected to have finished reduction in the prior iteration"), False),
        (SystemExit(2), False),
    ],
)
def test_echoes_are_told_from_causes(error: BaseException, lost: bool):
    assert is_lost_peer(error) == lost
    outer = ValueError("step 3 failed")
    outer.__cause__ = error
    assert is_lost_peer(outer) == lost


def cpu_memory() -> None:
    torch.empty(10**15)


def refused() -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize("use", [cpu_memory, refused])
def test_exhausted_memory_of_the_machine_is_a_lack_of_resources(use: Callable[[], None]) -> None:
    with pytest.raises((RuntimeError, OSError)) as caught:
        use()
    assert failure_class(caught.value) == "resource"


def test_every_row_of_the_table_has_its_test():
    rows = [line for line in (failures.__doc__ or "").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        file, test = re.findall(r"`(test_\w+)\.(test_\w+)`", row)[0]
        assert f"def {test}(" in (Path(__file__).parent / f"{file}.py").read_text(), row
