"""Finds datasets by file name: `datasets/<name>.py` that defines `DATASET`, or a card `datasets/cards/<name>.yaml`.

A dataset may come in several revisions (other lists, other images): a module that has them defines `REVISIONS`, revision
-> dataset; a card's are `cards/<name>@<revision>.yaml` beside it. Everywhere a dataset is named, `name` is its default
revision and `name@revision` any.

Every other module here is a tool; no list has to be kept. Finding a dataset imports nothing, loading imports only the
one asked for.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from datasets.base import Dataset

_HERE = Path(__file__).resolve().parent
CARD_SUFFIXES = (".yaml", ".yml")


class DatasetError(ValueError):
    """A dataset cannot be found, read or prepared; the message says what, where and what to do."""


class NoRoomError(DatasetError):
    """A disk of this machine is full: no published file is to blame."""


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
    modules = [path for path in _HERE.glob("*.py") if not path.stem.startswith("_") and _defines_dataset(path)]
    cards = [path for path in (_HERE / "cards").glob("*.yaml") if "@" not in path.stem]
    found: dict[str, Path] = {}
    for path in sorted([*modules, *cards], key=lambda path: path.stem):
        if path.stem in found:
            raise DatasetError(f"dataset {path.stem!r} is defined twice: {found[path.stem]} and {path}")
        found[path.stem] = path
    return found


def load(ref: str | Path) -> Dataset:
    """The dataset of a reference: `name` (its default revision), `name@revision`, or the path of a card of your own.

    Raises DatasetError that lists the known names or revisions and the nearest one, or says what is wrong with the card.
    """
    if is_card_path(ref):
        return _from_card(Path(ref))
    name, at, revision = str(ref).partition("@")
    if not at:
        return _default(name)
    known = revisions(name)
    if revision not in known:
        listed = ", ".join([f"{next(iter(known))} (default)", *list(known)[1:]])
        raise DatasetError(
            f"unknown revision {revision!r} of dataset {name!r}{_nearest(revision, known)} (known: {listed}; "
            f"written as {name}@REVISION)"
        )
    return known[revision]


def revisions(name: str) -> dict[str, Dataset]:
    """Revision -> dataset of everything published under a name, the default first. Raises DatasetError as `load` does."""
    default = _default(name)
    found = {default.info.revision: default}
    path = available()[name]
    if path.suffix not in CARD_SUFFIXES:
        found |= getattr(importlib.import_module(f"datasets.{name}"), "REVISIONS", {})
    for card in sorted((_HERE / "cards").glob(f"{name}@*.yaml")):
        found[card.stem.partition("@")[2]] = _from_card(card)
    for revision, dataset in found.items():
        if (dataset.info.name, dataset.info.revision) != (name, revision):
            raise DatasetError(
                f"dataset {name}: what is filed as revision {revision!r} calls itself "
                f"{dataset.info.name}@{dataset.info.revision}"
            )
    return found


def folder_name(ref: str | Path) -> str:
    """The folder of a dataset below `data:`: `name` for the default revision, else `name@revision`.

    A card of your own has the folder `<its name>`, or `<its name>@<its revision>` if its file is called so.
    """
    info = load(ref).info
    if is_card_path(ref):
        return f"{info.name}@{info.revision}" if "@" in Path(ref).stem else info.name
    if "@" not in str(ref):
        return info.name
    return info.name if info.revision == next(iter(revisions(info.name))) else f"{info.name}@{info.revision}"


def is_card_path(ref: str | Path) -> bool:
    """Whether this is the path of a card rather than the name of a dataset."""
    return isinstance(ref, Path) or Path(ref).suffix in CARD_SUFFIXES


def _default(name: str) -> Dataset:
    files = available()
    if name not in files:
        raise DatasetError(
            f"unknown dataset {name!r}{_nearest(name, files)} (known: {', '.join(files)}; or give the path of a .yaml card)"
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


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _from_card(path: Path) -> Dataset:
    # Imported here: the folder module needs DatasetError from this one, and most callers need no card.
    from datasets.folder import Folder

    return Folder.from_card(path)


def _defines_dataset(path: Path) -> bool:
    status = path.stat()
    return _assigns(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _assigns(path: Path, size: int, mtime_ns: int) -> bool:
    """Whether a module assigns `DATASET` at its top level, found by parsing it; remembered until the file changes."""
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
