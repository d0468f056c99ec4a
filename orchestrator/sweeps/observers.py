"""Who looks on while a sweep runs, beside the person at the terminal. No ray, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator.records import TrialRecord
from orchestrator.spec import PlannedTrial


class Observer(Protocol):
    """Is told what happens; all calls come from the driver's main thread.

    None may block or raise: whatever goes wrong with an observer becomes a line for the user, never a failed trial.
    """

    def event(self, trial: PlannedTrial, event: Mapping[str, Any]) -> None:
        """'started' or 'metrics' of a running trial, as the broker sends it."""

    def end(self, trial: PlannedTrial, record: TrialRecord | None, reason: str | None) -> None:
        """A trial is over, with a reason if it failed."""

    def tick(self) -> Sequence[str]:
        """Called several times a second; lines for the user."""

    def close(self) -> Sequence[str]:
        """The sweep is over, however it ended; lines for the user. May take some seconds."""
