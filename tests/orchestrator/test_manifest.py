from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.manifest.errors import suggestion
from orchestrator.manifest.methods import list_depths
from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.manifest.schema import json_schema
from orchestrator.manifest.yaml_lines import load_yaml
from orchestrator.paths import HOME_VARIABLE
from tests.orchestrator.manifest_fixtures import BASE, changed, folder, write
from training.config import Recipe

__all__ = ["folder"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.usefixtures("folder")
class TestValid:
    def test_everything_is_resolved(self, folder):
        manifest = load_manifest(write(BASE))
        benchmark = manifest.benchmarks["main"]
        assert manifest.results == folder / "results"
        assert manifest.data == folder / "data"
        assert benchmark.targets == ("real", "painting", "sketch")
        zero_shot, ft, lipsum = benchmark.methods
        assert (zero_shot.kind, zero_shot.points[0].recipe) == ("reference", None)
        assert ft.points[0].recipe == Recipe(num_steps=10, global_batch_size=4, eval_every=4)
        assert [(p.label, p.settings["strength"]) for p in lipsum.points] == [
            ("lipsum_ft strength=0.5", 0.5),
            ("lipsum_ft strength=2.0", 2.0),
        ]
        assert set(lipsum.points[0].settings) == {"strength", "num_texts", "token_length"}
        [wise] = benchmark.post_hoc
        assert wise.points[0].settings == {"alphas": [0.5]}
        assert [p.label for p in wise.points] == ["wise_ft"]
        [model] = benchmark.models
        assert model.ref.weights.startswith("sha256:")
        assert model.ref.architecture.startswith("sha256:")
        assert model.pretrained == str(folder / "vit.safetensors")

    def test_defaults_give_way_and_recipes_are_merged(self):
        text = changed(
            "benchmarks:\n",
            "defaults: {seeds: [7], val_fraction: 0.2, recipe: {lr: 1e-3, num_steps: 99}}\nbenchmarks:\n",
        )
        benchmark = load_manifest(write(text)).benchmarks["main"]
        assert benchmark.seeds == (0, 1)
        assert benchmark.val_fraction == 0.2
        recipe = benchmark.methods[1].points[0].recipe
        assert (recipe.lr, recipe.num_steps) == (1e-3, 10)

    def test_required_keys_may_come_from_the_defaults(self):
        text = BASE.replace("    dataset: tiny\n    models: [vit]\n    sources: [real]\n", "")
        text = "defaults: {dataset: tiny, models: [vit], sources: all}\n" + text
        benchmark = load_manifest(write(text)).benchmarks["main"]
        assert benchmark.sources == (("real",), ("painting",), ("sketch",))

    def test_label_of_ones_own_and_grids_of_settings_and_recipe(self):
        entry = "high: {method: ft, recipe: {lr: [1e-3, 1e-2], crop_scale: [0.5, 1.0]}}"
        text = changed("zero_shot: {}", f"zero_shot:\n      {entry}")
        uses = load_manifest(write(text)).benchmarks["main"].methods
        high = uses[1]
        assert (high.key, high.method) == ("high", "ft")
        assert [(p.label, p.recipe.lr, p.recipe.crop_scale) for p in high.points] == [
            ("high lr=0.001", 1e-3, (0.5, 1.0)),
            ("high lr=0.01", 1e-2, (0.5, 1.0)),
        ]

    def test_a_grid_over_two_settings_is_their_product(self):
        text = changed("strength: [0.5, 2.0]", "strength: [0.5, 2.0], num_texts: [3, 4], recipe: {lr: [1.0]}")
        points = load_manifest(write(text)).benchmarks["main"].methods[2].points
        assert [p.label for p in points] == [
            f"lipsum_ft strength={strength} num_texts={num}" for strength in (0.5, 2.0) for num in (3, 4)
        ]

    def test_a_list_of_lists_is_the_grid_of_a_setting_that_is_a_list(self):
        text = changed("alphas: [0.5]", "alphas: [[0.5], [0.25, 0.75]]")
        [wise] = load_manifest(write(text)).benchmarks["main"].post_hoc
        assert [(p.label, p.settings["alphas"]) for p in wise.points] == [
            ("wise_ft alphas=[0.5]", [0.5]),
            ("wise_ft alphas=[0.25,0.75]", [0.25, 0.75]),
        ]
        assert list_depths(Recipe)["crop_scale"] == 1
        assert list_depths(Recipe)["grad_clip"] == 0

    def test_random_weights_and_published_ones(self):
        models = "vit: {name: ViT-B-32, pretrained: random}\n  b16: {name: ViT-B-16-quickgelu, pretrained: openai}"
        text = changed("vit: {name: vit, config: vit.json, pretrained: vit.safetensors}", models)
        text = changed("models: [vit]", "models: [vit, b16]", text)
        random, published = load_manifest(write(text)).benchmarks["main"].models
        assert (random.ref.weights, random.pretrained) == ("random:0", "random:0")
        assert (published.ref.weights, published.pretrained) == ("tag:openai", "openai")

    def test_missing_weights_can_be_planned(self, folder):
        (folder / "vit.safetensors").unlink()
        [model] = load_manifest(write(BASE)).benchmarks["main"].models
        assert not model.is_prepared

    def test_plugins_are_found_from_the_manifests_folder(self, folder, monkeypatch):
        text = "plugins: [plugins]\n" + changed("wise_ft: {", "soup: {of: [ft]}\n      wise_ft: {")
        path = folder / write(text)
        monkeypatch.chdir("/")
        soup = load_manifest(path).benchmarks["main"].post_hoc[0]
        assert (soup.method, soup.many, soup.of) == ("soup", True, ("ft",))

    def test_run_names_benchmarks(self):
        two = BASE + BASE[BASE.index("  main:") :].replace("main", "other")
        manifest = load_manifest(write("run: [other]\n" + two))
        assert [b.name for b in manifest.select(None)] == ["other"]
        assert [b.name for b in manifest.select(["main", "other", "main"])] == ["main", "other"]
        with pytest.raises(ManifestError, match="unknown benchmark 'mian', did you mean 'main'"):
            manifest.select(["mian"])
        with pytest.raises(ManifestError, match="name a benchmark, or list some under run:; known: main, other"):
            load_manifest(write(two)).select(None)
        assert [b.name for b in load_manifest(write(BASE)).select(None)] == ["main"]

    def test_in_a_submitted_job_results_and_data_leave_the_temporary_copy(self, folder, monkeypatch):
        copy = folder / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0"
        copy.mkdir(parents=True)
        for name in ("vit.json", "vit.safetensors"):
            (folder / name).rename(copy / name)
        monkeypatch.chdir(copy)
        monkeypatch.setenv(HOME_VARIABLE, str(folder / "home"))
        manifest = load_manifest(write(BASE))
        assert (manifest.results, manifest.data) == (folder / "home" / "results", folder / "home" / "data")
        assert [note.split(" ")[:2] for note in manifest.notes] == [
            ["results:", str(folder / "home" / "results")],
            ["data:", str(folder / "home" / "data")],
        ]
        assert manifest.benchmarks["main"].models[0].pretrained == str(copy / "vit.safetensors")
        assert load_manifest(write(f"results: {folder}/out\n" + BASE)).results == folder / "out"
        assert len(manifest.at(results="/elsewhere").notes) == 1


def test_suggestions():
    assert suggestion("LIPSUM_FT", ["ft", "lipsum_ft"]) == ", did you mean 'lipsum_ft'? known: ft, lipsum_ft"
    assert suggestion("xyz", ["ft"]) == "; known: ft"
    assert suggestion("xyz", []) == "; there is none"
    assert suggestion("xyz", [f"a{i:02d}" for i in range(40)]).endswith("a24, and 15 more")


def test_the_shipped_manifest_is_valid_also_for_its_json_schema():
    schema = json_schema()
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    shipped = load_yaml(ROOT / "benchmarks.yaml").data
    assert not list(validator(schema).iter_errors(shipped))
    wrong = json.loads(json.dumps(shipped))
    wrong["benchmarks"]["demo"]["sedes"] = [0]
    assert [list(e.path) for e in validator(schema).iter_errors(wrong)] == [["benchmarks", "demo"]]
    manifest = load_manifest(ROOT / "benchmarks.yaml")
    assert set(manifest.benchmarks) >= {"demo", "domainnet", "pacs"}
    assert manifest.run == ("demo",)
    paper = manifest.benchmarks["domainnet"]
    assert {use.points[0].recipe for use in paper.methods if use.kind == "trained"} == {Recipe()}
    assert len(paper.sources) == len(paper.seeds) == 5
