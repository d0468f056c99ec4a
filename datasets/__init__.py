"""Finds datasets by file name: `datasets/<name>.py` that defines `DATASET`, or a card `datasets/cards/<name>.yaml`.

Every other module here is a tool; no list has to be kept. Finding a dataset imports nothing, loading imports only the
one asked for.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
from pathlib import Path

from datasets.base import Dataset

_HERE = Path(__file__).resolve().parent
CARD_SUFFIXES = (".yaml", ".yml")


class DatasetError(ValueError):
    """A dataset cannot be found, read or prepared; the message says what, where and what to do."""


def _refuse_namesake() -> None:
    """Raise ImportError if Hugging Face's `datasets` is installed: some processes would import it instead of this."""
    try:
        version = importlib.metadata.version("datasets")
    except importlib.metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"the distribution 'datasets' {version} (Hugging Face's) is installed and has the import name of this package, "
        "so driver and workers could load different code; remove it from this environment: "
        "python -m pip uninstall datasets"
    )


_refuse_namesake()


def available() -> dict[str, Path]:
    """Name -> file of every dataset, sorted by name; imports none. Raises DatasetError if two files claim one name."""
    files = [path for path in _HERE.glob("*.py") if not path.stem.startswith("_") and _defines_dataset(path)]
    found: dict[str, Path] = {}
    for path in sorted([*files, *(_HERE / "cards").glob("*.yaml")], key=lambda path: path.stem):
        if path.stem in found:
            raise DatasetError(f"dataset {path.stem!r} is defined twice: {found[path.stem]} and {path}")
        found[path.stem] = path
    return found


def load(name_or_card: str | Path) -> Dataset:
    """The dataset of a name, or of a card file of your own (`path/to/card.yaml`).

    Raises DatasetError that lists the known names and the nearest one, or says what is wrong with the card.
    """
    if is_card_path(name_or_card):
        return _from_card(Path(name_or_card))
    name, files = str(name_or_card), available()
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise DatasetError(
            f"unknown dataset {name!r}{hint} (known: {', '.join(files)}; or give the path of a .yaml card)"
        )
    path = files[name]
    dataset = _from_card(path) if path.suffix in CARD_SUFFIXES else importlib.import_module(f"datasets.{name}").DATASET
    if not isinstance(dataset, Dataset):
        raise DatasetError(
            f"{path}: DATASET must be an instance of datasets.base.Dataset, not {type(dataset).__name__}"
        )
    if dataset.info.name != name:
        raise DatasetError(
            f"{path}: the dataset calls itself {dataset.info.name!r}; its name must be that of its file, {name!r}"
        )
    return dataset


def is_card_path(name_or_card: str | Path) -> bool:
    """Whether this is the path of a card rather than the name of a dataset."""
    return isinstance(name_or_card, Path) or Path(name_or_card).suffix in CARD_SUFFIXES


def _from_card(path: Path) -> Dataset:
    # Imported here: the folder module needs DatasetError from this one, and most callers need no card.
    from datasets.folder import Folder

    return Folder.from_card(path)


def _defines_dataset(path: Path) -> bool:
    """Whether a module assigns `DATASET` at its top level, found by parsing it."""
    text = path.read_text(encoding="utf-8")
    if "DATASET" not in text:
        return False
    for node in ast.parse(text, filename=str(path)).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "DATASET" for target in targets):
            return True
    return False
