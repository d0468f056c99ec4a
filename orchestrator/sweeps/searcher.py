"""What can run now: a trial is suggested to Tune once all its inputs are recorded (`Graph`: the logic, without Ray)."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher

from orchestrator.spec import PlannedTrial


class Graph:
    """Trials, their inputs, and what has come of them.

    `ended` holds trials that ended before: id -> None if completed, else the reason why it failed. An input that is
    neither there nor among `trials` cannot come and counts as failed. `waits` are edges of another kind, trial -> trials
    that should be over before it starts, however they end.
    """

    def __init__(
        self,
        trials: Sequence[PlannedTrial],
        ended: Mapping[str, str | None],
        waits: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._order = {trial.id: index for index, trial in enumerate(trials)}
        self._waiting: dict[str, set[str]] = {}
        self._dependants: defaultdict[str, list[str]] = defaultdict(list)
        self._followers: defaultdict[str, list[str]] = defaultdict(list)
        self._ready: list[tuple[int, str]] = []
        self._doomed: list[tuple[str, str]] = []
        for trial in trials:
            self._waiting[trial.id] = {id for id in trial.spec.inputs if ended.get(id, "") is not None}
            for id in trial.spec.inputs:
                self._dependants[id].append(trial.id)
            for id in (waits or {}).get(trial.id, ()):
                if id in self._order and id not in ended:
                    self._waiting[trial.id].add(id)
                    self._followers[id].append(trial.id)
        for id in [id for id in self._dependants if id not in self._order]:
            if (reason := ended.get(id, "it is neither in the plan nor recorded")) is not None:
                self._doom_dependants(id, reason)
        for id in [id for id, inputs in self._waiting.items() if not inputs]:
            self._release(id)

    def next(self) -> str | None:
        """A trial that can run, earlier ones of the plan first; None: there is none now."""
        return heapq.heappop(self._ready)[1] if self._ready else None

    @property
    def exhausted(self) -> bool:
        """True when every trial has been handed out or has failed for its inputs."""
        return not self._ready and not self._waiting

    def end(self, id: str, reason: str | None) -> None:
        """A trial that was handed out is over: completed (None), or failed for a reason."""
        if reason is not None:
            self._doom_dependants(id, reason)
        for dependant in (*(self._dependants[id] if reason is None else ()), *self._followers[id]):
            if dependant in self._waiting:
                self._waiting[dependant].discard(id)
                if not self._waiting[dependant]:
                    self._release(dependant)

    def take_doomed(self) -> list[tuple[str, str]]:
        """Trials that can never run, each with the reason, since the last call. They are not handed out."""
        doomed, self._doomed = self._doomed, []
        return doomed

    def _release(self, id: str) -> None:
        del self._waiting[id]
        heapq.heappush(self._ready, (self._order[id], id))

    def _doom_dependants(self, id: str, reason: str) -> None:
        stack = [(id, reason)]
        while stack:
            failed, why = stack.pop()
            for dependant in self._dependants[failed]:
                if self._waiting.pop(dependant, None) is not None:
                    because = f"input {failed} failed: {why}"
                    self._doomed.append((dependant, because))
                    stack.append((dependant, because))


class InputsFirst(Searcher):
    """Suggests `{"trial": id, "broker": name}`, inputs before what needs them, and tells `ended` how each trial went.

    `ended(id, result, error)`: the trial's last report, None if there is none; `error` if the Tune trial itself broke.
    """

    def __init__(self, graph: Graph, broker: str, ended: Callable[[str, Mapping[str, Any] | None, bool], None]) -> None:
        super().__init__()
        self._graph = graph
        self._broker = broker
        self._ended = ended
        self._ids: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Tune's question for a configuration; `trial_id` is Tune's own."""
        id = self._graph.next()
        if id is None:
            return str(Searcher.FINISHED) if self._graph.exhausted else None
        self._ids[trial_id] = id
        return {"trial": id, "broker": self._broker}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune's note that a trial is over."""
        self._ended(self._ids.pop(trial_id), result, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a sweep is resumed from its records, never from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: see `save`."""
        raise NotImplementedError("a sweep is resumed from its records")

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its configuration into the run's folder. Nobody reads that.
        return {}
