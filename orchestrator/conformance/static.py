"""What can be seen without running a method."""

from __future__ import annotations

import ast

from pydantic import ValidationError

from orchestrator.conformance.candidate import Candidate, require
from training.config import Frozen


def described(candidate: Candidate) -> None:
    """Title, paper, version and docstring."""
    found = candidate.subject.load()
    for attribute in ("title", "paper"):
        require(bool(getattr(found, attribute)), f"`{attribute}` is empty", "tables and cards print it: say what it is")
    require(found.version >= 1, f"version is {found.version}", "count from 1 and raise it when results change")
    docstring = ast.get_docstring(ast.parse(candidate.subject.path.read_text()))
    require(bool(docstring), "the file has no docstring", "start it with the formula, the paper, cost and deviations")


def imports(candidate: Candidate) -> None:
    """A method's version does not cover what other files do; and it must not know datasets or where it runs."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(candidate.subject.path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    wrong = sorted(m for m in imported if m.split(".")[0] in {"ray", "datasets", "orchestrator"})
    require(not wrong, f"it imports {', '.join(wrong)}", "a method gets all it may know through `task` or `inputs`")
    others = sorted(m for m in imported if m.split(".")[0] == "methods" and m != "methods.base")
    require(
        not others,
        f"it imports {', '.join(others)}",
        "its version would not cover changes there: import methods.base alone, shared maths lies in training/",
    )


def settings(candidate: Candidate) -> None:
    """Complete without a word in the manifest, and the same after a round trip through a record."""
    config = candidate.subject.load().Config
    require(issubclass(config, Frozen), "Config is no Frozen", "write class Config(Frozen), from training.config")
    try:
        made = config.model_validate(dict(candidate.subject.settings))
    except ValidationError as error:
        missing = sorted(".".join(map(str, problem["loc"])) for problem in error.errors())
        require(False, f"no valid value of {some_or(missing)}", "give Config defaults, or pass --settings as JSON")
        raise
    require(
        config.model_validate(made.model_dump(mode="json")) == made,
        "settings change on their way through JSON",
        "use numbers, strings, booleans, tuples and Literal",
    )
    require(
        config.model_config.get("extra") == "forbid" and bool(config.model_config.get("frozen")),
        "Config takes unknown keys or can be changed",
        "leave model_config as Frozen has it",
    )


def some_or(names: list[str]) -> str:
    """Names, or that the settings as a whole are meant."""
    return ", ".join(name or "the settings together" for name in names)
