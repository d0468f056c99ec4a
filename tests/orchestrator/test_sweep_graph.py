"""Which trial may run when, without Ray."""

from orchestrator.sweeps.searcher import Graph
from tests.orchestrator.ray_fakes import make_trial

A = make_trial("noop", seed=0)
B = make_trial("noop", seed=1)
SOUP = make_trial("noop", seed=2, inputs=(A.id, B.id))
LAST = make_trial("noop", seed=3, inputs=(SOUP.id,))


def test_a_trial_waits_for_all_its_inputs():
    graph = Graph([A, B, SOUP, LAST], {})
    assert [graph.next(), graph.next(), graph.next()] == [A.id, B.id, None]
    graph.end(B.id, None)
    assert graph.next() is None
    graph.end(A.id, None)
    assert graph.next() == SOUP.id
    assert not graph.exhausted
    graph.end(SOUP.id, None)
    assert graph.next() == LAST.id
    assert graph.exhausted
    assert graph.take_doomed() == []


def test_a_trial_that_becomes_ready_goes_before_later_ones_of_the_plan():
    graph = Graph([A, B, SOUP, *(make_trial("sleep", seed=s) for s in range(5))], {})
    for id in (graph.next(), graph.next()):
        graph.end(str(id), None)
    assert graph.next() == SOUP.id


def test_a_failed_input_fails_what_needs_it_through_all_generations():
    graph = Graph([A, B, SOUP, LAST], {})
    graph.next()
    graph.end(A.id, "permanent: NaN")
    first = f"input {A.id} failed: permanent: NaN"
    assert graph.take_doomed() == [(SOUP.id, first), (LAST.id, f"input {SOUP.id} failed: {first}")]
    assert graph.take_doomed() == []
    assert graph.next() == B.id
    graph.end(B.id, None)
    assert graph.next() is None
    assert graph.exhausted


def test_inputs_may_be_recorded_before():
    assert Graph([SOUP], {A.id: None, B.id: None}).next() == SOUP.id


def test_inputs_that_failed_before_or_are_nowhere_fail_what_needs_them():
    graph = Graph([SOUP, LAST], {A.id: "permanent: NaN", B.id: None})
    assert [id for id, _ in graph.take_doomed()] == [SOUP.id, LAST.id]
    assert graph.exhausted
    graph = Graph([SOUP], {A.id: None})
    assert graph.take_doomed() == [(SOUP.id, f"input {B.id} failed: it is neither in the plan nor recorded")]
