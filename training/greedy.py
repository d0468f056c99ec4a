"""Greedy selection of models by their accuracy on held-out images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def greedy(
    scores: Mapping[str, float], score: Callable[[Sequence[str]], float], limit: int | None = None
) -> tuple[str, ...]:
    """The chosen names, best first.

        S = {argmax scores} ; for each further name in descending order of `scores`:
            S <- S + {name}  if  score(S + {name}) > score(S)         strictly

    `scores`: name -> accuracy alone; `score`: accuracy of a combination; `limit`: largest size of S. Of equal scores the
    later name is tried first. Source: mlfoundations/model-soups@d5398f181ea5 main.py, step 4. Raises ValueError if there
    is no name.
    """
    if not scores:
        raise ValueError("there is nothing to choose from")
    place = {name: index for index, name in enumerate(scores)}
    first, *others = sorted(scores, key=lambda name: (scores[name], place[name]), reverse=True)
    chosen: tuple[str, ...] = (first,)
    best = scores[first]
    for name in others:
        if limit is not None and len(chosen) >= limit:
            break
        candidate = score((*chosen, name))
        if candidate > best:
            chosen, best = (*chosen, name), candidate
    return chosen
