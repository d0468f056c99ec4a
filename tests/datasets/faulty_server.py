"""An HTTP server on this machine that serves a folder, and misbehaves as it is told to.

Faults: a status ('500'); 'reset' of the connection; 'cut', an end before the announced length; 'short' and 'long', whole
answers of a wrong length; 'stall', silence in the middle; 'corrupt', a flipped bit.
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class FaultyServer:
    """`faults[path]` are the faults of the next requests of a path, oldest first; then it is served as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, list[str]] = {}
        self.requests: Counter[str] = Counter()
        self.delay = 0.0
        """seconds before each answer"""
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = unquote(urlsplit(request.path).path).lstrip("/")
        with self._lock:
            self.requests[name] += 1
            waiting = self.faults.get(name) or self.faults.get("*") or []
            fault = waiting.pop(0) if waiting else ""
        time.sleep(self.delay)
        path = self.folder / name
        if fault.isdecimal() or not path.is_file():
            request.send_error(int(fault or 404))
            return
        if fault == "reset":
            self._reset(request)
            return
        data = path.read_bytes()
        half = len(data) // 2
        body = {"cut": data[:half], "short": data[:half], "long": data + b"more", "stall": data[:half]}.get(fault, data)
        if fault == "corrupt":
            body = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        request.send_response(200)
        # 'cut' ends before the length it announced, 'short' announces what it sends.
        request.send_header("Content-Length", str(len(data if fault in ("cut", "stall") else body)))
        request.end_headers()
        with contextlib.suppress(OSError):
            request.wfile.write(body)
            if fault == "stall":
                time.sleep(1.0)

    def _reset(self, request: BaseHTTPRequestHandler) -> None:
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()
        with contextlib.suppress(OSError, ValueError):
            request.wfile.close()
        request.wfile = io.BytesIO()  # what follows in the handler has somewhere to go


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[FaultyServer]:
    server = FaultyServer(folder)
    try:
        yield server
    finally:
        server.close()
