"""The contract of a method, in one place: `python -m orchestrator check` runs it on a file, the test suite on every method.

Everything happens on the CPU, on three colours in three shapes and a CLIP of a few thousand image weights. No ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from methods.base import Method
from orchestrator.conformance import pair, post_hoc, static, trained
from orchestrator.conformance.candidate import Candidate, ConformanceError, Ground, Subject

__all__ = ["CHECKS", "Candidate", "Check", "ConformanceError", "Ground", "Subject", "pair"]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of the contract. `run` raises ConformanceError, or whatever the method raises, where it is broken."""

    name: str
    promise: str
    run: Callable[[Candidate], None]
    kind: str = "any"
    """'any', 'trained' or 'post-hoc'"""

    def applies(self, subject: Subject) -> bool:
        """Whether a method of this kind makes the promise."""
        return self.kind in ("any", kind(subject))


def kind(subject: Subject) -> str:
    """'trained', 'post-hoc', or 'untrained' for what does not train."""
    found = subject.load()
    if issubclass(found, Method):
        return "trained" if found.trains else "untrained"
    return "post-hoc"


CHECKS = (
    Check("described", "it says what it is: title, paper, version, a docstring", static.described),
    Check("imports", "it imports no other method, no dataset, no orchestrator and no ray", static.imports),
    Check("settings", "its settings have valid defaults, are closed and survive JSON", static.settings),
    Check("untrained", "its `setup` returns no phase", trained.no_phase, "untrained"),
    Check("loss", "the loss is finite, named, and reaches what is trained", trained.loss, "trained"),
    Check("moves", "what is trained moves, and nothing else does", trained.moves, "trained"),
    Check("export", "what it exports is a plain classifier with finite logits", trained.export, "trained"),
    Check("resume", "interrupted and resumed equals uninterrupted, bit for bit", trained.resume, "trained"),
    Check("again", "the result does not depend on what ran before", trained.again, "trained"),
    Check("derives", "`derive` gives uniquely named predictors with finite logits", post_hoc.derives, "post-hoc"),
    Check("inputs", "`derive` leaves its inputs as they were", post_hoc.inputs, "post-hoc"),
    Check("derives_again", "`derive` gives the same again, bit for bit", post_hoc.again, "post-hoc"),
)
"""All but `pair.compare`, 'two workers equal one', which needs two processes and shares them among methods."""
