"""`prepare`: what it shows, that it verifies a second time, its sources, and its errors."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import datasets
import datasets.sources.download
import datasets.storage
import orchestrator.prepare.display as module
from datasets import DatasetError
from datasets.base import Entry, Published, PublishedFile, RawSample
from datasets.shard_file import OpenShard
from datasets.shard_journal import JOURNAL
from datasets.shards import Done, open_prepared, write_prepared
from orchestrator.cli import app
from orchestrator.prepare.dataset import Options, prepare
from orchestrator.prepare.display import Display, Transfers
from tests.datasets.fakes import COUNTS, Fake, picture

TOTAL = sum(sum(splits.values()) for splits in COUNTS.values())


QUIET = Console(quiet=True)


@pytest.fixture
def fake(monkeypatch) -> Fake:
    dataset = Fake()
    monkeypatch.setattr(datasets, "load", lambda name: dataset)
    monkeypatch.setattr(datasets, "folder_name", lambda name: "fake")
    return dataset


def shown(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, soft_wrap=True)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_says_what_it_did_and_the_second_time_verifies(tmp_path, fake):
    first, second = shown(), shown()
    prepared = prepare("fake", None, tmp_path / "fake", None, first)
    assert prepared == open_prepared(tmp_path / "fake")
    assert text(first).startswith(f"fake prepared: {TOTAL} images in 4 shards, ")
    attestation = (
        f"fake 1: 2 domains, 3 classes, 12 train and 7 test images in 4 shards, sha256:{prepared.identity[:16]}"
    )
    assert text(first).splitlines()[1:] == [attestation], "no bar where there is no terminal"
    assert prepare("fake", None, tmp_path / "fake", None, second) == prepared
    assert text(second).startswith(f"fake is prepared already; verified {TOTAL} images in 4 shards")
    assert len(fake.made) == TOTAL, "made once"


def test_what_is_missing_is_said(tmp_path, fake):
    class Odd(Fake):
        def entry(self, domain: str, split: str, index: int) -> Entry:
            entry = super().entry(domain, split, index)
            return Entry(entry.key, 0, entry.path) if (domain, split) == ("oil", "train") else entry

        def read(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
            if entry.path == "ink/test/1":
                return b"no image", "jpg"
            return (picture(0, form="TGA"), "tga") if entry.path == "ink/train/2" else super().read(entry)

    fake.__class__ = Odd
    console = shown()
    prepare("fake", None, tmp_path / "fake", None, console, Options(bad_images="list"))
    assert text(console).splitlines()[1:-1] == [
        f"ink/test: 1 bad image is left out, listed in {tmp_path}/fake/bad_images.jsonl",
        "ink/train: 1 image is stored as PNG, with the pixels that PIL gives",
        "ink/test: no image of square (class 1)",
        "oil/train: no image of square (class 1), star (class 2)",
    ]
    fake.info = Fake(groups={"oil": ((0, 1, 2),)}).info
    console = shown()
    prepare("fake", None, tmp_path / "grouped", None, console, Options(bad_images="list"))
    assert "oil/train: no image" not in text(console), "they are one, of which there are images"


def test_without_a_terminal_it_shows_lines_with_speed_and_time_left(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)
    console = shown()
    prepare("fake", None, tmp_path / "fake", None, console)
    lines = text(console).splitlines()
    assert len(lines) == TOTAL + 2
    assert lines[7].startswith(f"prepare fake ink/test: 8 of {TOTAL} images, ") and lines[7].endswith(" s left")
    assert lines[TOTAL - 1].startswith(f"prepare fake oil/test: {TOTAL} of {TOTAL} images, ")
    assert lines[TOTAL - 1].endswith(" 0 s left")


def test_on_a_terminal_it_shows_a_bar(tmp_path, fake):
    console = shown(terminal=True)
    prepare("fake", None, tmp_path / "fake", None, console)
    assert f"{TOTAL}/{TOTAL}" in text(console) and "prepare fake oil/test" in text(console)


def test_quiet_shows_nothing(tmp_path, fake, capfd):
    prepare("fake", None, tmp_path / "fake", None, QUIET)
    assert capfd.readouterr() == ("", "")


def test_a_resumed_run_does_not_count_old_images_as_speed(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)
    console = shown()
    display = Display("prepare fake", console)
    display.update(Done("ink/train", 700, 1000, 700))
    display.update(Done("ink/test", 702, 1000, 700))
    assert text(console).splitlines() == [
        "prepare fake ink/train: 700 of 1,000 images, 0 images/s",
        "prepare fake ink/test: 702 of 1,000 images, 1 images/s, 298 s left",
    ]


def test_transfers_show_lines_too(monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)
    console = shown()
    with Transfers("download fake", console) as transfers:
        transfers.update("a.zip", 2**20, 2**22)
        transfers.update("b.zip", 2**19, None)
    assert text(console).splitlines() == ["download fake a.zip: 1.0 of 4.0 MiB", "download fake b.zip: 0.5 MiB"]


def test_other_options_into_the_same_folder_are_refused(tmp_path, fake):
    prepare("fake", None, tmp_path / "fake", None, QUIET)
    with pytest.raises(
        DatasetError, match=r"another short_side \(None, asked for 8\); delete that folder or give another one"
    ):
        prepare("fake", None, tmp_path / "fake", 8, QUIET)


def test_damage_is_found_the_second_time(tmp_path, fake):
    prepare("fake", None, tmp_path / "fake", None, QUIET)
    path = tmp_path / "fake/oil/test-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(DatasetError, match=r"oil/test-000000\.tar: sha256 is"):
        prepare("fake", None, tmp_path / "fake", None, QUIET)


def test_sources_are_checked(tmp_path):
    with pytest.raises(DatasetError, match="dataset demo is made from nothing; leave out the source"):
        prepare("demo", tmp_path, tmp_path / "demo", None, QUIET)
    with pytest.raises(FileNotFoundError, match="dataset pacs needs its published files: give --from"):
        prepare("pacs", None, tmp_path / "pacs", None, QUIET)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        prepare("pacs", Path("nowhere"), tmp_path / "pacs", None, QUIET)
    with pytest.raises(DatasetError, match="unknown dataset 'pasc', did you mean 'pacs'"):
        prepare("pasc", None, tmp_path / "pasc", None, QUIET)


class Archived(Fake):
    """Needs one published file."""

    files = (PublishedFile(name="ink/list.txt", urls=("https://example.org/list.txt",), domains=("ink",)),)


@pytest.mark.parametrize(("source", "base"), [("https://example.org/x", "https://example.org/x"), ("published", None)])
def test_files_are_downloaded_beside_the_target_and_only_once(tmp_path, fake, monkeypatch, source, base):
    calls = []

    def download(files, base_url, to, domains, progress, *, homepage):
        calls.append((files, base_url, to, domains, homepage))
        to.mkdir(parents=True)
        return []

    monkeypatch.setattr(datasets.sources.download, "download", download)
    fake.__class__ = Archived
    prepare("fake", source, tmp_path / "fake", None, QUIET)
    prepare("fake", source, tmp_path / "fake", None, QUIET)
    assert calls == [(Archived.files, base, tmp_path / "downloads/fake", ("ink", "oil"), "tests")]
    own = Options(downloads=tmp_path / "own", domains=["oil"])
    prepare("fake", source, tmp_path / "other", None, QUIET, own)
    assert calls[1][2:4] == (tmp_path / "own", ("oil",))


def test_an_archive_behind_a_url_needs_no_list_of_files(tmp_path, fake, monkeypatch):
    asked = []

    def download(files, base_url, to, *rest, **more):
        asked.append((files[0].name, files[0].urls, base_url))
        to.mkdir(parents=True)
        (to / "sub").mkdir()
        return [to / "sub"]

    monkeypatch.setattr(datasets.sources.download, "download", download)
    url = "https://example.org/data/all.tar.gz"
    prepare("fake", url, tmp_path / "fake", None, QUIET)
    assert asked == [("all.tar.gz", (url,), None)]
    with pytest.raises(DatasetError, match="dataset fake has no list of files to download"):
        prepare("fake", "https://example.org/data", tmp_path / "other", None, QUIET)


def test_the_command_names_every_problem_on_a_line_of_its_own(tmp_path, fake, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["prepare", "fake", *arguments])
        return result.exit_code, result.stdout, result.stderr

    fake.info = Fake(counts=COUNTS | {"oil": {"train": 50, "test": 30}}).info
    code, _, errors = call()
    assert code == 2 and errors.splitlines()[1:3] == [
        "oil/train: expected 50 images, found 5",
        "oil/test: expected 30 images, found 3",
    ]
    assert call("--domains", "ink,,oil")[0] == 2
    code, out, _ = call("--domains", "ink", "--workers", "1", "--short-side", "16")
    assert (
        code == 0 and "fake 1: 1 domain, 3 classes, 7 train and 4 test images in 2 shards, reduced to 16 pixels" in out
    )
    assert open_prepared(tmp_path / "data/fake").domains == ("ink",)


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["prepare", "fake", "--workers", "1", *arguments])
    return result.exit_code, result.stderr


def test_ctrl_c_ends_with_130_and_the_same_command_continues(tmp_path, fake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made, read = [], type(fake).read

    def stopping(self, entry: Entry, source: Published | None = None) -> tuple[bytes, str]:
        if len(made) == 12:
            raise KeyboardInterrupt
        made.append(entry.path)
        return read(self, entry, source)

    monkeypatch.setattr(Fake, "read", stopping)
    assert command() == (130, "interrupted: run the same command again to continue\n")
    monkeypatch.setattr(Fake, "read", read)
    fake.made.clear()
    assert command() == (0, "")
    assert len(fake.made) == TOTAL - 11, "both shards of ink are kept, the third was torn"
    assert open_prepared("data/fake").identity == write_prepared(Fake(), tmp_path / "whole", None).identity


def test_a_full_disk_is_named_and_the_same_command_continues(tmp_path, fake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write = OpenShard.write

    def full(self: OpenShard, sample: RawSample) -> None:
        if "oil" in str(self.path):
            raise OSError(28, "No space left on device")
        write(self, sample)

    monkeypatch.setattr(OpenShard, "write", full)
    line = f"{tmp_path}/data/fake/oil/train-000000.tar: No space left on device; then run the same command again"
    assert command() == (2, f"{line}, it continues\n")
    assert not list((tmp_path / "data").rglob("*.tmp")) and not (tmp_path / "data/fake/dataset.json").exists()
    monkeypatch.setattr(OpenShard, "write", write)
    fake.made.clear()
    assert command() == (0, "")
    assert {path.partition("/")[0] for path in fake.made} == {"oil"}


def test_a_folder_of_something_else_keeps_all_that_is_in_it(tmp_path, fake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foreign = tmp_path / "photos"
    (foreign / "ink").mkdir(parents=True)
    (foreign / "ink/train-000000.tar").write_bytes(b"mine")
    code, line = command("--to", "photos")
    assert code == 2 and line == f"{foreign} holds other files (ink); give an empty or new folder\n"
    assert (foreign / "ink/train-000000.tar").read_bytes() == b"mine"
    (foreign / JOURNAL).write_text('{"name": "other"}\n')
    code, line = command("--to", "photos")
    assert code == 2 and line.startswith(
        f"{foreign} holds an unfinished dataset other; finish it, delete the folder, or"
    )
    assert (foreign / "ink/train-000000.tar").read_bytes() == b"mine"
