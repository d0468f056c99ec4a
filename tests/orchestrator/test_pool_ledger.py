"""The broker's bookkeeping, without Ray: who gets which trial, and what becomes of a lost worker's."""

import asyncio
from typing import Any

import pytest

from orchestrator.sweeps.broker import Broker, Lease, Ledger


def test_trials_are_leased_in_order_and_once():
    ledger = Ledger(max_attempts=3)
    for id in ("a", "b", "a"):
        ledger.submit(id)
    assert ledger.take(0) == Lease("a", 1)
    assert ledger.take(1) == Lease("b", 1)
    assert ledger.settle(0, "a")
    assert ledger.take(0) is None


def test_a_new_incarnation_first_gets_what_the_slot_held():
    ledger = Ledger(max_attempts=3)
    ledger.submit("a")
    ledger.submit("b")
    ledger.take(0)
    assert ledger.take(0) == Lease("a", 2)
    assert ledger.take(1) == Lease("b", 1)


def test_a_trial_that_costs_too_many_workers_is_lost():
    ledger = Ledger(max_attempts=3)
    ledger.submit("a")
    assert [ledger.take(0) for _ in range(3)] == [Lease("a", 1), Lease("a", 2), Lease("a", 3)]
    assert ledger.take(0) == Lease("a", 3, lost=True)
    assert ledger.settle(0, "a")


def test_attempts_follow_a_trial_to_another_slot():
    ledger = Ledger(max_attempts=2)
    for id in ("a", "b"):
        ledger.submit(id)
    ledger.take(0)
    ledger.retire(0)
    assert ledger.take(1) == Lease("a", 2), "what a retired slot held comes first"
    ledger.retire(1)
    assert ledger.take(2) == Lease("a", 2, lost=True)


def test_a_verdict_of_who_does_not_hold_the_lease_is_dropped():
    ledger = Ledger(max_attempts=3)
    ledger.submit("a")
    ledger.take(0)
    assert not ledger.settle(1, "a")
    ledger.retire(0)
    assert not ledger.settle(0, "a")
    assert ledger.served == {}


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario, timeout=10))


def test_events_come_in_order_and_the_verdict_can_be_asked_for_again():
    async def scenario() -> None:
        broker = Broker(max_attempts=3)
        await broker.submit("a")
        waiting = asyncio.create_task(broker.next_events("a"))
        lease = await broker.lease(0, "first")
        assert lease == Lease("a", 1)
        await broker.report("a", {"kind": "started"})
        assert await waiting == [{"kind": "started"}]
        await broker.report("a", {"kind": "metrics", "metrics": {"loss": 1.0}})
        verdict = {"kind": "completed", "attempt": 1}
        assert await broker.settle(0, "a", verdict)
        assert [event["kind"] for event in await broker.next_events("a")] == ["metrics", "completed"]
        assert await broker.next_events("a") == [verdict]
        assert await broker.served(0) == 1

    run(scenario())


def test_a_lease_left_behind_by_a_dead_worker_takes_no_trial():
    async def scenario() -> None:
        broker = Broker(max_attempts=3)
        dead = asyncio.create_task(broker.lease(0, "first"))
        await asyncio.sleep(0)
        alive = asyncio.create_task(broker.lease(0, "second"))
        assert await dead is None
        await broker.submit("a")
        assert await alive == Lease("a", 1)

    run(scenario())


def test_a_late_second_verdict_changes_nothing():
    async def scenario() -> None:
        broker = Broker(max_attempts=3)
        await broker.submit("a")
        await broker.lease(0, "first")
        assert await broker.settle(0, "a", {"kind": "failed", "reason": "rank 1"})
        assert not await broker.settle(0, "a", {"kind": "completed"})
        await broker.report("a", {"kind": "metrics"})
        assert await broker.next_events("a") == [{"kind": "failed", "reason": "rank 1"}]
        with pytest.raises(ValueError, match="'metrics' is no verdict"):
            await broker.settle(0, "a", {"kind": "metrics"})

    run(scenario())


def test_closing_ends_every_wait():
    async def scenario() -> None:
        broker = Broker(max_attempts=3)
        waits = [asyncio.create_task(broker.lease(0, "first")), asyncio.create_task(broker.next_events("a"))]
        await asyncio.sleep(0)
        await broker.close()
        assert await asyncio.gather(*waits) == [None, []]
        assert await broker.report("a", {"kind": "metrics"}) is False

    run(scenario())
