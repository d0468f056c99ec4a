"""A manifest becomes trials: their identity, what each kind has, and that ids move with results alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datasets.shards import write_prepared
from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import ErrorInfo, Evaluation, TrialRecord
from orchestrator.spec import (
    ADDED,
    UNPREPARED,
    BenchmarkPlan,
    DataRef,
    ModelRef,
    TransferRef,
    TrialSpec,
    canonical_json,
    trial_id,
)
from tests.orchestrator.manifest_fixtures import BASE, TinyDataset, changed, folder, write
from training.config import Recipe

__all__ = ["folder"]

SPEC = TrialSpec(
    method="lipsum_ft",
    method_version=3,
    settings={"strength": 0.3, "num_texts": 7},
    data=DataRef(
        name="tiny", identity="ab" * 32, sources=("real",), targets=("real", "sketch"), val_fraction=0.2, split_seed=5
    ),
    model=ModelRef(name="vit", weights="sha256:01", architecture="sha256:02"),
    recipe=Recipe(
        optimizer="adamw",
        lr=1e-4,
        beta1=0.8,
        beta2=0.99,
        eps=1e-7,
        weight_decay=0.01,
        warmup_fraction=0.2,
        num_steps=12,
        global_batch_size=34,
        eval_every=6,
        grad_clip=1.5,
        label_smoothing=0.1,
        crop_scale=(0.3, 0.9),
        flip=False,
    ),
    preprocessing="openai",
    selection="last",
    seed=4,
    inputs=("ft-tiny-real-s4-000000000000",),
)


class TestIdentity:
    def test_golden_ids(self):
        """Do not update these: every trial anybody ever ran would be run again. Raise TRIAL_ID_VERSION if you must."""
        assert trial_id(SPEC) == "lipsum_ft-tiny-real-s4-9be4c133729a"
        bare = TrialSpec(
            method="zero_shot",
            settings={},
            data=DataRef(name="tiny", identity="ab" * 32, sources=(), targets=("real",)),
            model=ModelRef(name="vit", weights="tag:openai"),
            recipe=None,
            selection=None,
        )
        assert trial_id(bare) == "zero_shot-tiny-any-s0-1685df07d38d"

    def test_later_fields_enter_the_id_only_with_another_value(self):
        def changed(part: str, **values: Any) -> str:
            return trial_id(SPEC.model_copy(update={part: getattr(SPEC, part).model_copy(update=values)}))

        assert {key for _, key in ADDED} == {
            "target_split", "class_names", "transfer", "freeze_head", "balance_domains",
        }  # fmt: skip
        for (part, key), before in ADDED.items():
            assert getattr(SPEC, part).model_dump(mode="json")[key] == before
            assert type(getattr(SPEC, part)).model_fields[key].default == (tuple(before) if before == [] else before)
        transfer = (TransferRef(name="other", identity="cd" * 32, domains=("other",)),)
        ids = {changed("data"), changed("data", target_split="in"), changed("data", class_names="spaces")}
        ids |= {changed("data", transfer=transfer), changed("recipe", freeze_head=True)}
        ids |= {changed("recipe", balance_domains=True)}
        assert len(ids) == 6
        assert trial_id(SPEC) in ids

    def test_every_field_is_known_to_change_results(self):
        """A new field may change every id. If it changes results, give it here and in ADDED; else move it out."""
        assert set(TrialSpec.model_fields) == {
            "method", "method_version", "settings", "data", "model", "recipe", "preprocessing", "selection", "seed", "inputs",
        }  # fmt: skip
        assert set(DataRef.model_fields) == {
            "name", "identity", "sources", "targets", "val_fraction", "split_seed", "target_split", "class_names", "transfer",
        }  # fmt: skip
        assert set(ModelRef.model_fields) == {"name", "weights", "architecture"}
        assert set(Recipe.model_fields) == {
            "optimizer", "lr", "beta1", "beta2", "eps", "weight_decay", "warmup_fraction", "num_steps",
            "global_batch_size", "eval_every", "grad_clip", "label_smoothing", "crop_scale", "flip", "freeze_head",
            "balance_domains",
        }  # fmt: skip

    @pytest.mark.parametrize("part", ["recipe", "data", "model"])
    def test_the_golden_spec_has_no_default(self, part):
        value = getattr(SPEC, part)
        for name, field in type(value).model_fields.items():
            assert (part, name) in ADDED or getattr(value, name) != field.default, name

    def test_canonical_json_is_independent_of_the_order_of_settings(self):
        turned = SPEC.model_copy(update={"settings": dict(reversed(SPEC.settings.items()))})
        assert canonical_json(turned) == canonical_json(SPEC)


def plan_of(text: str, name: str = "main") -> BenchmarkPlan:
    [plan] = make_plans(load_manifest(write(text)), [name])
    return plan


def ids_of(text: str) -> list[str]:
    return [trial.id for trial in plan_of(text).trials]


def record_of(plan: BenchmarkPlan, index: int, error: ErrorInfo | None = None) -> TrialRecord:
    now = datetime.now(UTC).isoformat()
    evaluation = Evaluation(domain="real", split="test", num_images=2, num_correct=1, accuracy=0.5, nll=1.0)
    return TrialRecord(
        id=plan.trials[index].id,
        spec=plan.trials[index].spec,
        status="failed" if error else "completed",
        evaluations=() if error else (evaluation,),
        error=error,
        started_at=now,
        finished_at=now,
    )


@pytest.mark.usefixtures("folder")
class TestTrials:
    def test_what_there_is_of_each_kind(self):
        plan = plan_of(BASE)
        assert [(t.kind, t.label, t.of, t.spec.seed) for t in plan.trials] == [
            ("reference", "zero_shot", None, 0),
            ("trained", "ft", None, 0),
            ("trained", "ft", None, 1),
            ("trained", "lipsum_ft strength=0.5", None, 0),
            ("trained", "lipsum_ft strength=0.5", None, 1),
            ("trained", "lipsum_ft strength=2.0", None, 0),
            ("trained", "lipsum_ft strength=2.0", None, 1),
            ("post_hoc", "wise_ft", "ft", 0),
            ("post_hoc", "wise_ft", "ft", 1),
            ("post_hoc", "wise_ft", "lipsum_ft strength=0.5", 0),
            ("post_hoc", "wise_ft", "lipsum_ft strength=0.5", 1),
            ("post_hoc", "wise_ft", "lipsum_ft strength=2.0", 0),
            ("post_hoc", "wise_ft", "lipsum_ft strength=2.0", 1),
        ]
        assert [t.spec.inputs for t in plan.trials[7:]] == [(t.id,) for t in plan.trials[1:7]]
        assert all(t.spec.inputs == () for t in plan.trials[:7])
        assert len({t.id for t in plan.trials}) == 13

    def test_what_does_not_train_depends_on_neither_source_nor_seed_nor_split(self):
        [zero_shot] = [t for t in plan_of(changed("sources: [real]", "sources: all")).trials if t.kind == "reference"]
        assert (zero_shot.spec.data.sources, zero_shot.spec.recipe, zero_shot.spec.selection) == ((), None, None)
        assert ids_of(changed("seeds: [0, 1]", "seeds: [5]\n    val_fraction: 0.3"))[0] == zero_shot.id

    def test_sources_have_trials_of_their_own_and_come_first_among_the_targets(self):
        plan = plan_of(changed("sources: [real]", "sources: [sketch, real]\n    targets: [sketch, painting, real]"))
        trained = [t.spec.data for t in plan.trials if t.label == "ft"]
        assert [(d.sources, d.targets) for d in trained] == [
            (("sketch",), ("sketch", "real", "painting")),
            (("sketch",), ("sketch", "real", "painting")),
            (("real",), ("real", "painting", "sketch")),
            (("real",), ("real", "painting", "sketch")),
        ]
        assert plan.domains == ("sketch", "painting", "real")
        by_id = {t.id: t for t in plan.trials}
        for trial in (t for t in plan.trials if t.kind == "post_hoc"):
            [input_id] = trial.spec.inputs
            assert by_id[input_id].spec.data.sources == trial.spec.data.sources
            assert by_id[input_id].spec.seed == trial.spec.seed
            assert trial.spec.recipe is None and trial.spec.selection is None

    def test_a_soup_takes_all_seeds_and_grid_points_of_a_method(self):
        text = "plugins: [plugins]\n" + changed(
            "wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}", "soup: {of: [ft, lipsum_ft]}"
        )
        plan = plan_of(changed("sources: [real]", "sources: [real, sketch]", text))
        trials = {t.id: t for t in plan.trials}
        soups = [t for t in plan.trials if t.kind == "post_hoc"]
        assert [(t.of, t.spec.data.sources[0], len(t.spec.inputs), t.spec.seed) for t in soups] == [
            ("ft", "real", 2, 0),
            ("lipsum_ft", "real", 4, 0),
            ("ft", "sketch", 2, 0),
            ("lipsum_ft", "sketch", 4, 0),
        ]
        for soup in soups:
            assert {trials[i].spec.data.sources for i in soup.spec.inputs} == {soup.spec.data.sources}
            assert {trials[i].spec.method for i in soup.spec.inputs} == {soup.of}

    def test_inputs_come_before_what_needs_them(self):
        seen: set[str] = set()
        for trial in plan_of(changed("sources: [real]", "sources: all")).trials:
            assert set(trial.spec.inputs) <= seen
            seen.add(trial.id)

    def test_paths_are_absolute(self, folder):
        location = plan_of("plugins: [plugins]\n" + BASE).trials[0].location
        assert location.data == str(folder / "data" / "tiny")
        assert location.pretrained == str(folder / "vit.safetensors")
        assert location.model_config_file == str(folder / "vit.json")
        assert location.plugins == (str(folder / "plugins"),)


@pytest.mark.usefixtures("folder")
class TestBaseline:
    def test_it_is_the_first_that_trains_unless_given(self):
        first = plan_of(BASE)
        assert first.baseline == next(t.label for t in first.trials if t.kind == "trained")
        last = [t.label for t in first.trials if t.kind == "trained"][-1]
        given = plan_of(changed("seeds: [0, 1]", f"seeds: [0, 1]\n    baseline: {last}"))
        assert given.baseline == last
        assert [t.id for t in given.trials] == [t.id for t in first.trials]


@pytest.mark.usefixtures("folder")
class TestIds:
    @pytest.mark.parametrize(
        "text",
        [
            "# a comment\n\n" + BASE,
            changed("    seeds: [0, 1]\n", "", BASE).replace(
                "    dataset: tiny\n", "    seeds: [0, 1]\n    dataset: tiny\n"
            ),
            changed("num_steps: 10, global_batch_size: 4", "global_batch_size: 4, num_steps: 10"),
            changed("sources: [real]", "sources: [real]\n    targets: [sketch, painting, real]"),
            changed("ft: {}\n", "ft: {recipe: {lr: 1e-5}}\n", BASE),
            changed("strength: [0.5, 2.0]", "strength: [0.5, 2]"),
            "resources: {slots: 3}\nresults: elsewhere\nplugins: [plugins]\n" + BASE,
        ],
        ids=[
            "comment",
            "key order",
            "recipe order",
            "target order",
            "default spelled out",
            "2 for 2.0",
            "how and where",
        ],
    )
    def test_stay_when_nothing_changes_the_result(self, text):
        assert ids_of(text) == ids_of(BASE)

    def test_stay_when_files_move(self, folder, monkeypatch):
        write_prepared(TinyDataset(), folder / "data" / "tiny", None)
        before = ids_of(BASE)
        assert make_plans(load_manifest(Path("benchmarks.yaml")), None)[0].trials[0].spec.data.identity != UNPREPARED
        moved = folder / "moved"
        moved.mkdir()
        for name in ("vit.json", "vit.safetensors", "data"):
            (folder / name).rename(moved / name)
        monkeypatch.chdir(moved)
        assert ids_of(BASE) == before

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("num_steps: 10", "num_steps: 11"),
            ("seeds: [0, 1]", "seeds: [0, 1]\n    selection: last"),
            ("seeds: [0, 1]", "seeds: [0, 1]\n    split_seed: 1"),
            ("sources: [real]", "sources: [real]\n    targets: [real, sketch]"),
        ],
    )
    def test_change_with_what_changes_the_result(self, old, new):
        assert not set(ids_of(changed(old, new))[1:]) & set(ids_of(BASE)[1:])

    def test_change_with_data_and_weights(self, folder):
        before = ids_of(BASE)
        write_prepared(TinyDataset(), folder / "data" / "tiny", None)
        prepared = ids_of(BASE)
        (folder / "vit.safetensors").write_bytes(b"other weights")
        assert not set(before) & set(prepared)
        assert not set(prepared) & set(ids_of(BASE))

    def test_a_new_seed_adds_trials_and_keeps_the_others(self):
        assert set(ids_of(BASE)) < set(ids_of(changed("seeds: [0, 1]", "seeds: [0, 1, 2]")))
        assert len(ids_of(changed("seeds: [0, 1]", "seeds: [0, 1, 2]"))) == 13 + 6

    def test_two_benchmarks_share_trials(self):
        other = changed("sources: [real]", "sources: [real]", BASE[BASE.index("  main:") :].replace("main", "other"))
        main, second = make_plans(
            load_manifest(write(BASE + other.replace("seeds: [0, 1]", "seeds: [1, 2]"))), ["main", "other"]
        )
        shared = {t.id for t in main.trials} & {t.id for t in second.trials}
        assert len(shared) == 1 + 6 // 2 + 6 // 2
        assert {t.benchmark for t in second.trials} == {"other"}
