"""The zero-shot gate: before training costs time, the untrained model is compared with what others have published.

`published/*.csv` has one line for each value: what was measured (method, dataset, domain, architecture, weights, templates,
class names, preprocessing, number of test images), the accuracy in percent, and where it stands. A value is compared only
with a trial for which all of that is the same, so a difference means that the data, the weights or the code is not what
it is taken for. Weights are `tag:...` of open_clip or `sha256:...` of a file, several separated by blanks. No ray, no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import get_args

from datasets.shards import Prepared
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from orchestrator.facts import FactsError, rows
from orchestrator.records import Evaluation, Results, TrialRecord, read_record
from orchestrator.spec import BenchmarkPlan, ClassNames, PlannedTrial, PublishedValue, TrialSpec
from training.config import Preprocessing

FOLDER = Path(__file__).parents[1] / "published"
TOLERANCE = 0.003
"""Largest difference of accuracies, as a fraction, that is no reason to worry: other decoders and resizers cause 0.1 points."""

TEMPLATES: Mapping[str, tuple[str, ...]] = {"openai_imagenet_80": OPENAI_IMAGENET_TEMPLATES}
"""What the column `templates` may name."""

COLUMNS = (
    *("method", "dataset", "domain", "backbone", "weights", "templates", "class_names", "preprocessing", "num_images"),
    *("accuracy", "source", "note"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One published value and its protocol."""

    method: str
    dataset: str
    domain: str
    backbone: str
    weights: tuple[str, ...]
    templates: tuple[str, ...]
    class_names: str
    preprocessing: str
    num_images: int | None
    """None: not stated"""
    accuracy: float
    """as a fraction"""
    source: str
    where: str
    """file and line"""

    def fits(self, spec: TrialSpec, prepared: Prepared) -> bool:
        """Whether the trial measures the same thing."""
        return (
            (self.method, self.dataset, self.backbone) == (spec.method, spec.data.name, spec.model.name)
            and (self.class_names, self.preprocessing) == (spec.data.class_names, spec.preprocessing)
            and spec.model.weights in self.weights
            and self.templates == prepared.templates
            and self.domain in spec.data.targets
            and self.num_images in (None, sum(prepared.counts[self.domain].get("test", ())))
        )

    def rivals(self, other: Row) -> bool:
        """Whether a trial could fit both, so that nobody could say which of the two it should reach."""
        return (
            (self.method, self.dataset, self.domain, self.backbone)
            == (other.method, other.dataset, other.domain, other.backbone)
            and (self.templates, self.class_names, self.preprocessing)
            == (other.templates, other.class_names, other.preprocessing)
            and not {*self.weights}.isdisjoint(other.weights)
            and (None in (self.num_images, other.num_images) or self.num_images == other.num_images)
        )


def expected(spec: TrialSpec, prepared: Prepared | None) -> tuple[PublishedValue, ...]:
    """The published values that the trial should reach: none if there are settings or reduced images, which nobody measured."""
    if prepared is None or spec.settings or spec.data.target_split != "test" or prepared.short_side is not None:
        return ()
    found = {row.domain: row for row in published(FOLDER) if row.fits(spec, prepared)}
    return tuple(
        PublishedValue(domain=domain, accuracy=found[domain].accuracy, source=found[domain].source)
        for domain in spec.data.targets
        if domain in found
    )


def differences(values: Iterable[PublishedValue], evaluations: Iterable[Evaluation]) -> tuple[str, ...]:
    """A line for each accuracy that is further from the published one than `TOLERANCE`, or was not measured at all."""
    measured = {e.domain: e.accuracy for e in evaluations if e.split == "test"}
    lines = []
    for value in values:
        ours = measured.get(value.domain)
        if ours is None:
            lines.append(
                f"zero-shot accuracy on {value.domain} was not measured, published: {100 * value.accuracy:.2f} %"
            )
        # Rounded, as 0.6228 - 0.6198 is more than 0.003; negated, so that what is no number does not pass.
        elif not round(abs(ours - value.accuracy), 9) <= TOLERANCE:
            lines.append(
                f"zero-shot accuracy on {value.domain} is {100 * ours:.2f} %, published: {100 * value.accuracy:.2f} % "
                f"({value.source}); {100 * (ours - value.accuracy):+.2f} points are more than {100 * TOLERANCE:.1f}: check the "
                "data (python -m orchestrator verify), the weights and the versions before trusting what follows"
            )
    return tuple(lines)


class GateError(RuntimeError):
    """Trials with published values did not reach them, and nothing else may run; the message says which."""


def waits(trials: Sequence[PlannedTrial], strict: bool = False) -> dict[str, set[str]]:
    """Trial -> trials with published values that should be over before it starts: of its data and model; if `strict`, all."""
    gates: dict[str, set[str]] = {}
    for trial in trials:
        if trial.expected:
            gates.setdefault("" if strict else _ground(trial), set()).add(trial.id)
    others = {trial.id: "" if strict else _ground(trial) for trial in trials if trial.kind != "reference"}
    return {id: gates[ground] for id, ground in others.items() if ground in gates}


def gate_trials(plans: Iterable[BenchmarkPlan]) -> list[BenchmarkPlan]:
    """The plans with nothing but their trials that have published values; plans without any are left out."""
    kept = [plan.model_copy(update={"trials": tuple(t for t in plan.trials if t.expected)}) for plan in plans]
    return [plan for plan in kept if plan.trials]


def findings(plans: Iterable[BenchmarkPlan], results: Results, except_for: Collection[str] = ()) -> Iterator[str]:
    """The differences of all trials that are done, those of these ids aside, each with its trial before it."""
    trials = {trial.id: trial for plan in gate_trials(plans) for trial in plan.trials}
    for trial in (trial for id, trial in trials.items() if id not in except_for):
        record = _done(results, trial.id)
        for line in differences(trial.expected, record.evaluations) if record else ():
            yield f"{trial.id}: {line}"


@lru_cache(maxsize=4)
def published(folder: Path) -> tuple[Row, ...]:
    """All values, one at most for a protocol.

    Raises FactsError naming file, line and column of one that cannot be read, or both lines of two for one protocol, be
    they equal or not: which of them a trial should reach is for whoever wrote them down to say.
    """
    found = tuple(_row(*line) for path in sorted(folder.glob("*.csv")) for line in rows(path, COLUMNS))
    for first, second in combinations(found, 2):
        if first.rivals(second):
            raise FactsError(
                f"{second.where}: {second.domain} of {second.dataset} with {second.backbone} has a value for the same protocol "
                f"at {first.where}; expected one: keep the line that holds, or say in what they differ (weights, num_images)"
            )
    return found


def _row(where: str, cells: Mapping[str, str]) -> Row:
    known = {"templates": TEMPLATES, "class_names": get_args(ClassNames), "preprocessing": get_args(Preprocessing)}
    for column, values in known.items():
        if cells[column] not in values:
            raise FactsError(f"{where}: {column} is {cells[column]!r}, expected one of {', '.join(values)}")
    try:
        accuracy, count = float(cells["accuracy"]) / 100, int(cells["num_images"]) if cells["num_images"] else None
    except ValueError as error:
        raise FactsError(f"{where}: accuracy and num_images must be numbers: {error}") from None
    if not 0 <= accuracy <= 1:
        raise FactsError(f"{where}: accuracy is {cells['accuracy']}, expected percent")
    return Row(
        method=cells["method"],
        dataset=cells["dataset"],
        domain=cells["domain"],
        backbone=cells["backbone"],
        weights=tuple(cells["weights"].split()),
        templates=TEMPLATES[cells["templates"]],
        class_names=cells["class_names"],
        preprocessing=cells["preprocessing"],
        num_images=count,
        accuracy=accuracy,
        source=cells["source"],
        where=where,
    )


def _ground(trial: PlannedTrial) -> str:
    """Data, model and preprocessing."""
    return f"{trial.spec.data.identity} {trial.spec.model.model_dump_json()} {trial.spec.preprocessing}"


def _done(results: Results, id: str) -> TrialRecord | None:
    try:
        record = read_record(results.record(id))
    except (FileNotFoundError, ValueError):  # what cannot be read is run again
        return None
    return record if record.status == "completed" else None
