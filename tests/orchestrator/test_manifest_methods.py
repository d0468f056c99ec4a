"""What a method can do nothing with is refused where the manifest is read: recipes, and too few trials to combine."""

from __future__ import annotations

import pytest

from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from tests.orchestrator.manifest_fixtures import changed, folder, problems, write

__all__ = ["folder"]

pytestmark = pytest.mark.usefixtures("folder")

WISE = "wise_ft: {of: [ft, lipsum_ft], alphas: [0.5]}"
NO_STEP = "its only step would have the learning rate 0, with which the warm-up begins; "


def test_a_frozen_head_is_for_methods_that_keep_the_zero_shot_one() -> None:
    frozen = changed("num_steps: 10", "freeze_head: true")
    assert load_manifest(write(changed("ft: {}", "ft: {}\n      ftp: {}\n      kd: {}", frozen)))
    own = (
        "      scratch_ft: {}\n      linear_probe: {}\n      lp_ft: {}\n      flyp: {}\n      carot: {}\n      arf: {}"
    )
    found = problems(changed("ft: {}", f"ft: {{}}\n{own}", frozen))
    assert [line.split("but ")[1].split()[0] for line in found] == [
        repr(name) for name in ("scratch_ft", "linear_probe", "lp_ft", "flyp", "carot", "arf")
    ]
    assert found[0] == (
        "benchmarks.yaml:9: benchmarks.main.recipe.freeze_head: is true, but 'scratch_ft' never keeps the zero-shot head: "
        "give 'scratch_ft' recipe: {freeze_head: false}, or leave it out"
    )
    own = own.replace("{}", "{recipe: {freeze_head: false}}")
    assert load_manifest(write(changed("ft: {}", f"ft: {{}}\n{own}", frozen)))


def test_a_frozen_head_of_a_method_s_own_recipe_is_named_there() -> None:
    [line] = problems(changed("ft: {}", "mine: {method: lp_ft, recipe: {freeze_head: [false, true]}}\n      ft: {}"))
    assert line.startswith(
        "benchmarks.yaml:12: benchmarks.main.methods.mine.recipe.freeze_head: is true, but 'mine' never"
    )


def test_a_single_step_that_would_move_nothing_is_named_once_for_all_methods() -> None:
    one = changed("num_steps: 10", "num_steps: 1")
    [line] = problems(one)
    assert line == (
        f"benchmarks.yaml:9: benchmarks.main.recipe.num_steps: is 1: {NO_STEP}raise recipe.num_steps, or set "
        "recipe.warmup_fraction: 0"
    )
    assert load_manifest(write(changed("num_steps: 1,", "num_steps: 1, warmup_fraction: 0,", one)))
    [line] = problems(changed("ft: {}", "ft: {recipe: {num_steps: [1, 2]}}"))
    assert line.startswith(f"benchmarks.yaml:12: benchmarks.main.methods.ft.recipe.num_steps: is 1: {NO_STEP}")


def test_a_method_that_takes_no_step_may_have_a_recipe_of_one() -> None:
    methods = "      zero_shot: {}\n      ft: {}\n      lipsum_ft: {strength: [0.5, 2.0]}\n"
    text = changed(methods, "      linear_probe: {}\n", changed("num_steps: 10", "num_steps: 1"))
    [benchmark] = load_manifest(write(text.partition("    post_hoc:")[0])).benchmarks.values()
    assert not benchmark.methods[0].takes_steps


def test_what_combines_several_trials_gets_as_many_as_it_needs() -> None:
    one_seed = changed("seeds: [0, 1]", "seeds: [0]", changed(WISE, "model_stock: {of: [lipsum_ft, ft]}"))
    [line] = problems(one_seed)
    assert line == (
        "benchmarks.yaml:15: benchmarks.main.post_hoc.model_stock.of[1]: 'model_stock' needs at least 2 trials to combine, "
        "and 'ft' has 1; give it more seeds, or a grid"
    )
    for text in (one_seed.replace("seeds: [0]", "seeds: [0, 1]"), one_seed.replace("model_stock:", "uniform_soup:")):
        assert load_manifest(write(text))


def test_the_order_of_seeds_changes_no_id() -> None:
    text = changed(WISE, "uniform_soup: {of: [ft, lipsum_ft]}")
    plans = [make_plans(load_manifest(write(text.replace("[0, 1]", seeds))), None)[0] for seeds in ("[0, 1]", "[1, 0]")]
    assert {trial.id for trial in plans[0].trials} == {trial.id for trial in plans[1].trials}
    soup = next(trial for trial in plans[1].trials if trial.of == "lipsum_ft")
    points = {trial.id: (trial.spec.settings.get("strength"), trial.spec.seed) for trial in plans[1].trials}
    assert [points[id] for id in soup.spec.inputs] == [(0.5, 0), (0.5, 1), (2.0, 0), (2.0, 1)]
