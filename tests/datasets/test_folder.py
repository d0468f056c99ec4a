"""Folder datasets: cards with their mistakes, lists and seeded splits, folders, archives and roots."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

import datasets
from datasets import DatasetError
from datasets.folder import Folder
from datasets.shards import index_shard, write_prepared
from datasets.sources import open_source
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from tests.datasets.fakes import picture

CARD = """\
kind: folder
name: zoo
title: Zoo
revision: '1'
domains: {photo: Photos, ink: ink_drawings}
classnames: {great auk: auk, bee: bee, cat: cat}
templates: ["a {}.", "the {}."]
test_fraction: 0.25
source: the zoo
license: none
citation: none
"""


LISTS = "lists: {train: '{domain}_train.txt', test: '{domain}_test.txt'}\n"


WITH_LISTS = CARD.replace("test_fraction: 0.25\n", LISTS)


CLASSES = ("auk", "bee", "cat")


PER_CLASS = 8


def card(folder: Path, text: str = CARD) -> Path:
    path = folder / "zoo.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def zoo(tmp_path) -> Path:
    """Two domains, three classes, eight images each, and lists that name five of them for training and two for testing."""
    root = tmp_path / "zoo"
    for domain in ("Photos", "ink_drawings"):
        lists: dict[str, list[str]] = {"train": [], "test": []}
        for label, name in enumerate(CLASSES):
            (root / domain / name).mkdir(parents=True)
            for index in range(PER_CLASS):
                (root / domain / name / f"{index}.jpg").write_bytes(picture(10 * label + index))
                if index < 7:
                    lists["train" if index < 5 else "test"].append(f"{domain}/{name}/{index}.jpg {label}")
        for split, lines in lists.items():
            (root / f"{domain}_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def packed(root: Path, to: Path, prefix: str = "") -> Path:
    with tarfile.open(to, "w:gz" if to.suffix == ".gz" else "w") as archive:
        archive.add(root, prefix or ".")
    return to


def listing(dataset: Folder, source: Path, domain: str = "photo", split: str = "train") -> list[tuple[str, int]]:
    files = open_source(source, dataset.files, dataset.roots)
    return [(entry.key, entry.label) for entry in dataset.entries(domain, split, files)]


def test_a_card_says_it_all(tmp_path):
    info = datasets.load(card(tmp_path)).info
    assert (info.name, info.title, info.revision) == ("zoo", "Zoo", "1")
    assert info.domains == ("photo", "ink") and info.classnames == ("great auk", "bee", "cat")
    assert info.templates == ("a {}.", "the {}.") and info.counts == {}
    named = CARD.replace('["a {}.", "the {}."]', "openai80")
    assert Folder.from_card(card(tmp_path, named)).info.templates == OPENAI_IMAGENET_TEMPLATES


def test_lists_decide_splits_and_order(tmp_path, zoo):
    dataset = Folder.from_card(card(tmp_path, WITH_LISTS))
    lines = (zoo / "Photos_train.txt").read_text().splitlines()
    (zoo / "Photos_train.txt").write_text("\n".join(reversed(lines)) + "\n\n")
    found = listing(dataset, zoo)
    assert found == [
        (f"{name}-{i}", label) for label, name in reversed(list(enumerate(CLASSES))) for i in (4, 3, 2, 1, 0)
    ]
    assert listing(dataset, zoo, "ink", "test") == [
        (f"{n}-{i}", label) for label, n in enumerate(CLASSES) for i in (5, 6)
    ]


def test_one_list_for_all_domains_with_and_without_labels(tmp_path, zoo):
    dataset = Folder.from_card(
        card(tmp_path, CARD.replace("test_fraction: 0.25\n", "lists: {train: a.txt, test: a.txt}\n"))
    )
    (zoo / "Photos/cat/a nice cat.jpg").write_bytes(picture(5))
    (zoo / "a.txt").write_text(
        "Photos/cat/1.jpg 2\nink_drawings/auk/1.jpg\nPhotos/cat/a nice cat.jpg\nPhotos/bee/0.jpg\n"
    )
    assert listing(dataset, zoo) == [("cat-1", 2), ("cat-a nice cat", 2), ("bee-0", 1)]
    assert listing(dataset, zoo, "ink", "test") == [("auk-1", 0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Photos/cat/1.jpg 1", "label 1 does not fit: folder 'cat' is class 2"),
        ("Photos/dog/1.jpg 1", "folder 'dog' is no class of dataset zoo"),
        ("Photo/cat/1.jpg 2", "with domain one of Photos, ink_drawings, got 'Photo/cat/1.jpg 2'"),
        ("Photos/1.jpg 2", "expected '<domain>/<class>/<image> <label>'"),
        ("Photos/cat/1.txt 2", "'Photos/cat/1.txt' is no image"),
        ("Photos/../../x/1.jpg 2", "leads outside"),
        ("/Photos/cat/1.jpg 2", "leads outside"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path, zoo, line, message):
    path = zoo / "Photos_train.txt"
    path.write_text(path.read_text().replace("Photos/auk/1.jpg 0", line))
    with pytest.raises(DatasetError) as raised:
        listing(Folder.from_card(card(tmp_path, WITH_LISTS)), zoo)
    assert f"{path}:2: " in str(raised.value) and message in str(raised.value)


def test_missing_files_are_all_named(tmp_path, zoo):
    dataset = Folder.from_card(card(tmp_path, WITH_LISTS))
    for name in ("auk/0.jpg", "cat/3.jpg"):
        (zoo / "Photos" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"names 2 files that do not exist\n.*auk/0\.jpg\n.*cat/3\.jpg"):
        listing(dataset, zoo)
    (zoo / "Photos_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"Photos_train\.txt does not exist; get it from the zoo"):
        listing(dataset, zoo)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        listing(dataset, zoo / "nowhere")
    with pytest.raises(FileNotFoundError, match="give --from"):
        dataset.entries("photo", "train", None)


def test_a_list_that_is_no_text_is_named(tmp_path, zoo):
    (zoo / "Photos_train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match="is not UTF-8 text"):
        listing(Folder.from_card(card(tmp_path, WITH_LISTS)), zoo)


def test_a_seeded_split_is_disjoint_complete_balanced_and_fixed(tmp_path, zoo):
    dataset = Folder.from_card(card(tmp_path))
    train, test = listing(dataset, zoo), listing(dataset, zoo, split="test")
    assert set(train) | set(test) == {(f"{n}-{i}", label) for label, n in enumerate(CLASSES) for i in range(PER_CLASS)}
    assert not set(train) & set(test)
    assert [sum(label == k for _, label in test) for k in range(3)] == [2, 2, 2]
    assert train == sorted(train) and train == listing(dataset, zoo)
    assert [key for key, _ in test] == ["auk-0", "auk-7", "bee-4", "bee-6", "cat-2", "cat-3"], (
        "fixed for ever by the seed"
    )
    other = Folder.from_card(card(tmp_path, CARD + "split_seed: 1\n"))
    assert listing(other, zoo, split="test") != test


def test_files_that_do_not_fit_are_named_not_dropped(tmp_path, zoo):
    dataset = Folder.from_card(card(tmp_path))
    (zoo / "Photos/.DS_Store").write_bytes(b"")
    (zoo / "Photos/cat/Thumbs.db").write_bytes(b"")
    assert len(listing(dataset, zoo)) == 18
    (zoo / "Photos/cat/notes.doc").write_bytes(b"")
    (zoo / "Photos/stray.jpg").write_bytes(b"")
    (zoo / "Photos/dog").mkdir()
    (zoo / "Photos/dog/1.jpg").write_bytes(b"")
    with pytest.raises(DatasetError) as raised:
        listing(dataset, zoo)
    for message in (
        "3 files that do not fit",
        "notes.doc: is no image",
        "stray.jpg: lies in no class folder",
        "dog/1.jpg: lies",
    ):
        assert message in str(raised.value)


def test_a_domain_without_images_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no images below .*/Photos; expected Photos/<class>/<image>, from the zoo"
    ):
        listing(Folder.from_card(card(tmp_path)), tmp_path / "empty")


def test_keys_are_unique_and_safe(tmp_path, zoo):
    (zoo / "Photos/cat/0.png").write_bytes(picture(1, form="PNG"))
    (zoo / "Photos/cat/a.b").mkdir()
    (zoo / "Photos/cat/a.b/1.2.JPG").write_bytes(picture(2))
    dataset = Folder.from_card(card(tmp_path))
    files = open_source(zoo)
    entries = [entry for split in ("train", "test") for entry in dataset.entries("photo", split, files)]
    keys = [entry.key for entry in entries if entry.label == 2]
    assert len(set(keys)) == len(keys) == PER_CLASS + 2
    assert "cat-a_b-1_2" in keys and {dataset.read(entry, files)[1] for entry in entries} == {"jpg", "png"}
    write_prepared(dataset, tmp_path / "out", zoo)


@pytest.mark.parametrize("text", [CARD, WITH_LISTS])
@pytest.mark.parametrize(("name", "prefix"), [("a.tar", ""), ("a.tar", "zoo"), ("a.tar.gz", "zoo"), ("a.tgz.gz", "")])
def test_an_archive_gives_the_same_bytes_as_its_folder(tmp_path, zoo, text, name, prefix):
    dataset = Folder.from_card(card(tmp_path, text))
    from_folder = write_prepared(dataset, tmp_path / "from_folder", zoo)
    from_archive = write_prepared(dataset, tmp_path / "from_archive", packed(zoo, tmp_path / name, prefix))
    assert from_archive.identity == from_folder.identity
    sample = index_shard(from_folder.path(from_folder.select("ink", "train")[0]))[0]
    path = from_archive.path(from_archive.select("ink", "train")[0])
    key_file = zoo / "ink_drawings" / (sample.key.replace("-", "/") + ".jpg")
    assert path.read_bytes()[sample.offset : sample.offset + sample.size] == key_file.read_bytes()


def test_linked_class_folders_are_followed(tmp_path, zoo):
    (zoo / "Photos/cat").rename(tmp_path / "cats")
    (zoo / "Photos/cat").symlink_to(tmp_path / "cats")
    assert len(listing(Folder.from_card(card(tmp_path)), zoo)) == 18


def test_what_a_mac_adds_to_an_archive_is_passed_over(tmp_path, zoo):
    (zoo / "Photos/cat/._1.jpg").write_bytes(b"resource fork")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(zoo, "zoo")
        archive.addfile(tarfile.TarInfo("._zoo"))
    assert len(listing(Folder.from_card(card(tmp_path)), tmp_path / "a.tar")) == 18


def test_all_in_one_split(tmp_path, zoo):
    pool = CARD.replace("test_fraction: 0.25", "all_in: train")
    dataset = Folder.from_card(card(tmp_path, pool))
    assert dataset.splits("photo") == ("train",) and len(listing(dataset, zoo)) == 3 * PER_CLASS
    with pytest.raises(DatasetError, match="dataset zoo has no photo/test, only train"):
        listing(dataset, zoo, split="test")
    prepared = write_prepared(dataset, tmp_path / "out", zoo)
    assert prepared.counts == {domain: {"train": [PER_CLASS] * 3} for domain in ("photo", "ink")}
    test = write_prepared(Folder.from_card(card(tmp_path, pool.replace("train", "test"))), tmp_path / "test", zoo)
    assert set(test.counts["ink"]) == {"test"}


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_domain_without_a_folder_of_its_own(tmp_path, zoo, split):
    """Folders of classes at the top; the same images, and with lists the same lines, as one folder deeper."""
    one = CARD.replace("{photo: Photos, ink: ink_drawings}", "{photo: Photos}")
    flat = one.replace("Photos", ".")
    deep = listing(Folder.from_card(card(tmp_path, one)), zoo, split=split)
    found = listing(Folder.from_card(card(tmp_path, flat)), zoo / "Photos", split=split)
    assert len(found) == len(deep) == (18 if split == "train" else 6)
    assert (
        listing(Folder.from_card(card(tmp_path, flat)), packed(zoo / "Photos", tmp_path / "a.tar", "x"), split=split)
        == found
    )
    (zoo / "Photos/train.txt").write_text("cat/1.jpg 2\nauk/3.jpg\n")
    (zoo / "Photos/test.txt").write_text("bee/1.jpg\n")
    lists = flat.replace("test_fraction: 0.25\n", "lists: {train: train.txt, test: test.txt}\n")
    expected = [("cat-1", 2), ("auk-3", 0)] if split == "train" else [("bee-1", 1)]
    assert listing(Folder.from_card(card(tmp_path, lists)), zoo / "Photos", split=split) == expected


def test_domain_folders_may_lie_deeper_and_under_one_of_several_roots(tmp_path, zoo):
    deep = CARD.replace("{photo: Photos, ink: ink_drawings}", "{photo: a/Photos, ink: a/ink_drawings}")
    (tmp_path / "old/v2").mkdir(parents=True)
    zoo.rename(tmp_path / "old/v2/a")
    plain = Folder.from_card(card(tmp_path, deep))
    rooted = Folder.from_card(card(tmp_path, deep + "root: [new, old/v2]\n"))
    found = listing(plain, tmp_path / "old/v2")
    assert len(found) == 18 and listing(rooted, tmp_path) == found == listing(rooted, tmp_path / "old/v2")
    archive = packed(tmp_path / "old", tmp_path / "b.tar", "old")
    assert listing(rooted, archive) == found, "the root that is the archive's only folder is no wrapping"
    with pytest.raises(
        FileNotFoundError, match=r"expected new/a/Photos/<class>/<image> or old/v2/a/Photos/<cl.* or a/Ph"
    ):
        listing(rooted, tmp_path / "old")


def test_archives_that_a_card_names_are_read_in_place(tmp_path, zoo):
    text = CARD + "files:\n- {name: photos.tar, url: https://zoo.example/p}\n- {name: ink.zip, mount: ink_drawings}\n"
    dataset = Folder.from_card(card(tmp_path, text))
    assert [(file.name, file.urls, file.mount) for file in dataset.files] == [
        ("photos.tar", ("https://zoo.example/p",), ""),
        ("ink.zip", (), "ink_drawings"),
    ]
    (tmp_path / "in").mkdir()
    packed(zoo / "Photos", tmp_path / "in/photos.tar", "Photos")
    with zipfile.ZipFile(tmp_path / "in/ink.zip", "w") as archive:
        for path in sorted((zoo / "ink_drawings").rglob("*.jpg")):
            archive.write(path, path.relative_to(zoo / "ink_drawings"))
    for domain in ("photo", "ink"):
        assert listing(dataset, tmp_path / "in", domain) == listing(dataset, zoo, domain)
