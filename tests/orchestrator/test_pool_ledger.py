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


def test_the_first_of_a_group_claims_how_its_lease_ended():
    ledger = Ledger(max_attempts=3)
    for id in ("a", "b"):
        ledger.submit(id)
    ledger.take(0)
    assert not ledger.claim(0, "b", 1), "not its lease"
    assert not ledger.claim(1, "a", 1), "not its slot"
    assert ledger.claim(0, "a", 1)
    assert not ledger.claim(0, "a", 1)
    assert ledger.settle(0, "a")
    assert not ledger.claim(0, "a", 1), "settled"
    ledger.take(0)
    assert ledger.claim(0, "b", 1)


def test_a_claim_dies_with_its_lease():
    ledger = Ledger(max_attempts=2)
    ledger.submit("a")
    ledger.take(0)
    assert ledger.claim(0, "a", 1)
    assert ledger.take(0) == Lease("a", 2)
    assert not ledger.claim(0, "a", 1), "of the incarnation before"
    assert ledger.claim(0, "a", 2)
    ledger.retire(0)
    assert ledger.take(1) == Lease("a", 2, lost=True)
    assert ledger.claim(1, "a", 2)


def test_a_lost_trial_knows_what_was_last_seen_of_it():
    ledger = Ledger(
        max_attempts=1,
    )
    ledger.submit("a")
    ledger.take(0)
    ledger.lost("a", "a closed connection")
    ledger.lost("a", "an echo")
    assert ledger.take(0) == Lease("a", 1, lost=True, cause="a closed connection")


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


def test_who_fails_second_waits_until_the_first_has_told():
    async def scenario() -> None:
        broker = Broker(max_attempts=3)
        await broker.submit("a")
        await broker.lease(0, "first")
        assert await broker.claim(0, "a", 1)
        second = asyncio.create_task(broker.claim(0, "a", 1))
        await asyncio.sleep(0.01)
        assert not second.done(), "what it does next ends the first one's process"
        await broker.settle(0, "a", {"kind": "failed", "reason": "the cause"})
        assert await second is False

    run(scenario())


def test_who_says_nothing_for_too_long_is_named_once_and_counts_as_lost():
    now = 0.0

    async def scenario() -> None:
        nonlocal now
        broker = Broker(max_attempts=1, clock=lambda: now)
        for slot, id in enumerate(("a", "b")):
            await broker.submit(id)
            await broker.lease(slot, "first", f"worker {slot}")
        now = 50.0
        await broker.report("b", {"kind": "metrics"})
        assert await broker.silent(60.0) == []
        now = 100.0
        assert await broker.silent(60.0) == [("a", 100.0, "worker 0")]
        await broker.settle(1, "b", {"kind": "completed"})
        now = 250.0
        assert await broker.silent(60.0) == [], "its slot is on its way back"
        assert await broker.lease(0, "second") == Lease("a", 1, lost=True, cause="no sign of life for 100 s")

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
