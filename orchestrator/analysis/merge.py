"""Joins folders of results that several machines or people filled. No ray, no torch.

Everything is compared before anything is written: a trial that two folders hold with different outcomes is a conflict, and
with one conflict nothing is merged. The sources are only read; the target is new.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis.agreement import (
    has_outcomes,
    outcomes_differ,
    plans_differ,
    records_differ,
    unusable_outcomes,
)
from orchestrator.bad_input import BadInputError, bad_input
from orchestrator.records import Loaded, Results, ResultsError, TrialRecord, load_plans, load_records, write_plan
from orchestrator.spec import BenchmarkPlan

PART = ".merging"
"""Folder in the target that what is merged is collected in."""
LEFT_BEHIND = shutil.ignore_patterns("checkpoint", ".*")
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
    unusable: tuple[str, ...]
    """'<id> (of <folder>: <reason>)' of copies among them whose outcomes cannot be used; one that can be was taken if any"""
    completed_elsewhere: tuple[str, ...]
    """ids that failed in one folder and were completed in another; the completed record was taken"""
    failed_differently: tuple[str, ...]
    """'<id> (of <folder>, <time>)' of trials that failed in several folders and completed in none; the newest was taken"""
    unfinished: tuple[str, ...]
    """folders of trials without a record, left where they are"""
    baselines: tuple[str, ...]
    """'<benchmark>: <baseline> (of <folder>), not <baseline>' where plans name several; the plan with most trials decides"""


@dataclass(frozen=True, slots=True)
class _Copy:
    """What one folder has of a trial."""

    root: Path
    record: TrialRecord
    unusable: str
    """why the outcomes of a completed trial cannot be used; '' if they can, or if no other folder has the trial"""

    @property
    def rank(self) -> tuple[object, ...]:
        """The greatest is taken. Nothing of the order in which folders were given: the same ones always merge alike.

        Of a completed trial a copy whose outcomes are those of its record, then one without any, as some are shared, then
        that with most files, as some are shared without weights; else the newest.
        """
        names = [path.name for path in Results(self.root).trial(self.record.id).iterdir()]
        files = len(names) - len(LEFT_BEHIND("", names))
        completed = self.record.status == "completed"
        usable = not self.unusable
        outcomes = completed and usable and has_outcomes(Results(self.root), self.record.id)
        order = self.record.finished_at, -self.record.num_attempts, self.record.model_dump_json()
        return completed, outcomes, usable, files if completed else 0, *order


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
        """Completed copies that disagree; all are held against the one that is taken."""
        if self.taken.record.status != "completed":
            return
        completed = (of for of in self.copies if of is not self.taken and of.record.status == "completed")
        for other in completed:
            one, two = sorted((self.taken, other), key=self.copies.index)
            if difference := _difference(one, two):
                yield f"{other.record.id}: {one.root} and {two.root} differ: {difference}"


def merge(sources: Sequence[Path], to: Path) -> Merged:
    """Copy all trials and plans of `sources` into the new folder `to`.

    Two completed copies of one trial must have equal evaluations and outcomes; of a failed and a completed one the completed is
    taken, of two failed ones the newest. What is taken does not depend on the order of the sources.
    Raises MergeConflictError that names every conflict, BadInputError for a source that holds no results, a record that cannot
    be read, or a target that is not empty, and OSError for files that cannot be read or written; nothing is left of `to` then.
    """
    _check(sources, to)
    loaded = {root: load_records(Results(root)) for root in sources}
    if unreadable := [reason for found in loaded.values() for reason in found.unreadable.values()]:
        raise BadInputError([f"{reason}; mend or remove it first" for reason in unreadable])
    choices = _choices(loaded)
    plans, problems, baselines = _plans(sources)
    if problems := [*(line for choice in choices.values() for line in choice.problems), *problems]:
        raise MergeConflictError(problems)
    with _filled(to) as part:
        # Also where no trial has a record yet: what was merged is a folder of results, which can be merged again.
        (part / "trials").mkdir()
        for id, choice in sorted(choices.items()):
            _copy(Results(choice.taken.root).trial(id), Results(part).trial(id))
        for plan in plans.values():
            write_plan(Results(part), plan)
    return Merged(
        trials=len(choices),
        repeated=tuple(id for id, choice in choices.items() if choice.repeated and not choice.failed_differently),
        unusable=tuple(
            f"{copy.record.id} (of {copy.root}: {copy.unusable})"
            for choice in choices.values()
            for copy in choice.copies
            if copy.unusable
        ),
        completed_elsewhere=tuple(id for id, choice in choices.items() if choice.failed_elsewhere),
        failed_differently=tuple(
            f"{id} (of {choice.taken.root}, {choice.taken.record.finished_at})"
            for id, choice in choices.items()
            if choice.failed_differently
        ),
        unfinished=tuple(str(path) for root in sources for path in _unfinished(root)),
        baselines=baselines,
    )


def _check(sources: Sequence[Path], to: Path) -> None:
    problems = [f"{root} holds no results: it has no folder trials/" for root in sources if not _trials(root).is_dir()]
    if len({root.resolve() for root in sources}) < max(2, len(sources)):
        problems.append("give two or more different folders of results to merge")
    if not _is_free(to):
        problems.append(f"{to} exists and is not an empty folder; merge into a new one, it is never overwritten")
    if inside := [root for root in sources if to.resolve().is_relative_to(root.resolve())]:
        problems.append(f"{to} lies in {inside[0]}, which is only read; merge into a folder outside of it")
    if problems:
        raise BadInputError(problems)


def _is_free(to: Path) -> bool:
    """Whether there is nothing at a path, or an empty folder; what a killed merge left is nothing."""
    if not to.is_dir():
        return not (to.exists() or to.is_symlink())
    return all(path.name == PART and path.is_dir() and not path.is_symlink() for path in to.iterdir())


def _choices(loaded: dict[Path, Loaded]) -> dict[str, _Choice]:
    found: dict[str, list[tuple[Path, TrialRecord]]] = {}
    for root, of_root in loaded.items():
        for id, record in of_root.records.items():
            found.setdefault(id, []).append((root, record))
    return {id: _choice(of) for id, of in found.items()}


def _choice(found: Sequence[tuple[Path, TrialRecord]]) -> _Choice:
    completed = sum(record.status == "completed" for _, record in found)
    copies = tuple(
        _Copy(root, record, unusable_outcomes(Results(root), record) if completed > 1 else "") for root, record in found
    )
    return _Choice(copies, max(copies, key=lambda copy: copy.rank) if len(copies) > 1 else copies[0])


def _difference(one: _Copy, two: _Copy) -> str:
    """Where two completed copies of a trial disagree. Outcomes that cannot be used are no disagreement, and not taken."""
    if differing := records_differ(one.record, two.record):
        return differing
    usable = not (one.unusable or two.unusable)
    return outcomes_differ(Results(one.root), Results(two.root), one.record.id) if usable else ""


def _plans(sources: Sequence[Path]) -> tuple[dict[str, BenchmarkPlan], list[str], tuple[str, ...]]:
    """The plans by benchmark, those of one name joined; what cannot be joined; and baselines that differ.

    What plans may differ in (baseline, texts) is that of the one with most trials, whichever folder was given first.
    """
    found: dict[str, list[tuple[Path, BenchmarkPlan]]] = {}
    for root in sources:
        with bad_input(ResultsError):
            for plan in load_plans(Results(root)):
                found.setdefault(plan.benchmark, []).append((root, plan))
    plans: dict[str, BenchmarkPlan] = {}
    problems, baselines = list[str](), list[str]()
    for name, of_name in found.items():
        (home, joined), *others = sorted(of_name, key=lambda of: (-len(of[1].trials), of[1].model_dump_json()))
        for root, plan in others:
            if differing := plans_differ(joined, plan):
                problems.append(
                    f"benchmark {name!r} of {home} and {root} differ in {differing}; rename one of them in its manifest"
                )
            joined = _joined(joined, plan)
        if unlike := dict.fromkeys(plan.baseline for _, plan in others if plan.baseline != joined.baseline):
            baselines.append(
                f"{name}: {joined.baseline or 'none'} (of {home}), not {', '.join(of or 'none' for of in unlike)}"
            )
        plans[name] = joined
    return plans, problems, tuple(baselines)


def _joined(plan: BenchmarkPlan, other: BenchmarkPlan) -> BenchmarkPlan:
    """A plan with the trials of another that it lacks, and with its names of classes if it is of a version without."""
    known = {trial.id for trial in plan.trials}
    trials = (*plan.trials, *(trial for trial in other.trials if trial.id not in known))
    return plan.model_copy(update={"trials": trials, "classnames": plan.classnames or other.classnames})


@contextmanager
def _filled(to: Path) -> Iterator[Path]:
    """A new folder in `to`; what it holds at the end moves to `to`. After an error it is gone, and `to` if it was not there."""
    part, new = to / PART, not to.exists()
    shutil.rmtree(part, ignore_errors=True)  # of a merge that was killed
    moved = list[Path]()
    try:
        part.mkdir(parents=True)
        yield part
        for path in part.iterdir():
            moved.append(to / path.name)
            path.rename(moved[-1])
        part.rmdir()
    except BaseException:
        for path in (part, *moved):
            shutil.rmtree(path, ignore_errors=True)
        if new:
            with suppress(OSError):
                to.rmdir()
        raise


def _copy(source: Path, target: Path) -> None:
    """Copy a trial's folder without its checkpoint. Raises OSError that names the first file that cannot be copied."""
    try:
        shutil.copytree(source, target, ignore=LEFT_BEHIND)
    except shutil.Error as errors:
        path, _, why = errors.args[0][0]
        raise OSError(f"{path} cannot be copied: {why}") from None


def _trials(root: Path) -> Path:
    return root / "trials"


def _unfinished(root: Path) -> list[Path]:
    return [path for path in sorted(_trials(root).iterdir()) if path.is_dir() and not (path / "record.json").exists()]
