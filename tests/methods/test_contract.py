"""The contract (orchestrator/conformance) over all files found in methods/: a new one is tested before its author has a test."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import methods
from methods.base import NoSettings, PostHocInputs
from orchestrator.conformance import CHECKS, Candidate, Check, Ground, Subject
from orchestrator.conformance.candidate import ConformanceError
from orchestrator.conformance.pair import Pair
from tests.conftest import ROOT
from training.config import Frozen
from training.types import Task

FEW_CS = {"cs": (1.0, 100.0)}
SETTINGS = {"linear_probe": FEW_CS, "lp_ft": FEW_CS}
"""Other than the defaults, which are a search over seven C with up to 1,000 iterations each, for every run of a method."""
ALL = [Subject(name, settings=SETTINGS.get(name, {})) for name in sorted(methods.available())]
RUN = [subject for subject in ALL if CHECKS and any(c.kind != "any" and c.applies(subject) for c in CHECKS)]
CASES = [(check, subject) for check in CHECKS for subject in ALL if check.applies(subject)]
"""Check by check: by the time that a method runs again, all others have run."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def candidate(ground: Ground) -> Callable[[Subject], Candidate]:
    """Runs are shared by the checks of a method."""
    made = {subject.name: Candidate(subject, ground) for subject in ALL}
    return lambda subject: made[subject.name]


@pytest.fixture(scope="module", autouse=True)
def workers(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Pair | None]:
    """One pair of processes for all methods: starting them is what takes the time. They work while other tests run."""
    if not any(item.name == test_two_workers_equal_one.__name__ for item in request.session.items):
        yield None
        return
    pair = Pair(RUN, ground)
    yield pair
    pair.stop()


@pytest.mark.parametrize(("check", "subject"), CASES, ids=[f"{check.name}-{subject.name}" for check, subject in CASES])
def test_it_keeps_its_promise(check: Check, subject: Subject, candidate: Callable[[Subject], Candidate]) -> None:
    check.run(candidate(subject))


def test_two_workers_equal_one(workers: Pair, candidate: Callable[[Subject], Candidate]) -> None:
    workers.wait()
    for subject in RUN:
        try:
            workers.compare(candidate(subject))
        except ConformanceError as error:
            raise AssertionError(f"{subject.name}: {error}") from error


@pytest.mark.parametrize("subject", ALL, ids=[subject.name for subject in ALL])
def test_it_has_a_source_a_test_of_its_own_and_a_readable_length(subject: Subject) -> None:
    text = subject.path.read_text()
    assert "arXiv:" in (ast.get_docstring(ast.parse(text)) or "")
    assert (ROOT / f"tests/methods/test_{subject.name}.py").exists()
    assert len(text.splitlines()) <= 200


@pytest.mark.parametrize("subject", ALL, ids=[subject.name for subject in ALL])
def test_it_says_what_it_costs_and_what_each_setting_is(subject: Subject) -> None:
    assert "Cost" in (ast.get_docstring(ast.parse(subject.path.read_text())) or "")
    for name, setting in subject.load().Config.model_fields.items():
        assert setting.description, f"{name} has no description"


def imported(text: str) -> set[str]:
    """Full names of the modules that a file imports anywhere in it, those of `from a import b` as 'a.b'."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "methods").glob("*.py")), ids=lambda path: path.stem)
def test_no_file_there_imports_a_method_a_dataset_or_ray(path: Path) -> None:
    for name in imported(path.read_text()):
        package, _, rest = name.partition(".")
        assert package not in {"datasets", "orchestrator", "ray"}, name
        assert package != "methods" or rest.partition(".")[0] == "base", name


def test_an_import_of_another_method_is_seen_wherever_it_stands() -> None:
    text = "import ray.tune\ndef f():\n    from methods import flyp\n    from methods.flyp import FLYP\n    import torch as t\n"
    assert imported(text) == {"ray.tune", "methods.flyp", "methods.flyp.FLYP", "torch"}


@pytest.mark.parametrize("subject", ALL, ids=[subject.name for subject in ALL])
def test_it_refuses_the_settings_of_another(subject: Subject) -> None:
    class Foreign(Frozen):
        pass

    with pytest.raises(TypeError, match="takes a"):
        subject.load()(Foreign())


def test_nothing_that_a_method_may_know_is_test_data() -> None:
    known = {field.name for kind in (Task, PostHocInputs) for field in dataclasses.fields(kind)}
    assert known == {
        *(
            "classnames",
            "templates",
            "text",
            "num_steps",
            "seed",
            "images",
            "captions",
            "pairs",
            "runtime",
            "label_smoothing",
            "contexts",
        ),
        *("zero_shot", "finetuned", "build", "val", "score", "zero_shot_text", "texts"),
    }
    assert NoSettings.model_fields == {}
