"""A plan and this machine: what is prepared, damaged, done; estimates; and that planning writes nothing."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from datasets.shards import write_prepared
from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.planning.estimate import Estimate, estimate
from orchestrator.planning.plan import image_counts, make_plans, statuses
from orchestrator.planning.unprepared import unprepared
from orchestrator.records import ErrorInfo, Results, write_record
from orchestrator.spec import (
    UNPREPARED,
)
from tests.orchestrator.manifest_fixtures import BASE, PublishedDataset, TinyDataset, changed, folder, write
from tests.orchestrator.test_plan import plan_of, record_of

__all__ = ["folder"]


@pytest.mark.usefixtures("folder")
class TestMachine:
    def test_unprepared_is_planned_and_named(self, folder):
        (folder / "vit.safetensors").unlink()
        manifest = load_manifest(write(BASE))
        [plan] = make_plans(manifest, None)
        assert (
            {t.spec.data.identity for t in plan.trials} == {t.spec.model.weights for t in plan.trials} == {UNPREPARED}
        )
        data, weights = unprepared(manifest, None)
        assert data.generated and data.folder == folder / "data" / "tiny"
        assert weights.what == f"weights of model 'vit' are not at {folder / 'vit.safetensors'}"

    def test_published_data_are_not_made_by_run(self, folder, monkeypatch):
        [data] = unprepared(load_manifest(write(changed("dataset: tiny", "dataset: published"))), None)
        assert not data.generated
        assert "prepare published --to" in data.todo and "--from FOLDER" in data.todo
        assert PublishedDataset.info.source in data.todo

    def test_prepared_data_give_identity_and_counts(self, folder):
        manifest = load_manifest(write(BASE))
        assert image_counts(manifest, "main")["real"] == {"train": 20, "test": 4}
        prepared = write_prepared(TinyDataset(), folder / "data" / "tiny", None)
        assert unprepared(manifest, None) == []
        assert make_plans(manifest, None)[0].trials[0].spec.data.identity == prepared.identity
        assert image_counts(manifest, "main")["real"] == {"train": 20, "test": 4}

    def test_damaged_data_is_a_problem(self, folder):
        write_prepared(TinyDataset(), folder / "data" / "tiny", None)
        (folder / "data" / "tiny" / "dataset.json").write_text("{}")
        with pytest.raises(ManifestError, match=r"dataset\.json"):
            make_plans(load_manifest(write(BASE)), None)

    def test_another_revision_in_its_place_is_a_problem(self, folder):
        older = TinyDataset()
        older.info = replace(TinyDataset.info, revision="0")
        write_prepared(older, folder / "data" / "tiny", None)
        with pytest.raises(
            ManifestError, match=r"holds revision '0' of dataset 'tiny', expected revision '1' of 'tiny'"
        ):
            make_plans(load_manifest(write(BASE)), None)

    def test_data_prepared_without_a_domain_is_a_problem(self, folder, monkeypatch):
        write_prepared(TinyDataset(), folder / "data" / "tiny", None)
        wider = TinyDataset()
        wider.info = replace(TinyDataset.info, domains=("real", "painting", "sketch", "clipart"))
        monkeypatch.setattr("datasets.load", lambda name: wider)
        with pytest.raises(ManifestError, match=r"was prepared without clipart of dataset 'tiny'"):
            make_plans(load_manifest(write(BASE)), None)

    def test_statuses(self, folder, caplog):
        plan = plan_of(BASE)
        results = Results(folder / "results")
        write_record(results, record_of(plan, 0))
        write_record(
            results, record_of(plan, 1, ErrorInfo(failure_class="permanent", type="ValueError", message="NaN"))
        )
        broken = results.record(plan.trials[2].id)
        broken.parent.mkdir()
        broken.write_text("{")
        found = statuses([plan], results)
        assert [found[t.id] for t in plan.trials[:4]] == ["done", "failed", "missing", "missing"]
        assert len(found) == 13
        assert str(broken) in caplog.text
        assert statuses([plan_of(changed("num_steps: 10", "num_steps: 11"))], results)[plan.trials[0].id] == "done"

    def test_estimates(self):
        plan = plan_of(BASE)
        counts = {domain: {"train": 20, "test": 4} for domain in ("real", "painting", "sketch")}
        assert estimate(plan.trials[0], counts) == Estimate(evaluation_images=12)
        # 10 steps, evaluated at 4, 8 and 10, on the 2 images held out of 20
        assert estimate(plan.trials[1], counts) == Estimate(10, 40, 12 + 3 * 2)
        assert estimate(plan.trials[-1], counts) == Estimate(evaluation_images=12)
        last = plan_of(changed("seeds: [0, 1]", "seeds: [0]\n    selection: last")).trials[1]
        assert estimate(last, counts) == Estimate(10, 40, 12)
        assert sum([Estimate(1, 2, 3), Estimate(4, 5, 6)], Estimate()) == Estimate(5, 7, 9)

    def test_what_takes_no_step_costs_one_pass_over_the_images_it_may_see(self):
        trial = next(
            t for t in plan_of(changed("ft: {}", "linear_probe: {}\n      ft: {}")).trials if not t.takes_steps
        )
        assert (trial.spec.method, trial.spec.recipe.num_steps) == ("linear_probe", 10)
        counts = {domain: {"train": 20, "test": 4} for domain in ("real", "painting", "sketch")}
        assert estimate(trial, counts) == Estimate(0, 20, 12 + 2)

    def test_planning_writes_nothing(self, folder):
        manifest = load_manifest(write(BASE))
        before = sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts)
        statuses(make_plans(manifest, None), Results(manifest.results))
        unprepared(manifest, None)
        assert sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts) == before

    def test_ten_thousand_trials_are_planned_quickly(self):
        text = changed("seeds: [0, 1]", f"seeds: {list(range(2000))}")
        manifest = load_manifest(write(text))
        began = time.process_time()
        [plan] = make_plans(manifest, None)
        assert len(plan.trials) == 12_001
        assert time.process_time() - began < 10, "about 1 s of CPU on an idle machine"
