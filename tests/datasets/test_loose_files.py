"""Images as loose files: replaced meanwhile, of any size, unreadable, or with a name that is no text."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datasets import DatasetError, NoRoomError, shard_file, shard_work
from datasets.folder import Folder, keys_of, seeded_order
from datasets.shard_file import OpenShard
from datasets.shards import Prepared, write_prepared
from datasets.sources import open_source
from orchestrator.cli import app
from tests.datasets.fakes import INK_CARD, picture
from tests.datasets.miniature import write_files, write_tar, write_zip

IMAGES = {f"ink/{name}/{i}.jpg": picture(i, (24, 16 + i)) for name in ("cat", "dog") for i in range(4)}


def card(folder: Path, more: str = "all_in: train\n") -> Folder:
    (folder / "mine.yaml").write_text(INK_CARD + more)
    return Folder.from_card(folder / "mine.yaml")


class Stops(Folder):
    """Breaks off at one image, as a power cut would."""

    at = "ink/dog/2.jpg"

    def read(self, entry, source):
        if entry.path == self.at:
            raise KeyboardInterrupt
        return super().read(entry, source)


def interrupted(dataset: Folder, to: Path, source: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_prepared(Stops(dataset.info, dataset.layout), to, source)


@pytest.mark.parametrize("same", ["size", "time"])
def test_an_image_replaced_between_a_kill_and_the_continuation_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: str
) -> None:
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 2)
    dataset, source = card(tmp_path), write_files(tmp_path / "in", IMAGES)
    interrupted(dataset, tmp_path / "out", source)
    assert len(list((tmp_path / "out").rglob("*.tar"))) == 3
    image = source / "ink/cat/1.jpg"
    before, data = image.stat(), IMAGES["ink/cat/3.jpg"]
    if same == "size":
        data = IMAGES["ink/cat/1.jpg"]
        data = (
            data[:12] + bytes([data[12] + 1]) + data[13:]
        )  # the second number of JFIF's version, which no decoder minds
    image.write_bytes(data)
    if same == "time":
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert same != "size" or image.stat().st_size == before.st_size
    kept = (tmp_path / "out/ink/train-000001.tar").stat().st_ino
    continued = write_prepared(dataset, tmp_path / "out", source)
    assert continued.identity == write_prepared(dataset, tmp_path / "whole", source).identity
    assert (tmp_path / "out/ink/train-000001.tar").stat().st_ino == kept, "what did not change is kept"


def sized(tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> list[Prepared]:
    monkeypatch.setattr(shard_file, "MAX_BYTES", limit)
    sources = [
        write_files(tmp_path / "in", IMAGES),
        write_zip(tmp_path / "in.zip", IMAGES),
        write_tar(tmp_path / "in.tar", IMAGES),
        write_tar(tmp_path / "in.tar.gz", IMAGES),
    ]
    return [write_prepared(card(tmp_path), tmp_path / f"{limit}/{path.name}", path) for path in sources]


def test_a_shard_is_closed_before_its_files_grow_too_large_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest, whole = max(map(len, IMAGES.values())), sum(map(len, IMAGES.values()))
    cut = sized(tmp_path, 2 * largest, monkeypatch)
    assert [shard.count for shard in cut[0].shards] == [2] * 4
    assert {made.identity for made in cut} == {cut[0].identity}
    assert sum(shard.count for shard in cut[0].shards) == len(IMAGES)
    ordinary = sized(tmp_path, whole, monkeypatch)
    assert [shard.count for shard in ordinary[0].shards] == [len(IMAGES)]
    assert {made.identity for made in ordinary} == {ordinary[0].identity}
    uncut = sized(tmp_path, shard_file.MAX_BYTES * 10**6, monkeypatch)
    assert uncut[0].identity == ordinary[0].identity, "nothing is cut but what would be too large"


def unreadable(tmp_path: Path) -> Path:
    """A folder with an image that the system cannot read: EIO."""
    source = write_files(tmp_path / "in", IMAGES)
    (source / "ink/cat/1.jpg").unlink()
    (source / "ink/cat/1.jpg").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error"):
        (source / "ink/cat/1.jpg").read_bytes()
    return source


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux' /proc")
def test_an_image_that_the_disk_cannot_read_is_a_bad_image(tmp_path: Path) -> None:
    source = unreadable(tmp_path)
    with pytest.raises(DatasetError, match=r"1 image that cannot be decoded") as raised:
        write_prepared(card(tmp_path), tmp_path / "out", source)
    assert str(raised.value).splitlines()[1:] == ["ink/train: image ink/cat/1.jpg: cannot be read: Input/output error"]
    listed = write_prepared(card(tmp_path), tmp_path / "out", source, bad_images="list")
    assert listed.bad_images == {"ink": {"train": 1}} and listed.shards[0].count == len(IMAGES) - 1


@pytest.mark.parametrize("what", ["read", "write"])
def test_what_is_the_machines_fault_is_no_bad_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC if what == "read" else errno.EIO, "broken")

    class Failing(Folder):
        read = failing  # type: ignore[assignment]

    dataset, source = card(tmp_path), write_files(tmp_path / "in", IMAGES)
    if what == "read":
        dataset = Failing(dataset.info, dataset.layout)
    else:
        monkeypatch.setattr(OpenShard, "write", failing)
    with pytest.raises(OSError, match="broken") as raised:
        write_prepared(dataset, tmp_path / "out", source, bad_images="list")
    assert raised.value.filename == str(tmp_path / "out/ink/train-000000.tar")
    assert errno.EIO not in shard_work._OF_THE_MACHINE


def test_no_room_to_unpack_an_archive_is_no_bad_image(tmp_path: Path) -> None:
    class Unpacking(Folder):
        def read(self, entry, source):
            raise NoRoomError("no room to decompress it")

    dataset, source = card(tmp_path), write_files(tmp_path / "in", IMAGES)
    with pytest.raises(NoRoomError):
        write_prepared(Unpacking(dataset.info, dataset.layout), tmp_path / "out", source, bad_images="list")


def odd_name(tmp_path: Path) -> Path:
    source = write_files(tmp_path / "in", IMAGES)
    try:
        (source / os.fsdecode(b"ink/dog/caf\xe9.jpg")).write_bytes(picture(1))
    except OSError:
        pytest.skip("this file system has no such names")
    return source


@pytest.mark.parametrize("more", ["all_in: train\n", "test_fraction: 0.3\n"])
def test_a_file_name_that_is_no_text_is_named(tmp_path: Path, more: str) -> None:
    source = odd_name(tmp_path)
    with pytest.raises(DatasetError) as raised:
        write_prepared(card(tmp_path, more), tmp_path / "out", source)
    assert str(raised.value).splitlines() == [
        f"{source}/ink has 1 file that does not fit the card",
        f"{source}/'ink/dog/caf\\udce9.jpg': its name is not UTF-8 text; rename it",
    ]
    result = CliRunner().invoke(app, ["prepare", f"{tmp_path}/mine.yaml", "--from", str(source), "--to", str(tmp_path)])
    assert result.exit_code == 2 and "not UTF-8" in result.stderr


def test_orders_and_keys_of_names_that_are_no_text() -> None:
    with pytest.raises(DatasetError, match=r"image 'a/caf\\udce9\.jpg': its name is not UTF-8 text"):
        seeded_order(["a/b.jpg", "a/caf\udce9.jpg"], 0)
    assert len(set(keys_of(["caf\udce9.jpg", "caf\udce9.png"]))) == 2 == len(set(keys_of(["\ud800.jpg", "\ud800.png"])))
    assert seeded_order(["b", "é", "a"], 0) == seeded_order(["a", "b", "é"], 0)


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "x" * 5000 + ".jpg", "y/" * 3000 + "1.jpg"])
def test_a_list_with_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    source = write_files(tmp_path / "in", IMAGES)
    assert not open_source(source).exists(f"ink/cat/{name}")
    (source / "train.txt").write_text(f"ink/cat/0.jpg 0\nink/cat/{name} 0\n")
    (source / "test.txt").write_text("ink/dog/0.jpg 1\n")
    with pytest.raises(FileNotFoundError, match=r"train\.txt names 1 file that does not exist"):
        write_prepared(card(tmp_path, "lists: {train: train.txt, test: test.txt}\n"), tmp_path / "out", source)


def test_a_link_to_nothing_and_a_pipe_are_named_and_not_passed_over(tmp_path: Path) -> None:
    source = write_files(tmp_path / "in", IMAGES)
    (source / "ink/cat/gone.jpg").symlink_to("/nowhere/gone.jpg")
    (source / "ink/cat/itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(source / "ink/cat/pipe.jpg")
    with pytest.raises(DatasetError, match=r"3 images that cannot be decoded") as raised:
        write_prepared(card(tmp_path), tmp_path / "out", source)
    assert [line.split(":")[1] for line in str(raised.value).splitlines()[1:]] == [
        " image ink/cat/gone.jpg",
        " image ink/cat/itself.jpg",
        " image ink/cat/pipe.jpg",
    ]
