"""A local HTTP server with files, that fails as it is told to, and counts the bytes it sends."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class Fault:
    """What goes wrong with one answer. Byte counts are of the answer's body."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reset_after: int | None = None
    """then the connection is reset"""
    end_after: int | None = None
    """then the connection is closed, though more was announced"""
    pause_after: int | None = None
    """then nothing comes for `pause` seconds"""
    pause: float = 0.0


@dataclass
class Server:
    """`files` by path without the first slash; the next of `faults` is for the next request."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    ranges: bool = True
    etags: bool = True
    conditions: bool = True
    """whether it heeds If-Range"""
    lengths: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    """path and Range of each"""
    sent: int = 0
    seconds_per_kib: float = 0.0


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, state)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, state: Server) -> None:
    path, asked = unquote(request.path.lstrip("/")), request.headers.get("Range", "")
    state.requests.append((path, asked))
    fault = state.faults.pop(0) if state.faults else Fault()
    data = state.files.get(path)
    if fault.status or data is None:
        body, status, start = b"", fault.status or 404, None
    else:
        body, status, start = data, 200, _start(request, state, data)
        if start is not None and start >= len(data):
            body, status = b"", 416
        elif start is not None:
            body, status = data[start:], 206
    request.send_response(status)
    if status == 206 and start is not None and data is not None:
        request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    if data is not None and state.etags:
        request.send_header("ETag", _etag(data))
    if state.lengths:
        request.send_header("Content-Length", str(len(body)))
    for name, value in fault.headers.items():
        request.send_header(name, value)
    request.end_headers()
    with contextlib.suppress(ConnectionError):
        _send(request, state, body, fault)


def _start(request: BaseHTTPRequestHandler, state: Server, data: bytes) -> int | None:
    """The first byte asked for, if the condition of the request holds."""
    found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    changed = state.conditions and request.headers.get("If-Range", _etag(data)) != _etag(data)
    if found is None or not state.ranges or changed:
        return None
    return int(found[1])


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _send(request: BaseHTTPRequestHandler, state: Server, body: bytes, fault: Fault) -> None:
    stop = next((n for n in (fault.reset_after, fault.end_after) if n is not None), len(body))
    for at in range(0, stop, 1024):
        chunk = body[at : min(at + 1024, stop)]
        if fault.pause_after is not None and at >= fault.pause_after:
            request.wfile.flush()
            time.sleep(fault.pause)
        request.wfile.write(chunk)
        state.sent += len(chunk)
        time.sleep(state.seconds_per_kib)
    request.wfile.flush()
    if fault.reset_after is not None:
        time.sleep(0.05)  # let the bytes before it arrive
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()
    request.close_connection = True
