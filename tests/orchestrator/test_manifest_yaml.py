from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.manifest.yaml_lines import YamlError, load_yaml, show


def load(tmp_path: Path, content: str | bytes):
    path = tmp_path / "m.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_yaml(path)


def error(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(YamlError) as caught:
        load(tmp_path, content)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_values_and_lines(tmp_path):
    document = load(tmp_path, "a: 1\nb:\n  # comment\n  c: [x, y,\n    z]\n  d: {e: 2}\n")
    assert document.data == {"a": 1, "b": {"c": ["x", "y", "z"], "d": {"e": 2}}}
    assert {show(path): line for path, line in document.lines.items()} == {
        "a": 1, "b": 2, "b.c": 4, "b.c[0]": 4, "b.c[1]": 4, "b.c[2]": 5, "b.d": 6, "b.d.e": 6,
    }  # fmt: skip
    assert document.line(("b", "d", "nothing", "here")) == 6
    assert document.line(("nothing",)) == 1
    assert document.problems == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-4", 1e-4),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("-7", -7),
        ("012", 12),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1e-5'", "1e-5"),
        ("e5", "e5"),
        ("ViT-B-16", "ViT-B-16"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path, text, value):
    found = load(tmp_path, f"key: {text}\n").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_byte_order_mark_and_windows_lines(tmp_path):
    document = load(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert document.data == {"a": 1, "b": 2}
    assert document.lines[("b",)] == 2


def test_duplicate_key_names_both_lines_and_keeps_the_first(tmp_path):
    document = load(tmp_path, "a:\n  x: 1\n  y: 2\n  x: 3\nb: 1\nb: 2\n")
    assert document.data == {"a": {"x": 1, "y": 2}, "b": 1}
    assert document.problems == (
        (4, "a: key 'x' is given twice, first in line 2"),
        (6, "key 'b' is given twice, first in line 5"),
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nlr: .nan\n", 2, "lr: must be a finite number, got .nan"),
        ("a: 1\nlr: -.inf\n", 2, "lr: must be a finite number, got -.inf"),
        ("a: 1\nlr: [1, 1e999]\n", 2, "lr[1]: must be a finite number, got 1e999"),
        ("a: 1\nn: 12345678901234567890\n", 2, "n: '12345678901234567890' is not a whole number of at most 18 digits"),
        ("a: 1\n3: x\n", 2, "the key '3' must be text; put it in quotes"),
        ("a: 1\ntrue: x\n", 2, "the key 'true' must be text; put it in quotes"),
        ("a: 1\n[p]: x\n", 2, "the key must be text; put it in quotes"),
        ("a: 1\nb: !!python/name:os x\n", 2, "b: tag 'tag:yaml.org,2002:python/name:os' is not supported; remove it"),
        ("a: 1\nb: !!set {p}\n", 2, "b: tag 'tag:yaml.org,2002:set' is not supported; remove it"),
        ("a: 1\nb: !!int x\n", 2, "b: 'x' is not a whole number of at most 18 digits"),
        ('a: 1\nb: "\\ud800"\n', 2, "b: the text has half a character (a lone surrogate)"),
        ("a: 1\n<<: {b: 1}\n", 2, "merge keys (<<) are not supported; put what benchmarks share under `defaults:`"),
    ],
)  # fmt: skip
def test_values_that_are_left_out(tmp_path, text, line, message):
    document = load(tmp_path, text)
    assert document.problems == ((line, message),)
    assert document.data["a"] == 1
    assert document.data.get("b") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "m.yaml:1: the file is empty"),
        ("# only a comment\n", "m.yaml:1: the file is empty"),
        ("\n- a\n- b\n", "m.yaml:2: the top level must be a mapping (key: value), not a list"),
        ("hello\n", "m.yaml:1: the top level must be a mapping (key: value), not a single value"),
        ("a:\n  b: 1\n\tc: 2\n", "m.yaml:3: a tab in the indentation; YAML wants spaces"),
        ("a:\n\tb: 1\n", "m.yaml:2: a tab in the indentation; YAML wants spaces"),
        ("a: 1\n---\nb: 2\n", "m.yaml:2: a second document starts here (---); a file holds one"),
        ("a: 1\nb: caf\xe9\n".encode("latin-1"), "m.yaml:2: byte 11 (0xe9) is not UTF-8; save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), "m.yaml:1: byte 0 (0xff) is not UTF-8; save the file as UTF-8"),
        ("a: 1\nb: \x00\n", "m.yaml:2: character 0 is not allowed in YAML"),
        ("a: &x [1]\nb: *x\n", "m.yaml:2: aliases (*name) are not supported; put what benchmarks share under `defaults:`"),
        ("a: 'b\n", "m.yaml:2: not valid YAML: found unexpected end of stream (while scanning a quoted scalar, line 1)"),
        ("a: " + "[" * 3000, "m.yaml:1: lists or mappings are nested too deeply"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(tmp_path, content, message):
    assert error(tmp_path, content) == message


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(YamlError, match=r"nothing\.yaml: no such file$"):
        load_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(YamlError, match=r"is a folder, not a YAML file$"):
        load_yaml(tmp_path)
