"""`list methods`, short, in full and as cards."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import datasets
import methods
from orchestrator import cards, catalog
from orchestrator.cli import app
from tests.conftest import ROOT

MINE = '''"""Mine: a method with {braces} and a_b * c.

    L = a * b

Paper: none.
Deviations:
1. One
   of them.
2. Another.
Cost: nothing.
"""
from typing import ClassVar, Literal
from pydantic import Field
from methods.base import Method
from training.config import Frozen

class Mine(Method):
    title: ClassVar[str] = "Mine"
    paper: ClassVar[str] = "none"

    class Config(Frozen):
        weights: tuple[float, ...] = Field((0.0, 1.0), description="in [0, 1]")
        mode: Literal["a", "b"] = "a"
        limit: int | None = Field(None, ge=1, lt=9)
        must: float
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(MINE)
    return tmp_path / "plugins"


def call(*words: object) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_fits_a_terminal_and_describes_every_setting() -> None:
    lines = call("list", "methods").splitlines()
    assert max(map(len, lines)) <= catalog.WIDTH
    assert {line.split(":")[0] for line in lines if not line.startswith(" ")} == set(methods.available())
    for name in methods.available():
        for key, _, _, description in catalog.settings(methods.load(name)):
            assert description, f"{name}: {key} has no description"


def test_one_method_in_full(plugins: Path) -> None:
    assert call("list", "methods", "mine", "--plugins", plugins).splitlines() == [
        "mine: Mine (none); trained",
        "    weights: list of number, default [0.0, 1.0]; in [0, 1]",
        '    mode: "a" or "b", default "a"',
        "    limit: integer >= 1 and < 9 or null, default null",
        "    must: number, required",
        "",
        "    Mine: a method with {braces} and a_b * c.",
        "",
        "        L = a * b",
        "",
        "    Paper: none.",
        "    Deviations:",
        "    1. One of them.",
        "    2. Another.",
        "    Cost: nothing.",
        "",
    ]


def test_wrong_names_and_places_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text("# Nothing\n")
    for words in (["methods", "nonesuch"], ["models", "demo"], ["methods", "--cards", str(tmp_path / "plain.md")]):
        assert CliRunner().invoke(app, ["list", *words]).exit_code == 2


def test_cards_replace_what_is_below_the_line(plugins: Path, tmp_path: Path) -> None:
    path = tmp_path / "methods.md"
    path.write_text(f"# By hand\n\n{cards.MARK}\n\nwhat was\n")
    call("list", "methods", "--plugins", plugins, "--cards", path)
    text = path.read_text()
    assert text.startswith(f"# By hand\n\n{cards.MARK}\n\n| method | name | how |\n")
    assert "what was" not in text
    card = text[text.index('<a id="mine">') :]
    assert card.startswith(
        '<a id="mine"></a>\n\n## Mine\n\n`mine` - trained - none\n\n'
        "Mine: a method with {braces} and a\\_b \\* c.\n\n```text\nL = a * b\n```\n\n"
        "**Paper:** none.\n\n**Deviations:**\n\n1. One of them.\n\n2. Another.\n\n**Cost:** nothing.\n\n| setting |"
    )
    assert "| `weights` | list of number | \\[0.0, 1.0\\] | in \\[0, 1\\] |" in card


def test_the_committed_cards_are_up_to_date() -> None:
    head, mark, body = (ROOT / "docs/methods.md").read_text().partition(cards.MARK)
    assert "about drawings, not about CLIP" in head
    assert mark
    assert body.strip() == cards.markdown().strip(), "run: python -m orchestrator list methods --cards docs/methods.md"


def test_the_list_of_datasets_names_every_revision() -> None:
    lines = call("list", "datasets").splitlines()
    assert max(map(len, lines)) <= catalog.WIDTH
    assert {line.split(":")[0] for line in lines if not line.startswith((" ", "`"))} == set(datasets.available())
    text = " ".join(" ".join(lines).split())
    assert "345 classes, 586,575 images; domains real, painting" in text and "quickdraw (only if named)" in text
    assert "revision cleaned; others: domainnet@original, domainnet@domainbed" in text


def test_a_dataset_in_full_has_counts_files_notes_and_the_command() -> None:
    text = " ".join(call("list", "datasets", "domainnet").split())
    assert (
        "painting: 50,416 train, 21,850 test" in text and "quickdraw: 120,750 train, 51,750 test, only if named" in text
    )
    assert "groundtruth/clipart.zip (1.18 GiB)" in text and "t-shirt, has no image in painting's train list" in text
    assert "python -m orchestrator prepare domainnet --from FOLDER (or: --from published)" in text
    assert "other revision: domainnet@original, 345 classes, 596,006 images. Not the lists" in text
    text = " ".join(call("list", "datasets", "domainnet@original", "imagenet").split())
    assert (
        "domainnet@original: DomainNet (original); 345 classes, 596,006 images" in text and "other revision" not in text
    )
    assert "objectnet: 18,574 test, scored over 113 classes, only if named" in text
    assert "by hand: ILSVRC2012_img_train.tar (137.74 GiB)" in text and "(or: --from published)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "datasets", "domainnt"), "unknown dataset 'domainnt', did you mean 'domainnet'?"),
        (("list", "datasets", "domainnet@orig"), "unknown revision 'orig' of dataset 'domainnet'"),
        (("list", "models", "ViT-B-16"), "names go with `list methods` and `list datasets`"),
    ],
)
def test_what_cannot_be_listed_is_bad_input(words: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 2 and message in result.output


@pytest.mark.parametrize(
    ("name", "offered"),
    [("pacs", False), ("ucf101", False), ("eurosat@coop", False), ("cub", True), ("caltech101", True)],
)
def test_a_download_is_offered_only_where_a_program_gets_all_that_is_needed(name: str, offered: bool) -> None:
    assert ("(or: --from published)" in call("list", "datasets", name)) == offered
