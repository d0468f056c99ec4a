"""Joins folders of results that several machines or people filled. No ray, no torch.

Everything is compared before anything is written: a trial that two folders hold with different outcomes is a conflict, and
with one conflict nothing is merged. The sources are only read; the target is new.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.records import Loaded, Results, ResultsError, TrialRecord, load_plans, load_records, write_plan
from orchestrator.spec import BenchmarkPlan

PLAN_FACTS = ("dataset", "domains")
"""Fields in which plans of one benchmark must agree: with others a table would mean something else."""


LEFT_BEHIND = shutil.ignore_patterns("record.json", "checkpoint", ".*")
"""Files of a trial that are not copied with the others."""


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
    """ids that several folders hold with the same outcome; the copy with most files was taken, of equals the newest"""
    completed_elsewhere: tuple[str, ...]
    """ids that failed in one folder and were completed in another; the completed record was taken"""
    failed_differently: tuple[str, ...]
    """'<id> (of <folder>, <time>)' of trials that failed in several folders and completed in none; the newest was taken"""
    unfinished: tuple[str, ...]
    """folders of trials without a record, left where they are"""


@dataclass(frozen=True, slots=True)
class _Copy:
    """What one folder has of a trial."""

    root: Path
    record: TrialRecord

    @property
    def rank(self) -> tuple[object, ...]:
        """The greatest is taken. Nothing of the order in which folders were given: the same ones always merge alike.

        Of a completed trial the copy with most files, as some are shared without outcomes or weights; else the newest.
        """
        names = [path.name for path in Results(self.root).trial(self.record.id).iterdir()]
        files = len(names) - len(LEFT_BEHIND("", names))
        completed = self.record.status == "completed"
        order = self.record.finished_at, -self.record.num_attempts, self.record.model_dump_json()
        return completed, files if completed else 0, *order


@dataclass(frozen=True, slots=True)
class _Choice:
    """The copy of a trial that is taken, and the others."""

    copies: tuple[_Copy, ...]
    taken: _Copy

    @property
    def repeated(self) -> bool:
        """Whether another folder has the same outcome."""
        return sum(copy.record.status == self.taken.record.status for copy in self.copies) > 1

    @property
    def failed_elsewhere(self) -> bool:
        """Whether it is completed here and failed in another folder."""
        return any(copy.record.status != self.taken.record.status for copy in self.copies)

    @property
    def failed_differently(self) -> bool:
        """Whether it failed in several folders and the records differ."""
        return self.taken.record.status == "failed" and any(c.record != self.taken.record for c in self.copies)

    @property
    def problems(self) -> Iterator[str]:
        """Completed copies that disagree; all are held against the first."""
        completed = [copy for copy in self.copies if copy.record.status == "completed"]
        for other in completed[1:]:
            if difference := _difference(completed[0].record, other.record):
                yield f"{other.record.id}: {completed[0].root} and {other.root} differ: {difference}"


def merge(sources: Sequence[Path], to: Path) -> Merged:
    """Copy all trials and plans of `sources` into the new folder `to`.

    Two completed records of one trial must have equal evaluations; of a failed and a completed one the completed is taken, of
    two failed ones the newest. Which records are taken does not depend on the order of the sources.
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
    # Also where no trial has a record yet: what was merged is a folder of results, which can be merged again.
    (to / "trials").mkdir(parents=True, exist_ok=True)
    for id, choice in sorted(choices.items()):
        _copy(Results(choice.taken.root).trial(id), target.trial(id))
    for plan in plans.values():
        write_plan(target, plan)
    return Merged(
        trials=len(choices),
        repeated=tuple(id for id, choice in choices.items() if choice.repeated and not choice.failed_differently),
        completed_elsewhere=tuple(id for id, choice in choices.items() if choice.failed_elsewhere),
        failed_differently=tuple(
            f"{id} (of {choice.taken.root}, {choice.taken.record.finished_at})"
            for id, choice in choices.items()
            if choice.failed_differently
        ),
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
    copies: dict[str, list[_Copy]] = {}
    for root, found in loaded.items():
        for id, record in found.records.items():
            copies.setdefault(id, []).append(_Copy(root, record))
    return {
        id: _Choice(tuple(of), max(of, key=lambda copy: copy.rank) if len(of) > 1 else of[0])
        for id, of in copies.items()
    }


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
        with bad_input(ResultsError):
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
    shutil.copytree(source, target, ignore=LEFT_BEHIND)
    shutil.copy2(source / "record.json", target / "record.json")


def _trials(root: Path) -> Path:
    return root / "trials"


def _unfinished(root: Path) -> list[Path]:
    return [path for path in sorted(_trials(root).iterdir()) if path.is_dir() and not (path / "record.json").exists()]
