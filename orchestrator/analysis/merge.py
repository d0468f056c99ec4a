"""Joins folders of results that several machines or people filled. No ray, no torch.

Everything is compared before anything is written: a trial that two folders hold with different outcomes is a conflict, and
with one conflict nothing is merged. The sources are only read; the target is new.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.records import Loaded, Results, TrialRecord, load_plans, load_records, write_plan
from orchestrator.spec import BenchmarkPlan

PLAN_FACTS = ("dataset", "domains")
"""Fields in which plans of one benchmark must agree: with others a table would mean something else."""


class MergeConflictError(ValueError):
    """Folders hold different outcomes of one trial, or different benchmarks of one name: one line for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Merged:
    """What was merged."""

    trials: int
    repeated: tuple[str, ...]
    """ids that several folders hold with the same outcome; the first one's files were taken"""
    completed_elsewhere: tuple[str, ...]
    """ids that failed in one folder and were completed in another; the completed record was taken"""
    unfinished: tuple[str, ...]
    """folders of trials without a record, left where they are"""


@dataclass
class _Choice:
    """The folder whose files of a trial are taken, and what to say about the others."""

    root: Path
    record: TrialRecord
    repeated: bool = False
    failed_elsewhere: bool = False
    problems: list[str] = field(default_factory=list)

    def meet(self, root: Path, other: TrialRecord) -> None:
        """Another folder has a record of the same trial."""
        if other.status == self.record.status == "completed":
            if difference := _difference(self.record, other):
                self.problems.append(f"{self.record.id}: {self.root} and {root} differ: {difference}")
            self.repeated = True
        elif "completed" in (other.status, self.record.status):
            if other.status == "completed":
                self.root, self.record = root, other
            self.failed_elsewhere = True
        else:
            self.repeated = True


def merge(sources: Sequence[Path], to: Path) -> Merged:
    """Copy all trials and plans of `sources` into the new folder `to`.

    Two completed records of one trial must have equal evaluations; of a failed and a completed one the completed is taken.
    Raises MergeConflictError that names every conflict (nothing is written then), and BadInputError for a source that holds no
    results, a record that cannot be read, or a target that is not empty.
    """
    _check(sources, to)
    loaded = {root: load_records(Results(root)) for root in sources}
    if unreadable := [reason for found in loaded.values() for reason in found.unreadable.values()]:
        raise BadInputError([f"{reason}; mend or remove it first" for reason in unreadable])
    choices = _choices(loaded)
    plans, problems = _plans(sources)
    if problems := [*(line for choice in choices.values() for line in choice.problems), *problems]:
        raise MergeConflictError(problems)
    target = Results(to)
    for id, choice in sorted(choices.items()):
        _copy(Results(choice.root).trial(id), target.trial(id))
    for plan in plans.values():
        write_plan(target, plan)
    return Merged(
        trials=len(choices),
        repeated=tuple(id for id, choice in choices.items() if choice.repeated),
        completed_elsewhere=tuple(id for id, choice in choices.items() if choice.failed_elsewhere),
        unfinished=tuple(str(path) for root in sources for path in _unfinished(root)),
    )


def _check(sources: Sequence[Path], to: Path) -> None:
    problems = [f"{root} holds no results: it has no folder trials/" for root in sources if not _trials(root).is_dir()]
    if len({root.resolve() for root in sources}) < max(2, len(sources)):
        problems.append("give two or more different folders of results to merge")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        problems.append(f"{to} exists and is not an empty folder; merge into a new one, it is never overwritten")
    if problems:
        raise BadInputError(problems)


def _choices(loaded: dict[Path, Loaded]) -> dict[str, _Choice]:
    choices: dict[str, _Choice] = {}
    for root, found in loaded.items():
        for id, record in found.records.items():
            if id in choices:
                choices[id].meet(root, record)
            else:
                choices[id] = _Choice(root, record)
    return choices


def _difference(one: TrialRecord, two: TrialRecord) -> str | None:
    """Where two completed records of a trial disagree, in words; what they took and where they ran may differ."""
    first = {(e.variant, e.domain, e.split): e for e in one.evaluations}
    second = {(e.variant, e.domain, e.split): e for e in two.evaluations}
    for place in sorted({*first, *second}):
        name = " ".join(filter(None, (place[0], f"{place[1]}/{place[2]}")))
        a, b = first.get(place), second.get(place)
        if a is None or b is None:
            return f"only one of them was evaluated on {name}"
        if (a.num_correct, a.num_images) != (b.num_correct, b.num_images):
            return f"{a.num_correct} and {b.num_correct} of {a.num_images} images right on {name}"
        if a.nll != b.nll:  # what else a record says of them follows, or newer records alone have it
            return f"NLL {a.nll:.6g} and {b.nll:.6g} on {name}"
    return None


def _plans(sources: Sequence[Path]) -> tuple[dict[str, BenchmarkPlan], list[str]]:
    """The plans by benchmark, those of one name joined; and what cannot be joined."""
    plans: dict[str, BenchmarkPlan] = {}
    homes: dict[str, Path] = {}
    problems = []
    for root in sources:
        with bad_input(ValueError):
            found = load_plans(Results(root))
        for plan in found:
            known = plans.setdefault(plan.benchmark, plan)
            home = homes.setdefault(plan.benchmark, root)
            if unlike := [key for key in PLAN_FACTS if getattr(plan, key) != getattr(known, key)]:
                problems.append(
                    f"benchmark {plan.benchmark!r} of {home} and {root} differ in {unlike[0]}: "
                    f"{getattr(known, unlike[0])} and {getattr(plan, unlike[0])}; rename one of them"
                )
                continue
            trials = {trial.id: trial for trial in (*known.trials, *plan.trials)} | {t.id: t for t in known.trials}
            plans[plan.benchmark] = known.model_copy(update={"trials": tuple(trials.values())})
    return plans, problems


def _copy(source: Path, target: Path) -> None:
    """Copy a trial's folder; its record comes last, so that an interrupted merge leaves no trial that looks done."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("record.json", "checkpoint", ".*"))
    shutil.copy2(source / "record.json", target / "record.json")


def _trials(root: Path) -> Path:
    return root / "trials"


def _unfinished(root: Path) -> list[Path]:
    return [path for path in sorted(_trials(root).iterdir()) if path.is_dir() and not (path / "record.json").exists()]
