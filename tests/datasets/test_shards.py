"""Shards: the same bytes each time, whole or not there, every mistake named."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import webdataset
from PIL import Image

from datasets import DatasetError, shard_file
from datasets.base import Entry, Published
from datasets.shard_journal import JOURNAL
from datasets.shards import Done, index_shard, open_prepared, verify_prepared, write_prepared
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
            for (path, sample), entry in zip(found, Fake().entries(domain, split), strict=True):
                expected = (entry.key, entry.label, "jpg", entry.caption)
                assert (sample.key, sample.label, sample.extension, sample.caption) == expected
                image = path.read_bytes()[sample.offset : sample.offset + sample.size]
                assert image == Fake().read(entry)[0]
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

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        if entry.path == self.at:
            raise KeyboardInterrupt
        return super().read(entry)


ALL = [f"{d}/{s}/{i}" for d, splits in COUNTS.items() for s, n in splits.items() for i in range(n)]


@pytest.mark.parametrize(
    ("at", "first"),
    [("ink/train/0", "ink/train/0"), ("ink/train/5", "ink/train/4"), ("ink/test/2", "ink/test/2"), ("oil/test/2",) * 2],
)
def test_interrupted_then_finished_equals_undisturbed(tmp_path, monkeypatch, at, first):
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 2)
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops(at), tmp_path / "broken", None)
    assert not (tmp_path / "broken/dataset.json").exists()
    assert not list((tmp_path / "broken").rglob("*.tmp"))
    with pytest.raises(FileNotFoundError, match="python -m orchestrator prepare broken --to"):
        open_prepared(tmp_path / "broken")
    # What a killed process leaves: a shard under its temporary name, one that no journal knows, and a torn line.
    domain, split, _ = at.split("/")
    (tmp_path / "broken" / domain / f"{split}-000003.tar.node-7.tmp").write_bytes(b"half")
    (tmp_path / "broken" / domain / f"{split}-000009.tar").write_bytes(b"whole")
    with (tmp_path / "broken" / JOURNAL).open("a") as journal:
        journal.write('{"entries": "12')
    again = Fake()
    write_prepared(again, tmp_path / "broken", None)
    assert again.made == ALL[ALL.index(first) :], "finished shards are kept"
    write_prepared(Fake(), tmp_path / "whole", None)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def interrupted(to: Path, source: Path | None = None, dataset: Fake | None = None) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_prepared(dataset or Stops("oil/test/1"), to, source)


def test_an_interrupted_run_of_something_else_is_not_continued(tmp_path):
    interrupted(tmp_path / "fake")
    changed = Fake(revision="2")
    write_prepared(changed, tmp_path / "fake", None)
    assert changed.made == ALL
    interrupted(tmp_path / "other")
    write_prepared(Fake(domains=("oil",), counts={"oil": COUNTS["oil"]}), tmp_path / "other", None)
    assert set(contents(tmp_path / "other")) == {"dataset.json", "oil/train-000000.tar", "oil/test-000000.tar"}
    assert not (tmp_path / "other/ink").exists()


def test_a_changed_list_costs_only_the_shards_it_changes(tmp_path):
    class Relabelled(Fake):
        def entry(self, domain: str, split: str, index: int) -> Entry:
            entry = super().entry(domain, split, index)
            return replace(entry, label=1) if (domain, split, index) == ("ink", "test", 0) else entry

    interrupted(tmp_path / "fake")
    again = Relabelled()
    write_prepared(again, tmp_path / "fake", None)
    assert again.made == [path for path in ALL if path.startswith(("ink/test", "oil/test"))]


def test_a_changed_archive_is_not_continued(tmp_path):
    def archive(content: bytes) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("x/y.txt"), io.BytesIO(content))

    archive(b"")
    interrupted(tmp_path / "fake", tmp_path / "a.tar")
    os.utime(tmp_path / "a.tar", (1, 1))
    again = Fake()
    write_prepared(again, tmp_path / "fake", tmp_path / "a.tar")
    assert again.made == ALL


def test_an_interrupted_generated_dataset_starts_over(tmp_path, monkeypatch):
    monkeypatch.setattr(Fake, "generated", True)
    interrupted(tmp_path / "fake")
    again = Fake()
    write_prepared(again, tmp_path / "fake", None)
    assert again.made == ALL


@pytest.mark.parametrize("journal", ["", "{}", "[]", "null\n{", "\x00"])
def test_a_journal_that_cannot_be_read_starts_over(tmp_path, journal):
    (tmp_path / JOURNAL).write_text(journal)
    write_prepared(Fake(), tmp_path, None)
    verify_prepared(open_prepared(tmp_path))


def test_a_shard_damaged_after_an_interruption_is_written_again(tmp_path):
    interrupted(tmp_path / "fake")
    with (tmp_path / "fake/ink/train-000000.tar").open("r+b") as file:
        file.write(b"x")
    again = Fake()
    verify_prepared(write_prepared(again, tmp_path / "fake", None))
    assert again.made == [path for path in ALL if path.startswith(("ink/train", "oil/test"))]


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


def test_progress_counts_every_image_and_tells_the_kept_ones(tmp_path):
    interrupted(tmp_path / "fake")
    seen: list[Done] = []
    write_prepared(Fake(), tmp_path / "fake", None, progress=seen.append)
    total = len(ALL)
    kept = [7, 11, 16]
    assert seen[:3] == [
        Done(place, n, total, n) for place, n in zip(["ink/train", "ink/test", "oil/train"], kept, strict=True)
    ]
    assert seen[3:] == [Done("oil/test", 16 + i, total, 16) for i in (1, 2, 3)]
