"""Calibration errors that the records do not have, from the per-image outcomes. No ray, no torch.

Records keep the ECE of `metrics.NUM_BINS` bins, early ones none at all. For a report in others, and for early records, it is
computed again from a trial's outcomes and kept in results/cache/ece/<bins>.json, so that a page can be made again and only
what is new is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError

from orchestrator.analysis.metrics import NUM_BINS, expected_calibration_error
from orchestrator.analysis.outcome_file import Blocks, Counts, Place, check_of_record, counted, counts_of, file_stamp
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.read_ahead import ReadAhead
from orchestrator.records import Evaluation, Loaded, Results, TrialRecord, write_atomic
from training.config import Frozen

VERSION = 2
"""Of the files: raise it when the numbers made from the same outcomes change."""
MOST_BINS = 1000
NO_FILE = "it has no predictions.parquet"

Errors = dict[Place, float]
"""ECE by place, fractions"""


class _OfTrial(Frozen):
    """The errors of one trial, and the file that they were made from."""

    stamp: tuple[int, int] = Field(description="size and time of predictions.parquet")
    errors: tuple[tuple[Place, float, Counts], ...] = Field(description="of each place, with what it was made from")


class _Kept(Frozen):
    """The file of one number of bins."""

    version: int = VERSION
    trials: dict[str, _OfTrial] = Field(default_factory=dict)


def rebinned(results: Results, loaded: Loaded, num_bins: int) -> Loaded:
    """The records with the ECE of `num_bins` bins in place of their own; for NUM_BINS only of those that lack it.

    A trial without per-image outcomes, or with those of another run, has none then, and `no_ece` says why; but of NUM_BINS only
    where there are outcomes, for records without any are told apart already. Raises ValueError for a number outside 1 to
    MOST_BINS.
    """
    if not 1 <= num_bins <= MOST_BINS:
        raise ValueError(f"expected 1 to {MOST_BINS} bins of confidence, got {num_bins}")
    completed = {id: record for id, record in loaded.records.items() if record.status == "completed"}
    if num_bins == NUM_BINS:
        completed = {id: record for id, record in completed.items() if any(e.ece is None for e in record.evaluations)}
    errors, why = _errors(results, completed, num_bins)
    records = dict(loaded.records)
    for id, record in completed.items():
        records[id], lacking = _with_errors(record, errors.get(id, {}), keep=num_bins == NUM_BINS)
        if lacking and id not in why and num_bins != NUM_BINS:
            why[id] = f"no per-image outcomes on {lacking[0].domain}/{lacking[0].split}"
    if num_bins == NUM_BINS:
        why = {id: reason for id, reason in why.items() if reason != NO_FILE}
    return replace(
        loaded, records=records, no_ece={id: f"no ECE in {num_bins} bins: {reason}" for id, reason in why.items()}
    )


def _with_errors(record: TrialRecord, errors: Errors, keep: bool) -> tuple[TrialRecord, list[Evaluation]]:
    """A record with these errors, and its evaluations that they lack; `keep` those that it has."""
    new = tuple(
        e if keep and e.ece is not None else e.model_copy(update={"ece": errors.get((e.variant, e.domain, e.split))})
        for e in record.evaluations
    )
    return record.model_copy(update={"evaluations": new}), [e for e in new if e.ece is None]


def _errors(
    results: Results, trials: Mapping[str, TrialRecord], num_bins: int
) -> tuple[dict[str, Errors], dict[str, str]]:
    """The errors of trials; of those that have none the reason."""
    if not trials:
        return {}, {}
    path = results.root / "cache" / "ece" / f"{num_bins}.json"
    kept = _read(path)
    stamps = {trial: file_stamp(results.trial(trial) / "predictions.parquet") for trial in trials}
    current = {trial: kept[trial] for trial, stamp in stamps.items() if trial in kept and kept[trial].stamp == stamp}
    unread = {trial: stamp for trial, stamp in stamps.items() if stamp is not None and trial not in current}
    why = {trial: NO_FILE for trial, stamp in stamps.items() if stamp is None}
    with ReadAhead(results, unread) as files:
        for trial, stamp in unread.items():
            try:
                found = _of_blocks(files.take(trial), num_bins)
            except ValueError as error:  # a damaged file, or confidences that are none
                why[trial] = str(error)
            else:
                current[trial] = _OfTrial(stamp=stamp, errors=found)
    # Trials of other rules stay, as reports of them take turns, as long as they are there.
    others = {trial: of for trial, of in kept.items() if trial not in stamps and results.trial(trial).is_dir()}
    if others | current != kept:
        write_atomic(path, _Kept(trials=others | current).model_dump_json() + "\n")
    errors = {}
    for trial, of in current.items():
        try:
            errors[trial] = _of_record(trial, of, counts_of(trials[trial]))
        except PredictionsError as error:
            why[trial] = str(error)
    return errors, why


def _of_blocks(blocks: Blocks, num_bins: int) -> tuple[tuple[Place, float, Counts], ...]:
    return tuple(
        (place, expected_calibration_error(block.confidences, block.correct, num_bins), counted(block.correct))
        for place, block in blocks.items()
    )


def _of_record(trial: str, of: _OfTrial, recorded: Mapping[Place, Counts]) -> Errors:
    """Raises PredictionsError where the outcomes are not those of the record."""
    for place, _, counts in of.errors:
        check_of_record(trial, place, counts, recorded.get(place))
    return {place: error for place, error, _ in of.errors}


def _read(path: Path) -> dict[str, _OfTrial]:
    """What is kept; nothing where there is no file, or one that this version does not write."""
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
    return kept.trials if kept.version == VERSION else {}
