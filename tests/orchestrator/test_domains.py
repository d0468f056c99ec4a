"""Sources, targets and protocols of a manifest: what is planned of them."""

from __future__ import annotations

import io
from types import SimpleNamespace

import jsonschema
import pytest
from rich.console import Console

from datasets.shards import write_prepared
from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.manifest.schema import json_schema
from orchestrator.manifest.yaml_lines import load_yaml
from orchestrator.planning.estimate import Estimate, estimate
from orchestrator.planning.places import lacking
from orchestrator.planning.plan import make_plans
from orchestrator.planning.plan_view import print_plan
from orchestrator.planning.unprepared import unprepared
from orchestrator.spec import BenchmarkPlan, DataRef
from tests.orchestrator.manifest_fixtures import BASE, PartsDataset, changed, folder, write

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")
PARTS = changed("dataset: tiny", "dataset: parts")
DOMAINBED = changed("    sources: [real]\n", "    protocol: domainbed\n")


def plan_of(text: str) -> BenchmarkPlan:
    [plan] = make_plans(load_manifest(write(text)), None)
    return plan


def sources_of(text: str) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(t.spec.data.sources for t in plan_of(text).trials if t.label == "ft"))


def data_of(plan: BenchmarkPlan, label: str) -> list[DataRef]:
    return [trial.spec.data for trial in plan.trials if trial.label == label]


class TestSources:
    def test_a_list_in_the_list_is_one_trial_in_the_order_of_the_dataset(self):
        text = changed("sources: [real]", "sources: [[sketch, real], painting]")
        assert sources_of(text) == [("real", "sketch"), ("painting",)]
        plan = plan_of(text)
        assert not plan.leave_one_out
        assert data_of(plan, "ft")[0].targets == ("real", "sketch", "painting")
        turned = plan_of(changed("sources: [real]", "sources: [painting, [real, sketch]]"))
        assert {t.id for t in turned.trials} == {t.id for t in plan.trials}
        assert next(t.id for t in plan.trials if t.label == "ft").startswith("ft-tiny-real+sketch-s0-")

    def test_all_but_target_holds_each_target_out(self):
        plan = plan_of(changed("sources: [real]", "sources: all but target"))
        assert plan.leave_one_out
        assert [(d.sources, d.targets) for d in data_of(plan, "ft")[::2]] == [
            (("painting", "sketch"), ("painting", "sketch", "real")),
            (("real", "sketch"), ("real", "sketch", "painting")),
            (("real", "painting"), ("real", "painting", "sketch")),
        ]
        assert {(d.target_split, d.val_fraction, d.split_seed) for d in data_of(plan, "ft")} == {("test", 0.1, 0)}
        assert data_of(plan, "zero_shot")[0].targets == ("real", "painting", "sketch")
        assert len(plan.trials) == 1 + 3 * 12

    def test_all_but_target_of_chosen_targets(self):
        text = changed("sources: [real]", "sources: all but target\n    targets: [sketch, real]")
        assert sources_of(text) == [("real",), ("sketch",)]


class TestTargets:
    def test_all_leaves_out_optional_domains_unless_they_are_named(self):
        assert plan_of(PARTS).domains == ("real", "painting", "shift")
        text = changed("sources: [real]", "sources: [real]\n    targets: [quick, real]", PARTS)
        assert plan_of(text).domains == ("quick", "real")

    def test_data_without_an_optional_domain_will_do_until_it_is_a_target(self, folder):
        write_prepared(PartsDataset(), folder / "data" / "parts", None, domains=["real", "painting", "shift"])
        assert plan_of(PARTS).domains == ("real", "painting", "shift")
        text = changed("sources: [real]", "sources: [real]\n    targets: [real, quick]", PARTS)
        with pytest.raises(ManifestError) as caught:
            plan_of(text)
        assert "was prepared without quick of dataset 'parts', it has real, painting, shift; " in str(caught.value)
        assert str(caught.value).endswith("prepare the dataset again with --domains real,painting,shift,quick")

    def test_the_command_that_prepares_names_optional_domains(self, folder):
        def todo(targets: str) -> str:
            text = changed("sources: [real]", f"sources: [real]\n    targets: {targets}", PARTS)
            return unprepared(load_manifest(write(text)), None)[0].todo

        assert "--domains real,painting,shift,quick" in todo("[real, quick]")
        assert "--domains" not in todo("[real, shift]")

    def test_seen_and_unseen_reach_the_plan_if_both_are_targets(self):
        assert plan_of(PARTS).seen_unseen == ("real", "shift")
        text = changed("sources: [real]", "sources: [real]\n    targets: [real, painting]", PARTS)
        assert plan_of(text).seen_unseen is None
        assert plan_of(BASE).seen_unseen is None

    def test_class_names_are_part_of_every_trial(self):
        plain, spaced = plan_of(BASE), plan_of(changed("seeds: [0, 1]", "seeds: [0, 1]\n    class_names: spaces"))
        assert {t.spec.data.class_names for t in spaced.trials} == {"spaces"}
        assert not {t.id for t in plain.trials} & {t.id for t in spaced.trials}
        spelled = plan_of(changed("seeds: [0, 1]", "seeds: [0, 1]\n    class_names: as_published"))
        assert [t.id for t in spelled.trials] == [t.id for t in plain.trials]

    def test_a_split_that_turns_out_to_be_missing_is_named(self, folder, monkeypatch):
        """A dataset of which only its files tell what it has."""
        write_prepared(PartsDataset(), folder / "data" / "parts", None)
        silent = PartsDataset()
        info = {**{f: getattr(silent.info, f) for f in silent.info.__slots__}, "counts": {}}
        silent.info = type(silent.info)(**info)
        monkeypatch.setattr("datasets.load", lambda name: silent)
        with pytest.raises(ManifestError, match=r"domain 'shift' has no train images, which benchmark 'main' needs"):
            plan_of(changed("sources: [real]", "sources: [shift]", PARTS))

    def test_a_dataset_that_is_one_pool_is_told_of_the_protocol_that_divides_it(self):
        benchmark = SimpleNamespace(name="main", sources=[["a"]], targets=["a"], pooled=False)
        prepared = SimpleNamespace(root="data/pool", domains=["a"], counts={"a": {"train": [3, 4]}})
        (line,) = lacking(benchmark, prepared)
        assert line.endswith(
            "has no test images, which benchmark 'main' needs; of a dataset that is one pool, "
            "`protocol: domainbed` holds images out"
        )


class TestDomainBed:
    def test_what_it_stands_for(self):
        plan = plan_of(DOMAINBED)
        assert plan.leave_one_out
        assert {t.spec.data.target_split for t in plan.trials} == {"in"}
        assert {t.spec.data.val_fraction for t in plan.trials} == {0.2}
        assert {t.spec.selection for t in plan.trials if t.kind == "trained"} == {"reference_val"}
        assert {(t.spec.seed, t.spec.data.split_seed) for t in plan.trials} == {(0, 0), (1, 1)}
        assert [d.split_seed for d in data_of(plan, "zero_shot")] == [0]
        by_id = {t.id: t for t in plan.trials}
        for trial in (t for t in plan.trials if t.kind == "post_hoc"):
            assert trial.spec.data == by_id[trial.spec.inputs[0]].spec.data

    def test_its_zero_shot_trial_is_not_that_of_test_splits(self):
        assert plan_of(DOMAINBED).trials[0].id != plan_of(BASE).trials[0].id

    def test_a_soup_joins_the_grid_of_one_seed(self):
        text = "plugins: [plugins]\n" + changed(
            "wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}", "soup: {of: [lipsum_ft]}", DOMAINBED
        )
        plan = plan_of(text)
        by_id = {t.id: t for t in plan.trials}
        soups = [t for t in plan.trials if t.label == "soup"]
        assert [(t.spec.seed, t.spec.data.split_seed, len(t.spec.inputs)) for t in soups] == [(0, 0, 2), (1, 1, 2)] * 3
        for soup in soups:
            assert {by_id[i].spec.data for i in soup.spec.inputs} == {soup.spec.data}

    def test_any_domain_will_do_whatever_its_splits(self):
        text = changed("dataset: tiny", "dataset: parts\n    targets: [real, shift, pool]", DOMAINBED)
        assert sources_of(text) == [("shift", "pool"), ("real", "pool"), ("real", "shift")]

    def test_estimates_count_the_images_of_the_pools(self):
        text = changed("dataset: tiny", "dataset: parts\n    targets: [real, shift, pool]", DOMAINBED)
        plan, counts = plan_of(text), PartsDataset.info.counts
        # pools of 24, 6 and 10: 5, 1 and 2 are held out
        assert estimate(plan.trials[0], counts) == Estimate(evaluation_images=24 + 6 + 10)
        # sources shift and pool, target real; three evaluations of the 3 held-out images for selection
        assert estimate(plan.trials[1], counts) == Estimate(10, 40, 19 + 3 + 3 * 3)

    def test_the_plan_says_it_on_screen(self):
        plan = plan_of(DOMAINBED)
        file = io.StringIO()
        print_plan(Console(file=file, width=200), plan, {t.id: "missing" for t in plan.trials}, {}, False)
        shown = file.getvalue()
        assert "each held out in turn; all images of a domain are one pool, 20% of it held out by seed" in shown
        assert "all but painting" in shown


@pytest.mark.parametrize(
    "text",
    [
        DOMAINBED,
        changed("sources: [real]", "sources: all but target"),
        changed("sources: [real]", "sources: [[real, sketch], painting]"),
        changed("sources: [real]", "sources: all\n    class_names: spaces"),
    ],
)
def test_the_json_schema_knows_them(text):
    assert not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(load_yaml(write(text)).data))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sources: [real]", "sources: all but targets"),
        ("sources: [real]", "sources: [[[real]]]"),
        ("sources: [real]", "sources: [[]]"),
        ("sources: [real]", "protocol: wilds"),
        ("seeds: [0, 1]", "class_names: pretty"),
    ],
)
def test_the_json_schema_refuses_what_the_manifest_does(old, new):
    text = changed(old, new)
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(load_yaml(write(text)).data))
    with pytest.raises(ManifestError):
        load_manifest(write(text))
