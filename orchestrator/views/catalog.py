"""All views by name: those of the files in `papers/`, and those with a builder of their own. No ray, no torch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from orchestrator.manifest.errors import suggestion
from orchestrator.views.extra import EXTRA, ExtraView
from orchestrator.views.paper import ViewError, load_paper
from orchestrator.views.spec import View

_log = logging.getLogger(__name__)
FOLDER = Path(__file__).with_name("papers")
"""A paper's tables are one YAML file here."""


@lru_cache(maxsize=4)
def views(folder: Path = FOLDER) -> dict[str, View]:
    """The views of all files of a folder, in the files' order. Raises ViewError for a file that is wrong."""
    return load_views(sorted(folder.glob("*.yaml")))


@lru_cache(maxsize=4)
def readable_views(folder: Path = FOLDER) -> dict[str, View]:
    """The views of those files of a folder that are right, for who can do without the others.

    Each file that is wrong is one warning in the log, once a process.
    """
    found, problems = _read(sorted(folder.glob("*.yaml")))
    for first, *others in problems.values():
        more = f" (and {len(others)} more)" if others else ""
        _log.warning("%s%s; until it is mended, nothing of what is wrong in this file is shown", first, more)
    return found


@lru_cache(maxsize=4)
def shipped(folder: Path = FOLDER) -> tuple[dict[str, View], tuple[str, ...]]:
    """The views of those files of a folder that are right, and the problems of the others, one line each."""
    found, problems = _read(sorted(folder.glob("*.yaml")))
    return found, tuple(problem for of_file in problems.values() for problem in of_file)


@lru_cache(maxsize=4)
def wrong_files(folder: Path = FOLDER) -> tuple[str, ...]:
    """Names of the files of a folder whose views `readable_views` leaves out, for a page to name."""
    return tuple(path.name for path in _read(sorted(folder.glob("*.yaml")))[1])


def load_views(files: Iterable[Path]) -> dict[str, View]:
    """The views of these files by name. Raises ViewError with the problems of all files, or for a name that two give."""
    found, problems = _read(files)
    if problems:
        raise ViewError([problem for of_file in problems.values() for problem in of_file])
    return found


def _read(files: Iterable[Path]) -> tuple[dict[str, View], dict[Path, list[str]]]:
    """The views by name, and the problems of each file that has any; of two views of one name the first is taken."""
    found: dict[str, View] = {}
    origin: dict[str, Path] = {}
    problems: dict[Path, list[str]] = {}
    for path in files:
        try:
            loaded = load_paper(path)
        except ViewError as error:
            problems[path] = error.problems
            continue
        for view in loaded:
            if view.name in found or view.name.casefold() in EXTRA:
                taken = origin.get(view.name, "a view with a builder of its own")
                line = f"{path}: the name {view.name!r} is taken by {taken}; give another"
                problems.setdefault(path, []).append(line)
            else:
                found[view.name], origin[view.name] = view, path
    return found, problems


def find(name: str) -> list[View | ExtraView]:
    """The view of a name, those of a YAML file of the user's for its path, all that can be read for 'all'.

    Raises ViewError for an unknown name, a wrong file, or one whose views would overwrite the files of this project's.
    """
    if name.endswith((".yaml", ".yml")):
        return list(_own(Path(name)).values())
    found, problems = shipped()
    known: dict[str, View | ExtraView] = {**found, **EXTRA}
    if name == "all":
        return list(known.values())
    if name not in known:
        lines = [f"no view {name!r}{suggestion(name, known)}; --list-views shows all, a path ends in .yaml"]
        raise ViewError([*lines, *problems])
    return [known[name]]


def _own(path: Path) -> dict[str, View]:
    """The views of a user's file. Raises ViewError for what is wrong in it, names that this project's views have included."""
    loaded = load_views([path])
    if path.resolve().parent == FOLDER.resolve():
        return loaded
    # Some file systems take capitals and small letters for the same.
    taken = {name.casefold(): name for name in shipped()[0]}
    if clashes := [(name, taken[name.casefold()]) for name in loaded if name.casefold() in taken]:
        raise ViewError(
            [
                f"{path}: the view {name!r} has the name of this project's {other!r}, whose files in RESULTS/views it would "
                "overwrite; give it another name"
                for name, other in clashes
            ]
        )
    return loaded
