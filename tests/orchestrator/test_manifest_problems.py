# ruff: noqa: E501 - one mistake a row, with what it must say
from __future__ import annotations

import copy

import pytest
import yaml

from methods import MethodError, load
from orchestrator.manifest.read import ManifestError, load_manifest
from tests.orchestrator.manifest_fixtures import BASE, changed, folder, problems, write

__all__ = ["folder"]

CASES = [
    # replaced, by what, problems
    ("seeds: [0, 1]", "sedes: [0, 1]", ["8: benchmarks.main: unknown key 'sedes', did you mean 'seeds'? known: baseline, class_names, "]),
    ("seeds: [0, 1]", "baseline: lipsum", ["8: benchmarks.main: unknown trained method of this benchmark 'lipsum'"]),
    ("seeds: [0, 1]", "baseline: zero_shot", ["8: benchmarks.main: unknown trained method of this benchmark 'zero_shot'"]),
    ("benchmarks:\n", "benchmark: {}\nbenchmarks:\n", ["3: unknown key 'benchmark', did you mean 'benchmarks'? known: "]),
    ("num_steps: 10", "num_stpes: 10", ["9: benchmarks.main.recipe: unknown key 'num_stpes', did you mean 'num_steps'?"]),
    ("num_steps: 10", "num_steps: -5", ["9: benchmarks.main.recipe.num_steps: must be at least 1, got -5"]),
    ("num_steps: 10", "num_steps: '10'", ['9: benchmarks.main.recipe.num_steps: must be a whole number, got "10"']),
    ("num_steps: 10", "num_steps: 1.5", ["9: benchmarks.main.recipe.num_steps: must be a whole number, got 1.5"]),
    ("num_steps: 10", "num_steps: true", ["9: benchmarks.main.recipe.num_steps: must be a whole number, got true"]),
    ("num_steps: 10", "lr: 0", ["9: benchmarks.main.recipe.lr: must be greater than 0, got 0"]),
    ("num_steps: 10", "beta1: 1.0", ["9: benchmarks.main.recipe.beta1: must be less than 1, got 1.0"]),
    ("num_steps: 10", "lr: .nan", ["9: benchmarks.main.recipe.lr: must be a finite number, got .nan"]),
    ("num_steps: 10", "crop_scale: [1.0, 0.5]", ["9: benchmarks.main.recipe: crop_scale must satisfy 0 < minimum <= maximum <= 1, got [1.0, 0.5]"]),
    ("num_steps: 10", "crop_scale: [1.0]", ["9: benchmarks.main.recipe.crop_scale: must have more entries, the one at index 1 is missing"]),
    ("num_steps: 10", "optimizer: adma", ["9: benchmarks.main.recipe.optimizer: must be 'adam' or 'adamw', got \"adma\", did you mean 'adam'?"]),
    ("seeds: [0, 1]", "seeds: 3", ["8: benchmarks.main.seeds: must be a list, got 3"]),
    ("seeds: [0, 1]", "seeds: []", ["8: benchmarks.main.seeds: must not be empty"]),
    ("seeds: [0, 1]", "seeds: [0, -1]", ["8: benchmarks.main.seeds[1]: must be at least 0, got -1"]),
    ("seeds: [0, 1]", "seeds: [0, 1, 0]", ["8: benchmarks.main.seeds[2]: 0 is listed twice"]),
    ("seeds: [0, 1]", "seeds: [0]\n    seeds: [1]", ["9: benchmarks.main: key 'seeds' is given twice, first in line 8"]),
    ("seeds: [0, 1]", "selection: last_val", ["8: benchmarks.main.selection: must be 'reference_val', 'reference_test' or 'last', got \"last_val\""]),
    ("seeds: [0, 1]", "val_fraction: 1.0", ["8: benchmarks.main.val_fraction: must be less than 1, got 1.0"]),
    ("dataset: tiny", "dataset: [tiny]", ['5: benchmarks.main.dataset: must be text (put it in quotes), got ["tiny"]']),
    ("dataset: tiny", "dataset: dmeo", ["5: benchmarks.main.dataset: unknown dataset 'dmeo', did you mean 'demo'?"]),
    ("dataset: tiny", "dataset:", ["4: benchmarks.main: key 'dataset' is missing"]),
    ("    dataset: tiny\n", "", ["4: benchmarks.main: key 'dataset' is missing"]),
    ("    models: [vit]\n", "", ["4: benchmarks.main: key 'models' is missing"]),
    ("    sources: [real]\n", "", ["4: benchmarks.main: key 'sources' is missing: the domains to fine-tune on"]),
    ("models: [vit]", "models: [vti]", ["6: benchmarks.main.models: unknown model 'vti', did you mean 'vit'? known: vit"]),
    ("models: [vit]", "models: [vit, vit]", ["6: benchmarks.main.models[1]: 'vit' is listed twice"]),
    ("sources: [real]", "sources: [reel]", ["7: benchmarks.main.sources: unknown domain of dataset 'tiny': 'reel', did you mean 'real'? known: painting, real, sketch"]),
    ("sources: [real]", "sources: real", ["7: benchmarks.main.sources: must be 'all', 'all but target' or a list of domain names (domains trained on together are a list in it), got \"real\""]),
    ("sources: [real]", "sources: [real]\n    targets: [sketch]", ["7: benchmarks.main.sources[0]: source 'real' is missing from the targets"]),
    ("sources: [real]", "sources: [real]\n    targets: [real, skecth]", ["8: benchmarks.main.targets: unknown domain of dataset 'tiny': 'skecth', did you mean 'sketch'?"]),
    ("sources: [real]", "sources: all but targets", ["7: benchmarks.main.sources: must be 'all', 'all but target' or a list of domain names (domains trained on together are a list in it), got \"all but targets\", did you mean 'all but target'?"]),
    ("sources: [real]", "sources: all_but_target", ["7: benchmarks.main.sources: must be 'all', 'all but target' or a list of domain names (domains trained on together are a list in it), got \"all_but_target\", did you mean 'all but target'?"]),
    ("sources: [real]", "sources: [[]]", ["7: benchmarks.main.sources: must be 'all', 'all but target' or a list"]),
    ("sources: [real]", "sources: [[real, 3]]", ["7: benchmarks.main.sources: must be 'all', 'all but target' or a list"]),
    ("sources: [real]", "sources: [real, [sketch, reel]]", ["7: benchmarks.main.sources[1]: unknown domain of dataset 'tiny': 'reel', did you mean 'real'?"]),
    ("sources: [real]", "sources: [[real, sketch], [sketch, real]]", ["7: benchmarks.main.sources[1]: 'real + sketch' is listed twice"]),
    ("sources: [real]", "sources: [[real, real]]", ["7: benchmarks.main.sources[0][1]: 'real' is listed twice"]),
    ("sources: [real]", "sources: [real, real]", ["7: benchmarks.main.sources[1]: 'real' is listed twice"]),
    ("sources: [real]", "sources: all but target\n    targets: [real]", ["7: benchmarks.main.sources: leaves no source: 'real' is the only target"]),
    ("dataset: tiny", "dataset: parts\n    targets: [real, pool]", ["6: benchmarks.main.targets[1]: domain 'pool' has no test split to be evaluated on; those that have one: real, painting, shift, quick; `protocol: domainbed` splits domains itself"]),
    ("seeds: [0, 1]", "class_names: as_spaces", ["8: benchmarks.main.class_names: must be 'as_published' or 'spaces', got \"as_spaces\""]),
    ("seeds: [0, 1]", "protocol: domainbad", ["8: benchmarks.main.protocol: must be 'domainbed', got \"domainbad\", did you mean 'domainbed'?"]),
    ("seeds: [0, 1]", "protocol: domainbed", ["7: benchmarks.main.sources: contradicts protocol 'domainbed', where it is all but target; remove one of the two"]),
    ("sources: [real]", "protocol: domainbed\n    val_fraction: 0.1\n    split_seed: 0\n    selection: last", ["8: benchmarks.main.val_fraction: contradicts protocol 'domainbed', where it is 0.2; remove one of the two", "9: benchmarks.main.split_seed: contradicts protocol 'domainbed', where it is the seed of each trial", "10: benchmarks.main.selection: contradicts protocol 'domainbed', where it is reference_val"]),
    ("    sources: [real]\n", "    targets: [real]\n    protocol: domainbed\n", ["8: benchmarks.main.protocol: leaves no source: 'real' is the only target"]),
    ("lipsum_ft: {", "lipsumft: {", ["13: benchmarks.main.methods: unknown method 'lipsumft', did you mean 'lipsum_ft'? known: ", "15: benchmarks.main.post_hoc.wise_ft.of: unknown method of this benchmark 'lipsum_ft', did you mean 'lipsumft'?"]),
    ("ft: {}\n", "ft: {method: fft}\n", ["12: benchmarks.main.methods.ft: unknown method 'fft', did you mean 'ft'?"]),
    ("strength: [0.5, 2.0]", "strenght: 1.0", ["13: benchmarks.main.methods.lipsum_ft: unknown setting 'strenght', did you mean 'strength'? known: "]),
    ("strength: [0.5, 2.0]", "strength: [0.5, -2.0]", ["13: benchmarks.main.methods.lipsum_ft.strength[1]: must be at least 0, got -2.0"]),
    ("strength: [0.5, 2.0]", "strength: big", ['13: benchmarks.main.methods.lipsum_ft.strength: must be a number, got "big"']),
    ("strength: [0.5, 2.0]", "strength: []", ["13: benchmarks.main.methods.lipsum_ft.strength: an empty list makes no trial"]),
    ("strength: [0.5, 2.0]", "strength: [0.5, 0.50]", ["13: benchmarks.main.methods.lipsum_ft: the grid has 'lipsum_ft strength=0.5' twice"]),
    ("strength: [0.5, 2.0]", "recipe: {lrr: 1.0}", ["13: benchmarks.main.methods.lipsum_ft.recipe: unknown key 'lrr', did you mean 'lr'?"]),
    ("strength: [0.5, 2.0]", "recipe: {lr: [1.0, -1.0]}", ["13: benchmarks.main.methods.lipsum_ft.recipe.lr[1]: must be greater than 0, got -1.0"]),
    ("zero_shot: {}", "zero_shot: {recipe: {lr: 1.0}}", ["11: benchmarks.main.methods.zero_shot.recipe: 'zero_shot' does not train, a recipe changes nothing"]),
    ("zero_shot: {}", "zero_shot: 3", ["11: benchmarks.main.methods.zero_shot: must be a mapping (key: value), got 3"]),
    ("zero_shot: {}", "wise_ft: {}", ["11: benchmarks.main.methods.wise_ft: 'wise_ft' is a post-hoc method: put it under post_hoc:"]),
    ("zero_shot: {}", "again: {method: ft}", ["12: benchmarks.main.methods.ft: 'ft' makes the same trials as 'again'; remove one"]),
    ("alphas: [0.5]", "alphas: 0.5", ["15: benchmarks.main.post_hoc.wise_ft.alphas: must be a list, got 0.5"]),
    ("of: [ft, lipsum_ft]", "of: [ft, zero_shot]", ["15: benchmarks.main.post_hoc.wise_ft.of[1]: 'zero_shot' does not train, there are no weights to build on"]),
    ("of: [ft, lipsum_ft]", "of: [ft, ft]", ["15: benchmarks.main.post_hoc.wise_ft.of[1]: 'ft' is listed twice"]),
    ("of: [ft, lipsum_ft], ", "", ["15: benchmarks.main.post_hoc.wise_ft: key 'of' is missing: the methods it builds on"]),
    ("of: [ft, lipsum_ft], ", "of: , ", ["15: benchmarks.main.post_hoc.wise_ft: key 'of' is missing: the methods it builds on"]),
    ("wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}", "ft: {of: [lipsum_ft]}", ["15: benchmarks.main.post_hoc.ft: 'ft' is not a post-hoc method: put it under methods:"]),
    ("wise_ft: {of:", "lipsum_ft: {method: wise_ft, of:", ["15: benchmarks.main.post_hoc.lipsum_ft: 'lipsum_ft' is the key of a method as well"]),
    ("wise_ft: {of:", "wise_ft: {recipe: {lr: 1.0}, of:", ["15: benchmarks.main.post_hoc.wise_ft.recipe: a post-hoc method does not train, it has no recipe"]),
    ("models:\n", "run: [man]\nmodels:\n", ["1: run: unknown benchmark 'man', did you mean 'main'? known: main"]),
    ("models:\n", "plugins: [nowhere]\nmodels:\n", ["1: plugins[0]: plugin folder "]),
    ("models:\n", "results: s3://bucket/r\nmodels:\n", ["1: results: must be a folder of this machine, got 's3://bucket/r'"]),
    ("models:\n", "data: s3:///data\nmodels:\n", ["1: data: must be a folder, or the beginning of URLs as s3://bucket/prepared, got 's3:///data'"]),
    ("models:\n", "resources: {slots: 0}\nmodels:\n", ["1: resources.slots: must be at least 1, got 0"]),
    ("name: vit,", "name: vat,", ["2: models.vit.name: must be 'vit', the name of the config file, got 'vat'"]),
    ("name: vit,", "", ["2: models.vit: key 'name' is missing"]),
    ("vit.json", "vti.json", ["2: models.vit.config: no file "]),
    ("vit.json", "vit.safetensors", ["2: models.vit.config: "]),
    ("pretrained: vit.safetensors", "pretrained: openai", ["2: models.vit.pretrained: must be a weights file or 'random', got 'openai'"]),
    ("pretrained: vit.safetensors", "pretrained: plugins", ["2: models.vit.pretrained: "]),
    ("pretrained: vit.safetensors", "pretrained: random:x", ["2: models.vit.pretrained: must be 'random' or 'random:SEED'"]),
    ("name: vit, config: vit.json, pretrained: vit.safetensors", "name: ViT-B16, pretrained: openai", ["2: models.vit: unknown open_clip architecture 'ViT-B16', did you mean 'ViT-B-16'?"]),
    ("name: vit, config: vit.json, pretrained: vit.safetensors", "name: ViT-B-16-quickgelu, pretrained: opeani", ["2: models.vit: unknown weights of ViT-B-16-quickgelu: 'opeani', did you mean 'openai'?"]),
    ("name: vit, config: vit.json, pretrained: vit.safetensors", "name: ViT-B-16, pretrained: openai", ["2: models.vit.name: the weights 'openai' were trained with QuickGELU, which 'ViT-B-16' does not have: use 'ViT-B-16-quickgelu'. Without a network, give `pretrained:` the path of a weights file (/path/file), or set HF_HOME to a folder whose cache has timm/vit_base_patch16_clip_224.openai"]),
    ("  main:\n", "  a/b:\n", ["4: benchmarks.a/b: must start with a letter or digit and have only letters, digits, '_', '.' and '-', got \"a/b\""]),
]  # fmt: skip


@pytest.mark.usefixtures("folder")
class TestProblems:
    @pytest.mark.parametrize(("old", "new", "expected"), CASES, ids=[f"{new.strip()[:40]!r}" for _, new, _ in CASES])
    def test_each_is_one_clear_line(self, old, new, expected):
        found = problems(changed(old, new))
        assert len(found) == len(expected), found
        for line, start in zip(found, expected, strict=True):
            assert line.startswith(f"benchmarks.yaml:{start}"), line
            assert "\n" not in line

    def test_all_are_reported_at_once_whatever_their_kind_in_the_order_of_the_file(self):
        text = BASE.replace("sources: [real]", "sources: [reel]").replace("num_steps: 10", "num_steps: -5")
        text = text.replace("lipsum_ft: {strength: [0.5, 2.0]}", "lipsum_ft: {strengt: 1}").replace("seeds:", "seds:")
        text = text.replace("name: vit,", "name: vit, nmae: x,").replace("alphas: [0.5]", "alphas: [0.5], alphas: [1]")
        assert [line.split(": ")[0] for line in problems(text)] == [
            f"benchmarks.yaml:{n}" for n in (2, 7, 8, 9, 13, 15)
        ]

    def test_a_wrong_shared_default_is_reported_once(self):
        two = BASE + BASE[BASE.index("  main:") :].replace("main", "other")
        text = "defaults: {sources: [reel]}\n" + two.replace("    sources: [real]\n", "")
        [line] = problems(text)
        assert line.startswith("benchmarks.yaml:1: defaults.sources: unknown domain of dataset 'tiny': 'reel'")

    def test_sources_without_training_images_are_named_with_those_that_have_some(self):
        parts = changed("dataset: tiny", "dataset: parts")
        has = "source 'shift' has no train split; those that have one: real, painting, pool, quick"
        for given, where in (("[shift]", "sources[0]"), ("all", "sources"), ("[[real, shift]]", "sources[0]")):
            assert problems(changed("sources: [real]", f"sources: {given}", parts)) == [
                f"benchmarks.yaml:7: benchmarks.main.{where}: {has}"
            ]
        assert problems(changed("sources: [real]", "sources: all but target", parts)) == [
            f"benchmarks.yaml:7: benchmarks.main.sources: {has}"
        ]

    def test_a_protocol_gives_way_to_nothing_beside_it_and_rules_over_the_defaults(self):
        text = changed("    sources: [real]\n", "")
        assert load_manifest(write("defaults: {protocol: domainbed}\n" + text)).benchmarks["main"].leave_one_out
        below = changed("    seeds:", "    protocol: domainbed\n    seeds:", text)
        rules = load_manifest(write("defaults: {val_fraction: 0.1, sources: [real]}\n" + below)).benchmarks["main"]
        assert (rules.val_fraction, rules.leave_one_out) == (0.2, True)
        [line] = problems("defaults: {protocol: domainbed, val_fraction: 0.1}\n" + text)
        assert line.startswith(
            "benchmarks.yaml:1: defaults.val_fraction: contradicts protocol 'domainbed', where it is 0.2"
        )
        [line] = problems("defaults: {protocol: domainbed}\n" + changed("seeds: [0, 1]", "val_fraction: 0.3", text))
        assert line.startswith("benchmarks.yaml:8: benchmarks.main.val_fraction: contradicts protocol 'domainbed'")
        same = "defaults: {protocol: domainbed, val_fraction: 0.2, selection: reference_val, sources: all but target}\n"
        assert load_manifest(write(same + text)).benchmarks["main"].pooled

    def test_a_protocol_that_splits_by_seed_joins_trials_of_one_seed(self):
        text = "plugins: [plugins]\n" + changed("    sources: [real]\n", "    protocol: domainbed\n")
        wise = "wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}"
        [line] = problems(changed(wise, "soup: {of: [lipsum_ft, ft]}", text))
        assert line.startswith(
            "benchmarks.yaml:16: benchmarks.main.post_hoc.soup.of[1]: 'soup' combines the trials of one seed"
        )
        assert line.endswith("'ft' has one trial a seed; give 'ft' a grid")
        assert load_manifest(write(changed(wise, "soup: {of: [lipsum_ft]}", text))).benchmarks["main"].splits_by_seed

    def test_a_broken_plugin_is_named(self, folder):
        (folder / "plugins" / "broken.py").write_text("import nothing_like_this\n")
        [line] = problems("plugins: [plugins]\n" + changed("zero_shot: {}", "broken: {}"))
        assert "benchmarks.yaml:12: benchmarks.main.methods.broken: " in line
        assert "cannot be imported: ModuleNotFoundError" in line

    def test_a_plugin_that_ends_the_process_is_broken_and_ctrl_c_while_it_loads_is_ctrl_c(self, folder):
        (folder / "plugins" / "broken.py").write_text("import sys\nsys.exit('no GPU')\n")
        with pytest.raises(MethodError, match=r"broken\.py cannot be imported: SystemExit: no GPU"):
            load("broken", [folder / "plugins"])
        (folder / "plugins" / "slow.py").write_text("raise KeyboardInterrupt\n")
        for _ in range(2):  # the second time does not find half a module
            with pytest.raises(KeyboardInterrupt):
                load("slow", [folder / "plugins"])

    def test_a_plugin_of_a_known_name_is_refused(self, folder):
        (folder / "plugins" / "ft.py").write_text("")
        [line] = problems("plugins: [plugins]\n" + BASE)
        assert line.startswith("benchmarks.yaml:1: plugins: method 'ft' is defined twice: ")

    def test_a_huge_grid_is_refused(self):
        text = changed("strength: [0.5, 2.0]", f"num_texts: {list(range(1, 200))}, token_length: {list(range(1, 200))}")
        [line] = problems(text)
        assert "the lists make a grid of 39601 points, more than 10000" in line

    def test_nothing_at_all(self):
        assert problems("results: x\n") == [
            "benchmarks.yaml:1: key 'models' is missing",
            "benchmarks.yaml:1: key 'benchmarks' is missing",
        ]
        assert problems("models: {}\nbenchmarks:\n") == [
            "benchmarks.yaml:1: models: must not be empty",
            "benchmarks.yaml:2: benchmarks: must not be empty",
        ]
        found = problems(changed("  main:\n", "  empty:\n  main:\n"))
        assert found[0] == "benchmarks.yaml:4: benchmarks.empty: key 'dataset' is missing"

    @pytest.mark.parametrize("junk", [None, [], {}, "x", -3, True, [None], [[[]]], {"x": {"y": 1}}], ids=str)
    def test_junk_anywhere_gives_problems_and_no_other_error(self, junk):
        data = yaml.safe_load(BASE)
        refused = 0
        for path in _paths(data):
            text = yaml.safe_dump(_with(data, path, junk), sort_keys=False)
            try:
                load_manifest(write(text))
            except ManifestError as error:
                refused += 1
                assert all(line.startswith("benchmarks.yaml:") and "\n" not in line for line in error.problems)
        assert refused > 10

    def test_unreadable_yaml_is_one_problem(self):
        assert problems("a: [\n") == [
            "benchmarks.yaml:2: not valid YAML: expected the node content, but found '<stream end>' "
            "(while parsing a flow node, line 2)"
        ]


def _paths(data, path=()):
    """The paths of all values in nested mappings and lists."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _with(data, path, value):
    changed = copy.deepcopy(data)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed
