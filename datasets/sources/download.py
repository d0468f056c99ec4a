"""Downloads a dataset's published files into a folder, from their own addresses or from one mirror of all of them."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import requests

from datasets import DatasetError
from datasets.base import PublishedFile
from datasets.sources.address import below, needs_a_browser
from datasets.sources.names import listed, unsafe_name
from datasets.sources.source import is_unpacked
from datasets.sources.transfer import Patience, Progress, is_from_elsewhere, transfer, wrong
from datasets.wording import number_of

_DEFAULT = Patience()


def download(
    files: Sequence[PublishedFile],
    base_url: str | None,
    to: Path,
    domains: Collection[str] | None = None,
    progress: Progress | None = None,
    *,
    homepage: str = "",
    patience: Patience = _DEFAULT,
) -> list[Path]:
    """The files that these domains need (None: all), downloaded to `to/<name>`; returns where they are.

    Each comes from `base_url/<name>`, or without `base_url` from its own `urls` in turn. What is there already is checked
    and kept; an archive that was unpacked by hand is left out. Interrupted, the same call goes on where it stopped. What came
    from another address is downloaded anew, unless its size or checksum is known and right.
    `base_url` may be http(s) or whatever fsspec knows (`s3://bucket/folder`). `homepage` is named where a file has to be
    fetched by hand.

    Raises FileNotFoundError with a line for each file that no program can fetch, before anything is downloaded, and
    DatasetError for a name that leads outside, a file that is there but wrong, and one that no address gives whole.
    """
    needed = [file for file in files if domains is None or not file.domains or set(file.domains) & set(domains)]
    needed = [file for file in needed if not file.optional]
    _check_names(needed)
    to.mkdir(parents=True, exist_ok=True)
    with _only_one(to), requests.Session() as session:
        todo = [file for file in needed if not is_unpacked(file, to)]
        for file in todo:
            _check_present(file, to)
        addresses = [(file, _addresses(file, base_url)) for file in todo]
        absent = [
            (file, urls)
            for file, urls in addresses
            if not (to / file.name).exists() or _may_be_another(session, file, to / file.name, urls, patience)
        ]
        by_hand = [_by_hand(file, to, homepage) for file, urls in absent if not urls]
        if by_hand:
            raise FileNotFoundError(
                listed(by_hand, f"{number_of(len(by_hand), 'file')} cannot be downloaded by a program:")
            )
        for file, urls in absent:
            transfer(session, file, urls, to / file.name, patience, progress)
    return [to / file.name for file in todo]


def _check_names(files: Sequence[PublishedFile]) -> None:
    for file in files:
        if not file.name or (reason := unsafe_name(file.name)):
            raise DatasetError(f"published file {file.name!r}: {reason if file.name else 'it has no name'}")


def _check_present(file: PublishedFile, to: Path) -> None:
    path = to / file.name
    if path.exists() and (problem := wrong(path, file)):
        raise DatasetError(f"{path}: is not the file as published: {problem}; move it away and it will be downloaded")


def _addresses(file: PublishedFile, base_url: str | None) -> list[str]:
    """Where a program can get the file."""
    if base_url is None:
        return [url for url in file.urls if not needs_a_browser(url)]
    return [below(base_url, file.name)]


def _may_be_another(
    session: requests.Session, file: PublishedFile, path: Path, urls: list[str], patience: Patience
) -> bool:
    """Whether a file that is there may be another one than the one that `urls` have, and nothing tells."""
    unknown = file.bytes is None and file.checksum is None
    return unknown and bool(urls) and is_from_elsewhere(session, path, urls, patience)


def _by_hand(file: PublishedFile, to: Path, homepage: str) -> str:
    places = " or ".join(file.urls) or homepage or "the dataset's home page"
    return f"{file.name}: get it with a browser from {places} and put it at {to / file.name}"


@contextlib.contextmanager
def _only_one(to: Path) -> Iterator[None]:
    """Hold the folder, so that two processes never download into it at once."""
    with (to / ".download.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"another process is downloading into {to}; wait for it to end") from None
        yield
