"""Addresses: which are folders of this machine, which are not, and what is missing to read them."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from datasets import node_cache, storage


def test_folders_by_path_and_by_url() -> None:
    assert storage.local_folder("data/x") == Path("data/x")
    assert storage.local_folder(Path("/data/x")) == Path("/data/x")
    assert storage.local_folder("file:///data/a%20b") == Path("/data/a b")
    assert storage.local_folder("file://localhost/data") == Path("/data")
    assert storage.local_folder("s3://bucket/x") is None
    with pytest.raises(storage.StorageError, match="a file:// URL has three slashes"):
        storage.local_folder("file://data/x")


def test_names_below_a_url() -> None:
    assert storage.join("https://host/a/", "domainnet@cleaned") == "https://host/a/domainnet@cleaned"
    assert (
        storage.join("https://host/a", "real world/train-000000.tar") == "https://host/a/real%20world/train-000000.tar"
    )
    assert storage.join("s3://bucket", "real world/t.tar") == "s3://bucket/real world/t.tar"


@pytest.mark.parametrize(("url", "extra"), [("s3://bucket/x", "s3"), ("gs://bucket/x", "gs")])
def test_a_missing_package_is_named_with_its_extra(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(scheme: str) -> None:
        raise ImportError("Install it")

    monkeypatch.setattr(fsspec, "get_filesystem_class", absent)
    expected = rf"the package that reads {extra}:// is not installed; install it with: pip install -e '\.\[{extra}\]'"
    with pytest.raises(storage.StorageError, match=expected):
        storage.read_bytes(url)


def test_an_unknown_kind_of_address() -> None:
    with pytest.raises(storage.StorageError, match="unknown kind of address 'nfs'; known: file, http, https, s3, gs"):
        storage.read_bytes("nfs://host/x")


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(node_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert node_cache.cache_folder() == tmp_path / ".cache" / "robust-ft-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert node_cache.cache_folder() == tmp_path / "xdg" / "robust-ft-bench"
    monkeypatch.setenv(node_cache.VARIABLE, "~/own")
    assert node_cache.cache_folder() == tmp_path / "own"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.00 MiB"), (31_000, "0.0296 MiB"), (12.34 * 2**20, "12.3 MiB"), (512 * 2**20, "512 MiB"),
        (2**30, "1.00 GiB"), (17.26 * 2**30, "17.3 GiB"), (1234.5 * 2**30, "1234 GiB"),
    ],
)  # fmt: skip
def test_amounts_for_people(size: float, text: str) -> None:
    assert node_cache.amount(size) == text
