"""Outcomes of a table's trials: what says which image a line is about is decoded once, and only where it is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.analysis.outcome_file import PLACE, Layouts
from orchestrator.analysis.predictions import PredictionsError, read_predictions
from orchestrator.trials.outcomes import write_predictions
from training.evaluate import Outcomes

DOMAINS = ("photo", "sketch")


def written(path: Path, variants: tuple[str, ...] = ("",), shift: int = 0, correct: int = 2, **how: int) -> Path:
    """Three images on each domain; `shift` names other images, `correct` of three are right."""
    places = [(variant, domain, "test") for variant in variants for domain in DOMAINS for _ in range(3)]
    count = len(places)
    columns = {
        **{name: pa.array(values).dictionary_encode() for name, values in zip(PLACE, zip(*places, strict=True), strict=True)},
        "key": [f"{domain}/{n % 3 + shift:04d}" for n, (_, domain, _) in enumerate(places)],
        "label": pa.array([n % 3 for n in range(count)], pa.int32()),
        "prediction": pa.array([n % 3 for n in range(count)], pa.int32()),
        "confidence": pa.array([0.1 * (n % 3 + 1) for n in range(count)], pa.float32()),
        "nll": pa.array([0.5] * count, pa.float32()),
        "correct": [n % 3 < correct for n in range(count)],
    }  # fmt: skip
    pq.write_table(pa.table(columns), path, compression="zstd", **how)
    return path


def test_it_reads_what_a_plain_reader_reads(tmp_path: Path) -> None:
    for place, how in enumerate(({}, {"row_group_size": 4}, {"row_group_size": 1})):
        path = written(tmp_path / f"{place}.parquet", ("alpha=0.5", ""), **how)
        blocks = Layouts().read(path)
        assert set(blocks) == {(v, d, "test") for v in ("alpha=0.5", "") for d in DOMAINS}
        for (variant, domain, _), block in blocks.items():
            plain = read_predictions(path, variant, domain)
            assert tuple(block.keys.to_pylist()) == plain.keys and block.correct.tolist() == plain.correct.tolist()
            assert block.labels.tolist() == plain.labels.tolist()
            assert block.confidences.tolist() == plain.confidences.tolist()


def test_the_same_images_are_decoded_once_and_what_was_said_each_time(tmp_path: Path) -> None:
    layouts = Layouts()
    first = layouts.read(written(tmp_path / "a.parquet", correct=2))[("", "photo", "test")]
    second = layouts.read(written(tmp_path / "b.parquet", correct=1))[("", "photo", "test")]
    assert second.keys is first.keys and second.same_images(first)
    assert (first.correct.tolist(), second.correct.tolist()) == ([True, True, False], [True, False, False])


def test_other_images_of_the_same_number_are_others(tmp_path: Path) -> None:
    layouts = Layouts()
    first = layouts.read(written(tmp_path / "a.parquet"))[("", "photo", "test")]
    other = layouts.read(written(tmp_path / "b.parquet", shift=1))[("", "photo", "test")]
    assert other.keys.to_pylist() == ["photo/0001", "photo/0002", "photo/0003"] and not other.same_images(first)


def test_few_layouts_are_kept(tmp_path: Path) -> None:
    layouts = Layouts()
    paths = [written(tmp_path / f"{n}.parquet", shift=n) for n in range(layouts.MOST + 1)]
    found = [layouts.read(path)[("", "photo", "test")] for path in paths]
    again = [layouts.read(path)[("", "photo", "test")] for path in reversed(paths)]
    assert again[0].keys is found[-1].keys and again[-1].keys is not found[0].keys
    assert again[-1].same_images(found[0])


@pytest.mark.parametrize("damage", ["cut", "column", "gone"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = written(tmp_path / "some-trial.parquet")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "column":
        pq.write_table(pq.read_table(path).drop_columns(["correct"]), path)
    else:
        path.unlink()
    with pytest.raises(PredictionsError, match="no predictions.parquet" if damage == "gone" else "cannot be read"):
        Layouts().read(path)


def test_numbers_of_which_hardly_two_are_alike_are_written_as_they_are(tmp_path: Path) -> None:
    rng, count = np.random.default_rng(0), 400
    labels = np.arange(count, dtype=np.int64) % 7
    confidences, nlls, briers = (rng.random(count).astype(np.float32) for _ in range(3))
    keys = tuple(f"photo/{n:04d}" for n in range(count))
    of = Outcomes(keys=keys, labels=labels, predictions=labels[::-1], confidences=confidences, nlls=nlls, briers=briers)
    path = tmp_path / "predictions.parquet"
    write_predictions(path, {("", "photo", "test"): of, ("alpha=1", "photo", "test"): of})
    for variant in ("", "alpha=1"):
        plain, block = read_predictions(path, variant, "photo"), Layouts().read(path)[(variant, "photo", "test")]
        assert plain.keys == keys == tuple(block.keys.to_pylist()) and plain.briers is not None
        assert np.array_equal(plain.predictions, labels[::-1]) and np.array_equal(plain.labels, labels)
        for written_, *read in (
            (labels == labels[::-1], plain.correct, block.correct),
            (confidences, plain.confidences, block.confidences),
            (nlls, plain.nlls, block.nlls),
            (briers, plain.briers),
        ):
            assert all(np.array_equal(written_, one) and one.dtype == written_.dtype for one in read)
    group = pq.read_metadata(path).row_group(0)
    chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}
    for name in ("confidence", "nll", "brier"):
        assert (chunks[name].compression, chunks[name].has_dictionary_page) == ("UNCOMPRESSED", False)
        assert chunks[name].total_compressed_size < 4 * 2 * count + 100
    assert chunks["key"].compression == "ZSTD" and chunks["key"].has_dictionary_page
