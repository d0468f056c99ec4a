"""Finds methods by file name: `methods/<name>.py`, or `<name>.py` in a folder named under `plugins:` in the manifest."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from methods.base import Method, PostHoc

_HERE = Path(__file__).parent
_NOT_METHODS = {"__init__", "base"}


class MethodError(ValueError):
    """A method cannot be found or its file is not a method; the message says which file and why."""


def available(plugins: Iterable[Path] = ()) -> dict[str, Path]:
    """Name -> file of every method, without importing any.

    Raises MethodError if a plugin folder is missing or a plugin has the name of another method.
    """
    found: dict[str, Path] = {}
    for folder in (_HERE, *map(Path, plugins)):
        if not folder.is_dir():
            raise MethodError(f"plugin folder {folder} does not exist")
        for path in sorted(folder.glob("*.py")):
            if path.stem.startswith("_") or path.stem in _NOT_METHODS:
                continue
            if path.stem in found:
                raise MethodError(f"method {path.stem!r} is defined twice: {found[path.stem]} and {path}")
            found[path.stem] = path
    return found


def load(name: str, plugins: Iterable[Path] = ()) -> type[Method] | type[PostHoc]:
    """The class of a method. Raises MethodError if there is none of this name or its file does not define exactly one."""
    files = available(plugins)
    if name not in files:
        raise MethodError(f"unknown method {name!r}; known: {', '.join(sorted(files))}")
    module = _import(files[name])
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method | PostHoc) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise MethodError(f"{files[name]} must define exactly one subclass of Method or PostHoc, found: {names}")
    for attribute in ("title", "paper"):
        if not isinstance(getattr(classes[0], attribute, None), str):
            raise MethodError(f"{files[name]}: class {classes[0].__name__} lacks `{attribute}: ClassVar[str]`")
    return classes[0]


def code_identity(name: str, plugins: Iterable[Path] = ()) -> str:
    """'sha256:...' of the code that trains a method: its file, the interface and the training loop.

    For what must not outlive a change of code that no `version` tells of. Files of this project are read once: they are what
    this process runs, whatever happens to them on disk. Raises MethodError for an unknown method.
    """
    files = available(plugins)
    if name not in files:
        raise MethodError(f"unknown method {name!r}; known: {', '.join(sorted(files))}")
    own = _digest(files[name]) if files[name].parent == _HERE else sha256(files[name].read_bytes()).hexdigest()
    loop = sorted(_HERE.with_name("training").glob("*.py"))
    parts = [own, *(_digest(path) for path in (_HERE / "base.py", *loop))]
    return f"sha256:{sha256(' '.join(parts).encode()).hexdigest()}"


@cache
def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _import(path: Path) -> ModuleType:
    if path.parent == _HERE:
        return importlib.import_module(f"methods.{path.stem}")
    # A name of its own for each file, so that two folders may both have a `helpers.py`; keyed by content, so that an
    # edited plugin is not mistaken for the old one in a process that lives on.
    name = f"_plugin_{sha256(str(path).encode() + path.read_bytes()).hexdigest()[:16]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MethodError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]  # half a module is none
        if not isinstance(error, Exception | SystemExit):  # Ctrl-C is no fault of the file's
            raise
        raise MethodError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
