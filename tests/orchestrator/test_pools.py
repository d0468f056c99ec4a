"""Pools of image-text pairs in a manifest: their content is in a trial's id, their place is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from datasets.shards import Prepared, write_prepared
from methods import load
from orchestrator.identity import pool_identity
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial, trial_id
from orchestrator.trials.bench import Bench
from orchestrator.trials.trial import run_trial
from orchestrator.trials.warm import TrialError
from tests.datasets.fakes import Fake
from tests.orchestrator.manifest_fixtures import changed, folder, problems, write
from tests.orchestrator.trials import planned
from training.checkpoint import load_tensors
from training.runtime import Runtime

__all__ = ["folder"]
ARF = changed("ft: {}\n", "ft: {}\n      arf: {pool: pool}\n").replace("of: [ft, ", "of: [ft, arf, ")


def arf_trials(text: str) -> list[PlannedTrial]:
    (plan,) = make_plans(load_manifest(write(text)), None)
    return [trial for trial in plan.trials if trial.spec.method == "arf"]


@pytest.mark.usefixtures("folder")
class TestManifest:
    def test_the_content_is_in_the_settings_and_the_place_beside_them(self, folder: Path) -> None:
        prepared = write_prepared(Fake(), folder / "pool", None)
        first, second = arf_trials(ARF)
        identity = f"sha256:{prepared.identity}"
        assert first.spec.settings["pool"] == identity
        assert first.location.files == {identity: str(folder / "pool")}
        assert trial_id(first.spec) == first.id != second.id
        shutil.copytree(folder / "pool", folder / "elsewhere/pool")
        moved, _ = arf_trials(ARF.replace("pool: pool", "pool: elsewhere/pool"))
        assert moved.id == first.id
        assert moved.location.files == {identity: str(folder / "elsewhere/pool")}

    def test_a_folder_of_tars_is_known_by_names_and_bytes(self, folder: Path) -> None:
        (folder / "pool").mkdir()
        for name in ("b.tar", "a.tar"):
            (folder / "pool" / name).write_bytes(name.encode())
        (folder / "pool/notes.txt").write_text("no part of it")
        before, _ = arf_trials(ARF)
        (folder / "pool/notes.txt").write_text("still no part of it")
        assert arf_trials(ARF)[0].id == before.id
        (folder / "pool/a.tar").write_bytes(b"other")
        assert arf_trials(ARF)[0].id != before.id

    def test_a_grid_is_labelled_by_path_and_null_is_no_pool(self, folder: Path) -> None:
        write_prepared(Fake(), folder / "pool", None)
        found = arf_trials(ARF.replace("pool: pool", "pool: [pool, null]"))
        assert [trial.label for trial in found[::2]] == ["arf pool=pool", "arf pool=null"]
        assert found[2].spec.settings["pool"] is None
        assert found[2].location.files == {}

    def test_what_is_no_pool_is_named_with_its_line(self, folder: Path) -> None:
        (problem,) = problems(ARF)
        assert problem.startswith(
            f"benchmarks.yaml:13: benchmarks.main.methods.arf.pool: no folder {folder}/pool; a pool"
        )
        (folder / "pool").mkdir()
        (problem,) = problems(ARF)
        assert "holds no .tar" in problem


class TestTrial:
    def trial(self, blobs: Prepared, config: Path, pool: Path) -> PlannedTrial:
        identity = pool_identity(pool)
        made = planned(blobs, config, "arf", settings={"pool": identity, "top_k": 5})
        return made.model_copy(update={"location": made.location.model_copy(update={"files": {identity: str(pool)}})})

    def test_it_trains_on_the_pool_and_later_trials_find_its_features(
        self, blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pool = tmp_path / "pool"
        write_prepared(Fake(), pool, None)
        results = Results(tmp_path / "results")
        trial = self.trial(blobs, tiny_config, pool)
        record = run_trial(trial, results, Runtime(), 1)
        assert record.status == "completed"
        metrics = (results.trial(trial.id) / "metrics.jsonl").read_text()
        assert '"retrieval": ' in metrics
        (kept,) = (results.root / "cache").glob("pool-*")
        assert kept.name.startswith("pool-image-")
        weights, _ = load_tensors(results.trial(trial.id) / "model.safetensors")
        monkeypatch.setattr("orchestrator.prepare.pairs.PairPool._images", None)  # nothing is computed again
        shutil.rmtree(results.trial(trial.id))
        run_trial(trial, results, Runtime(), 1)
        again, _ = load_tensors(results.trial(trial.id) / "model.safetensors")
        assert all(torch.equal(weights[name], again[name]) for name in weights)

    def test_a_pool_that_is_not_what_the_plan_saw_is_refused(
        self, blobs: Prepared, tiny_config: Path, tmp_path: Path
    ) -> None:
        pool = tmp_path / "pool"
        write_prepared(Fake(), pool, None)
        trial = self.trial(blobs, tiny_config, pool)
        bench = Bench.load(trial, Runtime())
        with pytest.raises(TrialError, match="does not say where the pool sha256:0 lies"):
            bench.pairs("sha256:0")
        (pool / "dataset.json").write_text((pool / "dataset.json").read_text().replace("Squares", "Circles"))
        with pytest.raises(TrialError, match="pool has changed since the plan was made"):
            bench.pairs(trial.spec.settings["pool"])


def test_the_mark_is_found_and_the_settings_survive_json() -> None:
    config = load("arf").Config
    assert config.model_validate({"pool": "sha256:0"}).model_dump(mode="json")["pool"] == "sha256:0"
