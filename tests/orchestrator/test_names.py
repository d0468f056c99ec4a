"""No Python code outside methods/ names a method."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from methods import available
from tests.conftest import ROOT


def docstrings(tree: ast.AST) -> set[int]:
    """Ids of the strings that document: those that are a statement of their own."""
    return {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}


METHODS = frozenset(available())


def named(path: Path) -> Iterator[str]:
    """Where a file has a string that is a method's name, or the beginning of an f-string that is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    spared = docstrings(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in spared:
            continue
        if node.value.strip() in METHODS:
            yield f"{path.name}:{node.lineno}: {node.value!r}"


@pytest.mark.parametrize("folder", ["orchestrator", "training", "datasets", "perf"])
def test_no_string_is_the_name_of_a_method(folder: str) -> None:
    """The rule: no string constant equals the name of a method, but for white space around it, so that nothing can compare
    with one, look one up or fall back to one. Docstrings may name them, and so may longer texts: a help's example says
    `compare lipsum_ft ft`, and a project called robust-ft-bench is not a method.
    """
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert len(paths) > 5
    assert not [f"{path.relative_to(ROOT).parent}/{found}" for path in paths for found in named(path)]


def test_the_rule_finds_a_name_and_spares_what_only_mentions_one(tmp_path: Path) -> None:
    name = min(METHODS)
    code = tmp_path / "code.py"
    code.write_text(
        f'"""{name}"""\ndef f(x):\n    """{name}"""\n    return x == {name!r} or "{name} x" or f"{name}{{x}}"\n'
    )
    assert [found.rpartition(":")[0] for found in named(code)] == ["code.py:4", "code.py:4"]
