"""An HTTP server on this machine with files, that fails as it is told to, and counts what it is asked for and sends.

A fault is a `Fault`, or one of these words: a status ('500'); 'reset', of the connection before an answer; 'cut', an end
before the announced length; 'short' and 'long', whole answers of a wrong length; 'stall', silence in the middle; 'corrupt', a
flipped bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer. Byte counts are of the answer's body."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    change: Callable[[bytes], bytes] | None = None
    """applied to the file"""
    silent: bool = False
    """the connection is reset before anything is sent"""
    reset_after: int | None = None
    """then the connection is reset"""
    end_after: int | None = None
    """then the connection is closed, though more was announced"""
    pause_after: int | None = None
    """then nothing comes for `pause` seconds, or until the other side has gone"""
    pause: float = 0.0


def named(word: str, size: int) -> Fault:
    """The fault that a word stands for, of a file of `size` bytes."""
    if word.isdecimal():
        return Fault(status=int(word))
    half = size // 2
    return {
        "reset": Fault(silent=True),
        "cut": Fault(end_after=half),
        "short": Fault(change=lambda data: data[:half]),
        "long": Fault(change=lambda data: data + b"more"),
        "stall": Fault(pause_after=half, pause=60.0),
        "corrupt": Fault(change=lambda data: data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]),
    }[word]


@dataclass
class FaultyServer:
    """Serves `files` by path without the first slash, and what lies below `folder`."""

    folder: Path | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault | str]] = field(default_factory=dict)
    """of the next requests of a path, oldest first, '*' for any path; then it is served as it is"""
    url: str = ""
    ranges: bool = True
    etags: bool = True
    conditions: bool = True
    """whether it heeds If-Range"""
    lengths: bool = True
    delay: float = 0.0
    """seconds before each answer"""
    seconds_per_kib: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    """path -> times it was asked for"""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """path and Range of each request"""
    secret: str | None = None
    """the query without which it refuses everything, where it is not None"""
    sent: int = 0
    """bytes of bodies"""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Take note of a request and answer it."""
        path, span = unquote(urlsplit(request.path).path.lstrip("/")), request.headers.get("Range", "")
        data = self._data(path)
        with self._lock:
            self.requests[path] += 1
            self.asked.append((path, span))
            waiting = self.faults.get(path) or self.faults.get("*") or []
            found = waiting.pop(0) if waiting else Fault()
        time.sleep(self.delay)
        fault = named(found, len(data or b"")) if isinstance(found, str) else found
        if fault.silent:
            _reset(request)
        elif self.secret is not None and urlsplit(request.path).query != self.secret:
            self._send(request, fault, 403, b"", {})
        elif fault.status or data is None:
            self._send(request, fault, fault.status or 404, b"", {})
        else:
            self._send_file(request, fault, fault.change(data) if fault.change else data)

    def _data(self, path: str) -> bytes | None:
        if path in self.files or self.folder is None:
            return self.files.get(path)
        return (self.folder / path).read_bytes() if (self.folder / path).is_file() else None

    def _send_file(self, request: BaseHTTPRequestHandler, fault: Fault, data: bytes) -> None:
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag} if self.etags else {}
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        changed = self.conditions and request.headers.get("If-Range", tag) != tag
        if found is None or not self.ranges or changed:
            self._send(request, fault, 200, data, headers)
        elif (start := int(found[1])) >= len(data):
            self._send(request, fault, 416, b"", headers)
        else:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(request, fault, 206, data[start:], headers)

    def _send(
        self, request: BaseHTTPRequestHandler, fault: Fault, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        request.send_response(status)
        length = {"Content-Length": str(len(body))} if self.lengths else {}
        for name, value in (headers | length | fault.headers).items():
            request.send_header(name, value)
        request.end_headers()
        with contextlib.suppress(OSError):
            self._send_body(request, fault, body)

    def _send_body(self, request: BaseHTTPRequestHandler, fault: Fault, body: bytes) -> None:
        stop = next((n for n in (fault.reset_after, fault.end_after) if n is not None), len(body))
        paused = fault.pause_after is None
        for at in range(0, stop, 1024):
            if not paused and at >= (fault.pause_after or 0):
                request.wfile.flush()
                select.select([request.connection], [], [], fault.pause)  # readable: closed by the other side
                paused = True
            chunk = body[at : min(at + 1024, stop)]
            request.wfile.write(chunk)
            self.sent += len(chunk)
            time.sleep(self.seconds_per_kib)
        request.wfile.flush()
        if fault.reset_after is not None:
            time.sleep(0.05)  # let the bytes before it arrive
            _reset(request)
        request.close_connection = True


def _reset(request: BaseHTTPRequestHandler) -> None:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    with contextlib.suppress(OSError, ValueError):
        request.wfile.close()
    request.wfile = io.BytesIO()  # what follows in the handler has somewhere to go
    request.close_connection = True


@contextlib.contextmanager
def serving(folder: Path | None = None) -> Iterator[FaultyServer]:
    """A server on a free port of this machine."""
    state = FaultyServer(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
