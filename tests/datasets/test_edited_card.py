"""`prepare` again after the card was edited: what changes images or their meaning is refused, other text is a note."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from datasets import DatasetError
from orchestrator.prepare.dataset import Options, prepare
from tests.datasets.fakes import INK_CARD, picture
from tests.datasets.miniature import write_files

CARD = INK_CARD + "all_in: train\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "in", {f"ink/{name}/{i}.jpg": picture(i) for name in ("cat", "dog") for i in range(2)})
    said(tmp_path, CARD)
    return tmp_path


def said(folder: Path, card: str) -> list[str]:
    """The lines of `prepare` with this card."""
    (folder / "mine.yaml").write_text(card)
    console = Console(file=io.StringIO(), soft_wrap=True)
    prepare(str(folder / "mine.yaml"), folder / "in", folder / "out", None, console, Options(workers=1))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (("title: Mine", "title: Ours"), "title"),
        (("license: mine", "license: CC BY 4.0"), "license"),
        (("source: my disk", "source: https://mine.example"), "source"),
        (("citation: none", "citation: Doe 2026"), "citation"),
        (("citation: none", "citation: none\nnotes: [some are blurred]"), ""),
        (("citation: none", "citation: none\ncounts: {ink: {train: 4}}"), ""),
    ],
)
def test_edited_text_is_at_most_a_note(folder: Path, edit: tuple[str, str], named: str) -> None:
    identity = (folder / "out/dataset.json").read_bytes()
    lines = said(folder, CARD.replace(*edit))
    notes = [line for line in lines if "as of when it was prepared" in line]
    note = f"{named} in its dataset.json: as of when it was prepared; the dataset now says otherwise"
    assert notes == ([note] if named else [])
    assert "is prepared already; verified 4 images in 1 shard, " in lines[0]
    assert (folder / "out/dataset.json").read_bytes() == identity


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (("name: mine", "name: other"), "name"),
        (('revision: "1"', 'revision: "2"'), "revision"),
        (("[cat, dog]", "[dog, cat]"), "classnames"),
        (("a photo of", "a drawing of"), "templates"),
        (("citation: none", "citation: none\ncounts: {ink: {train: 5}}"), "number of images of ink/train"),
        (("citation: none", "citation: none\ngroups: {ink: [[cat, dog]]}"), "groups"),
    ],
)
def test_what_changes_images_or_their_meaning_is_refused(folder: Path, edit: tuple[str, str], what: str) -> None:
    with pytest.raises(DatasetError, match=f"prepared with another {what} .*delete that folder or give another one"):
        said(folder, CARD.replace(*edit))
