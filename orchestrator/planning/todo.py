"""What a `run` takes up and what it leaves: stale cells wait until they are asked for. No ray, no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from datasets.wording import number_of
from orchestrator.bad_input import BadInputError
from orchestrator.planning.gate import waits
from orchestrator.planning.plan import Status
from orchestrator.spec import BenchmarkPlan, PlannedTrial

MAX_NAMED = 5
"""Ids that a line names; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Todo:
    """The share of some plans that one `run` takes up."""

    plans: tuple[BenchmarkPlan, ...]
    """with nothing but trials that are done or may run"""
    stale: tuple[str, ...] = ()
    """ids that are left: their cells have records, of other code, data or settings"""
    waiting: tuple[str, ...] = ()
    """ids that are left because they need one of those"""
    again: frozenset[str] = frozenset()
    """ids that run although they may be done"""

    def runs(self, status: Mapping[str, Status]) -> list[PlannedTrial]:
        """The trials that are to run, each once."""
        trials = {trial.id: trial for plan in self.plans for trial in plan.trials}
        return [trial for id, trial in trials.items() if id in self.again or status[id] != "done"]

    @property
    def left(self) -> str:
        """What is left, why, and what runs it, in a line; '' if nothing is."""
        if not self.stale:
            return ""
        cells = "its cell has a record" if len(self.stale) == 1 else "their cells have records"
        wait = "wait" if len(self.waiting) > 1 else "waits"
        waiting = f"; {number_of(len(self.waiting), 'trial')} more {wait} for them" if self.waiting else ""
        return (
            f"{len(self.stale)} stale: {cells} of other code, data or settings (`plan` says which); "
            f"--rerun-stale runs them{waiting}"
        )


def choose(
    plans: Sequence[BenchmarkPlan],
    status: Mapping[str, Status],
    *,
    rerun_stale: bool = False,
    again: Collection[str] = (),
    strict: bool = False,
) -> Todo:
    """What to run: what is not done and neither stale nor in need of what is; all of it with `rerun_stale`.

    With `again` these trials and what they need that is not done, no others. `strict` is that of the zero-shot gate.
    Raises BadInputError for an id in `again` that no plan has, or one that needs a stale trial which nobody asked for.
    """
    if again:
        wanted = _with_needs(plans, status, again, rerun_stale, strict)
        return Todo(_only(plans, wanted), again=frozenset(again))
    if rerun_stale:
        return Todo(tuple(plans))
    stale, waiting = held(plans, status, strict)
    left = {*stale, *waiting}
    return Todo(_only(plans, {id for id in status if id not in left}), stale, waiting)


def held(
    plans: Iterable[BenchmarkPlan], status: Mapping[str, Status], strict: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of stale trials, and of those that are not done and need one of them, be it through others.

    A trial needs its inputs and the trials of its zero-shot gate: one of those that is stale leaves the gate shut for what
    trains on its data and model, as nobody has compared these data with what is published.
    """
    trials = {trial.id: trial for plan in plans for trial in plan.trials}
    needs = _needs(trials, strict)
    stale = tuple(id for id in trials if status[id] == "stale")
    found = dict.fromkeys(stale)
    for id in trials:  # inputs come before what needs them
        if status[id] != "done" and not found.keys().isdisjoint(needs[id]):
            found[id] = None
    return stale, tuple(id for id in found if status[id] != "stale")


def builders(plans: Iterable[BenchmarkPlan], ids: Collection[str]) -> list[str]:
    """Ids of the trials that build on one of `ids`, be it through others, without these themselves."""
    trials = {trial.id: trial for plan in plans for trial in plan.trials}
    found = dict.fromkeys(ids)
    for id, trial in trials.items():
        if not found.keys().isdisjoint(trial.spec.inputs):
            found[id] = None
    return [id for id in found if id not in ids]


def named(ids: Sequence[str]) -> str:
    """Some ids for a line: all of a few, the first of many and how many more there are."""
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(ids[:MAX_NAMED]) + more


def _needs(trials: Mapping[str, PlannedTrial], strict: bool) -> dict[str, set[str]]:
    """Id -> its inputs and the trials of its gate."""
    gates = waits(list(trials.values()), strict)
    return {id: {*trial.spec.inputs, *gates.get(id, ())} for id, trial in trials.items()}


def _with_needs(
    plans: Sequence[BenchmarkPlan],
    status: Mapping[str, Status],
    again: Collection[str],
    rerun_stale: bool,
    strict: bool,
) -> set[str]:
    """`again` and all that it needs and that is not done."""
    trials = {trial.id: trial for plan in plans for trial in plan.trials}
    if problems := list(_unknown(again, trials)):
        raise BadInputError(problems)
    needs = _needs(trials, strict)
    wanted, stack = set(again), list(again)
    while stack:
        id = stack.pop()
        for need in sorted(needs[id] - wanted):
            if status[need] == "stale" and not rerun_stale:
                problems.append(f"--again {id}: it needs {need}, which is stale; add --again {need}, or --rerun-stale")
            elif status[need] != "done":
                wanted.add(need)
                stack.append(need)
    if problems:
        raise BadInputError(problems)
    return wanted


def _unknown(again: Iterable[str], trials: Collection[str]) -> Iterator[str]:
    for id in again:
        if id not in trials:
            near = get_close_matches(id, trials, n=3, cutoff=0.6)
            meant = f"did you mean {' or '.join(near)}?" if near else "expected an id of a planned trial"
            yield f"--again {id}: no trial of these benchmarks; {meant} (`plan --trials` lists the ids)"


def _only(plans: Iterable[BenchmarkPlan], ids: Collection[str]) -> tuple[BenchmarkPlan, ...]:
    """The plans with the trials of these ids alone."""
    return tuple(
        plan.model_copy(update={"trials": tuple(trial for trial in plan.trials if trial.id in ids)}) for plan in plans
    )
