"""Greedy selection: order, strictness, limit."""

from __future__ import annotations

import pytest

from training.greedy import greedy


def test_of_equal_scores_the_later_name_is_tried_first() -> None:
    tried = []

    def score(names) -> float:
        tried.append(names)
        return 0.0

    assert greedy({"a": 0.5, "b": 0.7, "c": 0.5, "d": 0.7}, score) == ("d",)
    assert tried == [("d", "b"), ("d", "c"), ("d", "a")]


def test_a_name_that_changes_nothing_is_refused() -> None:
    assert greedy({"a": 0.5, "b": 0.4}, lambda names: 0.5) == ("a",)
    assert greedy({"a": 0.5, "b": 0.4}, lambda names: 0.51) == ("a", "b")


def test_it_stops_at_the_limit_and_asks_no_further() -> None:
    asked = []

    def score(names) -> float:
        asked.append(names)
        return float(len(names))

    assert greedy(dict.fromkeys("abcdef", 0.1), score, limit=4) == ("f", "e", "d", "c")
    assert len(asked) == 3
    assert greedy({"a": 0.2, "b": 0.1}, score, limit=1) == ("a",)


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to choose from"):
        greedy({}, lambda names: 0.0)
