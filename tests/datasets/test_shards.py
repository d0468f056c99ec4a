"""Shards: the same bytes each time, whole or not there, every mistake named."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import webdataset
from PIL import Image

from datasets import DatasetError, images, shard_file
from datasets.base import RawSample
from datasets.shards import index_shard, open_prepared, verify_prepared, write_prepared
from tests.datasets.fakes import COUNTS, Fake, picture


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_input_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 3)
    first = write_prepared(Fake(), tmp_path / "a", None)
    second = write_prepared(Fake(), tmp_path / "b", None)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert first.identity == second.identity == hashlib.sha256((tmp_path / "a/dataset.json").read_bytes()).hexdigest()
    expected = {
        "dataset.json",
        *(f"ink/train-00000{i}.tar" for i in range(3)),
        "ink/test-000000.tar",
        "ink/test-000001.tar",
    }
    assert set(contents(tmp_path / "a")) == expected | {
        "oil/train-000000.tar",
        "oil/train-000001.tar",
        "oil/test-000000.tar",
    }


def test_what_is_read_is_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 3)
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    for domain, splits in COUNTS.items():
        for split, count in splits.items():
            shards = prepared.select(domain, split)
            assert [s.count for s in shards] == [3] * (count // 3) + ([count % 3] if count % 3 else [])
            found = [(prepared.path(shard), sample) for shard in shards for sample in index_shard(prepared.path(shard))]
            assert len(found) == count
            for (path, sample), raw in zip(found, Fake().samples(domain, split), strict=True):
                assert (sample.key, sample.label, sample.extension, sample.caption) == (
                    raw.key,
                    raw.label,
                    "jpg",
                    raw.caption,
                )
                assert path.read_bytes()[sample.offset : sample.offset + sample.size] == raw.image
    assert prepared.counts == {
        "ink": {"train": [3, 2, 2], "test": [2, 1, 1]},
        "oil": {"train": [2, 2, 1], "test": [1, 1, 1]},
    }
    for shard in prepared.shards:
        assert hashlib.sha256(prepared.path(shard).read_bytes()).hexdigest() == shard.sha256


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the file open
def test_shards_are_webdataset_shards(tmp_path):
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    path = prepared.path(prepared.select("ink", "test")[0])
    read = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [(s["__key__"], s["cls"], s["txt"]) for s in read] == [
        (f"test-{i:03d}", str(i % 3).encode(), f"number {i}".encode()) for i in range(4)
    ]


def test_a_shard_is_closed_before_it_grows_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_file, "MAX_BYTES", 2 * len(picture(0)) + 100)
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    assert [shard.count for shard in prepared.select("ink", "test")] == [2, 2]


class Stops(Fake):
    """Breaks off at one image, as a power cut or Ctrl-C would."""

    def __init__(self, domain: str, split: str, index: int) -> None:
        super().__init__()
        self.at = (domain, split, index)

    def sample(self, domain: str, split: str, index: int) -> RawSample:
        if (domain, split, index) == self.at:
            raise KeyboardInterrupt
        return super().sample(domain, split, index)


@pytest.mark.parametrize("at", [("ink", "train", 0), ("ink", "train", 5), ("ink", "test", 2), ("oil", "test", 2)])
def test_interrupted_then_finished_equals_undisturbed(tmp_path, monkeypatch, at):
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 2)
    monkeypatch.setattr(images, "_AHEAD_PER_THREAD", 0)  # so that shards are begun when it breaks off
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops(*at), tmp_path / "broken", None)
    assert not (tmp_path / "broken/dataset.json").exists()
    assert not list((tmp_path / "broken").rglob("*.tmp"))
    with pytest.raises(FileNotFoundError, match="python -m orchestrator prepare broken --to"):
        open_prepared(tmp_path / "broken")
    # What a killed process leaves: a shard under its temporary name, and shards of the split that is not done.
    (tmp_path / "broken" / at[0] / f"{at[1]}-000003.tar.tmp").write_bytes(b"half")
    (tmp_path / "broken" / at[0] / f"{at[1]}-000009.tar").write_bytes(b"whole")
    again = Fake()
    write_prepared(again, tmp_path / "broken", None)
    order = ["ink/train", "ink/test", "oil/train", "oil/test"]
    assert again.made == order[order.index(f"{at[0]}/{at[1]}") :], "finished splits are kept"
    write_prepared(Fake(), tmp_path / "whole", None)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_an_interrupted_run_of_something_else_is_not_continued(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops("oil", "test", 1), tmp_path / "fake", None)
    changed = Fake(revision="2")
    write_prepared(changed, tmp_path / "fake", None)
    assert changed.made == ["ink/train", "ink/test", "oil/train", "oil/test"]
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops("oil", "test", 1), tmp_path / "other", None)
    write_prepared(Fake(domains=("oil",), counts={"oil": COUNTS["oil"]}), tmp_path / "other", None)
    assert set(contents(tmp_path / "other")) == {"dataset.json", "oil/train-000000.tar", "oil/test-000000.tar"}
    assert not (tmp_path / "other/ink").exists()


def test_a_changed_archive_is_not_continued(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops("oil", "test", 1), tmp_path / "fake", tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(b"newer")
    again = Fake()
    write_prepared(again, tmp_path / "fake", tmp_path / "a.tar")
    assert again.made == ["ink/train", "ink/test", "oil/train", "oil/test"]


def test_an_interrupted_generated_dataset_starts_over(tmp_path, monkeypatch):
    monkeypatch.setattr(Fake, "generated", True)
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops("oil", "test", 1), tmp_path / "fake", None)
    again = Fake()
    write_prepared(again, tmp_path / "fake", None)
    assert again.made == ["ink/train", "ink/test", "oil/train", "oil/test"]


@pytest.mark.parametrize("journal", ["", "{}", "[]", '{"shards": []}', '{"request": 1, "counts": {}, "shards": [{}]}'])
def test_a_journal_that_cannot_be_read_starts_over(tmp_path, journal):
    (tmp_path / ".prepare.json").write_text(journal)
    write_prepared(Fake(), tmp_path, None)
    verify_prepared(open_prepared(tmp_path))


def test_a_shard_damaged_after_an_interruption_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops("oil", "test", 1), tmp_path / "fake", None)
    with (tmp_path / "fake/ink/train-000000.tar").open("r+b") as file:
        file.write(b"x")
    verify_prepared(write_prepared(Fake(), tmp_path / "fake", None))


def test_prepared_twice_verifies_and_makes_nothing(tmp_path):
    first = write_prepared(Fake(), tmp_path / "fake", None)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "fake").rglob("*")}
    again = Fake()
    assert write_prepared(again, tmp_path / "fake", None) == first
    assert again.made == []
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "fake").rglob("*")} == before


def test_damage_is_named(tmp_path):
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    shard = tmp_path / "fake/oil/train-000000.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    for check in (lambda: verify_prepared(prepared), lambda: write_prepared(Fake(), tmp_path / "fake", None)):
        with pytest.raises(
            DatasetError, match=r"oil/train-000000\.tar: sha256 is .* expected .*\n.*prepare the dataset again"
        ):
            check()
    shard.write_bytes(data[:-512])
    with pytest.raises(DatasetError, match=rf"has {len(data) - 512} bytes, expected {len(data)}"):
        open_prepared(tmp_path / "fake")
    shard.unlink()
    with pytest.raises(DatasetError, match="is missing"):
        open_prepared(tmp_path / "fake")
    with pytest.raises(DatasetError, match="missing"):
        verify_prepared(prepared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("title"), "title: Field required"),
        (lambda c: c.update(format=2), "format"),
        (lambda c: c.update(surprise=1), "surprise"),
        (lambda c: c["shards"][0].update(count="7"), r"shards\.0\.count"),
        (lambda c: c["shards"][0].update(name="../x.tar"), "outside"),
        (lambda c: c["shards"][0].update(count=6), "add up to 7, but its shards hold 6"),
        (lambda c: c["counts"]["ink"]["train"].pop(), "has 2 classes, expected 3"),
        (lambda c: c["counts"].pop("oil"), "counts are of ink"),
    ],
)
def test_a_dataset_json_that_lies_is_refused(tmp_path, change, message):
    write_prepared(Fake(), tmp_path / "fake", None)
    path = tmp_path / "fake/dataset.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message) as raised:
        open_prepared(tmp_path / "fake")
    assert str(path) in str(raised.value) and "prepare the dataset again" in str(raised.value)


def test_text_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="Invalid JSON"):
        open_prepared(tmp_path)


class Spoilt(Fake):
    """Changes single samples: {(domain, split, index): {field: value}}."""

    def __init__(self, changes: dict, **facts: object) -> None:
        super().__init__(**facts)
        self.changes = changes

    def sample(self, domain: str, split: str, index: int) -> RawSample:
        return replace(super().sample(domain, split, index), **self.changes.get((domain, split, index), {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "train-000"}, "ink/train: image train-000.jpg: its key occurs twice"),
        ({"key": "a.b"}, "dots"),
        ({"key": "a/b"}, "slashes"),
        ({"key": ""}, "empty"),
        ({"label": 3}, "label 3 is out of range, expected 0 to 2"),
        ({"label": -1}, "label -1 is out of range"),
        ({"extension": "exe"}, "extension 'exe' is unknown"),
        ({"image": b""}, "cannot be decoded"),
    ],
)
def test_a_bad_sample_is_named(tmp_path, change, message):
    with pytest.raises(DatasetError, match=message):
        write_prepared(Spoilt({("ink", "train", 2): change}), tmp_path / "fake", None)
    assert not (tmp_path / "fake/dataset.json").exists()


def test_all_broken_images_are_named_in_one_error(tmp_path):
    whole = picture(3, (64, 64))
    bad = {("ink", "train", 1): {"image": b"no image"}, ("oil", "test", 2): {"image": whole[: len(whole) - 200]}}
    with pytest.raises(DatasetError) as raised:
        write_prepared(Spoilt(bad), tmp_path / "fake", None)
    headline, *lines = str(raised.value).splitlines()
    assert headline == "dataset fake: 2 problems"
    assert lines[0].startswith("ink/train: image train-001.jpg: cannot be decoded: UnidentifiedImageError")
    assert lines[1].startswith("oil/test: image test-002.jpg: cannot be decoded: OSError")
    mended = Fake()
    write_prepared(mended, tmp_path / "fake", None)
    assert mended.made == ["ink/train", "oil/test"], "the splits without a bad image are kept"
    write_prepared(Fake(), tmp_path / "whole", None)
    assert contents(tmp_path / "fake") == contents(tmp_path / "whole")


def test_counts_that_differ_are_named(tmp_path):
    counts = COUNTS | {"oil": {"train": 5, "test": 30}}
    with pytest.raises(DatasetError, match="oil/test: expected 30 images, found 3"):
        write_prepared(Fake(counts=counts), tmp_path / "fake", None)


def test_without_counts_an_empty_split_is_an_error(tmp_path):
    class Empty(Fake):
        def samples(self, domain: str, split: str, source: Path | None = None) -> Iterator[RawSample]:
            return super().samples(domain, split) if split == "train" else iter(())

    with pytest.raises(DatasetError, match=r"2 problems\nink/test: has no images\noil/test: has no images"):
        write_prepared(Empty(counts={}), tmp_path / "fake", None)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"counts": {"wood": {"train": 1}}}, "'wood', which is no domain"),
        ({"counts": {"ink": {"val": 1}}}, "split 'val'"),
        ({"domains": ("../ink",), "counts": {}}, "domain '../ink' must consist"),
        ({"name": "a b"}, "name 'a b' must consist"),
    ],
)
def test_facts_that_do_not_fit_are_refused(tmp_path, facts, message):
    with pytest.raises(DatasetError, match=message):
        write_prepared(Fake(**facts), tmp_path / "fake", None)


def test_select_names_what_there_is(tmp_path):
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    with pytest.raises(DatasetError, match="no ink/val; it has ink/train, ink/test, oil/train, oil/test"):
        prepared.select("ink", "val")


def test_a_short_side_reduces_larger_images_and_is_part_of_the_identity(tmp_path):
    plain = write_prepared(Fake(), tmp_path / "plain", None)
    small = write_prepared(Fake(), tmp_path / "small", None, short_side=8)
    assert (plain.short_side, small.short_side) == (None, 8) and plain.identity != small.identity
    path = small.path(small.shards[0])
    for sample in index_shard(path):
        image = Image.open(io.BytesIO(path.read_bytes()[sample.offset : sample.offset + sample.size]))
        assert (image.size, image.format) == ((12, 8), "JPEG")
    write_prepared(Fake(), tmp_path / "large", None, short_side=16)
    assert (tmp_path / "large/ink/train-000000.tar").read_bytes() == (
        tmp_path / "plain/ink/train-000000.tar"
    ).read_bytes()
    with pytest.raises(DatasetError, match=r"another short_side \(8, asked for None\)"):
        write_prepared(Fake(), tmp_path / "small", None)
    with pytest.raises(DatasetError, match="at least 1 pixel, got 0"):
        write_prepared(Fake(), tmp_path / "none", None, short_side=0)


def test_another_revision_into_the_same_folder_is_refused(tmp_path):
    write_prepared(Fake(), tmp_path / "fake", None)
    with pytest.raises(DatasetError, match=r"another revision \('1', asked for '2'\); delete that folder"):
        write_prepared(Fake(revision="2"), tmp_path / "fake", None)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DatasetError, match=r"holds other files \(letter.txt\)"):
        write_prepared(Fake(), tmp_path, None)
    with pytest.raises(DatasetError, match="is not a folder"):
        write_prepared(Fake(), tmp_path / "letter.txt", None)
    assert contents(tmp_path) == {"letter.txt": b"dear"}


def test_two_processes_do_not_prepare_the_same_folder(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another process is preparing"):
            write_prepared(Fake(), tmp_path, None)
    finally:
        os.close(descriptor)
    write_prepared(Fake(), tmp_path, None)


def test_progress_counts_every_image(tmp_path):
    seen: list[tuple[str, int]] = []
    write_prepared(Fake(), tmp_path / "fake", None, progress=lambda place, done: seen.append((place, done)))
    assert seen == [(f"{d}/{s}", i + 1) for d, splits in COUNTS.items() for s, n in splits.items() for i in range(n)]
