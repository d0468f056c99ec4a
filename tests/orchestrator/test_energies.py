"""What a trial says of its features: against a computation from its weights, and whatever workers, batches and cache do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datasets.shards import Prepared
from orchestrator.analysis.predictions import read_predictions
from orchestrator.records import Evaluation, Results, TrialRecord, read_record
from orchestrator.spec import PlannedTrial
from orchestrator.trials import bench as bench_module
from orchestrator.trials.bench import Bench
from orchestrator.trials.features import energy_coordinates, read_features
from orchestrator.trials.trial import run_trial
from tests.conftest import ROOT
from tests.orchestrator.trials import planned
from training.checkpoint import load_tensors
from training.energy import NUM_TEXTS, TEXT_LENGTH
from training.model import ImageClassifier, ModelError, TextEncoder, load_state
from training.runtime import Runtime

FIELDS = ("energy_gap", "energy_gap_absolute", "feature_distortion", "feature_distortion_raw")
TESTED = 36
"""test images of the three domains"""


def run(trial: PlannedTrial, results: Path) -> TrialRecord:
    return run_trial(trial, Results(results), Runtime(), attempt=1)


def measured(record: TrialRecord) -> dict[tuple[str, str], list[float]]:
    """(variant, domain) -> the four numbers."""
    tests = [e for e in record.evaluations if e.split == "test"]
    return {(e.variant, e.domain): [getattr(e, name) for name in FIELDS] for e in tests}


def same(one: TrialRecord, two: TrialRecord) -> bool:
    first, second = measured(one), measured(two)
    return first.keys() == second.keys() and all(second[key] == pytest.approx(first[key], abs=1e-6) for key in first)


@pytest.fixture(scope="module")
def done(blobs: Prepared, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of ft, the first trial there, so that it found no cache; then zero-shot and WiSE-FT."""
    results = tmp_path_factory.mktemp("energies")
    ft = planned(blobs, tiny_config, "ft")
    run(ft, results)
    run(planned(blobs, tiny_config, "zero_shot"), results)
    run(wise(blobs, tiny_config), results)
    return results


def wise(blobs: Prepared, tiny_config: Path) -> PlannedTrial:
    inputs = (planned(blobs, tiny_config, "ft").id,)
    return planned(blobs, tiny_config, "wise_ft", settings={"alphas": [0, 0.5, 1]}, inputs=inputs)


def record_of(results: Path, method: str) -> TrialRecord:
    (folder,) = (results / "trials").glob(f"{method}-*")
    return read_record(folder / "record.json")


def test_the_numbers_are_those_of_the_definition(done: Path, blobs: Prepared, tiny_config: Path) -> None:
    trial = planned(blobs, tiny_config, "ft")
    bench = Bench.load(trial, Runtime())
    weights, _ = load_tensors(Results(done).trial(trial.id) / "model.safetensors")
    tokens = bench.text.random_tokens(NUM_TEXTS, TEXT_LENGTH, torch.Generator().manual_seed(0))
    texts = bench.text.encode(tokens).double()
    with torch.no_grad():
        images = torch.cat([bench.normalise(batch).images for batch in bench.stream(bench.splits.target("box"))])
        raw, zero = (m.visual(images).double() for m in (load_state(bench.zero_shot(), weights), bench.zero_shot()))
    energies, before = (-F.normalize(features, dim=-1) @ texts.T for features in (raw, zero))
    expected = [
        (energies - before).square().mean().item(),
        (energies - before).abs().mean().item(),
        (F.normalize(raw, dim=-1) - F.normalize(zero, dim=-1)).norm(dim=1).mean().item(),
        (raw - zero).norm(dim=1).mean().item(),
    ]
    assert min(expected) > 1e-5
    assert measured(record_of(done, "ft"))["", "box"] == pytest.approx(expected, rel=1e-4)


def test_the_zero_shot_model_is_where_it_is_and_wise_ft_between(done: Path) -> None:
    assert all(numbers == [0.0] * 4 for numbers in measured(record_of(done, "zero_shot")).values())
    found, tuned = measured(record_of(done, "wise_ft")), measured(record_of(done, "ft"))
    for domain in ("disc", "box", "ring"):
        assert found["alpha=0", domain] == [0.0] * 4
        assert found["alpha=1", domain] == pytest.approx(tuned["", domain], abs=1e-6)
        assert 0 < found["alpha=0.5", domain][0] < found["alpha=1", domain][0]


def test_only_test_splits_have_them(done: Path) -> None:
    held_out = [e for e in record_of(done, "ft").evaluations if e.split == "val"]
    assert [getattr(held_out[0], name) for name in FIELDS] == [None] * 4
    assert held_out[0].ece is not None
    assert held_out[0].brier is not None


def test_the_cache_changes_nothing_and_saves_the_second_pass(
    done: Path, blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    trial = planned(blobs, tiny_config, "zero_shot")
    bench = Bench.load(trial, Runtime(), tmp_path / "cache")
    tuned, _ = load_tensors(Results(done).trial(planned(blobs, tiny_config, "ft").id) / "model.safetensors")
    encoded = []
    for state in (tuned, tuned, None):  # cold, warm, warm
        bench.__dict__.pop("energies", None)
        model = bench.zero_shot() if state is None else load_state(bench.zero_shot(), state)
        before = ImageClassifier.images_encoded
        found = bench.evaluate_all({"": model})
        encoded.append((ImageClassifier.images_encoded - before, [found["", d, "test"].shift for d in ("disc", "box")]))
    assert [count for count, _ in encoded] == [2 * TESTED, TESTED, TESTED]
    cold, warm = (shifts for _, shifts in encoded[:2])
    assert [s.energy_gap for s in cold] == [s.energy_gap for s in warm]
    assert [s.distortion_raw for s in cold] == [s.distortion_raw for s in warm]
    assert (
        sorted(p.name.rpartition("-")[0] for p in (tmp_path / "cache").iterdir())
        == ["random-texts"] + ["zero-shot"] * 3
    )
    shutil.rmtree(tmp_path / "cache")
    bench.__dict__.pop("energies")
    before = ImageClassifier.images_encoded
    assert bench.evaluate_all({"": bench.zero_shot()})["", "box", "test"].shift.distortion == 0
    assert ImageClassifier.images_encoded - before == TESTED  # its own features are the zero-shot ones


def test_a_damaged_cache_is_made_again_and_one_of_other_images_refused(
    done: Path, blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    trial = planned(blobs, tiny_config, "ft")
    shutil.copytree(done / "cache", tmp_path / "cache")
    files = sorted((tmp_path / "cache").glob("zero-shot-*"))
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:100])
    assert same(run(trial, tmp_path), record_of(done, "ft"))
    assert files[0].read_bytes() == whole
    for file in files:
        shutil.copy(next((tmp_path / "cache").glob("random-texts-*")), file)
    with pytest.raises(ValueError, match=r"has \(10000, 16\) numbers for 12 images; delete it"):
        run(trial, tmp_path)


def test_the_size_of_batches_does_not_matter(
    done: Path, blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "EVAL_BATCH_SIZE", 5)
    assert same(run(planned(blobs, tiny_config, "ft"), tmp_path), record_of(done, "ft"))


WORK = """
import datetime, sys
from pathlib import Path
import torch, torch.distributed as dist
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial
from orchestrator.trials.trial import run_trial
from training.runtime import Runtime
folder, rank, trials = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2,
                        timeout=datetime.timedelta(seconds=60))
for trial in trials:
    planned = PlannedTrial.model_validate_json(Path(trial).read_text())
    run_trial(planned, Results(folder), Runtime(rank=rank, world_size=2), attempt=1)
"""


def test_two_workers_give_what_one_gives(done: Path, blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    """With no cache, and with the one that the trial before has left; an ensemble, which needs none, hangs nobody."""
    trials = [wise(blobs, tiny_config), ensemble(blobs, tiny_config), planned(blobs, tiny_config, "zero_shot")]
    ft = planned(blobs, tiny_config, "ft").id
    shutil.copytree(Results(done).trial(ft), Results(tmp_path).trial(ft))
    paths = [tmp_path / f"{trial.spec.method}.json" for trial in trials]
    for path, trial in zip(paths, trials, strict=True):
        path.write_text(trial.model_dump_json())
    commands = [[sys.executable, "-c", WORK, str(tmp_path), rank, *map(str, paths)] for rank in ("0", "1")]
    workers = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    try:
        assert [worker.wait(timeout=150) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    for method in ("wise_ft", "zero_shot"):
        one, two = record_of(done, method), record_of(tmp_path, method)
        assert same(one, two)
        first, second = (
            read_features(Results(root).trial(one.id) / "features.safetensors") for root in (done, tmp_path)
        )
        assert first.images.keys() == second.images.keys()
        for key, features in first.images.items():
            assert second.images[key] == pytest.approx(features, abs=2e-3)
        assert second.text_moment == pytest.approx(first.text_moment, abs=1e-6)


def ensemble(blobs: Prepared, tiny_config: Path) -> PlannedTrial:
    return planned(blobs, tiny_config, "greedy_ensemble", inputs=(planned(blobs, tiny_config, "ft").id,))


def test_an_ensemble_has_none_and_the_record_says_why(
    done: Path, blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    trial = ensemble(blobs, tiny_config)
    ft = trial.spec.inputs[0]
    shutil.copytree(Results(done).trial(ft), Results(tmp_path).trial(ft))
    record = run(trial, tmp_path)
    assert all(numbers == [None] * 4 for numbers in measured(record).values())
    assert record.no_energy == {"": "Ensemble is not one image encoder, so it has no features of its own"}
    assert not (Results(tmp_path).trial(trial.id) / "features.safetensors").exists()
    assert record_of(done, "wise_ft").no_energy == {}


def test_a_text_tower_that_reads_no_random_texts_leaves_the_distortions(
    done: Path, blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise ModelError("random texts need CLIP's tokenizer")

    monkeypatch.setattr(TextEncoder, "random_tokens", refuse)
    trial = planned(blobs, tiny_config, "ft")
    record = run(trial, tmp_path)
    for key, numbers in measured(record).items():
        assert numbers[:2] == [None, None]
        assert numbers[2:] == pytest.approx(measured(record_of(done, "ft"))[key][2:], abs=1e-6)
    assert record.no_energy == {"": "random texts need CLIP's tokenizer"}
    assert read_features(Results(tmp_path).trial(trial.id) / "features.safetensors").text_moment is None


def test_kept_features_are_of_the_first_images_and_carry_their_energies(
    done: Path, blobs: Prepared, tiny_config: Path
) -> None:
    trial = planned(blobs, tiny_config, "zero_shot")
    folder = Results(done).trial(trial.id)
    found = read_features(folder / "features.safetensors")
    assert found.images.keys() == {("", "disc"), ("", "box"), ("", "ring")}
    bench = Bench.load(trial, Runtime())
    keys, features = [], []
    for batch in bench.stream(bench.splits.target("ring")):
        keys += batch.keys
        with torch.no_grad():
            features.append(bench.zero_shot().encode_image(bench.normalise(batch).images))
    assert tuple(keys) == read_predictions(folder / "predictions.parquet", "", "ring").keys
    exact = torch.cat(features).numpy()
    assert found.images["", "ring"] == pytest.approx(exact, abs=1e-3)
    tokens = bench.text.random_tokens(NUM_TEXTS, TEXT_LENGTH, torch.Generator().manual_seed(0))
    energies = -exact @ bench.text.encode(tokens).numpy().T
    points = energy_coordinates(exact, found.text_moment)
    for i, j in ((0, 1), (3, 11)):
        distance = np.linalg.norm(energies[i] - energies[j]) / np.sqrt(NUM_TEXTS)
        assert np.linalg.norm(points[i] - points[j]) == pytest.approx(distance, rel=1e-3)


def test_a_damaged_file_of_features_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "features.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="no features that can be read"):
        read_features(tmp_path / "features.safetensors")
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "none.safetensors")


def test_evaluations_of_older_records_have_none() -> None:
    old = json.loads((Path(__file__).with_name("old_versions") / "record-1.json").read_text())["evaluations"][0]
    found = Evaluation.model_validate(old)
    assert [getattr(found, name) for name in (*FIELDS, "ece", "brier")] == [None] * 6
