"""Reads prepared datasets that lie elsewhere: `http(s)://`, `s3://`, `gs://` and what else fsspec knows.

What may pass (a server's 5xx and 429, broken connections, silence, an end that comes too soon) is tried again after waits
that double and vary; a file that is not there or not allowed is not. Credentials come from where each backend looks for
them (for S3 the variables AWS_*, for any of them fsspec's own configuration, such as FSSPEC_S3='{"anon": true}').
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from datasets import DatasetError
from datasets.node_cache import VARIABLE

_log = logging.getLogger(__name__)

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""scheme -> extra of pyproject.toml with the package that reads it"""
ATTEMPTS, SMALL_ATTEMPTS = 7, 4
"""For a shard, waits of some two minutes in all; for `dataset.json`, for which a person waits, of some seven seconds. The
packages for s3:// and gs:// try several times themselves: of a server that does not answer they take up to a minute each."""
FIRST_WAIT, LONGEST_WAIT, SILENCE = 1.0, 60.0, 60.0
"""Seconds: before the second attempt, at most before any, and without a byte until a connection counts as broken."""
_SECRET = re.compile(r"(?<=://).*@|\?.*")
"""What of an address that cannot be taken apart may be a password or a query."""
_MAX_SMALL = 2**28
# Errors of backends that are no OSError, by the names of their classes: the packages may not be there to import.
_PASSING = {"HTTPClientError", "ClientConnectionError", "ClientPayloadError", "IncompleteReadError", "ConnectionError"}


class StorageError(DatasetError):
    """A remote file cannot be read, or is not what it should be; the message says what to do."""


class MissingError(StorageError, FileNotFoundError):
    """There is no such remote file."""


class _DamagedError(Exception):
    """What came is not what `dataset.json` promises."""


class _DiskError(Exception):
    """This machine cannot take it."""


def local_folder(root: str | Path) -> Path | None:
    """The folder that `root` names, by path or by a file:// URL; None for a URL of another place.

    Raises StorageError for a file:// URL of another machine, and for what is no URL.
    """
    text = str(root)
    if "://" not in text:
        return Path(root)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise StorageError(f"{_SECRET.sub('', text)}: is no URL: {error}") from None
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise StorageError(f"{text}: a file:// URL has three slashes and an absolute path, as file:///data/prepared")
    return Path(unquote(parts.path))


def join(root: str, name: str) -> str:
    """The URL of `name` below the URL `root`."""
    scheme = root.partition("://")[0]
    return f"{root.rstrip('/')}/{quote(name, safe='/@') if scheme in ('http', 'https') else name}"


def read_bytes(url: str) -> bytes:
    """A small remote file. Raises MissingError if it is not there, StorageError if it cannot be read."""
    buffer = io.BytesIO()

    def take(chunk: bytes) -> None:
        if buffer.write(chunk) and buffer.tell() > _MAX_SMALL:  # at once: what sends it may never end
            raise StorageError(f"{url}: has more than {_MAX_SMALL:,} bytes")

    def attempt() -> None:
        buffer.seek(0)
        buffer.truncate()
        _copy(url, take)

    _persist(url, attempt, SMALL_ATTEMPTS)
    return buffer.getvalue()


def fetch(url: str, to: IO[bytes], size: int, sha256: str) -> None:
    """Write a whole remote file to `to`, which is empty or written over, and check it.

    Raises StorageError with the file's name, what was expected and what was found.
    """

    def attempt() -> None:
        to.seek(0)
        digest, room = hashlib.sha256(), size

        def take(chunk: bytes) -> None:
            nonlocal room
            room -= len(chunk)
            if room < 0:
                raise _DamagedError(f"it has more than {size:,} bytes, expected {size:,}")
            digest.update(chunk)
            try:
                to.write(chunk)
            except OSError as error:  # not of the network: trying again would not help
                raise _DiskError(f"cannot write {to.name}: {error.strerror}") from None

        if (found := _copy(url, take)) != size:
            raise _DamagedError(f"it has {found:,} bytes, expected {size:,}")
        if digest.hexdigest() != sha256:
            raise _DamagedError(f"its sha256 is {digest.hexdigest()}, expected {sha256}")

    _persist(url, attempt, ATTEMPTS)


def _copy(url: str, take: Callable[[bytes], object]) -> int:
    """Pass a remote file on, chunk by chunk; returns its bytes."""
    # Imported here: readers of local datasets do without the libraries behind it.
    import requests

    from datasets.sources.remote import TransientError, opened

    _check_backend(url)
    with requests.Session() as session, opened(session, url, 0, "", SILENCE) as answer:
        done = 0
        for chunk in answer.chunks:
            done += len(chunk)
            take(chunk)
        if answer.total is not None and done < answer.total:
            raise TransientError(f"ended after {done:,} of {answer.total:,} bytes")
    return done


def _check_backend(url: str) -> None:
    import fsspec

    scheme = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        todo = f"install it with: pip install -e '.[{extra}]'" if extra else " ".join(str(error).split())
        raise StorageError(f"{url}: the package that reads {scheme}:// is not installed; {todo}") from None
    except ValueError:
        raise StorageError(
            f"{url}: unknown kind of address {scheme!r}; known: file, http, https, s3, gs and others of fsspec"
        ) from None


def _persist(url: str, attempt: Callable[[], None], attempts: int) -> None:
    """Call `attempt` until it succeeds, fails for good, or has had its share of tries."""
    from datasets.sources import remote
    from datasets.sources.transfer import Patience

    patience, damaged = Patience(attempts=attempts, first_wait=FIRST_WAIT, longest_wait=LONGEST_WAIT), 0
    for number in range(1, attempts + 1):
        asked = 0.0
        try:
            return attempt()
        except StorageError:
            raise
        except remote.MissingError as error:
            raise MissingError(f"{url}: not there ({_line(error)}); upload the dataset again") from None
        except (remote.GoneError, DatasetError) as error:
            raise StorageError(f"{url}: {_line(error)}; check the address and the credentials") from None
        except _DamagedError as error:
            damaged += 1
            problem = _line(error)
            if damaged == 2:  # once it may have been the way here, twice it is the file
                raise StorageError(
                    f"{url}: {problem}; the file is damaged there, or of another dataset.json: upload the dataset again"
                ) from None
        except remote.TransientError as error:
            problem, asked = _line(error), error.wait
        except _DiskError as error:
            raise StorageError(f"{url}: {_line(error)}; make room, or give ${VARIABLE} a larger disk") from None
        except Exception as error:
            if not (isinstance(error, OSError) or _may_pass(error)):
                raise StorageError(f"{url}: {_line(error)}; check the address and the credentials") from None
            problem = _line(error)
        if number < attempts:
            wait = max(patience.wait(number), min(asked, LONGEST_WAIT))
            _log.warning("%s: %s; trying again in %.1f s (%d of %d)", url, problem, wait, number + 1, attempts)
            time.sleep(wait)
    raise StorageError(f"{url}: cannot be read: {problem} ({attempts} attempts); check the network and try again")


def _may_pass(error: Exception) -> bool:
    """Whether an error of a backend is one that a later attempt may not meet."""
    status = getattr(error, "code", None) or getattr(error, "status", None)
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _PASSING) or (str(status).isdecimal() and (int(str(status)) >= 500 or int(str(status)) == 429))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
