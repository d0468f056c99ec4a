"""Wrong input: collected as lines for the user, told apart from bugs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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
