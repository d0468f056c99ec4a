"""docs/datasets.md against the registry: an entry for every dataset, its numbers, files and sizes, and commands that parse."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

import datasets
from datasets.base import DatasetInfo, PublishedFile
from orchestrator.cli import app
from tests.conftest import ROOT

TEXT = (ROOT / "docs/datasets.md").read_text()
NAMES = sorted(datasets.available())
# A section is what stands below a heading; a sub-section belongs to the one around it.
SECTIONS = re.split(r"^## ", TEXT, flags=re.M)[1:]
COMMAND = re.compile(r"python -m orchestrator ((?:prepare|verify) [^`\n]+)")


def row(name: str, text: str = TEXT) -> list[str]:
    """The cells of the first row of a table that begins with the dataset's name."""
    found = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def section(name: str) -> str:
    """The section with the dataset's own command."""
    (found,) = [text for text in SECTIONS if re.search(rf"orchestrator prepare {name}[ `\n]", text)]
    return found


def numbers(text: str) -> set[int]:
    return {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)}


def stated(info: DatasetInfo, known: set[int]) -> bool:
    """Whether the total of a dataset, those of its splits, or all single counts are among some numbers."""
    counts = [n for splits in info.counts.values() for n in splits.values()]
    splits = {key: sum(by.get(key, 0) for by in info.counts.values()) for by in info.counts.values() for key in by}
    return sum(counts) in known or set(splits.values()) <= known or set(counts) <= known


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_all_datasets_has_its_revisions_classes_and_counts(name: str) -> None:
    _, revisions, domains, classes, images = row(name)
    known = datasets.revisions(name)
    assert revisions.split(", ") == list(known)
    info = known[next(iter(known))].info
    assert sum(numbers(classes)) == len(info.classnames)
    assert len(info.domains) == 1 or all(domain in domains for domain in info.domains)
    for revision, dataset in known.items():
        assert stated(dataset.info, numbers(images)), f"{name}@{revision}: {images}"
        assert revision == next(iter(known)) or f"{name}@{revision}" in TEXT, "nothing says how to ask for it"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_it_says_where_to_get_it_its_licence_and_its_defects(name: str) -> None:
    text = section(name).replace("\\*", "*")
    assert "licen" in text.lower() and "defects" in text
    for file in datasets.load(name).files:
        listed = file.name.rpartition("/")[2] in text or (file.name.endswith(".txt") and "domainnet/txt/*.txt" in text)
        assert listed, f"{file.name} is not named"


@pytest.mark.parametrize("name", [n for n in NAMES if datasets.load(n).info.domains == (n,)])
def test_sizes_of_the_downstream_datasets_are_those_of_their_files(name: str) -> None:
    files: tuple[PublishedFile, ...] = datasets.load(name).files
    cell = next(c for c in row(name, section(name)) if "GiB" in c)
    size = sum(file.bytes or 0 for file in files) / 2**30
    assert float(cell.split()[0]) == pytest.approx(size, abs=0.05)


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (path.name, command)
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        for command in COMMAND.findall(path.read_text())
        if "[" not in command  # a synopsis
    ],
)
def test_commands_parse_and_name_what_there_is(document: str, line: str) -> None:
    name, *args = shlex.split(line.partition(" #")[0])
    group = typer.main.get_command(app)
    with group.make_context("orchestrator", ["--help"], resilient_parsing=True) as context:
        command = group.get_command(context, name)  # type: ignore[attr-defined]  # a group of click
        parsed = command.make_context(name, args)
    ref = parsed.params.get("dataset", "")
    # NAME, NAME_OR_FOLDER: put your own; a path is yours; `captions` has an option --dataset instead.
    if not re.fullmatch(r"[a-z][a-z0-9_@-]*", ref) or ref.startswith("my_"):
        return
    info = datasets.load(ref).info
    assert set((parsed.params.get("domains") or info.domains[0]).split(",")) <= set(info.domains)
