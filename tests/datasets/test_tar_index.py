"""The index of a shard: shards of any tool, and every mistake named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from datasets import DatasetError, tar_index
from datasets.intact import LocalShard
from datasets.samples import samples
from datasets.shards import index_shard, open_prepared, write_prepared
from tests.datasets.fakes import Fake, picture


def test_the_quick_index_agrees_with_tarfile(tmp_path):
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    for shard in prepared.shards:
        with prepared.path(shard).open("rb") as file:
            quick, slow = tar_index._plain_members(file.fileno()), tar_index._any_members("a shard", file.fileno())
        assert quick is not None and quick == slow
        assert len(quick) == shard.count * (3 if shard.domain == "ink" else 2)


ODD = [(124, b"8"), (124, b"\x80"), (124, b"7"), (156, b"2"), (156, b"x"), (257, b"z"), (262, b" "), (345, b"d")]


@pytest.mark.parametrize(("offset", "byte"), ODD)
def test_the_quick_index_leaves_odd_headers_to_tarfile(tmp_path, offset, byte):
    prepared = write_prepared(Fake(), tmp_path / "fake", None)
    path = prepared.path(prepared.shards[0])
    whole = path.read_bytes()

    def quick(header: bytes) -> object:
        path.write_bytes(header + whole[512:])
        with path.open("rb") as file:
            return tar_index._plain_members(file.fileno())

    odd = whole[:offset] + byte + whole[offset + 1 : 512]
    assert quick(odd) is None, "its sum is wrong"
    total = sum(odd) - sum(odd[148:156]) + 8 * 32
    assert quick(odd[:148] + f"{total:06o}\0 ".encode() + odd[156:]) is None, "its sum is right"
    assert quick(whole[:512]) is not None
    for size in (100, 300, 400, 512, 600, len(whole) // 2):
        path.write_bytes(whole[:size])
        with path.open("rb") as file:
            assert tar_index._plain_members(file.fileno()) is None


def pack(path: Path, members: list[tuple[str, bytes | None]], form: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar file with (name, content) members in order; content None is a folder."""
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_index_reads_shards_of_other_tools(tmp_path, form):
    long = "part/" + "n" * 90 + "ä"
    path = pack(
        tmp_path / "other.tar",
        [
            ("part/", None),
            ("part/1.PNG", picture(1, form="PNG")), ("part/1.json", b"{}"), ("part/1.cls", b" 2\n"),
            ("part/2.txt", "größe".encode()), ("part/2.cls", b"0"), ("part/2.jpeg", picture(2)),
            (f"{long}.cls", b"1"), (f"{long}.webp", picture(3, form="WEBP")),
        ],
        form,
    )  # fmt: skip
    data, found = path.read_bytes(), index_shard(path)
    assert [(s.key, s.label, s.extension, s.caption) for s in found] == [
        ("part/1", 2, "png", None), ("part/2", 0, "jpeg", "größe"), (long, 1, "webp", None),
    ]  # fmt: skip
    for number, sample in enumerate(found, start=1):
        wanted = picture(number, form={"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}[sample.extension])
        assert data[sample.offset : sample.offset + sample.size] == wanted


@pytest.mark.parametrize("name", ["part/1", "part/ä", "n" * 120])
def test_a_shard_that_was_only_just_hashed_is_indexed_from_its_beginning(tmp_path, monkeypatch, name):
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "cache"))
    path = pack(tmp_path / "new.tar", [(f"{name}.jpg", picture(1)), (f"{name}.cls", b"2")], tarfile.PAX_FORMAT)
    descriptor = LocalShard(path, hashlib.sha256(path.read_bytes()).hexdigest(), "prepare it again").open()
    try:
        assert [(s.key, s.label) for s in tar_index.index_open_shard("a shard", descriptor)] == [(name, 2)]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.cls", b"1")], "'a' must have one image, has none of cls"),
        ([("a.jpg", b"x"), ("a.png", b"x"), ("a.cls", b"1")], "must have one image, has jpg, png"),
        ([("a.jpg", b"x")], "'a' has no label: expected a member a.cls"),
        ([("a.jpg", b"x"), ("a.cls", b"one")], "a.cls must hold a class number, holds 'one'"),
        ([("a.jpg", b"x"), ("a.jpg", b"y"), ("a.cls", b"1")], "'a.jpg' occurs twice"),
        (
            [("a.jpg", b"x"), ("a.cls", b"1"), ("b.jpg", b"x"), ("b.cls", b"1"), ("a.jpg", b"x"), ("a.cls", b"1")],
            "neighbours",
        ),
    ],
)
def test_the_index_names_what_is_no_sample(tmp_path, members, message):
    path = pack(tmp_path / "bad.tar", members)
    with pytest.raises(ValueError, match=message) as raised:
        index_shard(path)
    assert str(path) in str(raised.value)


def test_the_index_refuses_what_is_no_whole_plain_tar(tmp_path):
    whole = pack(tmp_path / "whole.tar", [("a.cls", b"1"), ("a.jpg", picture(0) * 10)]).read_bytes()
    for name, data in {"text.tar": b"hello " * 200, "cut.tar": whole[:2000]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=rf"{name}: not a whole uncompressed tar file"):
            index_shard(tmp_path / name)
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(tmp_path / "whole.tar", "a.jpg")
    with pytest.raises(ValueError, match="not a whole uncompressed tar file"):
        index_shard(tmp_path / "packed.tar")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(ValueError, match=r"'a.jpg' is no plain file"):
        index_shard(tmp_path / "link.tar")
    with pytest.raises(FileNotFoundError):
        index_shard(tmp_path / "none.tar")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_names_and_captions_that_are_no_utf8_are_named(tmp_path, form):
    path = tmp_path / "latin.tar"
    with tarfile.open(path, "w", format=form, encoding="latin-1") as archive:
        for name, content in (("ä.png", picture(1, form="PNG")), ("ä.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"latin\.tar: the name of member '.udce4\.png' is no UTF-8 text"):
        index_shard(path)
    members = [("a.png", picture(1, form="PNG")), ("a.cls", b"0"), ("a.txt", "größe".encode("latin-1"))]
    with pytest.raises(ValueError, match=r"other\.tar: a\.txt must hold UTF-8 text"):
        index_shard(pack(tmp_path / "other.tar", members, form))


@pytest.mark.parametrize(
    ("keys", "labels", "problem"),
    [
        ("ab", (0, 9), "0 images have label 1, dataset.json says 1"),
        ("ab", (1, 1), "0 images have label 0, dataset.json says 1"),
        ("aa", (0, 1), "key 'd/a' occurs 2 times"),
    ],
)
def test_shards_of_other_tools_hold_what_dataset_json_counts(tmp_path, keys, labels, problem):
    shards = []
    for number, (key, label) in enumerate(zip(keys, labels, strict=True)):
        members = [(f"{key}.png", picture(1, form="PNG")), (f"{key}.cls", str(label).encode())]
        data = pack(tmp_path / f"{number}.tar", members).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        shard = {"name": f"{number}.tar", "domain": "d", "split": "test", "count": 1}
        shards.append(shard | {"bytes": len(data), "sha256": digest})
    facts = dict.fromkeys(("name", "title", "revision", "source", "license", "citation"), "x")
    lists = {"domains": ["d"], "classnames": ["one", "two"], "templates": ["a {}."], "short_side": None}
    counts = {"counts": {"d": {"test": [1, 1]}}, "shards": shards, "format": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(facts | lists | counts))
    with pytest.raises(DatasetError, match=problem):
        samples(open_prepared(tmp_path), "d", "test")
