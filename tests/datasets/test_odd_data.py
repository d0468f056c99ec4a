"""Data that are small or lopsided work, or say clearly why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datasets import DatasetError, shard_file
from datasets.base import Entry, Published
from datasets.pairs import pool_tars
from datasets.shards import Prepared, open_prepared, write_prepared
from datasets.stream import EvalStream, TrainStream, hold_out, samples
from datasets.transforms import EvalTransform, TrainTransform
from orchestrator.conformance.tiny import Blobs
from orchestrator.records import Results
from orchestrator.spec import DataRef
from orchestrator.trials.trial import run_trial
from tests.datasets.faulty_server import serving
from tests.orchestrator.trials import planned
from training.runtime import Runtime
from training.types import RawBatch

EVAL, TRAIN = EvalTransform("lipsum", 16), TrainTransform(16, (0.5, 1.0), flip=True)


def keys(batches: list[RawBatch]) -> list[str]:
    return [key for batch in batches for key in batch.keys]


@pytest.fixture
def uneven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """Shards of 13, 13 and 4 images."""
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 13)
    return write_prepared(Blobs(), tmp_path / "uneven", None)


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_uneven_shards_give_every_worker_as_many_images(uneven: Prepared, world_size: int) -> None:
    assert [shard.count for shard in uneven.select("disc", "train")] == [13, 13, 4]
    chosen = samples(uneven, "disc", "train")
    parts = [
        list(
            TrainStream(
                samples=chosen,
                transform=TRAIN,
                seed=0,
                global_batch_size=10,
                rank=rank,
                world_size=world_size,
                threads=2,
            ).batches(0, 3)
        )
        for rank in range(world_size)
    ]
    assert {len(batch.keys) for part in parts for batch in part} == {10 // world_size}
    assert sorted(key for part in parts for key in keys(part)) == sorted(s.key for s in chosen)


def test_fewer_shards_than_workers_and_threads(blobs: Prepared, cache: Path) -> None:
    assert len(blobs.select("disc", "test")) == 1
    with serving(Path(blobs.root)) as server:
        chosen = samples(open_prepared(server.url), "disc", "test")
    found: list[str] = []
    for rank in range(3):
        found += keys(
            list(EvalStream(samples=chosen, transform=EVAL, batch_size=4, rank=rank, world_size=3, threads=8))
        )
    assert found == [sample.key for sample in chosen]


def test_more_workers_than_images(blobs: Prepared) -> None:
    chosen = samples(blobs, "disc", "test")[:2]
    parts = [list(EvalStream(samples=chosen, transform=EVAL, rank=rank, world_size=5)) for rank in range(5)]
    assert [key for part in parts for key in keys(part)] == [s.key for s in chosen]
    assert sorted(map(len, parts)) == [0, 0, 0, 1, 1]


def test_one_image_of_a_class_is_on_one_side(blobs: Prepared) -> None:
    everything = samples(blobs, "disc", "train")
    lonely = next(s for s in everything if s.label == 0)
    chosen = [lonely, *(s for s in everything if s.label != 0)]
    sides = set()
    for seed in range(20):
        train, val = hold_out(chosen, 0.3, seed)
        assert len(train) + len(val) == len(chosen) and ((lonely in train) != (lonely in val))
        sides.add(lonely in train)
    assert sides == {True, False}, "either may happen: sides are drawn by image, not by class"


def test_two_images_can_be_split_and_one_cannot(blobs: Prepared) -> None:
    two = samples(blobs, "disc", "train")[:2]
    assert [len(side) for side in hold_out(two, 0.1, 0)] == [1, 1]
    with pytest.raises(ValueError, match=r"holding out 0\.1 of 1 training images leaves none to train on"):
        hold_out(two[:1], 0.1, 0)


class Lacking(Blobs):
    """Blobs whose domain 'box' has no training image of class 0 and whose domain 'ring' has no test images."""

    info = replace(
        Blobs.info,
        name="lacking",
        counts={**Blobs.info.counts, "box": {"train": 20, "test": 12}, "ring": {"train": 30, "test": 0}},
    )

    def entries(self, domain: str, split: str, source: Published | None) -> list[Entry]:
        """Of Blobs' entries those that are not lacking."""
        if (domain, split) == ("box", "train"):
            return [entry for entry in Blobs().entries(domain, split, source) if entry.label != 0]
        return super().entries(domain, split, source)


def test_a_domain_that_lacks_a_class_is_trained_on_and_measured(tiny_config: Path, tmp_path: Path) -> None:
    prepared = write_prepared(Lacking(), tmp_path / "lacking", None, domains=("disc", "box"))
    assert prepared.counts["box"] == {"train": [0, 10, 10], "test": [4, 4, 4]}
    data = DataRef(
        name="lacking", identity=prepared.identity, sources=("box",), targets=("box", "disc"), val_fraction=0.2
    )
    record = run_trial(planned(prepared, tiny_config, "ft", data=data), Results(tmp_path), Runtime(), attempt=1)
    assert {(e.domain, e.split, e.num_images) for e in record.evaluations} == {
        ("box", "test", 12), ("disc", "test", 12), ("box", "val", 4),
    }  # fmt: skip


def test_an_empty_split_is_named_when_it_is_needed(tmp_path: Path) -> None:
    prepared = write_prepared(Lacking(), tmp_path / "lacking", None)
    assert prepared.counts["ring"]["test"] == [0, 0, 0] and prepared.select("ring", "test") == ()
    assert len(samples(prepared, "ring", "train")) == 30
    with pytest.raises(ValueError, match="dataset lacking has no test images of domain 'ring'"):
        samples(prepared, "ring", "test")
    with pytest.raises(DatasetError, match="has no ring/val; it has disc/train"):
        samples(prepared, "ring", "val")


@pytest.mark.parametrize("place", ["s3://bucket/pool", "https://host/pool"])
def test_a_pool_at_a_url_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match="a pool of image-text pairs must be a folder of this machine, got the URL"):
        pool_tars(Path(place))
