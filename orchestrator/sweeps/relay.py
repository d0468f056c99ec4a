"""The Tune side of a sweep: one `Tuner` over thin function trials, each of which relays one trial to the pool and back.

Every relay process imports this module, so it imports no torch: that would double its 2 s and 200 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial

from orchestrator.sweeps.broker import VERDICTS
from orchestrator.sweeps.searcher import Graph, InputsFirst

if TYPE_CHECKING:
    from orchestrator.sweeps.pool import Pool

CPUS_PER_RELAY = 0.01
RELAY_RESTARTS = 10
"""A relay only forwards events; it dies with its node alone and may be restarted: submitting twice changes nothing."""


class Listener(Protocol):
    """Who wants to know how the trials fare. All calls come from the thread that runs the Tuner."""

    def on_event(self, id: str, event: Mapping[str, Any]) -> None:
        """An event of a trial."""

    def on_end(self, id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """A trial is over."""

    def on_tick(self) -> None:
        """Some time has passed; what this raises ends the run."""


def relay(config: dict[str, Any]) -> None:
    """The Tune trial: submit a trial to the broker and report its events until the verdict."""
    broker = ray.get_actor(config["broker"])
    ray.get(broker.submit.remote(config["trial"]))
    while True:
        events = ray.get(broker.next_events.remote(config["trial"]))
        for event in events:
            tune.report(event)
        if not events or events[-1]["kind"] in VERDICTS:
            return


class _Forward(tune.Callback):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._listener.on_event(trial.config["trial"], result)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._listener.on_tick()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its configuration; nobody reads that


def _name(trial: Trial) -> str:
    return str(trial.config["trial"])


def run_tuner(listener: Listener, graph: Graph, pool: Pool, storage: Path, name: str, trials: int) -> None:
    """Run all trials of `graph`; returns when each has ended. KeyboardInterrupt and what `on_tick` raises pass through."""
    tuner = tune.Tuner(
        tune.with_resources(relay, {"cpu": CPUS_PER_RELAY}),
        tune_config=tune.TuneConfig(
            search_alg=InputsFirst(graph, pool.name, listener.on_end),
            num_samples=trials,
            # One more than slots: the next trial waits at the broker when a slot gets free.
            max_concurrent_trials=pool.shape.slots + 1,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[_Forward(listener)],
            failure_config=tune.FailureConfig(max_failures=RELAY_RESTARTS),
        ),
    )
    tuner.fit()
