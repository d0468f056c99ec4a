"""`check`: methods that break one promise each, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.conformance import CHECKS, Candidate, ConformanceError, Ground, Subject
from tests.test_docs import example

HEAD = '''
"""A method."""
from typing import ClassVar
import torch
from methods.base import Method, PostHoc, Variant
from training.config import Frozen
from training.types import Phase

class Mine({base}):
    title: ClassVar[str] = "Mine"
    paper: ClassVar[str] = "none"
'''

BROKEN = {
    "described": ("Method", 'title: ClassVar[str] = ""', "`title` is empty; tables"),
    "imports": ("Method", "import methods.ft", "it imports methods.ft; its version would not cover"),
    "settings": ("Method", "class Config(Frozen):\n        strength: float", "no valid value of strength; give Config defaults"),
    "loss": (
        "Method",
        "def loss(self, model, batch):\n"
        "        features = model.encode_image(batch.images).detach()\n"
        "        return {'loss': self.cross_entropy(model.logits(features), batch.labels), 'one': torch.ones(())}",
        "the loss does not reach visual.class_embedding, ",
    ),
    "moves": (
        "Method",
        "def after_step(self, model, step):\n        model.logit_scale.add_(1)",
        "logit_scale moved but is in no phase; name it in a phase",
    ),
    "export": (
        "Method",
        "def export(self, model):\n        model.register_buffer('more', torch.zeros(1))\n        return model",
        "weights do not fit the model: .*more.*; return the plain ImageClassifier",
    ),
    "resume": (
        "Method",
        "steps = 0\n"
        "    def after_step(self, model, step):\n        self.steps += 1\n"
        "    def loss(self, model, batch):\n        losses = super().loss(model, batch)\n"
        "        return {**losses, 'loss': losses['loss'] * (1 + self.steps)}",
        "differs after an interruption; name what changes during training in `resumable`",
    ),
    "again": (
        "Method",
        "runs = []\n"
        "    def setup(self, model, task):\n        self.runs.append(1)\n        return super().setup(model, task)\n"
        "    def loss(self, model, batch):\n        losses = super().loss(model, batch)\n"
        "        return {**losses, 'loss': losses['loss'] / len(self.runs) ** 4 + model.head.square().sum()}",
        "differs in a second run in the same process; keep no state in the module or the class",
    ),
    "derives": (
        "PostHoc",
        "def derive(self, inputs):\n"
        "        return [Variant(name='a', predictor=inputs.build(inputs.zero_shot)) for _ in range(2)]",
        "variants share the name 'a'; name each",
    ),
    "inputs": (
        "PostHoc",
        "def derive(self, inputs):\n"
        "        (state,) = inputs.finetuned.values()\n        state['head'].mul_(2)\n"
        "        return [Variant(name='', predictor=inputs.build(state))]",
        "it changed the weights of ft-0; compute new tensors",
    ),
    "derives_again": (
        "PostHoc",
        "def derive(self, inputs):\n"
        "        head = torch.randn_like(inputs.zero_shot['head'])\n"
        "        return [Variant(name='x', predictor=inputs.build({**inputs.zero_shot, 'head': head}))]",
        "'x' gives other logits the second time; seed what is random from inputs.seed",
    ),
    "untrained": ("Method", "trains: ClassVar[bool] = False", "`setup` returns phases; leave `trains` True"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


def write(folder: Path, base: str, body: str) -> Path:
    path = folder / "mine.py"
    path.write_text(HEAD.format(base=base).lstrip() + f"\n    {body}\n")
    return path


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_a_broken_promise_is_named_with_what_to_do(name: str, ground: Ground, tmp_path: Path) -> None:
    base, body, message = BROKEN[name]
    subject = Subject.of_file(write(tmp_path, base, body), {})
    ground.folder = tmp_path
    (check,) = (check for check in CHECKS if check.name == name)
    assert check.applies(subject)
    with pytest.raises(ConformanceError, match=message):
        check.run(Candidate(subject, ground))


def test_the_command_says_what_holds_and_what_does_not(tmp_path: Path) -> None:
    body = (
        "def setup(self, model, task):\n"
        "        self.generator = torch.Generator().manual_seed(task.seed + task.runtime.rank)\n"
        "        return super().setup(model, task)\n"
        "    def loss(self, model, batch):\n        losses = super().loss(model, batch)\n"
        "        noise = torch.rand(model.head.shape, generator=self.generator)\n"
        "        return {**losses, 'loss': losses['loss'] + (noise * model.head).sum()}"
    )
    result = CliRunner().invoke(app, ["check", str(write(tmp_path, "Method", body))])
    assert result.exit_code == 1, result.output
    lines = result.output.splitlines()
    assert lines[0].endswith("mine.py: Mine (none)")
    assert [line.split("  ")[1] for line in lines[1:-1]] == [*["holds"] * 6, "FAILS", "holds", "FAILS"]
    assert "interrupted and resumed equals uninterrupted, bit for bit: " in lines[7]
    assert "two workers give what one gives: weights differ by " in lines[9]
    assert lines[-1] == "7 of 9 hold; see docs/add-a-method.md"


def test_an_error_of_the_methods_own_comes_with_its_line_once(tmp_path: Path) -> None:
    path = write(tmp_path, "PostHoc", "def derive(self, inputs):\n        return 1 / 0")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1
    assert result.output.count("ZeroDivisionError: division by zero (line 13, in derive); mend that first") == 1
    assert result.output.count("as above") == 2
    assert "two workers give what one gives: not tried; mend that first" in result.output


def test_the_example_of_the_documentation_conforms(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(example("docs/add-a-method.md", "L2SP"))
    subject = Subject.of_file(tmp_path / "mine.py", {"strength": 0.5})
    ground.folder = tmp_path
    candidate = Candidate(subject, ground)
    for check in CHECKS:
        if check.applies(subject):
            check.run(candidate)


@pytest.mark.parametrize(
    ("file", "text", "options", "message"),
    [
        ("none.py", None, [], "no such Python file"),
        ("notes.txt", "", [], "no such Python file"),
        ("ft.py", "", [], "method 'ft' is defined twice"),
        ("mine.py", "x = 1", [], "must define exactly one subclass of Method or PostHoc"),
        ("mine.py", "import nowhere", [], "ModuleNotFoundError"),
        ("mine.py", "", ["--settings", "{"], "--settings is no JSON"),
        ("mine.py", "", ["--settings", "[]"], "--settings must be a JSON object"),
    ],
)
def test_what_is_no_method_is_bad_input(
    file: str, text: str | None, options: list[str], message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / file).write_text(text)
    result = CliRunner().invoke(app, ["check", str(tmp_path / file), *options])
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"strenght": 1}', "--settings: unknown setting 'strenght', did you mean 'strength'? known: strength"),
        ('{"strength": -1}', "--settings: strength: must be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_bad_input_in_one_line(settings: str, message: str, tmp_path: Path) -> None:
    body = "class Config(Frozen):\n        strength: float = Field(1.0, ge=0)"
    path = write(tmp_path, "Method", body)
    path.write_text("from pydantic import Field\n" + path.read_text())
    result = CliRunner().invoke(app, ["check", str(path), "--settings", settings])
    assert result.exit_code == 2
    assert result.output.strip().splitlines() == [message]


def test_a_method_that_leaves_the_process_breaks_its_promises(tmp_path: Path) -> None:
    path = write(tmp_path, "PostHoc", "def derive(self, inputs):\n        raise SystemExit(0)")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1
    assert "SystemExit: 0 (line 13, in derive); mend that first" in result.output


def test_a_method_without_phases_says_that_it_takes_no_step(ground: Ground, tmp_path: Path) -> None:
    body = "fitted_in_setup: ClassVar = ('head',)\n    def setup(self, model, task):\n        return []"
    subject = Subject.of_file(write(tmp_path, "Method", body), {})
    ground.folder = tmp_path
    with pytest.raises(ConformanceError, match="returns no phase; say so with `takes_steps: ClassVar"):
        next(check for check in CHECKS if check.name == "loss").run(Candidate(subject, ground))
