"""Benchmarks whose data lie at a URL: planned, run and recorded as those of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.shards import Prepared, open_prepared, write_prepared
from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.paths import data_place
from orchestrator.planning.plan import make_plans
from orchestrator.planning.unprepared import unprepared
from orchestrator.records import Results
from orchestrator.sweeps.progress import Board, shards_ready
from orchestrator.trials.trial import run_trial
from tests.datasets.conftest import cache, server  # noqa: F401
from tests.datasets.faulty_server import FaultyServer, serving
from tests.orchestrator.manifest_fixtures import BASE, TinyDataset, changed, folder, write  # noqa: F401
from tests.orchestrator.trials import planned
from training.runtime import Runtime


@pytest.fixture
def tiny(folder: Path, tmp_path: Path, cache: Path) -> Iterator[tuple[FaultyServer, Prepared]]:  # noqa: F811
    """The dataset of the manifests, prepared behind a server."""
    prepared = write_prepared(TinyDataset(), tmp_path / "served" / "tiny", None)
    with serving(tmp_path / "served") as found:
        yield found, prepared


def at(url: str) -> str:
    return changed("models:\n", f"data: {url}\nmodels:\n")


def test_a_plan_over_http_has_the_ids_of_a_plan_of_the_folder(tiny) -> None:
    server, prepared = tiny  # noqa: F811
    [plan] = make_plans(load_manifest(write(at(server.url + "/"))), None)
    [local] = make_plans(load_manifest(write(at(str(Path(prepared.root).parent)))), None)
    [file] = make_plans(load_manifest(write(at(Path(prepared.root).parent.as_uri()))), None)
    assert [t.id for t in plan.trials] == [t.id for t in local.trials] == [t.id for t in file.trials]
    assert {t.location.data for t in plan.trials} == {f"{server.url}/tiny"}
    assert {t.location.data for t in file.trials} == {prepared.root}


def test_planning_reads_dataset_json_once(tiny) -> None:
    server, _ = tiny  # noqa: F811
    manifest = load_manifest(write(BASE)).at(data=server.url)
    assert unprepared(manifest, None) == []
    make_plans(manifest, None)
    make_plans(manifest, None)
    assert server.requests == {"tiny/dataset.json": 1}


def test_what_is_not_there_is_named_and_not_made_by_run(tiny) -> None:
    server, _ = tiny  # noqa: F811
    [data] = unprepared(load_manifest(write(at(f"{server.url}/empty"))), None)
    assert data.what == f"dataset 'tiny' is not in {server.url}/empty/tiny"
    assert "prepare tiny --to FOLDER" in data.todo and "serve" in data.todo
    assert not data.generated and data.folder is None


def test_a_place_that_cannot_be_reached_is_one_clear_problem(tiny) -> None:
    with pytest.raises(ManifestError) as error:
        make_plans(load_manifest(write(at("http://127.0.0.1:9"))), None)
    [line] = error.value.problems
    assert line.startswith("http://127.0.0.1:9/tiny/dataset.json: cannot be read: ") and "check the network" in line
    with pytest.raises(ManifestError, match="unknown kind of address 'htp'"):
        make_plans(load_manifest(write(at("htp://host/data"))), None)


@pytest.mark.parametrize("url", ["s3://", "https:///x", "https://host/data?token=1", "s3://bucket/#", "file://host/x"])
def test_a_url_that_is_no_place_is_refused(tiny, url: str) -> None:
    with pytest.raises(ManifestError, match="--data: "):
        load_manifest(write(BASE)).at(data=url)


def test_results_and_pools_stay_local(tiny) -> None:
    with pytest.raises(ManifestError, match="--results: must be a folder of this machine"):
        load_manifest(write(BASE)).at(results="s3://bucket/results")
    pooled = changed("      ft: {}\n", "      ft: {}\n      arf: {pool: s3://bucket/pool}\n")
    with pytest.raises(ManifestError, match="a pool of image-text pairs must be a folder of this machine, got 's3://"):
        load_manifest(write(pooled))


def test_places() -> None:
    assert data_place("s3://bucket/a/", Path("/x")) == ("s3://bucket/a", False)
    assert data_place("file:///data/a%20b/../c", Path("/x")) == (Path("/data/c"), False)
    assert data_place("d", Path("/x")) == (Path("/x/d"), False)


def test_a_trial_over_http_has_the_numbers_of_the_folder(
    blobs: Prepared,
    server: FaultyServer,  # noqa: F811
    tiny_config: Path,
    tmp_path: Path,
) -> None:
    remote = open_prepared(f"{server.url}/blobs")
    heard: list[dict[str, float]] = []
    there, here = (planned(prepared, tiny_config, "ft") for prepared in (remote, blobs))
    assert there.id == here.id
    first = run_trial(there, Results(tmp_path / "there"), Runtime(report=heard.append), attempt=1)
    second = run_trial(here, Results(tmp_path / "here"), Runtime(), attempt=1)
    assert (first.evaluations, first.trace) == (second.evaluations, second.trace)
    assert heard[0] == {"shards_here": 1, "shards_needed": 1}
    assert all(count == 1 for name, count in server.requests.items() if name.endswith(".tar"))


def test_progress_says_how_many_shards_are_ready_until_something_else_is_told() -> None:
    board = Board({}, 1, 0.0)
    board.event("a", {"kind": "started", "slot": 0, "attempt": 1}, 0.0)
    board.event("a", {"kind": "metrics", "metrics": {"shards_here": 12, "shards_needed": 420}}, 0.0)
    assert shards_ready(board.running["a"].metrics) == "12 of 420 shards ready"
    board.event("a", {"kind": "metrics", "metrics": {"step": 1}}, 0.0)
    assert shards_ready(board.running["a"].metrics) == ""
