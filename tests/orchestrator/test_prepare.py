"""`prepare`: what it shows, that it verifies a second time, and its errors."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import datasets
import orchestrator.prepare as module
from datasets import DatasetError
from datasets.shards import open_prepared
from orchestrator.prepare import prepare
from tests.datasets.fakes import COUNTS, Fake

TOTAL = sum(sum(splits.values()) for splits in COUNTS.values())


@pytest.fixture
def fake(monkeypatch) -> Fake:
    dataset = Fake()
    monkeypatch.setattr(datasets, "load", lambda name: dataset)
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
    assert text(first).count("\n") == 1, "no bar where there is no terminal"
    assert prepare("fake", None, tmp_path / "fake", None, second) == prepared
    assert text(second).startswith(f"fake is prepared already; verified {TOTAL} images in 4 shards")
    assert fake.made == ["ink/train", "ink/test", "oil/train", "oil/test"], "made once"


def test_without_a_terminal_it_shows_lines_with_speed_and_time_left(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)
    console = shown()
    prepare("fake", None, tmp_path / "fake", None, console)
    lines = text(console).splitlines()
    assert len(lines) == TOTAL + 1
    assert lines[7].startswith("prepare fake ink/test: 8 images, ") and lines[7].endswith(" s left")
    assert lines[-2].startswith(f"prepare fake oil/test: {TOTAL} images, ") and lines[-2].endswith(" 0 s left")


def test_on_a_terminal_it_shows_a_bar(tmp_path, fake):
    console = shown(terminal=True)
    prepare("fake", None, tmp_path / "fake", None, console)
    assert f"{TOTAL}/{TOTAL}" in text(console) and "prepare fake oil/test" in text(console)


def test_quiet_shows_nothing(tmp_path, fake, capfd):
    prepare("fake", None, tmp_path / "fake", None, Console(quiet=True))
    assert capfd.readouterr() == ("", "")


def test_a_resumed_run_does_not_count_old_images_as_speed(tmp_path, fake, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)
    console = shown()
    display = module._Display(fake.info, console)
    display.update("ink/train", 7)
    display.update("ink/test", 1)
    first, second = text(console).splitlines()
    assert first.startswith("prepare fake ink/train: 7 images, 0 images/s")
    assert second.startswith("prepare fake ink/test: 8 images, 0 images/s,"), "1 image in several seconds"


def test_other_options_into_the_same_folder_are_refused(tmp_path, fake):
    prepare("fake", None, tmp_path / "fake", None, Console(quiet=True))
    with pytest.raises(
        DatasetError, match=r"another short_side \(None, asked for 8\); delete that folder or give another one"
    ):
        prepare("fake", None, tmp_path / "fake", 8, Console(quiet=True))


def test_damage_is_found_the_second_time(tmp_path, fake):
    prepare("fake", None, tmp_path / "fake", None, Console(quiet=True))
    path = tmp_path / "fake/oil/test-000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(DatasetError, match=r"oil/test-000000\.tar: sha256 is"):
        prepare("fake", None, tmp_path / "fake", None, Console(quiet=True))


def test_sources_are_checked(tmp_path):
    with pytest.raises(DatasetError, match="dataset demo is made from nothing; leave out the source"):
        prepare("demo", tmp_path, tmp_path / "demo", None, Console(quiet=True))
    with pytest.raises(FileNotFoundError, match="dataset pacs needs its published files: give --from"):
        prepare("pacs", None, tmp_path / "pacs", None, Console(quiet=True))
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        prepare("pacs", Path("nowhere"), tmp_path / "pacs", None, Console(quiet=True))
    with pytest.raises(DatasetError, match="unknown dataset 'pasc', did you mean 'pacs'"):
        prepare("pasc", None, tmp_path / "pasc", None, Console(quiet=True))
