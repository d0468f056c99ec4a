"""Which of our trials stand for a published row: by what they are, never by what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.manifest.read import load_manifest
from orchestrator.planning.plan import make_plans
from orchestrator.records import Loaded, Results, TrialRecord
from orchestrator.spec import PlannedTrial
from orchestrator.views import views
from orchestrator.views.drawing import figures
from orchestrator.views.join import load
from orchestrator.views.match import Trials
from tests.conftest import ROOT
from tests.orchestrator import view_factory as make
from tests.orchestrator.record_factory import Folder, demo
from tests.orchestrator.test_views import ACCURACY, fill, line, ours

DOMAINNET = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")


def test_two_configurations_are_not_chosen_between(tmp_path: Path) -> None:
    results = make.folder(benchmark="mine")
    for strength in (1.0, 3.0):
        make.done(results, make.trial(results, "car_ft", 0, {**make.CAR_FT, "strength": strength}), ACCURACY)
    found = line(fill(results, tmp_path / "a"), "CAR-FT")
    assert ours(found) == [None] * 6 and found.remarks[0].startswith("2 configurations fit (car_ft-")
    other = (80.0,) * 5
    make.done(
        results,
        make.trial(results, "car_ft", 0, {**make.CAR_FT, "strength": 9.0}, benchmark="lipsum_table_9_domainnet"),
        other,
    )
    assert ours(line(fill(results, tmp_path / "b"), "CAR-FT")) == [80.0] * 6


def test_the_configuration_nearest_to_the_protocol_is_taken(tmp_path: Path) -> None:
    results = make.folder(benchmark="mine")
    make.done(results, make.trial(results, "car_ft", 0, make.CAR_FT, preprocessing="openai"), (10.0,) * 5)
    make.done(results, make.trial(results, "car_ft", 0, make.CAR_FT), ACCURACY)
    assert ours(line(fill(results, tmp_path), "CAR-FT"))[:2] == [89.0, 66.0]


def test_other_models_datasets_references_and_settings_are_not_taken(tmp_path: Path) -> None:
    demo().write(tmp_path / "demo")
    joiner = load(Results(tmp_path / "demo"))
    for view in views().values():
        filled = joiner.fill(view)
        assert all(cell.ours.mean is None for p in filled.panels for row in p.lines for cell in row.cells), view.name
    results = make.folder()
    elsewhere = {"sources": ("sketch",), "targets": ("sketch", "real", "painting", "clipart", "infograph")}
    make.done(results, make.trial(results, "lipsum_ft", 0, make.LIPSUM_FT, data=elsewhere), ACCURACY)
    make.done(results, make.trial(results, "lipsum_ft", 0, {**make.LIPSUM_FT, "num_texts": 10}), ACCURACY)
    filled = fill(results, tmp_path / "other")
    assert all(cell.ours.mean is None for row in filled.panels[0].lines for cell in row.cells)
    tenth = load(Results(tmp_path / "other")).fill(views()["lipsum-table-10"])
    assert ours(line(tenth, "Lipsum-FT", 3))[0] == 89.0 and ours(line(tenth, "Lipsum-FT", 0))[0] is None
    assert ours(line(load(Results(tmp_path / "other")).fill(views()["lipsum-table-8"]), "L=8, M=10"))[0] == 89.0


def test_variants_of_post_hoc_methods(tmp_path: Path) -> None:
    results = make.folder(benchmark="lipsum_table_6")
    ft = make.trial(results, "ft")
    make.done(results, ft, ACCURACY)
    wise = make.trial(results, "wise_ft", settings={"alphas": [0.5, 0.7]}, inputs=[ft.id])
    variants = {"alpha=0.5": (50.0,) * 5, "alpha=0.7": (70.0,) * 5}
    make.done(results, wise, variants, {"alpha=0.5": {"alpha": 0.5}, "alpha=0.7": {"alpha": 0.7}})
    make.done(results, make.trial(results, "tpgm", inputs=[ft.id]), ACCURACY)
    filled = fill(results, tmp_path, "lipsum-table-6")
    assert ours(line(filled, "WiSE, alpha=0.5")) == [50.0] * 6 and ours(line(filled, "WiSE, alpha=0.7")) == [70.0] * 6
    assert ours(line(filled, "WiSE, alpha=0.6")) == [None] * 6
    assert ours(line(filled, "Lipsum-FT + WiSE, alpha=0.5")) == [None] * 6
    assert not line(filled, "WiSE, alpha=0.5").differences
    assert "fitted on held-out training images" in line(filled, "TPGM").differences[0]
    (figure,) = figures(load(Results(tmp_path)).fill(views()["lipsum-figure-5"]))
    texts = [text for trace in figure.figure["data"] for text in trace.get("hovertext", ())]
    assert len(texts) == 26 + 3 and "<b>WiSE, alpha=0.5</b>, ours: 50, 50" in texts


def test_an_input_of_another_protocol_is_not_compared_either(tmp_path: Path) -> None:
    results = make.folder(benchmark="lipsum_table_6")
    ft = make.trial(results, "ft", selection="reference_val")
    make.done(results, ft, ACCURACY)
    wise = make.trial(results, "wise_ft", settings={"alphas": [0.5]}, inputs=[ft.id])
    make.done(results, wise, {"alpha=0.5": (50.0,) * 5}, {"alpha=0.5": {"alpha": 0.5}})
    found = line(fill(results, tmp_path, "lipsum-table-6"), "WiSE, alpha=0.5")
    assert found.differences == ("selection: reference_val; published: reference_test",)


def test_each_domain_held_out_in_turn(tmp_path: Path) -> None:
    domains = ("Caltech101", "LabelMe", "SUN09", "VOC2007")
    results = make.folder("domainbed_vlcs", "vlcs", domains)
    for index, held_out in enumerate(domains):
        sources = tuple(d for d in domains if d != held_out)
        data = {"sources": sources, "targets": (*sources, held_out), "target_split": "in", "val_fraction": 0.2}
        fields = {"selection": "reference_val", "preprocessing": "openai"}
        for method, settings, left_out in (("car_ft", make.CAR_FT, ""), ("ft", {}, "SUN09")):
            made = make.trial(results, method, 0, settings, data=data, **fields)
            if held_out != left_out:
                make.done(results, made, [80.0 + index] * 4)
    filled = fill(results, tmp_path, "car-ft-domainbed")
    assert ours(line(filled, "CAR-FT")) == [81.5, None, None, None, None, None]
    assert line(filled, "CAR-FT").cells[0].difference == pytest.approx(81.5 - 85.5)
    assert not line(filled, "CAR-FT").cells[0].comparable
    assert ours(line(filled, "FT")) == [None] * 6


def _held_out_in_turn(results: Folder, names: tuple[str, ...], accuracy: float, seed: int) -> None:
    for held_out in names:
        sources = tuple(name for name in names if name != held_out)
        data = {"sources": sources, "targets": (*sources, held_out), "target_split": "in", "val_fraction": 0.2}
        made = make.trial(
            results, "car_ft", seed, make.CAR_FT, data=data, selection="reference_val", preprocessing="openai"
        )
        make.done(results, made, [accuracy] * len(names))


def test_trials_of_one_source_are_no_folds(tmp_path: Path) -> None:
    """As many of them as there are domains, each trained on one: another task than all but one."""
    names = ("a", "b", "c")
    results = make.folder("mine", "vlcs", names)
    for source in names:
        data = {"sources": (source,), "targets": names}
        made = make.trial(results, "car_ft", 0, make.CAR_FT, data=data, preprocessing="openai")
        make.done(results, made, [50.0] * 3)
    found = line(fill(results, tmp_path, "car-ft-domainbed"), "CAR-FT")
    assert ours(found) == [None] * 6


def test_domainbed_without_quickdraw_is_named(tmp_path: Path) -> None:
    names = ("clipart", "infograph", "painting", "real", "sketch")
    results = make.folder("mine", "domainnet", names)
    _held_out_in_turn(results, names, 70.0, 0)
    found = line(fill(results, tmp_path, "car-ft-domainbed"), "CAR-FT")
    assert ours(found) == [None] * 4 + [70.0, None]
    assert found.differences[-1] == (
        "DomainNet: domains clipart, infograph, painting, real, sketch; "
        "published: clipart, infograph, painting, quickdraw, real, sketch"
    )


def test_the_average_over_the_datasets_of_domainbed(tmp_path: Path) -> None:
    plan: list[PlannedTrial] = []
    records: dict[str, TrialRecord] = {}
    for n, dataset in enumerate(("vlcs", "pacs", "office_home", "terra_incognita", "domainnet")):
        names = ("a", "b", "c") if dataset != "domainnet" else DOMAINNET
        results = make.folder(f"domainbed_{dataset}", dataset, names)
        for seed in range(2):
            _held_out_in_turn(results, names, 50.0 + n + 10 * seed, seed)
        plan += results.plan
        records |= results.records
    results.plan, results.records = plan, records
    filled = fill(results, tmp_path, "car-ft-domainbed")
    cell = line(filled, "CAR-FT").cells[-1]
    assert ours(line(filled, "CAR-FT"))[-1] == 57.0 and cell.ours.values == {0: 52.0, 1: 62.0}
    assert cell.difference == pytest.approx(57.0 - 78.48) and not cell.comparable


def test_random_texts_of_the_divergence_are_the_papers(tmp_path: Path) -> None:
    results = make.folder()
    random = {**make.CAR_FT, "text": "random", "token_length": 8}
    make.done(results, make.trial(results, "car_ft", 0, {**random, "num_texts": 10}), ACCURACY)
    assert ours(line(fill(results, tmp_path / "ten"), "Lipsum-FT (KLD)")) == [None] * 6
    make.done(results, make.trial(results, "car_ft", 0, {**random, "num_texts": 80}), ACCURACY)
    assert ours(line(fill(results, tmp_path / "eighty"), "Lipsum-FT (KLD)"))[0] == 89.0


def test_the_benchmarks_fill_every_row_by_the_published_protocol(tmp_path: Path) -> None:
    manifest = load_manifest(ROOT / "benchmarks.yaml").at(None, str(tmp_path))
    plans = {
        plan.benchmark: plan
        for plan in make_plans(manifest, sorted({b for v in views().values() for b in v.benchmarks}))
    }
    for view in views().values():
        trials = Trials([plans[name] for name in view.benchmarks], Loaded())
        for panel in view.panels:
            for row in (row for row in panel.rows if row.method):
                for dataset in {column.dataset or panel.dataset for column in panel.columns if not column.over}:
                    match = trials.match(view, panel, row, dataset)
                    seeds = {o.trial.spec.seed for o in match.outcomes}
                    assert seeds, (view.name, panel.title, row.title, match.why)
                    assert set(match.differences) <= {row.differs, panel.protocol.unknown}
                    many = row.method == "zero_shot" or "Soup" in row.title or "Ensemble" in row.title
                    if panel.protocol.num_seeds and not many:
                        assert len(seeds) == panel.protocol.num_seeds or view.name == "lipsum-figure-6"
    ids = [[t.id for t in plan.trials] for name, plan in plans.items() if name.startswith("lipsum")]
    assert len({id for of_plan in ids for id in of_plan}) < sum(map(len, ids)), "shared trials have shared ids"
