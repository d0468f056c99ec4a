"""Cards of folder datasets: every fact that they may hold, and every mistake with its line."""

from __future__ import annotations

import pytest

import datasets
from datasets import DatasetError
from datasets.folder import Folder
from datasets.shards import write_prepared
from tests.datasets.test_folder import CARD, LISTS, card, zoo

__all__ = ["zoo"]


def test_a_card_may_hold_every_fact(tmp_path):
    text = CARD + (
        "class_counts: {photo: {train: [1, 2, 3], test: [1, 0, 1]}}\ncounts: {ink: {train: 9, test: 1}}\n"
        "optional_domains: [ink]\nnotes: one defect\ngroups: {ink: [bee, [cat, great auk]]}\n"
    )
    info = Folder.from_card(card(tmp_path, text)).info
    assert info.counts == {"photo": {"train": 6, "test": 2}, "ink": {"train": 9, "test": 1}}
    assert info.class_counts == {"photo": {"train": (1, 2, 3), "test": (1, 0, 1)}}
    assert info.default_domains == ("photo",) and info.notes == ("one defect",)
    assert info.groups == {"ink": ((1,), (2, 0))}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("title: Zoo", "titel: Zoo", 3, "unknown key 'titel', did you mean 'title'?"),
        ("title: Zoo\n", "", 1, "title: Field required"),
        ("kind: folder", "kind: zip", 1, "kind: Input should be 'folder'"),
        ("name: zoo", "name: my zoo", 2, "name: 'my zoo' must consist of letters"),
        ("revision: '1'", "revision: 1", 4, "revision: Input should be a valid string"),
        ("{photo: Photos, ink: ink_drawings}", "[a, a]", 5, "domains: names repeat"),
        ("{photo: Photos, ink: ink_drawings}", "[]", 5, "domains: must not be empty"),
        ("ink: ink_drawings", "ink: Photos", 5, "domains: two names have the same folder"),
        ("ink: ink_drawings", "ink: ../x", 5, "domains: '../x' is not the name of a folder"),
        ("ink: ink_drawings", "in k: ink", 1, "'in k' must consist of letters"),
        ("bee: bee", "bee: 3", 6, "classnames.bee: Input should be a valid string"),
        ('["a {}.", "the {}."]', '["a photo."]', 7, "template 'a photo.' must contain {} exactly once"),
        ('["a {}.", "the {}."]', "openai81", 7, "one of: openai80; got 'openai81'"),
        ("test_fraction: 0.25", "test_fraction: 1.5", 8, "test_fraction: Input should be less than 1"),
        ("test_fraction: 0.25\n", "", 1, "give either lists or test_fraction"),
        ("test_fraction: 0.25\n", "test_fraction: 0.25\nall_in: train\n", 1, "give either lists or test_fraction"),
        ("test_fraction: 0.25", "all_in: val", 8, "all_in: Input should be 'train' or 'test'"),
        ("ink: ink_drawings", "ink: Photos/old", 5, "folder 'Photos/old' lies in that of another domain, 'Photos'"),
        ("ink: ink_drawings", "ink: .", 5, "folder 'Photos' lies in that of another domain, '.'"),
        ("ink: ink_drawings", "ink: /data", 5, "domains: '/data' is not the name of a folder"),
        ("source:", "root: ../up\nsource:", 9, "root.0: '../up' is not the name of a folder"),
        ("source:", "files: [{name: a.zip, md5: 0}]\nsource:", 9, "unknown key 'files.0.md5'"),
        ("source:", "files: [{name: a.zip, checksum: 'md5:12'}]\nsource:", 9, "files.0.checksum: String should match"),
        ("source:", "files: [{name: a.zip, domains: [oil]}]\nsource:", 1, "files, a.zip, name domain 'oil'"),
        ("source:", "class_counts: {ink: {train: [1, 2]}}\nsource:", 1, "ink/train are 2 numbers for 3 classes"),
        (
            "source:",
            "counts: {ink: {train: 9}}\nclass_counts: {ink: {train: [1, 2, 3]}}\nsource:",
            1,
            "class_counts of ink/train add up to 6, counts say otherwise",
        ),
        ("source:", "optional_domains: [oil]\nsource:", 1, "optional_domains name domain 'oil'"),
        ("source:", "groups: {ink: [dog]}\nsource:", 1, "groups of ink name class 'dog', which is not in classnames"),
        ("source:", "groups: {ink: [bee, [cat, bee]]}\nsource:", 1, "groups of ink name class 'bee' twice"),
        ("source:", "groups: {ink: [bee, []]}\nsource:", 1, "groups of ink are empty or have an empty list"),
        ("source:", "groups: {ink: []}\nsource:", 1, "groups of ink are empty or have an empty list"),
        ("test_fraction: 0.25", "all_in: test\ncounts: {ink: {train: 3}}", 1, "name other splits than all_in, test"),
        ("test_fraction: 0.25\n", "test_fraction: 0.25\n" + LISTS, 1, "give either lists or test_fraction"),
        (
            "test_fraction: 0.25",
            "lists:\n  train: a.txt\n  tset: b.txt",
            10,
            "unknown key 'lists.tset', did you mean 'test'?",
        ),
        ("source:", "counts: {wood: {train: 1}}\nsource:", 1, "counts name domain 'wood'; the domains are photo, ink"),
        ("source:", "counts: {ink: {val: 1}}\nsource:", 9, "counts.ink.val"),
        ("source: the zoo", "source: a\nsource: b", 10, "'source' occurs twice"),
        ("title: Zoo", "title: [Zoo", 4, "not valid YAML"),
        ("title: Zoo", "\ttitle: Zoo", 3, "not valid YAML"),
    ],
)
def test_a_mistake_in_a_card_is_named_with_its_line(tmp_path, old, new, line, message):
    assert CARD.count(old) == 1
    path = card(tmp_path, CARD.replace(old, new))
    with pytest.raises(DatasetError) as raised:
        datasets.load(path)
    lines = str(raised.value).splitlines()
    assert any(text.startswith(f"{path}:{line}: ") and message in text for text in lines), lines


def test_all_mistakes_of_a_card_are_named_at_once(tmp_path):
    path = card(tmp_path, CARD.replace("title: Zoo", "titel: Zoo").replace("0.25", "2").replace("openai", "x"))
    with pytest.raises(DatasetError) as raised:
        datasets.load(path)
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this file is empty"),
        (b"# only\n", "this file is empty"),
        (b"- a\n", "holds something else"),
        (b"a: \xff", "UTF-8"),
    ],
)
def test_a_file_that_is_no_card_is_refused(tmp_path, data, message):
    path = tmp_path / "card.yaml"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        datasets.load(str(path))
    with pytest.raises(DatasetError, match=r"card nowhere\.yaml does not exist"):
        datasets.load("nowhere.yaml")


def test_counts_of_a_card_are_checked(tmp_path, zoo):
    dataset = Folder.from_card(card(tmp_path, CARD + "counts: {ink: {train: 18, test: 7}}\n"))
    with pytest.raises(DatasetError, match="ink/test: expected 7 images, found 6"):
        write_prepared(dataset, tmp_path / "out", zoo)
