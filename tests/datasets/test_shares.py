"""Batches with an even share of each source domain."""

from __future__ import annotations

from collections import Counter

import pytest

from datasets.shards import Prepared
from datasets.stream import Sample, TrainStream, samples
from datasets.transforms import TrainTransform


@pytest.fixture(scope="module")
def two(blobs: Prepared) -> list[Sample]:
    """30 images of disc, then 6 of box."""
    return [*samples(blobs, "disc", "train"), *samples(blobs, "box", "train")[:6]]


def stream(chosen: list[Sample], batch: int = 8, **options: object) -> TrainStream:
    fields = {"seed": 3, "global_batch_size": batch, **options}
    return TrainStream(samples=chosen, transform=TrainTransform(32, (0.5, 1.0), True), **fields)


def keys(made: TrainStream, start: int, stop: int) -> list[tuple[str, ...]]:
    return [batch.keys for batch in made.batches(start, stop)]


def domains(batch: tuple[str, ...]) -> Counter[str]:
    return Counter(key.partition("/")[0] for key in batch)


def test_every_batch_has_an_even_share_and_each_domain_its_own_epochs(two: list[Sample]) -> None:
    batches = keys(stream(two, shares=(30, 6)), 0, 15)
    assert all(domains(batch) == {"disc": 4, "box": 4} for batch in batches)
    drawn = [key for batch in batches for key in batch]
    disc = [key for key in drawn if key.startswith("disc/")]
    box = [key for key in drawn if key.startswith("box/")]
    assert set(Counter(disc).values()) == {2}, "two epochs of 30"
    assert set(Counter(box).values()) == {10}, "ten epochs of 6"
    assert len(set(disc[:30])) == 30
    assert [len(set(box[i : i + 6])) for i in range(0, 60, 6)] == [6] * 10
    assert box[:6] != box[6:12]


def test_a_batch_that_does_not_divide_is_even_within_one_image(two: list[Sample]) -> None:
    assert [domains(batch)["disc"] for batch in keys(stream(two, batch=5, shares=(30, 6)), 0, 4)] == [3, 2, 3, 2]


def test_a_batch_is_the_same_from_any_start_and_over_any_workers(two: list[Sample]) -> None:
    whole = keys(stream(two, shares=(30, 6)), 0, 12)
    assert keys(stream(two, shares=(30, 6)), 9, 12) == whole[9:]
    parts = [keys(stream(two, shares=(30, 6), rank=rank, world_size=2), 0, 12) for rank in (0, 1)]
    assert [(*a, *b) for a, b in zip(*parts, strict=True)] == whole


def test_without_shares_or_with_one_the_order_is_as_ever(two: list[Sample]) -> None:
    plain = keys(stream(two), 0, 9)
    assert keys(stream(two, shares=(36,)), 0, 9) == plain
    assert domains(tuple(key for batch in plain for key in batch)) == {"disc": 60, "box": 12}


def test_shares_that_do_not_add_up_are_refused(two: list[Sample]) -> None:
    with pytest.raises(ValueError, match=r"shares \[30, 5\] do not add up to the 36 samples"):
        stream(two, shares=(30, 5))
