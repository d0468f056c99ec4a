"""Transfer before and after the trials: the manifest's key, plans and their sizes, tables, and every export."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import datasets
from datasets.shards import open_prepared, write_prepared
from orchestrator.analysis.aggregate import Table, aggregate
from orchestrator.manifest.read import ManifestError, load_manifest
from orchestrator.planning.estimate import estimate
from orchestrator.planning.plan import image_counts, make_plans
from orchestrator.planning.unprepared import unprepared
from orchestrator.records import Loaded, TrialRecord
from orchestrator.report.export import csv_text, markdown
from orchestrator.report.page import html_text
from orchestrator.report.remarks import incomplete
from orchestrator.report.tables import columns
from orchestrator.spec import UNPREPARED, PlannedTrial, TransferRef, trial_id
from orchestrator.sweeps.progress import accuracies
from tests.orchestrator.manifest_fixtures import BASE, TinyDataset, changed, folder, problems, write
from tests.orchestrator.record_factory import Folder

__all__ = ["folder"]
WITH = changed("dataset: tiny", "dataset: tiny\n    transfer: [parts]")


@pytest.mark.usefixtures("folder")
class TestPlan:
    def test_the_datasets_of_transfer_are_in_every_spec_with_the_domains_that_have_test_images(self) -> None:
        (plan,) = make_plans(load_manifest(write(WITH)), None)
        (ref,) = {ref for trial in plan.trials for ref in trial.spec.data.transfer}
        assert ref == TransferRef(name="parts", identity=UNPREPARED, domains=("real", "painting", "shift"))
        assert all(trial.location.transfer == {"parts": str(Path("data/parts").resolve())} for trial in plan.trials)
        (without,) = make_plans(load_manifest(write(BASE)), None)
        assert {trial.id for trial in plan.trials}.isdisjoint(trial.id for trial in without.trials)

    def test_what_is_not_prepared_is_reported_with_the_command_like_any_dataset(self) -> None:
        manifest = load_manifest(write(WITH))
        missing = {item.what.split("'")[1]: item for item in unprepared(manifest, None)}
        assert missing.keys() >= {"tiny", "parts"}
        assert missing["parts"].todo.startswith("run: python -m orchestrator prepare parts --to ")
        write_prepared(datasets.load("parts"), Path("data/parts"), source=None)
        assert "parts" not in {item.what.split("'")[1] for item in unprepared(manifest, None)}
        (plan,) = make_plans(manifest, None)
        assert plan.trials[0].spec.data.transfer[0].identity == open_prepared("data/parts").identity

    @pytest.mark.parametrize("prepared", [False, True])
    def test_estimates_count_their_images(self, prepared: bool) -> None:
        if prepared:
            write_prepared(datasets.load("parts"), Path("data/parts"), source=None)
        sizes = []
        for text in (WITH, BASE):
            manifest = load_manifest(write(text))
            (plan,) = make_plans(manifest, None)
            sizes.append([estimate(t, image_counts(manifest, "main")).evaluation_images for t in plan.trials])
        assert [a - b for a, b in zip(*sizes, strict=True)] == [4 + 5 + 6] * len(sizes[0])

    def test_prepared_without_a_domain_that_is_evaluated(self) -> None:
        write_prepared(datasets.load("parts"), Path("data/parts"), source=None, domains=("real", "shift"))
        with pytest.raises(
            ManifestError, match="has no test images of painting, which transfer to dataset 'parts' needs"
        ):
            make_plans(load_manifest(write(WITH)), None)

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("[tiny]", "transfer[0]: 'tiny' is the benchmark's own dataset; its other domains belong under targets:"),
            ("[parts, parts]", "transfer[1]: 'parts' is listed twice"),
            ("[part]", "transfer[0]: unknown dataset 'part'"),
            ("parts", "transfer: must be a list"),
            ("[real]", "transfer[0]: 'real' is also the name of a domain of 'tiny': results could not be told apart"),
            ("[untested]", "transfer[0]: 'untested' has no test images to be evaluated on"),
        ],
    )
    def test_mistakes_are_named_with_their_line(
        self, given: str, problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = datasets.load
        extra = {}
        for name, counts in (("real", {}), ("untested", {key: {"train": 3} for key in TinyDataset.info.domains})):
            extra[name] = TinyDataset()
            extra[name].info = replace(TinyDataset.info, name=name, counts=counts)
        monkeypatch.setattr(datasets, "load", lambda ref: extra.get(str(ref)) or known(ref))
        monkeypatch.setattr(datasets, "folder_name", str)
        (found,) = problems(changed("[parts]", given, WITH))
        assert found.startswith("benchmarks.yaml:6: benchmarks.main.")
        assert problem in found


FOOD = TransferRef(name="food", identity="0d" * 32, domains=("plates",))
SHOTS = TransferRef(name="shots", identity="1e" * 32, domains=("day", "night"))


class Transferred(Folder):
    """Trials that were evaluated on two datasets besides their own."""

    def trial(self, label: str, seed: int = 0, **options: object) -> PlannedTrial:
        made = super().trial(label, seed, **options)  # type: ignore[arg-type]
        data = made.spec.data.model_copy(update={"transfer": (FOOD, SHOTS)})
        spec = made.spec.model_copy(update={"data": data})
        self.plan[-1] = made.model_copy(update={"spec": spec, "id": trial_id(spec)})
        return self.plan[-1]

    def evaluated(self, trial: PlannedTrial, own: float, other: Mapping[str, float]) -> TrialRecord:
        accuracy = {(domain, "test"): own for domain in self.domains}
        return self.measured(trial, accuracy | {(place, "test"): value for place, value in other.items()})


def swept() -> Transferred:
    folder = Transferred(domains=("real", "sketch"))
    folder.evaluated(folder.trial("zero_shot", kind="reference"), 60, {"food": 80, "shots:day": 50, "shots:night": 30})
    folder.evaluated(folder.trial("ft", 0), 70, {"food": 60, "shots:day": 40, "shots:night": 20})
    folder.evaluated(folder.trial("ft", 1), 72, {"food": 62, "shots:day": 44, "shots:night": 28})
    derived = folder.trial("tpgm", 0, kind="post_hoc", of="ft", inputs=("ft-0",))
    record = folder.evaluated(derived, 65, {})
    folder.records[record.id] = record.model_copy(update={"no_transfer": {"": "it has no text tower"}})
    return folder


def table(folder: Folder) -> Table:
    (found,) = aggregate(folder.plans(), Loaded(dict(folder.records))).tables
    return found


def test_transfer_has_its_own_mean_and_never_enters_the_shift_mean() -> None:
    found = table(swept())
    assert found.transfer == ("food", "shots:day", "shots:night")
    assert found.shifted == ("sketch",)
    zero, ft, derived = found.rows
    assert zero.transfer_mean.mean == pytest.approx((0.8 + (0.5 + 0.3) / 2) / 2)
    assert ft.transfer_mean.values == pytest.approx({0: (0.6 + 0.3) / 2, 1: (0.62 + 0.36) / 2})
    assert (ft.shift.mean, ft.reference.mean) == (pytest.approx(0.71), pytest.approx(0.71))
    assert ft.accuracy.keys() == {"real", "sketch"}
    assert derived.transfer_mean.mean is None
    assert derived.shift.mean == pytest.approx(0.65)
    assert list(incomplete(found)) == [
        ("tpgm of ft", "0 of 1 seeds: s0 not evaluated on other datasets: it has no text tower")
    ]


def test_its_columns_stand_apart() -> None:
    found = table(swept())
    by_title = {c.title: c for c in columns(found) if c.group == "accuracy on datasets not trained on, %"}
    assert list(by_title) == ["food", "shots:day", "shots:night", "transfer mean"]
    assert [by_title["transfer mean"].cell(i).text for i in range(3)] == ["60.0", "47.0 ± 2.8", ""]
    assert by_title["food"].cell(2).why.endswith("it has no text tower")


def test_a_seed_that_is_missing_leaves_the_mean_empty() -> None:
    folder = swept()
    del folder.records[folder.plan[2].id]
    ft = table(folder).rows[1]
    assert ft.transfer_mean.mean is None
    assert ft.transfer_mean.why == "1 of 2 seeds: s1 not run"


def test_every_export_has_it() -> None:
    folder = swept()
    board = aggregate(folder.plans(), Loaded(dict(folder.records)))
    rows = list(csv.DictReader(io.StringIO(csv_text(board))))
    assert {row["domain"] for row in rows} == {"real", "sketch", "food", "shots:day", "shots:night"}
    header = next(line for line in markdown(board).splitlines() if line.startswith("| method"))
    assert "| food | shots:day | shots:night | transfer mean |" in header
    page = html_text(board)
    for text in (
        "accuracy on datasets not trained on, %",
        "shots:night",
        "datasets not trained on</dt>",
        "0d0d0d0d0d0d",
    ):
        assert text in page, text


def test_without_transfer_nothing_of_it_is_shown() -> None:
    folder = Folder(domains=("real", "sketch"))
    folder.done(folder.trial("ft"), (70, 50))
    board = aggregate(folder.plans(), Loaded(dict(folder.records)))
    assert "transfer mean" not in markdown(board)
    assert "not trained on" not in html_text(board)


def test_records_alone_are_not_mixed_with_those_of_other_transfer() -> None:
    folder = swept()
    plain = Folder(domains=("real", "sketch"))
    plain.done(plain.trial("ft"), (70, 50))
    board = aggregate([], Loaded({**folder.records, **plain.records}))
    assert len(board.tables) == 2
    assert {table.transfer for table in board.tables} == {(), ("food", "shots:day", "shots:night")}
    assert not any("share this row" in why for table in board.tables for _, why in incomplete(table))


def test_the_line_of_a_finished_trial_tells_transfer_apart() -> None:
    folder = swept()
    assert accuracies(folder.records[folder.plan[1].id]) == "reference 70.0 %, shifted 70.0 %, transfer 40.0 %"


def test_what_records_attest_and_warn_of_is_on_the_page_and_in_markdown() -> None:
    folder = swept()
    zero = folder.plan[0].id
    line = f"demo 1: 2 domains, sha256:{'5f' * 8}\nfood 1: 1 domain, sha256:{'0d' * 8}"
    update = {"data": line, "warnings": ("zero-shot accuracy on real is 60.00 %, published: 70.00 %",)}
    folder.records[zero] = folder.records[zero].model_copy(update=update)
    board = aggregate(folder.plans(), Loaded(dict(folder.records)))
    page = html_text(board)
    assert f"<strong>demo 1</strong><span>2 domains, sha256:{'5f' * 8}</span>" in page
    assert f"<strong>food 1</strong><span>1 domain, sha256:{'0d' * 8}</span>" in page
    assert f'<p class="note warning">WARNING {zero}: zero-shot accuracy on real is 60.00 %' in page
    assert "1 warning<" in page
    assert markdown(board).count("zero-shot accuracy on real is 60.00 %, published: 70.00 %") == 1
