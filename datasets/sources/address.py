"""Addresses of published files: the names in them, which of them need a browser, and what of them may be shown and kept.

A query and a password may be secrets (of presigned URLs, say): they are sent, but neither printed nor written down.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

# They ask a visitor to confirm or to sign in, and answer a program with a web page.
_BY_HAND = ("drive.google.com", "docs.google.com", "kaggle.com", "onedrive.live.com", "1drv.ms", "pan.baidu.com")
_HTTP = ("http", "https")
_QUERY = re.compile(r"\?[^\s'\"<>)]*")


def needs_a_browser(url: str) -> bool:
    """Whether its site lets no program download."""
    host = urlsplit(url).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in _BY_HAND)


def file_name(url: str) -> str:
    """The name of the file at a URL; '' for a folder that is written with a slash."""
    parts = urlsplit(url)
    return _plain(parts.path, parts.scheme).rpartition("/")[2]


def below(folder: str, name: str) -> str:
    """The URL of a file below that of a folder, which may have a query."""
    parts = urlsplit(folder)
    # Names in buckets are taken as they are; in an http address some characters have to be written otherwise.
    written = quote(name) if parts.scheme in _HTTP else name
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{written}"))


def folder_of(url: str, name: str) -> str | None:
    """The URL of the folder, if `url` is that of the file `name` ('real.zip', 'txt/real.txt') below it."""
    parts = urlsplit(url)
    folders, last = (cut := parts.path.split("/"))[: -name.count("/") - 1], cut[-name.count("/") - 1 :]
    if _plain("/".join(last), parts.scheme) != name:
        return None
    return urlunsplit(parts._replace(path="/".join(folders)))


def without_secrets(url: str) -> str:
    """A URL without query and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def unqueried(text: str) -> str:
    """A message of a library without the queries of the addresses in it."""
    return _QUERY.sub("", text)


def origin(url: str) -> str:
    """What tells an address from all others, to be written down: without secrets, and with a hash where it has some."""
    plain = without_secrets(url)
    return plain if plain == url else f"{plain}#{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def same_place(one: str, other: str) -> bool:
    """Whether two results of `origin` differ in nothing but secrets."""
    return one.partition("#")[0] == other.partition("#")[0]


def _plain(path: str, scheme: str) -> str:
    return unquote(path) if scheme in _HTTP else path
