"""Which image comes when, and what it looks like, depends on the seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.shards import Prepared
from datasets.stream import EvalStream, TrainStream, _Memory, hold_out, samples
from datasets.transforms import EvalTransform, TrainTransform


def stream(prepared: Prepared, **changes: object) -> TrainStream:
    options: dict = {
        "samples": samples(prepared, "disc", "train"),
        "transform": TrainTransform(16, (0.3, 1.0), flip=True),
        "seed": 0,
        "global_batch_size": 8,
    }
    return TrainStream(**(options | changes))


def pixel_hash(batches: list) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(batch.images.contiguous().numpy().tobytes())
        digest.update("".join(batch.keys).encode())
    return digest.hexdigest()


def test_an_epoch_shows_every_image_once_and_the_next_has_another_order(blobs: Prepared) -> None:
    keys = [key for batch in stream(blobs, global_batch_size=10).batches(0, 6) for key in batch.keys]
    first, second = keys[:30], keys[30:]
    assert sorted(first) == sorted(second) == sorted(s.key for s in samples(blobs, "disc", "train"))
    assert first != second


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_do_not_change_the_pixels(blobs: Prepared, threads: int) -> None:
    expected = pixel_hash(list(stream(blobs).batches(0, 9)))
    assert pixel_hash(list(stream(blobs, threads=threads).batches(0, 9))) == expected


def test_the_memory_of_a_batch_is_used_again_only_when_nobody_holds_it(blobs: Prepared) -> None:
    batches = stream(blobs).batches(0, 12)
    kept = next(batches)
    row = kept.images[3]
    before = row.clone()
    places = [batch.images.data_ptr() for batch in batches if kept is not batch]
    assert len(places) == 11
    assert len(set(places)) <= _Memory.MOST, "memory is used again"
    assert kept.images.data_ptr() not in places
    assert torch.equal(row, before)


@pytest.mark.parametrize(
    "hold", [lambda array: array[2:, 1], lambda array: torch.from_numpy(array).permute(0, 3, 1, 2)[0]]
)
def test_any_view_of_a_batch_holds_its_memory(hold: Callable[[np.ndarray], object]) -> None:
    memory, shape = _Memory(), (4, 8, 8, 3)
    array = memory.take(shape)
    array[:] = 7
    place, view = array.ctypes.data, hold(array)
    del array
    others = [memory.take(shape) for _ in range(2 * _Memory.MOST)]
    assert place not in [other.ctypes.data for other in others]
    assert (np.asarray(view) == 7).all()
    del view
    assert memory.take(shape).ctypes.data == place
    assert memory.take((2, 8, 8, 3)).shape == (2, 8, 8, 3)


def test_two_workers_see_the_halves_of_the_same_batches(blobs: Prepared) -> None:
    whole = list(stream(blobs).batches(0, 9))
    halves = [list(stream(blobs, rank=rank, world_size=2).batches(0, 9)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert batch.keys == first.keys + second.keys
        assert torch.equal(batch.images, torch.cat([first.images, second.images]))


def test_starting_later_gives_the_same_batches(blobs: Prepared) -> None:
    assert pixel_hash(list(stream(blobs).batches(5, 9))) == pixel_hash(list(stream(blobs).batches(0, 9))[5:])


def test_another_seed_gives_another_order_and_other_crops(blobs: Prepared) -> None:
    one, two = (next(iter(stream(blobs, seed=seed, global_batch_size=30).batches(0, 1))) for seed in (0, 1))
    assert one.keys != two.keys
    same = [(one.images[one.keys.index(k)], two.images[two.keys.index(k)]) for k in one.keys]
    assert not any(torch.equal(a, b) for a, b in same)


def test_a_batch_larger_than_the_data_wraps_into_the_next_epoch(blobs: Prepared) -> None:
    (batch,) = stream(blobs, global_batch_size=45).batches(0, 1)
    assert len(batch.keys) == 45
    assert len(set(batch.keys)) == 30


def test_a_batch_that_the_workers_cannot_share_is_refused(blobs: Prepared) -> None:
    with pytest.raises(ValueError, match="global_batch_size 8 is not divisible by 3"):
        stream(blobs, world_size=3)


def test_held_out_images_are_disjoint_seeded_and_of_the_asked_share(blobs: Prepared) -> None:
    everything = samples(blobs, "disc", "train")
    train, val = hold_out(everything, 0.2, seed=0)
    assert len(val) == 6
    assert not {s.key for s in train} & {s.key for s in val}
    assert {s.key for s in train} | {s.key for s in val} == {s.key for s in everything}
    assert hold_out(everything, 0.2, seed=0) == (train, val)
    assert hold_out(everything, 0.2, seed=1)[1] != val


def test_holding_out_everything_is_refused(blobs: Prepared) -> None:
    with pytest.raises(ValueError, match="leaves none to train on"):
        hold_out(samples(blobs, "disc", "train")[:1], 0.1, seed=0)


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_evaluation_sees_every_image_once_in_order(blobs: Prepared, world_size: int) -> None:
    chosen = samples(blobs, "ring", "test")
    transform = EvalTransform("lipsum", 16)
    keys: list[str] = []
    for rank in range(world_size):
        part = EvalStream(samples=chosen, transform=transform, batch_size=5, rank=rank, world_size=world_size)
        keys += [key for batch in part for key in batch.keys]
    assert keys == [s.key for s in chosen]


def test_a_shard_that_lost_its_end_is_named(blobs: Prepared, tmp_path: Path) -> None:
    sample = samples(blobs, "disc", "train")[-1]
    torn = tmp_path / "torn.tar"
    torn.write_bytes(sample.path.read_bytes()[: sample.offset + 3])
    with pytest.raises(OSError, match=r"torn\.tar.*ends after 3 of"):
        type(sample)(sample.key, sample.label, torn, sample.offset, sample.size).read()
