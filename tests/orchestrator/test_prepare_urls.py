"""`prepare --from URL`: archives and folders behind addresses with queries and escaped names, against a server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import datasets
from datasets import DatasetError
from datasets.shards import Prepared
from orchestrator.prepare.dataset import Options, prepare
from tests.datasets.fakes import INK_CARD, picture
from tests.datasets.faulty_server import FaultyServer, serving
from tests.datasets.miniature import shrunk, write_tar, write_zip
from tests.datasets.test_domainbed import pacs as pacs_miniature
from tests.datasets.test_domainbed import per_domain

CARD = INK_CARD + "all_in: train\n"
QUIET = Console(quiet=True)


def images(first: int) -> dict[str, bytes]:
    return {f"ink/{name}/{i}.jpg": picture(first + i) for name in ("cat", "dog") for i in range(2)}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "mine.yaml").write_text(CARD)
    with serving(tmp_path / "www") as state:
        yield state


def prepared(tmp_path: Path, source: str | Path, to: str, **options: object) -> Prepared:
    card = str(tmp_path / "mine.yaml")
    return prepare(card, source, tmp_path / to, None, QUIET, Options(workers=1, **options))  # type: ignore[arg-type]


def test_two_archives_of_one_name_are_two(tmp_path: Path, server: FaultyServer) -> None:
    a, b = (write_zip(tmp_path / f"www/{folder}/data.zip", images(n)) for folder, n in (("A", 0), ("B", 10)))
    made = [prepared(tmp_path, f"{server.url}/{x}/data.zip", f"from {x}").identity for x in "AB"]
    assert made == [prepared(tmp_path, path, f"of {path.parent.name}").identity for path in (a, b)]
    assert made[0] != made[1]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("pacs.zip", "pacs.zip?token=abc"),
        ("pacs.tar.gz", "pacs.tar.gz?token=a/b"),
        ("my pacs.zip", "my%20pacs.zip"),
        ("my+pacs.ZIP", "my+pacs.ZIP?X-Amz-Signature=0%2F1&x=y.tar"),
    ],
)
def test_an_archives_address_is_asked_for_as_it_is(
    tmp_path: Path, server: FaultyServer, name: str, address: str
) -> None:
    make = write_tar if ".tar" in name else write_zip
    archive = make(tmp_path / "www/x" / name, images(0))
    server.secret = address.partition("?")[2]
    made = prepared(tmp_path, f"{server.url}/x/{address}", "out")
    assert made.identity == prepared(tmp_path, archive, "local").identity
    assert [path for path, _ in server.asked] == [f"x/{name}"]
    assert (tmp_path / "downloads/mine" / name).is_file()


def test_a_refusal_does_not_show_the_query(tmp_path: Path, server: FaultyServer) -> None:
    with pytest.raises(DatasetError) as refused:
        prepared(tmp_path, f"{server.url}/none.zip?token=hidden", "out")
    assert f"{server.url}/none.zip: HTTP 404" in str(refused.value) and "hidden" not in str(refused.value)
    with pytest.raises(DatasetError, match=r"kaggle\.com/none\.zip: its site lets no program download") as refused:
        prepared(tmp_path, "https://www.kaggle.com/none.zip?token=hidden", "out")
    assert "hidden" not in str(refused.value)
    with pytest.raises(DatasetError, match=r"leave out the source http://h/x$"):
        prepare("demo", "http://h/x?token=hidden", tmp_path / "demo", None, QUIET)


@pytest.mark.parametrize("at", ["PACS.zip", "", "PACS.zip?token=a/b", "?token=a/b", "other%20name.zip"])
def test_a_published_file_its_folder_or_a_copy_of_another_name(
    tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    archive = pacs_miniature(tmp_path / "www/x") / "PACS.zip"
    small, load = shrunk(datasets.load("pacs"), per_domain("pacs", 10)), datasets.load
    monkeypatch.setattr(datasets, "load", lambda ref: small if ref == "pacs" else load(ref))
    server.secret = at.partition("?")[2]
    if at.startswith("other"):
        archive = archive.rename(archive.with_name("other name.zip"))
    console = Console(file=io.StringIO())
    made = prepare(
        "pacs", f"{server.url}/x/{at}".removesuffix("/"), tmp_path / "out", None, console, Options(workers=1)
    )
    assert made.identity == prepare("pacs", archive, tmp_path / "local", None, QUIET, Options(workers=1)).identity
    assert {path for path, _ in server.asked} == {f"x/{archive.name}"}
