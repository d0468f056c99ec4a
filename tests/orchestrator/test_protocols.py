"""Trials of several sources, of pooled domains, of some classes only: what they train on and what they are measured on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq
import pytest
import torch

import datasets
import methods
from datasets.base import Entry, Published
from datasets.shards import Prepared, write_prepared
from datasets.templates import OPENAI_IMAGENET_TEMPLATES
from methods.base import Method
from methods.ft import FT
from orchestrator.conformance.tiny import Blobs
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Results, TrialRecord, read_record, write_plan
from orchestrator.report import build_report
from orchestrator.spec import DataRef, PlannedTrial
from orchestrator.sweeps.progress import accuracies
from orchestrator.trials.bench import Bench
from orchestrator.trials.trial import run_trial
from tests.orchestrator.trials import RECIPE, planned
from training.checkpoint import load_tensors
from training.evaluate import evaluate
from training.model import ImageClassifier
from training.runtime import Runtime
from training.types import Batch, Losses


class Uneven(Blobs):
    """The train and the test split name their images alike; box has fewer of them, ring lacks green, names are long."""

    info = replace(
        Blobs.info,
        name="uneven",
        counts={"disc": {"train": 30, "test": 12}, "box": {"train": 10, "test": 12}, "ring": {"train": 20}},
        classnames=("bright_red", "green", "dark_blue"),
        groups={"ring": ((0,), (2,))},
    )

    def entries(self, domain: str, split: str, source: Published | None) -> list[Entry]:
        classes = (0, 2) if domain == "ring" else (0, 1, 2)
        return [
            Entry(f"{i:04d}", classes[i % len(classes)], f"{domain}-{split}-{i}", None, "a thing")
            for i in range(self.info.counts[domain].get(split, 0))
        ]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return write_prepared(Uneven(), tmp_path_factory.mktemp("data") / "uneven", source=None)


def data(prepared: Prepared, sources: Sequence[str], targets: Sequence[str], **changes: object) -> DataRef:
    fields = {"val_fraction": 0.2, **changes}
    return DataRef(name=prepared.name, identity=prepared.identity, sources=sources, targets=targets, **fields)


def run(trial: PlannedTrial, results: Path, **options: object) -> TrialRecord:
    return run_trial(trial, Results(results), Runtime(**options), attempt=1)


def sizes(record: TrialRecord) -> dict[tuple[str, str], int]:
    return {(e.domain, e.split): e.num_images for e in record.evaluations}


class TestSeveralSources:
    def test_they_train_together_in_order_and_selection_weighs_them_alike(
        self, uneven: Prepared, tiny_config: Path, tmp_path: Path
    ) -> None:
        both = data(uneven, ("disc", "box"), ("disc", "box"))
        trial = planned(uneven, tiny_config, "ft", data=both)
        bench = Bench.load(trial, Runtime())
        assert [sample.key.partition("/")[0] for sample in bench.train] == ["disc"] * 24 + ["box"] * 8
        assert [sample.key.partition("/")[0] for sample in bench.val] == ["disc"] * 6 + ["box"] * 2
        record = run(trial, tmp_path)
        assert sizes(record) == {("disc", "test"): 12, ("box", "test"): 12, ("disc", "val"): 6, ("box", "val"): 2}
        held_out = [e for e in record.evaluations if e.split == "val"]
        chosen = next(point for point in record.trace if point.step == record.selected_step)
        assert chosen.accuracy == fmean(e.accuracy for e in held_out)
        assert chosen.nll == pytest.approx(fmean(e.nll for e in held_out), rel=1e-6)

    def test_the_mean_over_domains_is_not_that_over_images(self, uneven: Prepared, tiny_config: Path) -> None:
        trial = planned(uneven, tiny_config, "ft", data=data(uneven, ("disc", "box"), ("disc", "box")))
        bench = Bench.load(trial, Runtime())
        model = bench.zero_shot()
        alone = [
            evaluate({"": model}, bench.stream(v), bench.normalise, Runtime())[""]
            for v in (bench.val[:6], bench.val[6:])
        ]
        together = evaluate({"": model}, bench.stream(bench.val), bench.normalise, Runtime())[""]
        accuracy, nll = bench.score("val", model)
        assert (accuracy, nll) == (fmean(o.accuracy for o in alone), fmean(o.nll for o in alone))
        assert nll != pytest.approx(together.nll, rel=1e-6)

    def test_domains_can_be_balanced(self, uneven: Prepared, tiny_config: Path, tmp_path: Path) -> None:
        both = data(uneven, ("disc", "box"), ("disc", "box"))
        recipe = RECIPE.model_copy(update={"balance_domains": True})
        trials = [planned(uneven, tiny_config, "ft", data=both, recipe=r) for r in (RECIPE, recipe)]
        drawn: list[set[str]] = []

        def count(self: FT, model: ImageClassifier, batch: Batch) -> Losses:
            drawn[-1].add(f"{sum(key.startswith('box/') for key in batch.keys)} of {len(batch.keys)}")
            return Method.loss(self, model, batch)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FT, "loss", count)
            for trial in trials:
                drawn.append(set())
                run(trial, tmp_path)
        assert len(drawn[0]) > 1, "as many as chance has it"
        assert drawn[1] == {"4 of 8"}
        assert trials[0].id != trials[1].id


class TestPools:
    """target_split 'in', of the protocol of DomainBed."""

    def test_a_target_is_measured_on_what_is_not_held_out_and_never_seen_in_training(
        self, blobs: Prepared, tiny_config: Path, tmp_path: Path
    ) -> None:
        trial = planned(
            blobs, tiny_config, "ft", data=data(blobs, ("disc", "box"), ("disc", "box", "ring"), target_split="in")
        )
        record = run(trial, tmp_path)
        assert sizes(record) == {("ring", "test"): 34, ("disc", "val"): 8, ("box", "val"): 8}
        assert record.trace[0].split == "val"
        assert re.fullmatch(r"reference [\d.]+ %, shifted [\d.]+ %", accuracies(record)), (
            "the reference is its val images"
        )
        zero = planned(
            blobs, tiny_config, "zero_shot", data=data(blobs, (), ("disc", "box", "ring"), target_split="in")
        )
        record = run(zero, tmp_path)
        assert sizes(record) == {(d, s): n for d in ("disc", "box", "ring") for s, n in (("test", 34), ("val", 8))}
        table = pq.read_table(Results(tmp_path).trial(zero.id) / "predictions.parquet").to_pylist()
        assert len({(row["domain"], row["key"]) for row in table}) == len(table) == 3 * 42
        bench = Bench.load(trial, Runtime())
        assert {s.key.partition("/")[0] for s in bench.train} == {"disc", "box"}
        assert not {s.key for s in bench.train} & {s.key for s in bench.val}
        assert {s.key.split("/")[1].split("-")[0] for s in bench.train} == {"train", "test"}, "both splits are pooled"

    def test_the_split_follows_its_seed(self, blobs: Prepared, tiny_config: Path) -> None:
        def held_out(seed: int) -> set[str]:
            pool = data(blobs, ("disc",), ("disc", "box"), target_split="in", split_seed=seed)
            return {sample.key for sample in Bench.load(planned(blobs, tiny_config, "ft", data=pool), Runtime()).val}

        assert held_out(0) == held_out(0) != held_out(1)

    def test_images_of_the_same_name_are_told_apart(self, uneven: Prepared, tiny_config: Path, tmp_path: Path) -> None:
        pool = data(uneven, ("disc",), ("disc", "box", "ring"), target_split="in")
        trial = planned(uneven, tiny_config, "ft", data=pool)
        record = run(trial, tmp_path)
        # 42 of disc, 22 of box, 20 of ring, which has no test split
        assert sizes(record) == {("disc", "val"): 8, ("box", "test"): 18, ("ring", "test"): 16}
        bench = Bench.load(trial, Runtime())
        parts = [("disc", "train"), ("disc", "test"), ("box", "train"), ("box", "test"), ("ring", "train")]
        assert bench.splits.measured_from() == parts
        keys = [sample.key for sample in (*bench.train, *bench.val)]
        assert len(set(keys)) == 42
        assert {"disc/train/0000", "disc/test/0000"} <= set(keys)
        table = pq.read_table(Results(tmp_path).trial(trial.id) / "predictions.parquet").to_pylist()
        assert {row["key"].count("/") for row in table if row["domain"] == "ring"} == {1}


class TestGroups:
    def test_every_predictor_stays_within_the_classes_of_a_domain(
        self, uneven: Prepared, tiny_config: Path, tmp_path: Path
    ) -> None:
        pool = data(uneven, ("disc",), ("disc", "ring"), target_split="in")
        trained = [planned(uneven, tiny_config, "ft", data=pool, seed=seed) for seed in (0, 1)]
        inputs = tuple(trial.id for trial in trained)
        ensemble = planned(uneven, tiny_config, "greedy_ensemble", data=pool, inputs=inputs)
        for trial in (*trained, planned(uneven, tiny_config, "wise_ft", data=pool, inputs=inputs[:1]), ensemble):
            run(trial, tmp_path)
            table = pq.read_table(Results(tmp_path).trial(trial.id) / "predictions.parquet").to_pylist()
            seen = {
                domain: {row["prediction"] for row in table if row["domain"] == domain} for domain in ("disc", "ring")
            }
            assert seen["ring"] <= {0, 2}
            assert {row["label"] for row in table if row["domain"] == "ring"} == {0, 2}
            assert all(row["confidence"] >= 0.5 for row in table if row["domain"] == "ring"), "two classes are left"
        assert read_record(Results(tmp_path).record(ensemble.id)).status == "completed"

    def test_validation_is_over_the_classes_of_the_reference_domain(
        self, uneven: Prepared, tiny_config: Path, tmp_path: Path
    ) -> None:
        pool = data(uneven, ("ring",), ("ring", "disc"), target_split="in")
        trial = planned(uneven, tiny_config, "ft", data=pool)
        record = run(trial, tmp_path)
        (held_out,) = [e for e in record.evaluations if e.split == "val"]
        chosen = next(point for point in record.trace if point.step == record.selected_step)
        assert (chosen.accuracy, chosen.nll) == (held_out.accuracy, held_out.nll)
        bench = Bench.load(trial, Runtime())
        model = bench.zero_shot()
        _, nll = bench.score("val", model)
        over_all = evaluate({"": model}, bench.stream(bench.val), bench.normalise, Runtime())[""]
        assert nll < over_all.nll - 0.05, "a class without images costs probability"


def test_prompts_have_spaces_if_the_benchmark_says_so(uneven: Prepared, tiny_config: Path) -> None:
    heads, names = [], []
    for spelling in ("as_published", "spaces"):
        ref = data(uneven, ("disc",), ("disc", "box"), class_names=spelling)
        bench = Bench.load(planned(uneven, tiny_config, "ft", data=ref), Runtime())
        names.append(bench.task(1, 0, 0.0).classnames)
        heads.append(bench.zero_shot().head)
        expected = bench.text.zero_shot_head(names[-1], uneven.templates)
        assert torch.equal(heads[-1], expected)
    assert names == [("bright_red", "green", "dark_blue"), ("bright red", "green", "dark blue")]
    differs = [not torch.equal(heads[0][:, k], heads[1][:, k]) for k in range(3)]
    assert differs == [True, False, True]


def test_a_frozen_head_stays_that_of_all_classes_and_classes_count_alike(
    uneven: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    frozen = RECIPE.model_copy(update={"freeze_head": True})
    trial = planned(uneven, tiny_config, "ft", data=data(uneven, ("disc",), ("disc", "box")), recipe=frozen)
    record = run(trial, tmp_path)
    weights, _ = load_tensors(Results(tmp_path).trial(trial.id) / "model.safetensors")
    start = Bench.load(trial, Runtime()).zero_shot().state_dict()
    assert torch.equal(weights["head"], start["head"])
    assert any(not torch.equal(weights[name], start[name]) for name in weights)
    table = pq.read_table(Results(tmp_path).trial(trial.id) / "predictions.parquet").to_pylist()
    for evaluation in record.evaluations:
        rows = [row for row in table if (row["domain"], row["split"]) == (evaluation.domain, evaluation.split)]
        by_class = [[row["correct"] for row in rows if row["label"] == k] for k in range(3)]
        assert evaluation.class_accuracy == pytest.approx(fmean(fmean(r) for r in by_class if r))


MANIFEST = """\
data: DATA
models: {tiny: {name: tiny_clip, config: CONFIG, pretrained: "random:0"}}
benchmarks:
  main:
    dataset: DATASET
    models: [tiny]
    PROTOCOL
    seeds: [0, 1]
    recipe: {lr: 1.0e-3, num_steps: 4, global_batch_size: 8, eval_every: 2, freeze_head: FREEZE}
    methods: {zero_shot: {}, ft: {}}
    post_hoc: {wise_ft: {of: [ft], alphas: [0.5]}}
"""


def reported(folder: Path, prepared: Prepared, config: Path, **changes: str) -> str:
    """Plan, run every trial and report; the leaderboard as Markdown."""
    text = MANIFEST.replace("DATASET", prepared.name).replace("DATA", str(Path(prepared.root).parent))
    for old, new in {"CONFIG": str(config), "FREEZE": "false", **changes}.items():
        text = text.replace(old, new)
    (folder / "benchmarks.yaml").write_text(text)
    manifest = load_manifest(folder / "benchmarks.yaml")
    (plan,) = make_plans(manifest, None)
    results = Results(manifest.results)
    for trial in plan.trials:
        assert run_trial(trial, results, Runtime(), attempt=1).status == "completed"
    write_plan(results, plan)
    return build_report(results.root)[1].read_text(encoding="utf-8")


def test_domainbed_from_manifest_to_leaderboard(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load", lambda ref: Blobs())
    board = reported(tmp_path, blobs, tiny_config, PROTOCOL="protocol: domainbed")
    assert "## main, tiny, each domain held out in turn" in board
    assert "| method | seeds | disc | box | ring | held-out mean | worst |" in board
    assert "| source mean (ref., val) |" in board
    names = [line.split("|")[1].strip() for line in board.splitlines() if line.startswith("| ")][1:]
    assert names == ["zero_shot", "ft", "wise_ft of ft, alpha=0.5"]
    assert "13 of 13 trials done" in board
    assert all(cell.strip() for line in board.splitlines() if line.startswith("| ft") for cell in line.split("|")[1:7])


def test_generalised_zero_shot_from_manifest_to_leaderboard(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    birds = Blobs()
    birds.info = replace(Blobs.info, seen_unseen=("disc", "box"))
    monkeypatch.setattr(datasets, "load", lambda ref: birds)
    board = reported(tmp_path, blobs, tiny_config, PROTOCOL="sources: [disc]\n    targets: [disc, box]", FREEZE="true")
    (header, *lines) = [line.split(" | ") for line in board.splitlines() if line.startswith("| ")]
    for kind in ("class", "image"):
        s, u, h = (header.index(f"generalised zero-shot by {kind}, %: {letter}") for letter in "SUH")
        zero = next(line for line in lines if line[0] == "| zero_shot")
        seen, unseen, harmonic = (float(zero[place].split()[0]) for place in (s, u, h))  # an interval may follow
        assert harmonic == pytest.approx(2 * seen * unseen / max(seen + unseen, 1e-9), abs=0.11)


class OneTemplate(Blobs):
    """As CUB, PACS, VLCS, Office-Home and Terra Incognita, whose cards have a single template."""

    info = replace(Blobs.info, name="one_template", templates=("a {} thing.",))


@pytest.mark.parametrize("loss", ["kld", "mse"])
def test_contexts_of_a_dataset_with_one_template_are_clips_80(loss: str, tiny_config: Path, tmp_path: Path) -> None:
    one = write_prepared(OneTemplate(), tmp_path / "one_template", source=None)
    trial = planned(one, tiny_config, "car_ft", settings={"loss": loss})
    bench = Bench.load(trial, Runtime())
    task = bench.task(num_steps=1, seed=0, label_smoothing=0.0)
    assert (task.templates, task.contexts) == (("a {} thing.",), OPENAI_IMAGENET_TEMPLATES)
    method = methods.load("car_ft")(methods.load("car_ft").Config(loss=loss))
    method.setup(bench.zero_shot(), task)
    assert method.contexts.shape == (80, 16)
    record = run(trial, tmp_path / "results")
    assert record.status == "completed"


def test_contexts_of_a_dataset_with_several_templates_are_its_own(uneven: Prepared, tiny_config: Path) -> None:
    task = Bench.load(planned(uneven, tiny_config, "car_ft"), Runtime()).task(num_steps=1, seed=0, label_smoothing=0.0)
    assert task.contexts == task.templates == uneven.templates
