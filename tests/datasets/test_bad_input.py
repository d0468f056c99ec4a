"""What does not fit is named before anything is written; what cannot be decoded is named, and left out only if asked to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import datasets
from datasets import DatasetError
from datasets.base import Entry, Published
from datasets.shard_writer import BAD_IMAGES
from datasets.shards import index_shard, open_prepared, write_prepared
from tests.datasets.fakes import COUNTS, Fake, picture


class Spoilt(Fake):
    """Changes single entries, {path: {field: value}}, and images, {path: bytes}."""

    def __init__(self, entries: dict[str, dict] | None = None, images: dict[str, bytes] | None = None, **facts) -> None:
        super().__init__(**facts)
        self.changes, self.images = entries or {}, images or {}

    def entry(self, domain: str, split: str, index: int) -> Entry:
        entry = super().entry(domain, split, index)
        return replace(entry, **self.changes.get(entry.path, {}))

    def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        return self.images.get(entry.path, super().read(entry)[0]), "jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "train-000"}, "ink/train: image 'train-000': its key occurs 2 times"),
        ({"key": "../../etc/passwd"}, "dots, slashes"),
        ({"key": "a.b"}, "dots"),
        ({"key": "a\\b"}, "slashes"),
        ({"key": "a\nb"}, "control characters"),
        ({"key": "a\x1b[2Jb"}, r"image 'a\\x1b\[2Jb'"),
        ({"key": "\udcff"}, "UTF-8"),
        ({"key": ""}, "not empty"),
        ({"label": 3}, "label 3 is out of range, expected 0 to 2"),
        ({"label": -1}, "label -1 is out of range"),
    ],
)
def test_a_bad_entry_is_named_before_any_image_is_read(tmp_path, change, message):
    dataset = Spoilt({"ink/train/2": change})
    with pytest.raises(DatasetError, match=message):
        write_prepared(dataset, tmp_path / "fake", None)
    assert dataset.made == [] and list((tmp_path / "fake").iterdir()) == []


WHOLE = picture(3, (64, 64))
BAD = {"ink/train/1": b"no image", "oil/test/2": WHOLE[: len(WHOLE) - 200]}


def test_all_bad_images_are_named_in_one_error_and_nothing_is_published(tmp_path):
    with pytest.raises(DatasetError) as raised:
        write_prepared(Spoilt(images=BAD), tmp_path / "fake", None)
    headline, *lines = str(raised.value).splitlines()
    assert headline.startswith("dataset fake: 2 images that cannot be decoded; get them again, or leave out")
    assert lines[0].startswith("ink/train: image ink/train/1: cannot be decoded: UnidentifiedImageError: no image")
    assert lines[1].startswith("oil/test: image oil/test/2: cannot be decoded: OSError: ") and "runcated" in lines[1]
    assert not (tmp_path / "fake/dataset.json").exists()
    mended = Fake()
    write_prepared(mended, tmp_path / "fake", None)
    assert {path.rpartition("/")[0] for path in mended.made} == {"ink/train", "oil/test"}, "whole shards are kept"
    write_prepared(Fake(), tmp_path / "whole", None)
    assert contents(tmp_path / "fake") == contents(tmp_path / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_bad_images_are_left_out_listed_and_counted_if_asked_to(tmp_path):
    prepared = write_prepared(Spoilt(images=BAD), tmp_path / "fake", None, bad_images="list")
    assert prepared.bad_images == {"ink": {"train": 1}, "oil": {"test": 1}}
    assert prepared.counts["ink"]["train"] == [3, 1, 2] and prepared.counts["oil"]["test"] == [1, 1, 0]
    keys = [s.key for shard in prepared.select("ink", "train") for s in index_shard(prepared.path(shard))]
    assert keys == [f"train-{i:03d}" for i in (0, 2, 3, 4, 5, 6)]
    rows = [json.loads(line) for line in (tmp_path / "fake" / BAD_IMAGES).read_text().splitlines()]
    assert [(row["domain"], row["split"], row["key"]) for row in rows] == [
        ("ink", "train", "train-001"),
        ("oil", "test", "test-002"),
    ]
    assert "0x" not in str(rows), "the same text each time"
    assert "2 bad images left out" in prepared.attestation
    whole = write_prepared(Fake(), tmp_path / "whole", None)
    assert whole.identity != prepared.identity and whole.bad_images == {}
    assert "bad_images" not in (tmp_path / "whole/dataset.json").read_text()
    assert write_prepared(Spoilt(images=BAD), tmp_path / "fake", None, bad_images="list") == prepared
    with pytest.raises(
        DatasetError, match=r"was prepared without the bad images in its bad_images\.jsonl; accept that"
    ):
        write_prepared(Fake(), tmp_path / "fake", None)


def test_a_shard_of_bad_images_alone_is_left_out_and_a_split_of_them_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.shard_file.MAX_SAMPLES", 2)
    images = {f"ink/train/{i}": b"" for i in (2, 3)}
    prepared = write_prepared(Spoilt(images=images), tmp_path / "fake", None, bad_images="list")
    assert [s.name for s in prepared.select("ink", "train")] == [f"ink/train-00000{i}.tar" for i in (0, 2, 3)]
    images = {f"oil/test/{i}": b"" for i in range(3)}
    with pytest.raises(DatasetError, match="oil/test: none of the images can be decoded"):
        write_prepared(Spoilt(images=images), tmp_path / "none", None, bad_images="list")


def test_what_cannot_be_read_is_a_bad_image_too(tmp_path):
    class Gone(Fake):
        def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
            if entry.path == "oil/train/3":
                raise FileNotFoundError("somewhere/3.jpg does not exist")
            return super().read(entry)

    with pytest.raises(DatasetError, match=r"image oil/train/3: cannot be read: somewhere/3\.jpg does not exist"):
        write_prepared(Gone(), tmp_path / "fake", None)


def counts(oil_test: int) -> dict[str, dict[str, int]]:
    return COUNTS | {"oil": {"train": 5, "test": oil_test}}


class Empty(Fake):
    def entries(self, domain: str, split: str, source: Published | None = None) -> list[Entry]:
        return super().entries(domain, split) if split == "train" else []


def test_counts_that_differ_are_named_with_the_revision_that_has_them(tmp_path, monkeypatch):
    def wrong(**facts: object) -> str:
        with pytest.raises(DatasetError) as raised:
            write_prepared(Fake(**facts), tmp_path / "fake", None)
        return str(raised.value)

    assert wrong(counts=counts(30)).splitlines() == [
        "dataset fake: 1 problem",
        "oil/test: expected 30 images, found 3",
        "these are not the counts of revision '1' and no other revision is known; get the files from tests",
    ]
    revisions = {"1": Fake(counts=counts(30)), "0": Fake(revision="0")}
    monkeypatch.setattr(datasets, "revisions", lambda name: revisions)
    assert wrong(counts=counts(30)).splitlines()[2] == (
        "these are the counts of revision '0': to prepare that one, name it fake@0; for revision '1', get the files from tests"
    )
    revisions["0"] = Empty(revision="0", counts={domain: {"train": n["train"]} for domain, n in COUNTS.items()})
    assert "these are the counts of revision '0'" in wrong(counts=counts(30)), "which reads the same files otherwise"
    revisions["0"] = Fake(revision="0", counts=counts(31))
    assert "these are not the counts of revision '1' nor of '0'" in wrong(counts=counts(30))


def test_counts_of_classes_that_differ_are_named(tmp_path):
    known = {"ink": {"test": (2, 2, 0)}}
    with pytest.raises(DatasetError) as raised:
        write_prepared(Fake(class_counts=known), tmp_path / "fake", None)
    assert str(raised.value).splitlines()[1:3] == [
        "ink/test: class square (1): expected 2 images, found 1",
        "ink/test: class star (2): expected 0 images, found 1",
    ]


def test_an_empty_split_is_an_error_unless_it_is_known_to_be_empty(tmp_path):
    with pytest.raises(DatasetError) as raised:
        write_prepared(Empty(counts={}), tmp_path / "fake", None)
    todo = (
        "a card says `all_in: train` where all are for one split, and `counts: {%s: {test: 0}}` where this one is empty"
    )
    assert str(raised.value).splitlines()[1:] == [f"{d}/test: has no images; {todo % d}" for d in ("ink", "oil")]
    known = {domain: {"train": n["train"], "test": 0} for domain, n in COUNTS.items()}
    assert write_prepared(Empty(counts=known), tmp_path / "known", None).counts["oil"]["test"] == [0, 0, 0]


def test_only_the_domains_asked_for(tmp_path):
    dataset = Fake(optional_domains=("oil",), groups={"oil": ((0,), (1, 2))})
    one = write_prepared(dataset, tmp_path / "one", None)
    assert one.domains == ("ink",) and {path.partition("/")[0] for path in dataset.made} == {"ink"}
    both = write_prepared(dataset, tmp_path / "both", None, domains=["oil", "ink"])
    assert both.domains == ("ink", "oil") and both.groups == {"oil": ((0,), (1, 2))}
    assert one.identity != both.identity == open_prepared(tmp_path / "both").identity
    assert write_prepared(dataset, tmp_path / "both", None) == both, "what was asked for before is no reason to refuse"
    refused: list[tuple[Callable[[], object], str]] = [
        (
            lambda: write_prepared(dataset, tmp_path / "one", None, domains=["ink", "oil"]),
            "holds ink of dataset fake, without oil; to add that, prepare all of them with --domains ink,oil",
        ),
        (lambda: write_prepared(dataset, tmp_path / "both", None, domains=["ink"]), "with another domains"),
        (lambda: write_prepared(dataset, tmp_path / "x", None, domains=["inc"]), "no domain 'inc', did you mean 'ink'"),
    ]
    for call, message in refused:
        with pytest.raises(DatasetError, match=message):
            call()


def test_an_image_of_a_class_that_its_domains_groups_leave_out_is_refused(tmp_path):
    """A trial would train to its end and fail where it measures."""
    with pytest.raises(DatasetError) as raised:
        write_prepared(Fake(groups={"oil": ((0,), (1,))}), tmp_path / "fake", None)
    rest = "class star (2), which is in no group of oil; groups must name every class that the domain has"
    found = [f"oil/train: 1 image of {rest}", f"oil/test: 1 image of {rest}"]
    assert str(raised.value).splitlines() == ["dataset fake: 2 problems", *found]
    assert not (tmp_path / "fake/dataset.json").exists()


def test_missing_files_of_all_splits_are_named(tmp_path):
    class Missing(Fake):
        def entries(self, domain: str, split: str, source: Published | None = None) -> list[Entry]:
            raise FileNotFoundError(f"{domain}.zip does not exist")

    with pytest.raises(FileNotFoundError, match=r"^ink\.zip does not exist\noil\.zip does not exist$"):
        write_prepared(Missing(), tmp_path / "fake", None)
