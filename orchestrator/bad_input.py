"""Wrong input: collected as lines for the user, told apart from bugs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class BadInputError(ValueError):
    """What the user gave is wrong: one line for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@contextmanager
def bad_input(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds say what is wrong with the input."""
    try:
        yield
    except kinds as error:
        problems = getattr(error, "problems", None)
        raise BadInputError(problems or [" ".join(str(error).split())]) from None


def check_results_folder(folder: Path) -> None:
    """Raises BadInputError if `folder` is, or lies below, what is no folder or must not be looked into."""
    for path in (folder, *folder.parents):
        try:
            if path.is_dir():
                return
            there = path.exists()
        except OSError as error:
            raise unusable_results(folder, f"{error.strerror}: {path}") from None
        if there:
            raise unusable_results(folder, f"{path} is no folder")


def unusable_results(folder: Path, why: str) -> BadInputError:
    """The one line about a folder of results that cannot be used."""
    return BadInputError(
        [f"results: {folder}: {why}; name another folder by --results, or by results: in the manifest"]
    )
