"""`verify`: says what a dataset is, or names everything that differs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from datasets import shard_file, storage
from datasets.shards import Prepared, file_sha256, open_prepared, write_prepared
from orchestrator.cli import app
from orchestrator.prepare.verify import DamagedError, find, verify
from tests.datasets.conftest import cache  # noqa: F401
from tests.datasets.fakes import Fake, picture
from tests.datasets.faulty_server import serving


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 4)
    return write_prepared(Fake(), tmp_path / "data/fake", None)


def problems(prepared: Prepared, **options: object) -> list[str]:
    with pytest.raises(DamagedError) as raised:
        verify(find(prepared.root, check_shards=False), **options)
    return [problem.removeprefix(f"{prepared.root}/") for problem in raised.value.problems]


def test_what_is_whole_is_attested(prepared):
    line = f"fake 1: 2 domains, 3 classes, 12 train and 7 test images in 6 shards, sha256:{prepared.identity[:16]}"
    assert verify(prepared) == verify(prepared, 2) == verify(prepared, decode=False) == prepared.attestation == line


def test_one_flipped_byte_is_found_wherever_it_is(prepared):
    path = prepared.path(prepared.shards[0])
    data = path.read_bytes()
    for place in (5, 700, len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert problems(prepared, decode=False)[0].startswith("ink/train-000000.tar: sha256 is ")
    path.write_bytes(data)
    verify(prepared)


def test_every_missing_short_and_surplus_shard_is_named(prepared):
    first, second = (prepared.path(shard) for shard in prepared.shards[:2])
    first.unlink()
    data = second.read_bytes()
    second.write_bytes(data[:-512])
    (first.parent / "train-000009.tar").write_bytes(data)
    found = problems(prepared)
    assert found[0] == "ink/train-000000.tar: missing"
    assert found[1] == f"ink/train-000001.tar: has {len(data) - 512} bytes, expected {len(data)}"
    assert found[2].startswith("ink/train-000001.tar: sha256 is")
    assert found[3:] == ["ink/train-000009.tar: is no shard of dataset.json"], "classes without images are no news"


def rewritten(prepared: Prepared, samples: list[tuple[str, bytes, int]]) -> None:
    """Replace the first shard and put its new size and hash into dataset.json, as a forger would."""
    path = prepared.path(prepared.shards[0])
    with tarfile.open(path, "w") as tar:
        for key, image, label in samples:
            for name, data in ((f"{key}.cls", str(label).encode()), (f"{key}.jpg", image)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    file = Path(prepared.root) / "dataset.json"
    content = json.loads(file.read_text())
    content["shards"][0] |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    file.write_text(json.dumps(content))


WHOLE = [(f"train-{i:03d}", picture(i), i % 3) for i in range(4)]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (WHOLE[:3], ["{}: holds 3 samples, expected 4", "ink/train: class circle (0): 2 images, expected 3"]),
        (
            [*WHOLE, ("extra", picture(9), 2)],
            ["{}: holds 5 samples, expected 4", "ink/train: class star (2): 3 images, expected 2"],
        ),
        (
            [*WHOLE[:3], ("train-003", picture(3), 7)],
            [
                "{}: train-003: label 7 is out of range, expected 0 to 2",
                "ink/train: class circle (0): 2 images, expected 3",
            ],
        ),
        ([*WHOLE[:3], ("train-004", picture(3), 0)], ["ink/train: key 'train-004' occurs 2 times"]),
        (
            [*WHOLE[:3], ("train-003", picture(3)[:-40], 0)],
            ["{}: train-003.jpg: cannot be decoded: OSError: Truncated File Read"],
        ),
    ],
)
def test_hashes_that_fit_hide_nothing(prepared, samples, expected):
    rewritten(prepared, samples)
    assert problems(prepared) == [line.format("ink/train-000000.tar") for line in expected]


def test_without_decoding_pixels_are_not_looked_at(prepared):
    rewritten(prepared, [*WHOLE[:3], ("train-003", b"no image", 0)])
    assert verify(find(prepared.root), decode=False).startswith("fake 1: 2 domains")


CARD = """\
kind: folder
name: fake
title: A fake
revision: '1'
domains: [ink, oil]
classnames: [a, b, c]
templates: ["a {}."]
test_fraction: 0.2
source: https://fake.example
license: none
citation: none
"""


def test_a_card_stands_for_its_dataset(prepared: Prepared, tmp_path: Path) -> None:
    (card := tmp_path / "my.yaml").write_text(CARD)
    assert find(str(card), tmp_path / "data").identity == prepared.identity
    todo = rf"no prepared dataset in .*/no/fake; first: python -m orchestrator prepare {card} --from FOLDER_OR_ARCHIVE$"
    with pytest.raises(FileNotFoundError, match=todo):
        find(str(card), tmp_path / "no")
    card.write_text(CARD.replace("name: fake\n", ""))
    shown = CliRunner().invoke(app, ["verify", str(card)])
    assert (shown.exit_code, shown.stderr) == (2, f"{card}:1: name: Field required\n")


def test_at_a_url(prepared):
    storage = fsspec.filesystem("memory")
    storage.put(prepared.root, "/verify/fake", recursive=True)
    try:
        assert verify(find("memory://verify/fake")) == prepared.attestation
        storage.rm("/verify/fake/oil/test-000000.tar")
        with pytest.raises(
            DamagedError, match=r"^memory://verify/fake/oil/test-000000\.tar: not there .*\nwhat to do: prepare the"
        ) as raised:
            verify(find("memory://verify/fake"))
        assert len(raised.value.problems) == 1
    finally:
        storage.rm("/verify", recursive=True)


def test_the_command(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["verify", *arguments])
        return result.exit_code, result.stdout, result.stderr

    assert call("fake") == call("data/fake", "--no-decode") == (0, f"{prepared.attestation}\n", "")
    assert (
        call("nothing")[0] == 2
        and "no prepared dataset in nothing or data/nothing; first: python -m" in call("nothing")[2]
    )
    for shard in open_prepared(prepared.root).shards[:2]:
        prepared.path(shard).unlink()
    code, out, errors = call("fake")
    first, second, last = errors.splitlines()
    assert (code, out) == (1, "") and first.endswith("-000000.tar: missing") and second.endswith("-000001.tar: missing")
    assert last == (
        "what to do: delete the folder data/fake and prepare the dataset again (python -m orchestrator prepare fake, with "
        "the options that it was made with); or put whole copies of the shards named here in their places"
    )
    (Path(prepared.root) / "dataset.json").write_text("{")
    code, _, errors = call("fake")
    assert code == 1 and "Invalid JSON" in errors


def test_over_http_what_passes_is_borne_with(prepared, cache):  # noqa: F811
    with serving(Path(prepared.root).parent) as server:
        place = f"{server.url}/fake"
        server.faults["fake/dataset.json"] = ["503", "cut"]
        faults = (["500", "503", "reset"], ["cut", "cut"], ["short"], ["corrupt"])
        for shard, found in zip(prepared.shards, faults, strict=False):
            server.faults[f"fake/{shard.name}"] = list(found)
        assert verify(find(place)) == prepared.attestation
        assert not any(server.faults.values()), "each was met"


def test_over_http_what_stays_is_named(prepared, cache, monkeypatch):  # noqa: F811
    monkeypatch.setattr(storage, "ATTEMPTS", 3)
    with serving(Path(prepared.root).parent) as server:
        place = f"{server.url}/fake"
        damaged, gone, lost = (f"fake/{shard.name}" for shard in prepared.shards[:3])
        server.faults |= {damaged: ["corrupt"] * 2, gone: ["500"] * 3, lost: ["404"]}
        with pytest.raises(DamagedError) as raised:
            verify(find(place))
    found = [problem.removeprefix(f"{place}/") for problem in raised.value.problems]
    assert len(found) == 3
    assert found[0].startswith("ink/train-000000.tar: its sha256 is ")
    assert found[1].startswith("ink/train-000001.tar: cannot be read: HTTP 500 ") and "(3 attempts)" in found[1]
    assert found[2].startswith("ink/test-000000.tar: not there")


def test_workers_are_stopped_before_an_error_is_told(prepared):
    stopped = []

    def runner(work, jobs, tick):
        try:
            yield "no result"
        finally:
            stopped.append(True)

    with pytest.raises(ValueError) as raised:  # its traceback keeps the generator from being collected
        verify(prepared, runner=runner)
    assert stopped and raised.tb is not None
