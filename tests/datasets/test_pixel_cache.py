"""With a cache of decoded pixels, cold or warm, streams and trials are what they are without one."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets import resample, stream
from datasets.pixel_cache import GIB, PixelCache
from datasets.shards import Prepared, file_sha256, open_prepared
from datasets.stream import read_image, samples
from datasets.transforms import EvalTransform
from orchestrator.manifest.schema import Resources
from orchestrator.records import Results
from orchestrator.sweeps.run import Flags, _options
from orchestrator.trials.trial import run_trial
from tests.datasets.pixel_streams import EACH, EVALUATION, eval_hash, train_hash
from tests.orchestrator.trials import planned
from training.runtime import Runtime


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch):
    def forbid() -> None:
        def decode(data: bytes):
            raise AssertionError("an image was decoded again")

        monkeypatch.setattr(stream, "decode_fast", decode)

    return forbid


@pytest.mark.parametrize("compiled", [False, True])
def test_cold_and_warm_caches_give_the_pixels_of_no_cache(
    blobs: Prepared, tmp_path: Path, no_decoding, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    kernel = resample._Kernel()
    monkeypatch.setattr(resample, "_KERNEL", kernel)
    expected = train_hash(blobs, None), eval_hash(blobs, None)  # by Pillow
    if compiled:
        assert kernel.build()
    cold = PixelCache(GIB, tmp_path)
    assert (train_hash(blobs, cold), eval_hash(blobs, cold)) == expected
    no_decoding()
    assert (train_hash(blobs, cold), eval_hash(blobs, cold)) == expected
    assert (train_hash(blobs, PixelCache(GIB, tmp_path)), eval_hash(blobs, PixelCache(GIB, tmp_path))) == expected


def test_several_domains_and_foreign_samples_share_a_stream(blobs: Prepared, tmp_path: Path) -> None:
    images = samples(blobs, "disc", "train")[::7] + samples(blobs, "ring", "train")[::7]
    cache = PixelCache(GIB, tmp_path)
    for _ in range(2):
        reader = cache.reader(blobs, images)
        assert all(np.array_equal(np.asarray(reader(s)), np.asarray(read_image(s))) for s in images)
        foreign = samples(blobs, "box", "train")[0]
        assert np.array_equal(np.asarray(reader(foreign)), np.asarray(read_image(foreign)))
    assert len(list(tmp_path.glob("*.pixels"))) == 2


def test_other_sizes_and_preprocessings_are_other_files(blobs: Prepared, tmp_path: Path) -> None:
    images, cache = samples(blobs, "disc", "test"), PixelCache(GIB, tmp_path)
    for finish in (EVALUATION, EvalTransform("openai", 16), EvalTransform("lipsum", 8), None):
        reader = cache.reader(blobs, images, finish)
        for _ in range(2):
            expected = read_image(images[0]) if finish is None else finish(read_image(images[0]))
            assert np.array_equal(np.asarray(reader(images[0])), np.asarray(expected))
    assert len(list(tmp_path.glob("*.pixels"))) == 4


def test_a_larger_limit_turns_it_on(blobs: Prepared, tmp_path: Path, no_decoding) -> None:
    expected = train_hash(blobs, None)
    train_hash(blobs, PixelCache(10 * EACH, tmp_path))
    assert train_hash(blobs, PixelCache(GIB, tmp_path)) == expected
    no_decoding()
    assert train_hash(blobs, PixelCache(GIB, tmp_path)) == expected


def test_a_trial_is_the_same_with_a_cache_cold_and_warm(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "node"))
    trial = planned(blobs, tiny_config, "ft")
    records, weights = [], []
    for number, gib in enumerate((0.0, 1.0, 1.0)):
        results = Results(tmp_path / str(number))
        records.append(run_trial(trial, results, Runtime(cache_gib=gib), attempt=1))
        weights.append((results.trial(trial.id) / "model.safetensors").read_bytes())
        assert len(list((tmp_path / "node").glob("pixels/*.pixels"))) == (5 if gib else 0)
    assert records[0].evaluations == records[1].evaluations == records[2].evaluations
    assert weights[0] == weights[1] == weights[2]


def test_the_flag_wins_over_the_manifest(tmp_path: Path) -> None:
    given = Resources(cache_gib=2.5)
    manifest = type("Given", (), {"resources": given})()
    assert _options(manifest, Flags()).cache_gib == 2.5
    assert _options(manifest, Flags(cache_gib=0.0)).cache_gib == 0.0
    assert _options(type("Given", (), {"resources": Resources()})(), Flags()).cache_gib == 0.0


def test_an_image_without_a_header_is_named_with_and_without_a_cache(blobs: Prepared, tmp_path: Path) -> None:
    root = shutil.copytree(blobs.root, tmp_path / "blobs")
    first = samples(blobs, "disc", "train")[0]
    shard = root / blobs.select("disc", "train")[0].name
    data = shard.read_bytes()
    shard.write_bytes(data[: first.offset] + bytes(64) + data[first.offset + 64 :])
    file = root / "dataset.json"
    file.write_text(file.read_text().replace(hashlib.sha256(data).hexdigest(), file_sha256(shard)))
    broken = open_prepared(root)
    for cache in (None, PixelCache(GIB, tmp_path / "pixels")):
        with pytest.raises(OSError) as error:
            train_hash(broken, cache)
        assert str(error.value) == f"{shard}: {first.key} cannot be decoded: cannot identify image file"
