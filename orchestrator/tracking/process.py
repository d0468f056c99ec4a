"""The process that sends to trackers: `python -m orchestrator.tracking.process RESULTS NAME...`. No ray, no torch.

`trackers` starts it, writes pickled calls into its standard input, and shows the user the lines that it prints.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, cast

from orchestrator.records import Results
from orchestrator.sweeps.progress import one_line
from orchestrator.tracking.sinks import SINKS, Sink, TrackerName

Call = tuple[Literal["start", "metrics", "end"], tuple[Any, ...]]
"""A method of `Sink` and its arguments."""


def forward(names: Sequence[TrackerName], results: Results, calls: Iterable[Call], say: Callable[[str], None]) -> None:
    """Make each call on each tracker. One that raises is closed for good, with a line through `say`; the others go on."""
    sinks: dict[TrackerName, Sink] = {}

    def attempt(name: TrackerName, action: Callable[[], object]) -> None:
        try:
            action()
        except ImportError as error:
            why = f"{one_line(str(error))}; install it with: pip install '.[{name}]'"
        except (Exception, SystemExit) as error:  # whatever a library does when it has no network, key or disk
            why = f"{type(error).__name__}: {one_line(str(error))}"
        else:
            return
        sinks.pop(name, None)
        say(f"track: nothing more goes to {name}: {why}")

    def connect(name: TrackerName) -> None:
        sinks[name] = SINKS[name](results)

    for name in names:
        attempt(name, partial(connect, name))
    for method, arguments in calls:
        for name, sink in list(sinks.items()):
            attempt(name, partial(getattr(sink, method), *arguments))
    for name, sink in list(sinks.items()):
        attempt(name, sink.close)


def received(pipe: IO[bytes]) -> Iterator[Call]:
    """The calls that `orchestrator.tracking.trackers` writes, until it closes the pipe or is gone."""
    while True:
        try:
            yield pickle.load(pipe)  # noqa: S301 - from the process that started this one
        except (EOFError, pickle.UnpicklingError):  # the latter: the sweep was killed while it wrote
            return


def main() -> None:
    """Send until standard input ends."""
    root, *names = sys.argv[1:]
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the libraries print is no line for the user

    def say(line: str) -> None:
        lines.write(f"{line}\n")
        lines.flush()

    forward(cast("list[TrackerName]", names), Results(Path(root)), received(sys.stdin.buffer), say)
    # All is sent and closed. The libraries' own hooks would wait for servers that do not answer: telemetry, retries.
    os._exit(0)


if __name__ == "__main__":
    main()
