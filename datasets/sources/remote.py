"""Reads one remote file from a byte onwards: over HTTP(S), or from what fsspec knows (`s3://`, `gs://`, `file://`).

What went wrong is told apart by what to do about it: `GoneError` (try the next mirror), `TransientError` (try again).
"""

from __future__ import annotations

import contextlib
import email.utils
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import fsspec
import requests
import urllib3

from datasets import DatasetError
from datasets.sources.address import unqueried, without_secrets

_CHUNK = 2**18
_WEAK = "W/"
_RETRY = {408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529}
_PAGES = (".txt", ".html", ".htm")  # served as text/html by some hosts


class GoneError(Exception):
    """This address does not have the file, and asking again will not help."""


class MissingError(GoneError):
    """There is no such file."""


class TransientError(Exception):
    """Something that may pass. `wait` is how long the server asked to wait, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class ChangedError(TransientError):
    """What was downloaded so far is of another version than what follows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side sends: `chunks` from byte `start` of `total`; `version` changes when the content does."""

    start: int
    total: int | None
    version: str
    chunks: Iterator[bytes]


@contextlib.contextmanager
def opened(session: requests.Session, url: str, start: int, version: str, timeout: float) -> Iterator[Answer]:
    """The file at `url` from byte `start`, if it still has `version`; else, or if only whole files are sent, from 0.

    `timeout` is how long nothing may arrive, in seconds. Raises GoneError and TransientError, also while chunks are
    taken, and DatasetError if no library for the address is installed.
    """
    if urlsplit(url).scheme in ("http", "https"):
        with _http(session, url, start, version, timeout) as answer:
            yield answer
    else:
        with _filesystem(url, start, version) as answer:
            yield answer


@contextlib.contextmanager
def _http(session: requests.Session, url: str, start: int, version: str, timeout: float) -> Iterator[Answer]:
    headers = {"Accept-Encoding": "identity"}  # the bytes as published: a .tar.gz must stay one
    if start:
        headers["Range"] = f"bytes={start}-"
        if version and not version.startswith(_WEAK):
            headers["If-Range"] = version
    try:
        with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
            yield _answer(response, url, start)
    except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects) as error:
        raise GoneError(_line(error)) from None
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise TransientError(_broken(error)) from None
    except requests.RequestException as error:  # an address that is none
        raise GoneError(_line(error)) from None


def _answer(response: requests.Response, url: str, start: int) -> Answer:
    headers, status = response.headers, response.status_code
    if status in _RETRY:
        raise TransientError(f"HTTP {status} {response.reason}", _retry_after(headers.get("Retry-After", "")))
    if status == 416:  # asked for a byte after its end
        raise ChangedError("its content changed meanwhile")
    if status not in (200, 206):
        raise (MissingError if status in (404, 410) else GoneError)(f"HTTP {status} {response.reason}")
    if headers.get("Content-Type", "").startswith("text/html") and not urlsplit(url).path.lower().endswith(_PAGES):
        raise GoneError("answers with a web page instead of the file; get it with a browser")
    version = headers.get("ETag") or headers.get("Last-Modified") or ""
    # read1, because read would lose what came of a chunk before the connection broke.
    chunks: Iterator[bytes] = iter(lambda: response.raw.read1(_CHUNK, decode_content=False), b"")
    if status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if found is None or int(found[1]) != start:
            raise GoneError(f"answers {headers.get('Content-Range')!r} when asked for bytes {start}-")
        return Answer(start, None if found[2] == "*" else int(found[2]), version, chunks)
    length = headers.get("Content-Length", "")
    return Answer(0, int(length) if length.isdecimal() else None, version, chunks)


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, which gives them or a date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


@contextlib.contextmanager
def _filesystem(url: str, start: int, version: str) -> Iterator[Answer]:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        filesystem.invalidate_cache()
        info = filesystem.info(path)
        stamps = (info.get(key) for key in ("ETag", "etag", "LastModified", "updated", "mtime", "created"))
        found = str(next((stamp for stamp in stamps if stamp), ""))
        start = start if found == version else 0
        with filesystem.open(path, "rb") as file:
            file.seek(start)
            yield Answer(start, info.get("size"), found, iter(lambda: file.read(_CHUNK), b""))
    except DatasetError:  # of who takes the chunks; it is a ValueError too
        raise
    except (ImportError, ValueError) as error:  # no library for it, or no such kind of address
        raise DatasetError(f"{without_secrets(url)}: {_line(error)}") from None
    except FileNotFoundError as error:
        raise MissingError(_line(error)) from None
    except (PermissionError, IsADirectoryError) as error:
        raise GoneError(_line(error)) from None
    except OSError as error:
        raise TransientError(_line(error)) from None


def _broken(error: Exception) -> str:
    """What happened to a connection, without the layers of libraries around it."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None)  # of urllib3's MaxRetryError: requests asks once
    text = " ".join(str(reason or inner).split())
    return unqueried(re.sub(r"^\w+\(host=[^)]*\): ", "", text))


def _line(error: Exception) -> str:
    return unqueried(" ".join(str(error).split())) or type(error).__name__
