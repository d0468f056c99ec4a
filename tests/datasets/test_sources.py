"""Published files read where they lie: folders, archives and both together give the same names and the same bytes."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from datasets import DatasetError
from datasets.base import Published, PublishedFile
from datasets.sources import load_mat, missing, open_source

ROOTS = ("real", "ink drawings")


CONTENT = {
    "real/cat/1.jpg": b"cat one",
    "real/cat/2.jpg": bytes(range(256)) * 40,
    "real/dog/a.b.jpg": b"",
    "ink drawings/dog/ä.png": b"dog in ink",
    "train.txt": b"real/cat/1.jpg 0\n" * 200,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ROBUST_FT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def in_folder(root: Path, content: dict[str, bytes] = CONTENT) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def in_tar(path: Path, content: dict[str, bytes] = CONTENT, prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def in_zip(
    path: Path, content: dict[str, bytes] = CONTENT, prefix: str = "", method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        if prefix:
            archive.mkdir(prefix.rstrip("/"))
        for name, data in content.items():
            archive.writestr(prefix + name, data)
    return path


def part(*tops: str) -> dict[str, bytes]:
    return {name: data for name, data in CONTENT.items() if name.startswith(tops)}


def make_union(root: Path) -> tuple[Path, tuple[PublishedFile, ...]]:
    """A list and one domain unpacked, the other two archives beside them, one of which has to appear below a folder."""
    in_folder(root, part("train.txt"))
    in_zip(root / "real.zip", part("real/cat"))
    (root / "more").mkdir()
    in_tar(root / "more/dogs.tgz", {"dog/a.b.jpg": CONTENT["real/dog/a.b.jpg"]})
    in_tar(root / "ink.tar", part("ink"))
    files = (
        PublishedFile(name="train.txt"),
        PublishedFile(name="real.zip", unpacked=("real/cat",)),
        PublishedFile(name="more/dogs.tgz", mount="real"),
        PublishedFile(name="ink.tar", urls=("https://example.org/ink.tar",), unpacked=("ink drawings",)),
    )
    return root, files


def sources(tmp_path: Path) -> dict[str, Published]:
    union, files = make_union(tmp_path / "union")
    made = {
        "folder": in_folder(tmp_path / "folder"),
        "tar": in_tar(tmp_path / "a.tar"),
        "enclosed tar": in_tar(tmp_path / "b.tar", prefix="zoo/"),
        "tar with dots": in_tar(tmp_path / "c.tar", prefix="./"),
        "tar.gz": in_tar(tmp_path / "a.tar.gz"),
        "enclosed tgz": in_tar(tmp_path / "b.tgz", prefix="./zoo/"),
        "zip": in_zip(tmp_path / "a.zip"),
        "stored zip": in_zip(tmp_path / "s.zip", method=zipfile.ZIP_STORED),
        "enclosed zip": in_zip(tmp_path / "b.zip", prefix="zoo/"),
    }
    opened = {name: open_source(path, (), ROOTS) for name, path in made.items()}
    return opened | {"union": open_source(union, files, ROOTS)}


def test_all_kinds_of_sources_are_alike(tmp_path):
    for kind, source in sources(tmp_path).items():
        assert source.below("") == sorted(CONTENT), kind
        assert source.below("real") == ["real/cat/1.jpg", "real/cat/2.jpg", "real/dog/a.b.jpg"], kind
        assert source.below("real/dog") == source.below("real/dog/") == ["real/dog/a.b.jpg"], kind
        assert source.below("rea") == source.below("real/cat/1.jpg") == source.below("nowhere") == [], kind
        for name, data in CONTENT.items():
            assert source.exists(name) and source.read(name) == data and source.size(name) == len(data), (kind, name)
        for absent in ("real", "real/cat", "real/cat/3.jpg", "../" + tmp_path.name, "", "zoo/train.txt"):
            assert not source.exists(absent), (kind, absent)
        for ask in (source.read, source.size):
            with pytest.raises(FileNotFoundError, match=r"real/cat/3\.jpg does not exist"):
                ask("real/cat/3.jpg")
        assert source.where("real/cat/1.jpg").endswith("cat/1.jpg"), kind
        again: Published = pickle.loads(pickle.dumps(source))
        assert again.below("") == sorted(CONTENT) and again.read("train.txt") == CONTENT["train.txt"], kind


def test_an_enclosing_folder_stays_if_it_is_expected(tmp_path):
    only = {name: data for name, data in CONTENT.items() if name.startswith("real/")}
    assert open_source(in_zip(tmp_path / "a.zip", only), (), ROOTS).exists("real/cat/1.jpg")
    assert open_source(in_zip(tmp_path / "b.zip", only), (), ()).exists("cat/1.jpg")
    with_mac = {**{f"zoo/{name}": data for name, data in only.items()}, "__MACOSX/zoo/._x": b"", "._zoo": b""}
    assert open_source(in_zip(tmp_path / "c.zip", with_mac), (), ROOTS).below("") == sorted(only)


def test_in_a_folder_the_own_files_win_and_archives_fill_the_gaps(tmp_path):
    root, files = make_union(tmp_path / "union")
    in_folder(root, {"real/cat/1.jpg": b"my own", "real/cat/new.jpg": b"new"})
    source = open_source(root, files)
    assert source.read("real/cat/1.jpg") == b"my own" and source.size("real/cat/1.jpg") == 6
    assert source.read("real/cat/2.jpg") == CONTENT["real/cat/2.jpg"], (
        "unpacking was interrupted: the archive has the rest"
    )
    assert source.below("real/cat") == ["real/cat/1.jpg", "real/cat/2.jpg", "real/cat/new.jpg"]
    assert source.where("real/cat/1.jpg") == f"{root}/real/cat/1.jpg"
    assert source.where("real/cat/2.jpg") == f"{root}/real.zip:real/cat/2.jpg"


def test_a_missing_archive_matters_only_when_something_in_it_is_asked_for(tmp_path):
    root, files = make_union(tmp_path / "union")
    (root / "ink.tar").unlink()
    (root / "more/dogs.tgz").unlink()
    source = open_source(root, files)
    assert source.read("real/cat/1.jpg") == b"cat one" and source.below("ink drawings") == []
    with pytest.raises(FileNotFoundError) as raised:
        source.read("ink drawings/dog/ä.png")
    expected = f"ink.tar is missing: get it from https://example.org/ink.tar and put it at {root}/ink.tar"
    assert str(raised.value) == f"{root}/ink drawings/dog/ä.png does not exist; {expected}"
    assert expected in missing(source, "ink drawings") and "dogs.tgz" not in missing(source, "ink drawings")
    assert "more/dogs.tgz is missing: get it by hand" in missing(source, "real/dog/a.b.jpg")
    assert missing(source, "else.txt").count("is missing") == 2, "either may have it"
    in_folder(root, part("ink"))
    assert "ink.tar" not in missing(source, "ink drawings/1.jpg"), "it is unpacked"
    (root / "train.txt").unlink()
    assert (
        f"train.txt is missing: get it by hand from the dataset's home page and put it at {root}/train.txt"
        in missing(source, "train.txt")
    )


def test_a_published_archive_may_be_the_whole_source(tmp_path):
    files = (PublishedFile(name="sub/cub.tgz", mount="images"),)
    source = open_source(in_tar(tmp_path / "cub.tgz", {"zoo/1.jpg": b"1"}), files)
    assert (
        source.below("") == source.below("images/zoo") == ["images/zoo/1.jpg"]
        and source.read("images/zoo/1.jpg") == b"1"
    )
    assert missing(source, "x/2.jpg") == f"{tmp_path}/cub.tgz:x/2.jpg does not exist"


def test_archives_in_a_tar_show_their_content(tmp_path):
    """As ImageNet's training images are published; what a Mac leaves beside them is no archive."""
    inner = {
        name: in_tar(tmp_path / f"{name}.tar", {f"{name}_1.JPEG": name.encode()}).read_bytes() for name in ("n1", "n2")
    }
    outer = in_tar(tmp_path / "train.tar", {f"{name}.tar": data for name, data in inner.items()} | {"._n1.tar": b"x"})
    source = open_source(outer, (), ("n1", "n2"))
    assert source.below("") == ["._n1.tar", "n1/n1_1.JPEG", "n2/n2_1.JPEG"] and source.read("n2/n2_1.JPEG") == b"n2"
    in_tar(tmp_path / "train.tar", {"n1.tar": inner["n1"][:700]})
    with pytest.raises(DatasetError, match=r"train\.tar:n1\.tar: not a whole tar archive"):
        open_source(outer)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_is_read_as_tarfile_reads_it(tmp_path, form):
    """Most headers are not read by tarfile; names of these lengths lie in different places, or in headers of their own."""
    names = ["a/1.jpg", "ä/ö.jpg", "b" * 99, "c" * 100, "d" * 90 + "/" + "e" * 60, "f/ .jpg", "g//h.jpg", "./i.jpg"]
    names += [f"{'long/' * 50}{n}.jpg" for n in range(2)] if form != tarfile.USTAR_FORMAT else []
    with tarfile.open(tmp_path / "a.tar", "w", format=form, pax_headers={"comment": "for all"}) as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = number * 200, number / 3 if number % 2 else 5
            archive.addfile(member, io.BytesIO(bytes([number]) * member.size))
            folder = tarfile.TarInfo(f"folder{number}")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    source = open_source(tmp_path / "a.tar", (), ("a",))
    expected = {name.replace("//", "/").removeprefix("./"): number for number, name in enumerate(names)}
    assert source.below("") == sorted(expected)
    assert all(source.read(name) == bytes([number]) * (number * 200) for name, number in expected.items())


@pytest.mark.parametrize("outer", [in_zip, in_tar])
@pytest.mark.parametrize("inner", ["b/in.tar.gz", "b/in.tgz", "b/in.tar"])
def test_a_published_archive_may_lie_in_another(tmp_path, outer, inner):
    data = in_tar(tmp_path / Path(inner).name, {"x/1.jpg": b"1"}).read_bytes()
    (tmp_path / "set").mkdir()
    name = "out.zip" if outer is in_zip else "out.tar"
    files = (PublishedFile(name=name, unpacked=(inner,)), PublishedFile(name=inner, mount="b/here"))
    path = outer(tmp_path / "set" / name, {inner: data, "list.txt": b"list"})
    if inner.endswith(".tar") and outer is in_tar:  # shown without being named
        assert open_source(path).below("") == ["b/in/x/1.jpg", "list.txt"]
        return
    for place in (tmp_path / "set", path):
        source = open_source(place, files)
        assert source.below("") == ["b/here/x/1.jpg", "list.txt"] and source.read("b/here/x/1.jpg") == b"1"
        assert source.where("b/here/x/1.jpg") == f"{path}:{inner}:x/1.jpg"
        again: Published = pickle.loads(pickle.dumps(source))
        assert again.exists("b/here/x/1.jpg") and not again.exists("b/here/x/2.jpg")
    bad = outer(tmp_path / "set" / name, {inner: data[:-60] if inner.endswith("z") else data[:900], "list.txt": b""})
    with pytest.raises(DatasetError, match=rf"{bad}:{inner}: not a whole tar archive"):
        open_source(tmp_path / "set", files).exists("b/here/x/1.jpg")


def test_a_tar_that_is_called_tar_gz_is_read_as_what_it_is(tmp_path):
    in_tar(tmp_path / "v2.tar").rename(tmp_path / "v2.tar.gz")
    assert open_source(tmp_path / "v2.tar.gz", (), ROOTS).below("") == sorted(CONTENT)


def test_what_is_no_source_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; expected the folder or archive"):
        open_source(tmp_path / "nowhere")
    for name, data, message in (
        ("a.rar", b"Rar!", r"a\.rar: expected a folder or an archive \(\.zip, "),
        ("page.zip", b"\n <!DOCTYPE html>", r"page\.zip: is a web page, no archive"),
        ("a.zip", b"hello", r"a\.zip: is no zip archive: it begins with b'hell'"),
        ("a.tar.gz", b"hello", r"a\.tar\.gz: not a whole tar archive"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DatasetError, match=message):
            open_source(tmp_path / name)


def test_a_changed_archive_is_opened_anew(tmp_path):
    path = in_zip(tmp_path / "a.zip", {"a.txt": b"1", "b.txt": b"2"})
    assert open_source(path).below("") == ["a.txt", "b.txt"]
    in_zip(path, {"c.txt": b"1", "d.txt": b"2"})
    os.utime(path, ns=(1, 1))
    assert open_source(path).below("") == ["c.txt", "d.txt"]


def test_links_in_the_users_own_folder_are_followed_but_not_in_circles(tmp_path):
    root = in_folder(tmp_path / "folder")
    (root / "real/cat").rename(tmp_path / "cats")
    (root / "real/cat").symlink_to(tmp_path / "cats")
    assert open_source(root).below("") == sorted(CONTENT)
    (tmp_path / "cats/loop").symlink_to(root / "real")
    with pytest.raises(DatasetError, match="is a link to a folder that it lies in"):
        open_source(root).below("real")


def test_paths_from_lists_do_not_leave_a_folder(tmp_path):
    source = open_source(in_folder(tmp_path / "folder"))
    in_folder(tmp_path, {"secret.txt": b"1"})
    for path in ("../secret.txt", str(tmp_path / "secret.txt"), "real/../../secret.txt"):
        assert not source.exists(path)
        with pytest.raises((DatasetError, FileNotFoundError), match="secret"):
            source.read(path)


def test_matlab_files(tmp_path):
    stream = io.BytesIO()
    scipy.io.savemat(
        stream, {"labels": np.arange(5), "names": np.array(["a", "bcd"], dtype=object)}, do_compression=True
    )
    found = load_mat(stream.getvalue(), "a.mat")
    assert set(found) == {"labels", "names"} and found["labels"].tolist() == [[0, 1, 2, 3, 4]]
    assert [str(cell[0]) for cell in found["names"].ravel()] == ["a", "bcd"]
    whole = stream.getvalue()
    v73 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n"
    for data, message in (
        (v73, "x/a.mat: is a MATLAB 7.3 file"),
        (whole[: len(whole) // 2], "x/a.mat: no whole MATLAB file"),
        (b"", "x/a.mat: no whole MATLAB file"),
        (b"<html>" * 100, "x/a.mat: no whole MATLAB file"),
        (whole[:200] + bytes(20) + whole[220:], "x/a.mat: no whole MATLAB file"),
    ):
        with pytest.raises(DatasetError, match=message) as raised:
            load_mat(data, "x/a.mat")
        assert len(str(raised.value).splitlines()) == 1
