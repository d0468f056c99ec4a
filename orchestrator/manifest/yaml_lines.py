"""Reads a YAML file into plain JSON values and remembers the line of every key, so that errors can say where.

It takes the part of YAML that people expect and nothing else. Numbers and booleans are those of YAML 1.2: `1e-5` is a
number, `no`, `012` and `1:30` are not a boolean, an octal and a sexagesimal number. There are no tags, anchors, merge
keys or several documents, and a key stands only once in a mapping.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of the file down to a value."""


class YamlError(ValueError):
    """The file cannot be read as YAML at all; the message is one line with file and line number."""


@dataclass(frozen=True)
class Document:
    """The content of a file. `name` is its path as the user gave it."""

    name: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]
    """line of every key and list item, counted from 1"""
    problems: tuple[tuple[int, str], ...] = ()
    """line and message of what was left out of `data`: repeated keys, unknown tags, numbers that are not finite"""

    def line(self, path: KeyPath) -> int:
        """Line of `path`, or of its nearest parent that is in the file; 1 if there is none."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """Composes nodes with the tags of the YAML 1.2 core schema; aliases are refused."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # types-PyYAML has none
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not supported; put what benchmarks share under `defaults:`", mark
            )
        return super().compose_node(parent, index)


_TAG = "tag:yaml.org,2002:"
_DIGIT_OR_SIGN = list("-+0123456789.")
_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"^[-+]?[0-9]+$"), _DIGIT_OR_SIGN)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    _DIGIT_OR_SIGN,
)


def load_yaml(path: Path) -> Document:
    """Read a file whose top level is a mapping. Raises YamlError if it cannot be read or is not YAML."""
    name = str(path)
    text = _read_text(path, name)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YamlError(_syntax_error(name, text, error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{name}:{line}: character {error.character!r} is not allowed in YAML") from None
    except RecursionError:
        raise YamlError(f"{name}:1: lists or mappings are nested too deeply") from None
    if node is None:
        raise YamlError(f"{name}:1: the file is empty")
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise YamlError(f"{name}:{line}: the top level must be a mapping (key: value), not {_kind(node)}")
    reader = _Reader()
    data = reader.mapping(node, ())
    return Document(name, data, reader.lines, tuple(reader.problems))


def _read_text(path: Path, name: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise YamlError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise YamlError(f"{name}: is a folder, not a YAML file") from None
    except OSError as error:
        raise YamlError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise YamlError(
            f"{name}:{line}: byte {error.start} (0x{byte:02x}) is not UTF-8; save the file as UTF-8"
        ) from None


def _syntax_error(name: str, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{name}:1: not valid YAML: {error.problem or error.context}"
    line = mark.line + 1
    lines = text.splitlines()
    start = lines[mark.line] if mark.line < len(lines) else ""
    indentation = start[: len(start) - len(start.lstrip())]
    if "\t" in indentation:
        return f"{name}:{line}: a tab in the indentation; YAML wants spaces"
    if error.context == "expected a single document in the stream":
        return f"{name}:{line}: a second document starts here (---); a file holds one"
    message = error.problem or error.context
    if error.problem and error.context and error.context_mark is not None:
        message = f"{error.problem} ({error.context}, line {error.context_mark.line + 1})"
    return f"{name}:{line}: not valid YAML: {message}" if "aliases" not in str(message) else f"{name}:{line}: {message}"


def _kind(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


class _UnreadableError(Exception):
    """A value that was reported and is left out."""


@dataclass
class _Reader:
    """Turns nodes into values, noting lines and problems on the way."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_TAG}str" or not _is_unicode(key):
                shown = f" {key!r}" if isinstance(key, str) else ""
                self._report(line, path, f"the key{shown} must be text; put it in quotes")
            elif key == "<<":
                self._report(
                    line, path, "merge keys (<<) are not supported; put what benchmarks share under `defaults:`"
                )
            elif key in result:
                first = self.lines[(*path, key)]
                self._report(line, path, f"key {key!r} is given twice, first in line {first}")
            else:
                self.lines[(*path, key)] = line
                try:
                    result[key] = self._value(value_node, (*path, key))
                except _UnreadableError:
                    continue
        return result

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        result: list[Any] = []
        for item in node.value:
            item_path = (*path, len(result))
            self.lines[item_path] = item.start_mark.line + 1
            try:
                result.append(self._value(item, item_path))
            except _UnreadableError:
                continue
        return result

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return self._sequence(node, path)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._unreadable(node, path, f"tag {node.tag!r} is not supported; remove it")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> str | int | float | bool | None:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" if _is_unicode(text):
                return text
            case "str":
                self._unreadable(node, path, "the text has half a character (a lone surrogate)")
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if re.fullmatch(r"[-+]?[0-9]{1,18}", text):
                return int(text)
            case "int":
                self._unreadable(node, path, f"{text[:30]!r} is not a whole number of at most 18 digits")
            case "float":
                return self._float(node, path, text)
        self._unreadable(node, path, f"tag {node.tag!r} is not supported; remove it")

    def _float(self, node: yaml.Node, path: KeyPath, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self._unreadable(node, path, f"must be a finite number, got {text[:30]}")
        return number

    def _report(self, line: int, path: KeyPath, message: str) -> None:
        self.problems.append((line, f"{show(path)}: {message}" if path else message))

    def _unreadable(self, node: yaml.Node, path: KeyPath, message: str) -> NoReturn:
        self._report(node.start_mark.line + 1, path, message)
        raise _UnreadableError


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(path: KeyPath) -> str:
    """A key path as people write it: `benchmarks.demo.seeds[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
