"""What a run takes up: nothing stale unless asked for, nothing that needs it, and of trials to run again no others."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.bad_input import BadInputError
from orchestrator.planning.plan import Status
from orchestrator.planning.todo import Todo, builders, choose, held, named
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial, PublishedValue
from orchestrator.sweeps.run import Flags, _pass_gate
from tests.orchestrator.record_factory import Folder, demo

VALUE = PublishedValue(domain="real", accuracy=0.5, source="a paper")


def trial(folder: Folder, label: str, of: str | None = None, seed: int = 0) -> PlannedTrial:
    [found] = [t for t in folder.plan if (t.label, t.of, t.spec.seed) == (label, of, seed)]
    return found


def status(folder: Folder, **others: Status) -> dict[str, Status]:
    """Done, but for the trials of these labels."""
    return {t.id: others.get(t.label if t.of is None else f"{t.label}_of_{t.of}", "done") for t in folder.plan}


def ids(todo: Todo) -> set[str]:
    return {t.id for plan in todo.plans for t in plan.trials}


def test_stale_trials_and_what_needs_them_are_left() -> None:
    folder = demo(seeds=(0, 1))
    now = status(folder, ft="stale", wise_ft_of_ft="missing", wise_ft_of_lipsum_ft="failed")
    todo = choose(folder.plans(), now)
    fts = [trial(folder, "ft", None, seed).id for seed in (0, 1)]
    wise = [trial(folder, "wise_ft", "ft", seed).id for seed in (0, 1)]
    assert (set(todo.stale), set(todo.waiting)) == (set(fts), set(wise))
    assert ids(todo) == {t.id for t in folder.plan} - {*fts, *wise}
    assert {t.id for t in todo.runs(now)} == {trial(folder, "wise_ft", "lipsum_ft", seed).id for seed in (0, 1)}
    assert todo.left == (
        "2 stale: their cells have records of other code, data or settings (`plan` says which); --rerun-stale runs them; "
        "2 trials more wait for them"
    )
    asked = choose(folder.plans(), now, rerun_stale=True)
    assert asked.left == "" and len(asked.runs(now)) == 6


def test_what_is_done_waits_for_nothing_and_waiting_goes_through_what_waits() -> None:
    folder = Folder()
    first = folder.trial("ft")
    soup = folder.trial("soup", kind="post_hoc", of="ft", inputs=(first.id,))
    last = folder.trial("wise_ft", kind="post_hoc", of="soup", inputs=(soup.id,))
    everything: dict[str, Status] = {first.id: "stale", soup.id: "missing", last.id: "failed"}
    assert held(folder.plans(), everything) == ((first.id,), (soup.id, last.id))
    assert held(folder.plans(), everything | {soup.id: "done"}) == ((first.id,), ())


def test_a_stale_gate_stays_shut_for_its_data_and_model() -> None:
    folder = Folder()
    zero = folder.trial("zero_shot", kind="reference")
    folder.plan[0] = zero.model_copy(update={"expected": (VALUE,)})
    ft = folder.trial("ft")
    other = ft.spec.model_copy(update={"data": ft.spec.data.model_copy(update={"identity": "60" * 32})})
    folder.plan.append(ft.model_copy(update={"spec": other, "id": "elsewhere"}))
    now: dict[str, Status] = {zero.id: "stale", ft.id: "missing", "elsewhere": "missing"}
    assert held(folder.plans(), now) == ((zero.id,), (ft.id,))
    assert held(folder.plans(), now, strict=True) == ((zero.id,), (ft.id, "elsewhere"))
    assert held(folder.plans(), now | {zero.id: "missing"}, strict=True) == ((), ())
    with pytest.raises(
        BadInputError, match=f"--again {ft.id}: it needs {zero.id}, which is stale; add --again {zero.id}"
    ):
        choose(folder.plans(), now, again=[ft.id])


def test_again_takes_what_is_named_and_what_it_lacks() -> None:
    folder = demo(seeds=(0, 1))
    ft, wise = trial(folder, "ft"), trial(folder, "wise_ft", "ft")
    now = status(folder, lipsum_ft="missing")
    todo = choose(folder.plans(), now, again=[wise.id])
    assert ids(todo) == {wise.id} and todo.left == ""
    assert [t.id for t in todo.runs(now)] == [wise.id], "done as it is"
    for kind in ("missing", "failed"):
        assert ids(choose(folder.plans(), now | {ft.id: kind}, again=[wise.id])) == {ft.id, wise.id}
    stale = now | {ft.id: "stale"}
    with pytest.raises(BadInputError, match="or --rerun-stale"):
        choose(folder.plans(), stale, again=[wise.id])
    for todo in (
        choose(folder.plans(), stale, again=[wise.id, ft.id]),
        choose(folder.plans(), stale, again=[wise.id], rerun_stale=True),
    ):
        assert ids(todo) == {ft.id, wise.id}


def test_a_gate_that_is_not_run_is_not_said_to_be_missing(tmp_path: Path) -> None:
    folder, out = demo(seeds=(0,)), io.StringIO()
    console = Console(file=out, width=200)
    [index] = [i for i, t in enumerate(folder.plan) if t.kind == "reference"]
    again = choose(folder.plans(), status(folder), again=[trial(folder, "ft").id])
    assert _pass_gate(folder.plans(), again, status(folder), Results(tmp_path), Flags(), console)
    assert out.getvalue() == "demo: no published zero-shot value to compare with\n"
    folder.plan[index] = folder.plan[index].model_copy(update={"expected": (VALUE,)})
    folder.write(tmp_path)
    out.truncate(0)
    assert _pass_gate(folder.plans(), again, status(folder), Results(tmp_path), Flags(), console)
    assert "no published" not in out.getvalue() and "WARNING" in out.getvalue(), "its accuracy is another"
    both = choose(folder.plans(), status(folder), again=[folder.plan[index].id])
    assert not _pass_gate(folder.plans(), again, status(folder), Results(tmp_path), Flags(strict=True), console)
    assert _pass_gate(folder.plans(), both, status(folder), Results(tmp_path), Flags(strict=True), console), (
        "it is measured anew"
    )


def test_an_unknown_id_is_named_with_near_ones() -> None:
    folder = demo(seeds=(0,))
    ft = trial(folder, "ft")
    with pytest.raises(BadInputError) as error:
        choose(folder.plans(), status(folder), again=[ft.id[:-1], "x"])
    near, far = error.value.problems
    assert near.startswith(f"--again {ft.id[:-1]}: no trial of these benchmarks; did you mean {ft.id}")
    assert (
        far
        == "--again x: no trial of these benchmarks; expected an id of a planned trial (`plan --trials` lists the ids)"
    )


def test_builders_and_names() -> None:
    folder = demo(seeds=(0, 1))
    ft = trial(folder, "ft")
    assert builders(folder.plans(), {ft.id}) == [trial(folder, "wise_ft", "ft").id]
    assert named(list("abcdefg")) == "a, b, c, d, e and 2 more"
