"""The page served while records come in: what is answered, to whom, and that it reloads."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.live.serve import ServeError, Server, reloading
from orchestrator.records import write_atomic
from orchestrator.report import build_report
from tests.orchestrator.test_live import PAGE, two_trials


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "results").mkdir()
    (tmp_path / "secret.csv").write_text("secret")
    with Server(tmp_path / "results", 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_the_served_page_is_the_one_of_the_folder_and_a_script(server: Server) -> None:
    page = server.root / "leaderboard.html"
    page.write_text(PAGE)
    status, text, headers = ask(server, "/?x=1")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.read_text() == PAGE
    assert text == ask(server, "/leaderboard.html")[1]
    assert "numbers<script>" in text and text.count("<script>") == 1
    assert ask(server, "/version")[1] in text
    page.write_text(PAGE.replace("numbers", "new numbers"))
    assert ask(server, "/version")[1] not in text
    (server.root / "leaderboard.csv").write_text("a,b")
    assert ask(server, "/leaderboard.csv")[:2] == (200, "a,b")
    assert ask(server, "/leaderboard.csv", method="HEAD")[:2] == (200, "")


def test_before_there_is_a_page_one_waits_for_it(server: Server) -> None:
    status, text, _ = ask(server, "/")
    assert status == 200 and "no leaderboard in this folder yet" in text and '"none"' in text
    assert ask(server, "/version")[1] == "none"
    assert ask(server, "/leaderboard.csv")[0] == 404


def test_the_page_of_a_rule_is_served_and_asks_for_its_own_version(server: Server) -> None:
    for name in ("leaderboard.oracle.html", "leaderboard.oracle-rows.csv"):
        status, text, _ = ask(server, f"/{name}")
        assert status == 404, "nothing makes it by itself"
        assert f"there is no {name} here; python -m orchestrator report RESULTS --selection oracle makes it" in text
    status, text, _ = ask(server, "/leaderboard.csv")
    assert status == 404 and "python -m orchestrator report RESULTS makes it" in text
    (server.root / "leaderboard.oracle.html").write_text(PAGE.replace("numbers", "oracles"))
    status, text, _ = ask(server, "/leaderboard.oracle.html")
    assert status == 200 and "oracles<script>" in text
    own = ask(server, "/version?page=leaderboard.oracle.html")[1]
    assert own in text and '"/version?page=leaderboard.oracle.html"' in text
    assert ask(server, "/version")[1] == "none" != own
    assert ask(server, "/version?page=../secret.csv")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/trials", "/trials/", "/plans/x.json", "/../secret.csv", "/leaderboard.csv/../../secret.csv", "//etc/passwd",
     "/%2e%2e/secret.csv", "/.ray/lock", "/leaderboard.html/", "/..%2fsecret.csv", "/leaderboard.html%00"],
)  # fmt: skip
def test_nothing_else_is_served(server: Server, path: str) -> None:
    (server.root / "trials").mkdir()
    status, text, _ = ask(server, path)
    assert status == 404
    assert "secret" not in text.replace(path, "")


def test_only_this_machine_is_answered(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/version", host="evil.example")[0] == 421
    assert ask(server, "/version", host=f"localhost:{server.server_address[1]}")[0] == 200
    assert ask(server, "/version", method="POST")[0] == 501


def test_the_policy_of_the_copy_allows_its_script_and_its_question_alone() -> None:
    text = reloading(PAGE, "1")
    policy = text.split('content="')[1].split('"')[0].replace("&#x27;", "'")
    names = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert names["connect-src"] == ["'self'"]
    assert names["script-src"][:2] == ["'sha256-abc='", "blob:"] and len(names["script-src"]) == 3
    assert (names["default-src"], names["base-uri"]) == (["'none'"], ["'none'"])
    with pytest.raises(ValueError, match="no content security policy"):
        reloading("<html></html>", "1")


def test_a_port_that_is_taken_and_a_folder_that_is_not_there_are_wrong_input(server: Server, tmp_path: Path) -> None:
    port = server.server_address[1]
    with pytest.raises(ServeError, match=f"port {port} of 127.0.0.1 cannot be used"):
        Server(tmp_path, port)
    result = CliRunner().invoke(app, ["serve", str(tmp_path), "--port", str(port)])
    assert result.exit_code == 2 and result.stderr.endswith("choose another with --port\n")
    assert CliRunner().invoke(app, ["serve", str(tmp_path / "x")]).exit_code == 2


@pytest.mark.browser
def test_the_page_in_a_browser_reloads_when_it_is_made_again_and_asks_nobody_else(browser: Any, server: Server) -> None:
    two_trials().write(server.root)
    [page, *_] = build_report(server.root)
    tab = browser.new_context().new_page()
    said: list[str] = []
    asked: set[str] = set()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.add(request.url))
    tab.goto(server.url + "#here")
    tab.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    write_atomic(page, page.read_text().replace("<title>", "<title>Again ", 1))
    tab.wait_for_function("() => document.title.startsWith('Again ')", timeout=30_000)
    assert tab.evaluate("location.hash") == "#here"
    asked_version = f"{server.url}version?page=leaderboard.html"
    own = {url for url in asked if not url.startswith(("data:", "blob:"))}
    assert own <= {server.url, server.url + "#here", asked_version} and asked_version in own
    assert said == []
