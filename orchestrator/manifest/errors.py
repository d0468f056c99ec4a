"""Collects what is wrong with a manifest, each problem as one line with file, line, key path and what was expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from orchestrator.manifest.yaml_lines import Document, KeyPath, show

_MAX_KNOWN = 25


class ManifestError(ValueError):
    """The manifest, or what it was asked for, is wrong. `problems` has one line each, in the order of the file."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """The problems found so far in one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[str, int] = {f"{document.name}:{n}: {text}": n for n, text in document.problems}

    def add(self, path: KeyPath, message: str) -> None:
        """Note that the value at `path` is wrong; the same problem of two benchmarks (a shared default) counts once."""
        line = self._document.line(path)
        where = f"{show(path)}: " if path else ""
        self._found.setdefault(f"{self._document.name}:{line}: {where}{message}", line)

    def unknown(self, path: KeyPath, what: str, name: str, known: Iterable[str]) -> None:
        """Note an unknown name, a key or list item at `path`, and the nearest known one."""
        line = self._document.line(path)
        where = f"{show(path[:-1])}: " if path[:-1] else ""
        message = f"{self._document.name}:{line}: {where}unknown {what} {name!r}{suggestion(name, known)}"
        self._found.setdefault(message, line)

    def shape(self, model: type[BaseModel], error: ErrorDetails) -> KeyPath:
        """Note an error of the shape; returns the path of the value to leave out."""
        path = tuple(error["loc"])
        if error["type"] == "missing":  # a key with nothing behind it is in the file and counts as missing
            path = path[:-1]
        while path and path not in self._document.lines:
            path = path[:-1]
        if error["type"] == "extra_forbidden":
            self.unknown(path, "key", str(path[-1]), known_keys(model, path[:-1]))
        else:
            missing = tuple(error["loc"])[len(path) :]
            self.add(path, missing_key(missing) if error["type"] == "missing" and missing else plain(error))
        return path

    def __bool__(self) -> bool:
        return bool(self._found)

    def lines(self) -> list[str]:
        """All problems in the order of the file."""
        return sorted(self._found, key=lambda text: self._found[text])


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'? known: x, y`, or `; known: x, y` when no known name is near."""
    names = sorted(known)
    if not names:
        return "; there is none"
    folded = {n.casefold(): n for n in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    shown = ", ".join(names[:_MAX_KNOWN]) + (f", and {len(names) - _MAX_KNOWN} more" if len(names) > _MAX_KNOWN else "")
    return f", did you mean {folded[near[0]]!r}? known: {shown}" if near else f"; known: {shown}"


def known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that a mapping at `path` of a `model` may have."""
    kind: Any = model
    for part in path:
        kind = _field(kind, part)
    kind = _unwrapped(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _field(kind: Any, part: str | int) -> Any:
    kind = _unwrapped(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(kind)
    return arguments[-1] if get_origin(kind) is dict else arguments[0] if arguments else None


def _unwrapped(kind: Any) -> Any:
    """`X` of `X | None` and of `Annotated[X, ...]`."""
    while hasattr(kind, "__metadata__") or type(None) in get_args(kind):
        kind = get_args(kind)[0]
    return kind


def missing_key(rest: KeyPath) -> str:
    """What is missing below a value: a key, or items of a list of fixed length."""
    if isinstance(rest[0], int):
        return f"must have more entries, the one at index {rest[0]} is missing"
    return f"key {rest[0]!r} is missing"


def plain(error: ErrorDetails) -> str:
    """A validation error in plain words: what was expected and what was there."""
    context: dict[str, Any] = error.get("ctx", {})
    given = error["input"]
    match error["type"]:
        case "greater_than":
            return f"must be greater than {context['gt']:g}, got {shown(given)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, got {shown(given)}"
        case "less_than":
            return f"must be less than {context['lt']:g}, got {shown(given)}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}, got {shown(given)}"
        case "literal_error" | "enum":
            return f"must be {context['expected']}, got {shown(given)}{_near(given, context['expected'])}"
        case "too_short" | "string_too_short":
            return "must not be empty" if context.get("min_length") == 1 else _length(context, "at least", "min_length")
        case "too_long" | "string_too_long":
            return _length(context, "at most", "max_length")
        case "string_pattern_mismatch":
            return (
                f"must start with a letter or digit and have only letters, digits, '_', '.' and '-', got {shown(given)}"
            )
        case "value_error":
            message = str(context["error"])
            return message if " got " in message else f"{message}, got {shown(given)}"
        case "extra_forbidden":
            return "unknown key"
    return f"{_EXPECTED.get(error['type'], _lower(error['msg']))}, got {shown(given)}"


_EXPECTED = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text (put it in quotes)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "none_required": "must be null",
}


def shown(value: Any) -> str:
    """A value of the file as JSON, shortened."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _length(context: dict[str, Any], bound: str, key: str) -> str:
    return f"must have {bound} {context[key]} entries, got {context.get('actual_length', 'another number')}"


def _near(given: Any, expected: str) -> str:
    options = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(given, options, n=1) if isinstance(given, str) else []
    return f", did you mean {near[0]!r}?" if near else ""


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should", "must")
    return message[:1].lower() + message[1:]
