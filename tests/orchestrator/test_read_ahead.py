"""What makes a large board quick gives the same numbers: files read ahead, rows at once, image counts kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis import read_ahead, resampling
from orchestrator.analysis.predictions import PredictionsError
from orchestrator.analysis.read_ahead import ReadAhead, read_blocks
from orchestrator.analysis.statistics import PairedBootstrap
from tests.orchestrator.outcome_factory import write_results


@pytest.mark.parametrize("large", [0, 2**19])
def test_files_come_in_any_order_and_each_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(read_ahead, "LARGE", large)
    results = write_results(tmp_path, {"ft": 0.5})
    ids = sorted(path.name for path in (tmp_path / "trials").iterdir())
    (results.trial(ids[2]) / "predictions.parquet").write_bytes(b"damaged")
    reads: list[str] = []

    def counted(results: object, trial: str, content: bytes | None = None) -> read_ahead.Blocks:
        reads.append(trial)
        return read_blocks(results, trial, content)  # type: ignore[arg-type]

    monkeypatch.setattr(read_ahead, "read_blocks", counted)
    with ReadAhead(results, [ids[0], ids[0], *ids[1:6]]) as files:
        for id in (ids[0], ids[3]):  # two are passed over, one of them damaged
            found, own = files.take(id), read_blocks(results, id)
            assert found.keys() == own.keys()
            assert all(np.array_equal(found[place].correct, own[place].correct) for place in own)
        assert sorted(files.take(ids[7])) == sorted(read_blocks(results, ids[7])), "not expected, and still there"
        assert files.take(ids[4]).keys() == read_blocks(results, ids[4]).keys()
    assert len(reads) == len(set(reads))
    with ReadAhead(results, ids) as files, pytest.raises(PredictionsError, match="cannot be read"):
        files.take(ids[2])


def test_rows_at_once_are_rows_one_by_one() -> None:
    rng = np.random.default_rng(0)
    outcomes = {d: rng.random((4, 3, n)) < 0.6 for d, n in (("a", 40), ("b", 70))}
    outcomes["a"][2] = outcomes["a"][1]
    outcomes["b"][2] = outcomes["b"][1]
    bootstrap = PairedBootstrap(outcomes, num_draws=300)
    for domains in (["a"], ["a", "b"]):
        for row, found in enumerate(bootstrap.accuracies(domains)):
            own = bootstrap.accuracy(row, domains)
            assert [found.low, found.high] == pytest.approx([own.low, own.high], abs=1e-12)
        for row, found in enumerate(bootstrap.differences(1, domains)):
            own = bootstrap.difference(row, 1, domains)
            assert [found.low, found.high, found.p] == pytest.approx([own.low, own.high, own.p], abs=1e-12)
    same = bootstrap.differences(1, ["a", "b"])[2]
    assert (same.low, same.value, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_kept_image_counts_are_the_ones_that_would_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    centred = np.random.default_rng(1).normal(size=(3, 50)).astype(np.float32)
    stream = np.random.SeedSequence(0).spawn(3)[2]
    kept = resampling.image_draws(centred, 200, stream)
    monkeypatch.setattr(resampling, "KEPT_BYTES", 0)
    assert resampling.image_draws(centred, 200, stream) == pytest.approx(kept, abs=1e-9)
    monkeypatch.setattr(resampling, "CHUNK_BYTES", 4 * 50 * 7)
    assert resampling.image_draws(centred, 200, stream) == pytest.approx(kept, abs=1e-6)
    assert not np.allclose(resampling.image_draws(centred, 200, np.random.SeedSequence(0).spawn(3)[1]), kept)
