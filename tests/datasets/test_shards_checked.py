"""A prepared folder that is there already: verified, its damage named, and what does not fit refused."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os

import pytest

from datasets import DatasetError
from datasets.shards import open_prepared, verify_prepared, write_prepared
from tests.datasets.fakes import Fake
from tests.datasets.test_shards import contents


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
    (expected,) = [s.sha256 for s in prepared.shards if s.name == "oil/train-000000.tar"]
    hashes = f"its sha256 is {hashlib.sha256(data[:-512]).hexdigest()}, expected {expected}"
    with pytest.raises(DatasetError, match=rf"has {len(data) - 512} bytes, expected {len(data)}; {hashes}"):
        open_prepared(tmp_path / "fake")
    shard.unlink()
    with pytest.raises(DatasetError, match=rf"is missing, expected sha256 {expected}"):
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
        (
            lambda c: c["counts"]["oil"].pop("test"),
            r"shard oil/test-000000\.tar is of oil/test, which counts does not have",
        ),
        (lambda c: c["shards"][0].update(domain="tar"), r"add up to 7, but its shards hold 0|is of tar/train, which"),
        (
            lambda c: c["shards"].append({**c["shards"][0], "domain": "nowhere", "name": "nowhere/train-000000.tar"}),
            r"shard nowhere/train-000000\.tar is of nowhere/train, which counts does not have",
        ),
        (
            lambda c: c["shards"][1].update(name=f"./{c['shards'][0]['name']}"),
            r"shard ink/train-000000\.tar is listed more than once",
        ),
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


@pytest.mark.parametrize(
    ("facts", "message"),
    [
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
