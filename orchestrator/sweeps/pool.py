"""The pool, as the driver sees it: a broker actor and N slots, each a long-lived Ray Train run kept alive by a thread.

One Train run a slot, not one run of N workers: Train replaces a whole run when one of its workers dies, and a lost
worker must not disturb the other slots.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.sweeps.broker import Broker
from orchestrator.sweeps.cluster import Shape
from orchestrator.sweeps.slot import CLOSED, RECYCLE, SlotConfig, slot_loop

_log = logging.getLogger(__name__)

CPU_SHARE = 0.9
"""Share of its CPUs that a worker reserves in Ray's books. The rest is for the Tune relays (0.01 each), which otherwise
could not be placed on a machine whose every CPU is a slot's, and nothing would ever be submitted."""

RESTARTS_PER_RUN = 10
"""Worker losses after which Train gives a slot's run up. The slot then gets a new run if it has finished any trial since
the last one; if not, it is out of service: something kills its workers before they can do anything."""

LOOKS_FOR_SILENCE = 10
"""Times in the span that a trial may be silent; no more than one a second."""

COLLECTIVE_TIMEOUT_S = 6 * 3600
"""Other ranks wait in a collective while rank 0 evaluates or writes; a lost rank is noticed by Train, not by this."""


class PoolError(RuntimeError):
    """No slot is able to work."""


class Pool:
    """Slots that lease trials from a broker. `close` must be called, from a `finally`."""

    def __init__(
        self,
        shape: Shape,
        results: Path,
        storage: Path,
        entry: str,
        max_attempts: int,
        recycle_after: int | None,
        cache_gib: float = 0.0,
        silence_s: float | None = None,
    ) -> None:
        self.shape = shape
        self.name = f"broker-{storage.name}"
        self._results, self._storage, self._entry, self._recycle_after = results, storage, entry, recycle_after
        self._cache_gib = cache_gib
        self._silence_s = silence_s
        self._looked = time.monotonic()
        self._closing = threading.Event()
        self._broken: dict[int, str] = {}
        # On the driver's node: without the driver there is no sweep, and no other node's loss should end it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(Broker).options(name=self.name, num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)
        self.broker: Any = actor.remote(max_attempts)
        self._threads = [
            threading.Thread(target=self._keep_alive, args=(slot,), name=f"slot-{slot}", daemon=True)
            for slot in range(shape.slots)
        ]

    def start(self) -> None:
        """Start all slots; returns at once."""
        for thread in self._threads:
            thread.start()

    @property
    def broken(self) -> dict[int, str]:
        """Slots out of service, each with the reason."""
        return dict(self._broken)

    def check(self) -> None:
        """Raise PoolError if no slot is left."""
        if len(self._broken) == self.shape.slots:
            raise PoolError(f"no worker can start; {next(iter(self._broken.values()))}")

    def end_silent(self) -> list[tuple[str, float]]:
        """End the workers of trials that were silent for too long: their ids and seconds. None if there is no limit.

        Train then starts the group again, as after any lost worker, and the trial has cost one more.
        """
        now = time.monotonic()
        if self._silence_s is None or now - self._looked < max(1.0, self._silence_s / LOOKS_FOR_SILENCE):
            return []
        self._looked = now
        try:
            found = ray.get(self.broker.silent.remote(self._silence_s))
        except RayError as error:
            _log.debug("asking the broker who is silent: %s", error)  # its loss is told by `check`, slot by slot
            return []
        for _, _, worker in found:
            ray.kill(worker)
        return [(id, seconds) for id, seconds, _ in found]

    def close(self, patience_s: float) -> None:
        """Let idle slots return; running trials give up at their next report. Waits at most `patience_s` seconds."""
        self._closing.set()
        deadline = time.monotonic() + patience_s
        try:
            ray.get(self.broker.close.remote(), timeout=max(patience_s, 1))
            for thread in self._threads:
                if thread.is_alive():
                    thread.join(max(0.0, deadline - time.monotonic()))
            ray.kill(self.broker)
        except (RayError, ConnectionError) as error:
            # The broker or the cluster may be gone, which is one of the reasons to close.
            _log.debug("closing the broker: %s", error)

    def _keep_alive(self, slot: int) -> None:
        run, served = 0, 0
        while not self._closing.is_set():
            reason = self._run(slot, run)
            if self._closing.is_set() or reason == CLOSED:
                return
            if reason != RECYCLE:
                try:
                    before, served = served, ray.get(self.broker.served.remote(slot))
                    if served == before:
                        self._broken[slot] = reason
                        ray.get(self.broker.retire.remote(slot))
                        return
                except RayError as error:
                    self._broken[slot] = f"the broker was lost: {type(error).__name__}"
                    return
            run += 1

    def _run(self, slot: int, run: int) -> str:
        """One Train run of a slot, to its end: CLOSED, RECYCLE or what went wrong."""
        try:
            return str(self._trainer(slot, run).fit().return_value)  # type: ignore[attr-defined]  # Ray's types are of V1
        except Exception as error:
            # Train gave up, or Ray went away; `_keep_alive` decides what that means.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"

    def _trainer(self, slot: int, run: int) -> ray.train.torch.TorchTrainer:
        shape = self.shape
        config = SlotConfig(
            slot=slot,
            broker=self.name,
            results=str(self._results),
            entry=self._entry,
            cpus=shape.cpus,
            gpus=shape.gpus,
            recycle_after=self._recycle_after,
            cache_gib=self._cache_gib,
        )
        resources = {"CPU": shape.cpus * CPU_SHARE}
        if shape.gpus:
            resources["GPU"] = shape.gpus
        return ray.train.torch.TorchTrainer(
            slot_loop,  # type: ignore[arg-type]  # it returns a text; Ray's type says None, its own docs a value
            train_loop_config=asdict(config),
            # A lone worker never communicates: NCCL would only take GPU memory, and refuses to share a GPU.
            torch_config=ray.train.torch.TorchConfig(
                backend="nccl" if shape.gpus and shape.workers > 1 else "gloo", timeout_s=COLLECTIVE_TIMEOUT_S
            ),
            scaling_config=ray.train.ScalingConfig(
                num_workers=shape.workers, use_gpu=shape.gpus > 0, resources_per_worker=resources
            ),
            run_config=ray.train.RunConfig(  # type: ignore[call-arg]  # Ray's types are of V1
                # A name used before would make Train resume that run.
                name=f"slot{slot}-{run}",
                storage_path=str(self._storage),
                failure_config=ray.train.FailureConfig(max_failures=RESTARTS_PER_RUN),
                logging_config=ray.train.LoggingConfig(log_level="ERROR"),
            ),
        )
