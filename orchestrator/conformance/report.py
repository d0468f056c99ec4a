"""`python -m orchestrator check`: the whole contract on one file, a line for each promise."""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from orchestrator.bad_input import BadInputError
from orchestrator.conformance import CHECKS, Candidate, ConformanceError, Ground, Subject, pair
from orchestrator.manifest.errors import plain, suggestion

PAIR = "two workers give what one gives"
MEND = "mend that first"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's warning of random weights, which are what is wanted here, off the screen."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def check_file(path: Path, settings: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """Whether a method's file keeps every promise; says which.

    Raises FileNotFoundError or MethodError for a file that is no method's, BadInputError for settings it does not take.
    """
    torch.set_num_threads(1)
    subject = Subject.of_file(path, settings)
    found = subject.load()
    _check_settings(found.Config, settings)
    say(f"{path}: {found.title} ({found.paper})")
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        results = list(_results(Candidate(subject, ground), say))
    kept = sum(results)
    say(f"{kept} of {len(results)} hold" + ("" if kept == len(results) else "; see docs/add-a-method.md"))
    return kept == len(results)


def _check_settings(config: type[BaseModel], settings: Mapping[str, Any]) -> None:
    """Raise BadInputError for settings that are wrong as they were given; what `Config` lacks is the method's affair."""
    try:
        config.model_validate(dict(settings))
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False):
            name = ".".join(map(str, item["loc"]))
            if item["type"] == "extra_forbidden":
                problems.append(f"--settings: unknown setting {name!r}{suggestion(name, config.model_fields)}")
            elif item["loc"] and item["loc"][0] in settings:
                problems.append(f"--settings: {name}: {plain(item)}")
        if problems:
            raise BadInputError(problems) from None


def _results(candidate: Candidate, say: Callable[[str], None]) -> Iterator[bool]:
    """Whether each promise holds, as soon as it is known."""
    seen: set[str] = set()
    with ExitStack() as stack:
        workers = None
        for check in CHECKS:
            if not check.applies(candidate.subject):
                continue
            if check.kind in ("trained", "post-hoc") and workers is None:
                workers = pair.Pair([candidate.subject], candidate.ground)  # they start while the others run
                stack.callback(workers.stop)
            yield _one(check.promise, partial(check.run, candidate), candidate, seen, say)
        if workers is not None and any(reason.endswith(MEND) for reason in seen):
            say(f"  FAILS  {PAIR}: not tried; {MEND}")
            yield False
        elif workers is not None:
            workers.wait()
            yield _one(PAIR, lambda: workers.compare(candidate), candidate, seen, say)


def _one(
    promise: str, run: Callable[[], None], candidate: Candidate, seen: set[str], say: Callable[[str], None]
) -> bool:
    try:
        run()
    except (Exception, SystemExit) as error:  # a method that leaves the process has broken its promise
        reason = _reason(error, candidate.subject.path)
        say(f"  FAILS  {promise}: {'as above' if reason in seen else reason}")
        seen.add(reason)
        return False
    say(f"  holds  {promise}")
    return True


def _reason(error: BaseException, path: Path) -> str:
    """On one line; an exception of the method's own with the line of its file that it passed."""
    text = " ".join(str(error).split())
    if isinstance(error, ConformanceError):
        return text
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path.resolve()]
    where = f"line {frames[-1].lineno}, in {frames[-1].name}" if frames else "outside of the file"
    return f"{type(error).__name__}: {text} ({where}); {MEND}"
