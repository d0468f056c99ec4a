"""Who runs which trial: pure bookkeeping (`Ledger`) and the actor around it (`Broker`).

Thin Tune trials submit ids and read events; slots lease ids and send events. The broker holds no result: what a trial
found is in its record, and a lost broker costs a re-run of what was in flight, nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
"""`kind` is 'started', 'metrics', 'completed' or 'failed'; the last two are verdicts. All values are JSON."""

VERDICTS = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Lease:
    """A trial handed to a slot. `lost`: its workers died too often, it must be recorded as failed and not be run."""

    trial_id: str
    attempt: int
    """counts from 1; for a lost trial the number of workers it has cost"""
    lost: bool = False
    cause: str = ""
    """of a lost trial: what was last seen when one of its workers went, if anything was"""


@dataclass
class Ledger:
    """Queue, leases and attempts. No Ray, no clock: every transition is a method."""

    max_attempts: int
    queue: deque[str] = field(default_factory=deque)
    held: dict[int, str] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    known: set[str] = field(default_factory=set)
    served: Counter[int] = field(default_factory=Counter)
    """leases each slot has settled"""
    claimed: set[int] = field(default_factory=set)
    """slots one of whose workers has taken it on to record how the lease ended"""
    causes: dict[str, tuple[int, str]] = field(default_factory=dict)
    """trial -> the last attempt that lost a worker in sight of somebody, and what was seen"""

    def submit(self, trial_id: str) -> None:
        """Queue a trial; a second submission changes nothing, so a restarted relay may repeat it."""
        if trial_id not in self.known:
            self.known.add(trial_id)
            self.queue.append(trial_id)

    def take(self, slot: int) -> Lease | None:
        """The slot's next trial, None when there is none.

        A slot that asks while it still holds a trial is a new incarnation of one whose worker died: it gets that trial again.
        """
        trial_id = self.held.get(slot)
        if trial_id is None:
            if not self.queue:
                return None
            trial_id = self.held[slot] = self.queue.popleft()
        self.claimed.discard(slot)
        if self.attempts[trial_id] >= self.max_attempts:
            return Lease(trial_id, self.attempts[trial_id], lost=True, cause=self.causes.get(trial_id, (0, ""))[1])
        self.attempts[trial_id] += 1
        return Lease(trial_id, self.attempts[trial_id])

    def holds(self, slot: int, trial_id: str, attempt: int) -> bool:
        """Whether this is the slot's lease; it is not when it is settled or has passed on to the next incarnation."""
        return self.held.get(slot) == trial_id and self.attempts[trial_id] == attempt

    def claim(self, slot: int, trial_id: str, attempt: int) -> bool:
        """True for the first of a slot's workers that wants to record how a lease ended; it must settle it then."""
        if slot in self.claimed or not self.holds(slot, trial_id, attempt):
            return False
        self.claimed.add(slot)
        return True

    def lost(self, trial_id: str, cause: str) -> None:
        """A worker of a trial is gone. What is seen first of an attempt counts: the rest are echoes of that."""
        attempt = self.attempts[trial_id]
        if self.causes.get(trial_id, (0, ""))[0] != attempt:
            self.causes[trial_id] = attempt, cause

    def settle(self, slot: int, trial_id: str) -> bool:
        """End a lease. False if the slot does not hold it (any more): the caller's verdict comes too late and is dropped."""
        if self.held.get(slot) != trial_id:
            return False
        del self.held[slot]
        self.claimed.discard(slot)
        self.served[slot] += 1
        return True

    def retire(self, slot: int) -> None:
        """The slot will not come back: what it holds goes to the front of the queue, for the others."""
        self.claimed.discard(slot)
        if (trial_id := self.held.pop(slot, None)) is not None:
            self.queue.appendleft(trial_id)


class Broker:
    """The actor: a `Ledger`, the trials' JSON, a mailbox a trial, and waiting. Runs with num_cpus=0."""

    def __init__(self, max_attempts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = Ledger(max_attempts)
        self._clock = clock
        self._heard: dict[int, float] = {}  # when slots that are at work gave their last sign of life
        self._workers: dict[int, Any] = {}
        self._payloads: dict[str, str] = {}
        self._mail: dict[str, list[Event]] = {}
        self._verdicts: dict[str, Event] = {}
        self._incarnations: dict[int, str] = {}
        self._changed = asyncio.Condition()
        self._closed = False

    async def offer(self, payloads: Mapping[str, str]) -> None:
        """The trials of the batch that comes: id -> JSON of the PlannedTrial. Replaces those of the batch before."""
        self._payloads = dict(payloads)

    async def payload(self, trial_id: str) -> str:
        """JSON of the PlannedTrial."""
        return self._payloads[trial_id]

    async def submit(self, trial_id: str) -> None:
        """Called by a relay; repeatable."""
        self._ledger.submit(trial_id)
        await self._wake()

    async def next_events(self, trial_id: str) -> list[Event]:
        """Wait for events of a trial, in their order. The last one is a verdict; asked again, the verdict comes again."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._mail.get(trial_id) or trial_id in self._verdicts or self._closed)
        events = self._mail.pop(trial_id, [])
        if not events and trial_id in self._verdicts:
            events = [self._verdicts[trial_id]]
        return events

    async def lease(self, slot: int, incarnation: str, worker: Any = None) -> Lease | None:
        """Wait for a trial for a slot; None: the pool closes, or a newer incarnation of the slot has come.

        Without the second case a call left behind by a dead worker would take a trial that nobody receives. `worker`: the
        actor of the slot's rank 0, for whoever must end it.
        """
        self._incarnations[slot] = incarnation
        self._workers[slot] = worker
        await self._wake()
        async with self._changed:
            while not self._closed and self._incarnations[slot] == incarnation:
                if (lease := self._ledger.take(slot)) is not None:
                    self._heard[slot] = self._clock()
                    return lease
                await self._changed.wait()
        return None

    async def report(self, trial_id: str, event: Event) -> bool:
        """An event that is no verdict. False tells the worker to give up: the pool is closed."""
        for slot, held in self._ledger.held.items():
            if held == trial_id and slot in self._heard:
                self._heard[slot] = self._clock()
        if trial_id not in self._verdicts:
            self._mail.setdefault(trial_id, []).append(event)
            await self._wake()
        return not self._closed

    async def claim(self, slot: int, trial_id: str, attempt: int) -> bool:
        """True: the caller is the first of its group that failed, and may write the record and settle the lease.

        False: another was first. Answered when that one has settled, since what the caller does next is to leave, which
        ends the whole group and with it whoever is still writing.
        """
        if self._ledger.claim(slot, trial_id, attempt):
            return True
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._closed or slot not in self._ledger.claimed or not self._ledger.holds(slot, trial_id, attempt)
                )
            )
        return False

    async def lost(self, trial_id: str, cause: str) -> None:
        """As `Ledger.lost`."""
        self._ledger.lost(trial_id, cause)

    async def silent(self, limit_s: float) -> list[tuple[str, float, Any]]:
        """Trials that nothing was heard of for longer than that: id, seconds, and the worker to end.

        Each is named once, however long its slot takes to come back for it.
        """
        found = []
        for slot, trial_id in self._ledger.held.items():
            if slot in self._heard and (seconds := self._clock() - self._heard[slot]) > limit_s:
                del self._heard[slot]
                self._ledger.lost(trial_id, f"no sign of life for {seconds:.0f} s")
                found.append((trial_id, seconds, self._workers[slot]))
        return found

    async def settle(self, slot: int, trial_id: str, verdict: Event) -> bool:
        """End a lease with a verdict. False if another verdict was first or the lease has passed on."""
        if verdict["kind"] not in VERDICTS:
            raise ValueError(f"{verdict['kind']!r} is no verdict")
        if not self._ledger.settle(slot, trial_id):
            return False
        self._verdicts[trial_id] = verdict
        self._mail.setdefault(trial_id, []).append(verdict)
        await self._wake()
        return True

    async def served(self, slot: int) -> int:
        """How many leases the slot has settled."""
        return self._ledger.served[slot]

    async def retire(self, slot: int) -> None:
        """Give what a slot holds to the others; the slot will not come back."""
        self._incarnations[slot] = ""
        self._ledger.retire(slot)
        await self._wake()

    async def close(self) -> None:
        """End every wait: slots get no further trial, and running ones give up at their next report."""
        self._closed = True
        await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()
