"""What offline pages share: scripts allowed by their hash, the policy that forbids requests, and data embedded as text.

Data is JSON where it is short, else deflated and in base64; `templates/data.js` reads both.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from plotly.offline import get_plotlyjs

TEMPLATES = Path(__file__).parent / "templates"
JSON: dict[str, Any] = {"sort_keys": True, "separators": (",", ":")}
LONGEST_PLAIN = 8192
"""Characters of JSON that stand on a page as they are."""
DIGITS = 7
"""Significant ones of the numbers of a figure: more than a screen has."""


def environment(folder: Path) -> Environment:
    """Templates of a folder, with everything escaped and nothing undefined; `embedded` puts data on the page."""
    found = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    found.filters["embedded"] = embedded
    return found


def scripts(files: Iterable[Path]) -> list[Markup]:
    """plotly and scripts of ours, in their order. Raises ValueError for one that would end its own element."""
    texts = [get_plotlyjs(), *(path.read_text(encoding="utf-8") for path in files)]
    return [Markup(_script(text)) for text in texts]  # noqa: S704 - files of plotly and ours, nothing from records


def _script(text: str) -> str:
    # Browsers hash what the parser leaves, which has no carriage returns.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "</script" in text.lower():
        raise ValueError("a script to embed contains '</script'")
    return text


def policy(allowed: Iterable[str], *more: str) -> str:
    """Content security policy: the given inline scripts, further sources of scripts (`blob:`), nothing from outside."""
    hashes = (f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in allowed)
    return (
        f"default-src 'none'; script-src {' '.join([*hashes, *more])}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def deflated(content: bytes) -> str:
    """Bytes as base64 of a zlib stream, which browsers call 'deflate'."""
    return b64encode(zlib.compress(content, 9)).decode()


def embedded(value: Any) -> Markup:
    """A script element with data, which browsers do not run; names in it cannot end it."""
    text = json.dumps(value, ensure_ascii=False, **JSON)
    if len(text) <= LONGEST_PLAIN:
        plain = htmlsafe_json_dumps(value, **JSON)
        return Markup('<script type="application/json">{}</script>').format(plain)
    return Markup('<script type="text/plain">{}</script>').format(deflated(text.encode()))


def rounded(value: Any) -> Any:
    """JSON with its numbers to DIGITS digits: of a figure, whose numbers stand in full in the tables' CSV."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, (list, tuple)) else value
