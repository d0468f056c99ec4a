"""Shows the page of a folder of results at an address of this machine, and reloads it when it changes. No ray, no torch.

Only the leaderboard's own files are given out, only to this machine. The page in the folder stays as it is: what reloads
it is added to the copy that is sent, as is its hash to that copy's content security policy.
"""

from __future__ import annotations

import hashlib
import html
import re
import sys
from base64 import b64encode
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, urlsplit

from orchestrator.analysis.choice import Rule, page_stem

HOST = "127.0.0.1"
TYPES = {".html": "text/html", ".md": "text/markdown", ".csv": "text/csv"}
PAGE = "leaderboard.html"
FILES = tuple(
    f"{page_stem(rule)}{end}" for rule in (None, *get_args(Rule)) for end in (".html", ".md", ".csv", "-rows.csv")
)
VERSION = "/version"

_POLICY = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")([^"]*)(")')
_SCRIPT = """
(() => {
  const shown = "%s";
  setInterval(async () => {
    try {
      const answer = await fetch("/version?page=%s", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== shown) location.reload();
    } catch { /* the server was stopped: the page stays as it is */ }
  }, 2000);
})();
"""
_WAITING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<title>Leaderboard</title></head>
<body><p>There is no leaderboard in this folder yet. `run` makes it while trials end, `report RESULTS --watch` too.</p>
</body></html>
"""


class ServeError(Exception):
    """The address cannot be used; the message says why and what to do."""


def version(page: Path) -> str:
    """Changes whenever the page is written; 'none' while there is none."""
    try:
        state = page.stat()
    except FileNotFoundError:
        return "none"
    return f"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}"


def reloading(text: str, shown: str, name: str = PAGE) -> str:
    """The page with the script that reloads it, allowed by its hash and allowed to ask this server, nothing else.

    Raises ValueError for a page without a content security policy, which is none of ours.
    """
    script = _SCRIPT % (shown, name)
    source = f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    found = _POLICY.search(text)
    if found is None:
        raise ValueError("the page has no content security policy")
    policy: dict[str, list[str]] = {}
    for part in html.unescape(found[2]).split(";"):
        if words := part.split():
            policy[words[0]] = words[1:]
    policy["script-src"] = [*(w for w in policy.get("script-src", []) if w != "'none'"), source]
    policy["connect-src"] = ["'self'"]
    changed = html.escape("; ".join(" ".join([name, *words]) for name, words in policy.items()), quote=True)
    head, tail = text[: found.start(2)] + changed + text[found.end(2) :], ""
    if (end := head.rfind("</body>")) >= 0:
        head, tail = head[:end], head[end:]
    return f"{head}<script>{script}</script>\n{tail}"


class Server(ThreadingHTTPServer):
    """A server of one folder of results, on this machine alone."""

    daemon_threads = True

    def __init__(self, root: Path, port: int) -> None:
        """`port` 0: any that is free. Raises ServeError if the port is taken, FileNotFoundError without the folder."""
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder of results")
        self.root = root
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ServeError(
                f"port {port} of {HOST} cannot be used ({error.strerror}): choose another with --port"
            ) from None

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that reloads leaves connections half read, which is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # types of typeshed's own

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"


def _maker(name: str) -> str | None:
    """What makes a file that is served but not there; None for any other name."""
    rule = next((rule for rule in get_args(Rule) if name.startswith(page_stem(rule))), None)
    option = f" --selection {rule}" if rule else ""
    return f"there is no {name} here; python -m orchestrator report RESULTS{option} makes it" if name in FILES else None


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "leaderboard", ""
    timeout = 30

    def do_GET(self) -> None:
        """Send a file."""
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        """Send the headers of a file."""
        self._send(with_body=False)

    def _send(self, with_body: bool) -> None:
        # A page of another site, whose name was pointed at this machine, comes with that name.
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        try:
            found = self._content(*urlsplit(self.path)[2:4])
        except (OSError, ValueError) as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, explain=str(error))
            return
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain=_maker(urlsplit(self.path).path.removeprefix("/")))
            return
        body, kind = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _content(self, path: str, query: str) -> tuple[bytes, str] | None:
        """Body and type; None for whatever is not on the list or not there, but for the page that `run` makes."""
        if path == VERSION:
            asked = parse_qs(query).get("page", [PAGE])[-1]
            return (version(self.server.root / asked).encode(), "text/plain") if asked in FILES else None
        name = path.removeprefix("/") or PAGE
        if name not in FILES:
            return None
        file = self.server.root / name
        if name != PAGE and not file.is_file():
            return None  # nothing makes it by itself, so there is nothing to wait for
        if file.suffix != ".html":
            return file.read_bytes(), TYPES[file.suffix]
        shown = version(file)  # first: a page that is replaced while it is read is loaded again
        text = file.read_text(encoding="utf-8") if shown != "none" else _WAITING
        return reloading(text, shown, name).encode(), TYPES[".html"]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the page asks every two seconds."""
