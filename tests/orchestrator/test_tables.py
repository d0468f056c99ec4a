"""Tables that are not of one reference domain: each domain held out in turn, and seen and unseen classes."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from statistics import fmean

import plotly.graph_objects as go
import pytest

from orchestrator.analysis.aggregate import Board, Table, aggregate
from orchestrator.analysis.costs import train_seconds
from orchestrator.analysis.rows import Row
from orchestrator.records import Loaded
from orchestrator.report import build_report, drawing, figures
from orchestrator.report.export import heading
from orchestrator.report.maps import gained
from orchestrator.report.tables import columns
from tests.orchestrator.record_factory import Folder

DOMAINS = ("art", "cartoon", "photo")
HELD_OUT = {"art": 80.0, "cartoon": 70.0, "photo": 96.0}


def board(folder: Folder, plans: bool = True) -> Board:
    return aggregate(folder.plans() if plans else [], Loaded(records=dict(folder.records)))


def row(table: Table, name: str) -> Row:
    return next(row for row in table.rows if row.name == name)


def cells(table: Table, name: str) -> dict[str, str]:
    index = table.rows.index(row(table, name))
    return {column.full_title: column.cell(index).text for column in columns(table)}


def leave_one_out(seeds: tuple[int, ...] = (0, 1)) -> Folder:
    """Zero-shot and ft on pooled images. Seed s adds s points; a source's held-out images are 10 points easier."""
    folder = Folder(domains=DOMAINS, target_split="in", leave_one_out=True)
    zero_shot = folder.trial("zero_shot", kind="reference")
    values = {(domain, split): 50.0 + 10 * (split == "val") for domain in DOMAINS for split in ("test", "val")}
    folder.measured(zero_shot, values)
    for held_out, accuracy in HELD_OUT.items():
        sources = tuple(domain for domain in DOMAINS if domain != held_out)
        for seed in seeds:
            measured = {(held_out, "test"): accuracy + seed, **{(d, "val"): HELD_OUT[d] - 10 + seed for d in sources}}
            folder.measured(folder.trial("ft", seed, sources=sources), measured)
    return folder


class TestEachDomainHeldOut:
    def test_one_row_a_method_with_a_column_for_each_domain_and_their_mean(self) -> None:
        (table,) = board(leave_one_out()).tables
        assert (table.leave_one_out, table.sources, table.shifted) == (True, (), DOMAINS)
        assert [r.name for r in table.rows] == ["zero_shot", "ft"]
        assert heading(table) == "demo, tiny, each domain held out in turn"
        assert {
            k: v for k, v in cells(table, "ft").items() if not k.startswith(("NLL", "difference", "effective"))
        } == {
            "art": "80.5 ± 0.7",
            "cartoon": "70.5 ± 0.7",
            "photo": "96.5 ± 0.7",
            "held-out mean": "82.5 ± 0.7",
            "worst": "70.5 ± 0.7",
            "source mean (ref., val)": "72.5 ± 0.7",
        }
        assert cells(table, "ft")["difference to zero_shot: held-out mean"] == "+32.5 ± 0.7"
        assert cells(table, "ft")["difference to zero_shot: reference"] == "+12.5 ± 0.7"

    def test_numbers_are_of_the_trials_that_did_not_see_the_domain(self) -> None:
        ft = row(board(leave_one_out()).tables[0], "ft")
        assert ft.accuracy["art"].values == pytest.approx({0: 0.80, 1: 0.81})
        assert ft.shift.values == pytest.approx({0: 0.82, 1: 0.83})
        expected = fmean(fmean(HELD_OUT[d] - 10 for d in DOMAINS if d != out) for out in DOMAINS) / 100
        assert ft.reference.values == pytest.approx({0: expected, 1: expected + 0.01})
        assert ft.shift_nll.values == pytest.approx({0: 1.18, 1: 1.17})

    def test_the_mean_is_empty_while_a_domain_lacks_a_seed(self) -> None:
        folder = leave_one_out()
        lost = next(t for t in folder.plan if t.spec.seed == 1 and "cartoon" not in t.spec.data.sources)
        del folder.records[lost.id]
        (table,) = board(folder).tables
        assert cells(table, "ft")["art"] == "80.5 ± 0.7"
        assert cells(table, "ft")["cartoon"] == cells(table, "ft")["held-out mean"] == ""
        assert row(table, "ft").shift.why == "1 of 2 seeds: s1 not run"

    def test_two_targets_are_each_held_out_as_well(self) -> None:
        folder = Folder(domains=("art", "photo"), leave_one_out=True)
        for source, target in (("art", "photo"), ("photo", "art")):
            folder.measured(folder.trial("ft", sources=(source,)), {(source, "test"): 90, (target, "test"): 60})
        (table,) = board(folder).tables
        assert {title: cells(table, "ft")[title] for title in ("art", "photo", "source mean (ref.)")} == {
            "art": "60.0",
            "photo": "60.0",
            "source mean (ref.)": "90.0",
        }
        folder.leave_one_out = False
        assert [t.sources for t in board(folder).tables] == [("art",), ("photo",)]

    def test_records_alone_give_the_same_table(self) -> None:
        planned, inferred = board(leave_one_out()), board(leave_one_out(), plans=False)
        (ours,), (theirs,) = inferred.tables, planned.tables
        assert ours.leave_one_out
        assert sorted(ours.shifted) == sorted(theirs.shifted)
        for name in ("zero_shot", "ft"):
            assert row(ours, name).shift.values == row(theirs, name).shift.values
            assert row(ours, name).reference.values == row(theirs, name).reference.values

    def test_a_variant_that_one_fold_lacks_says_so(self) -> None:
        folder = leave_one_out(seeds=(0,))
        trained = [t for t in folder.plan if t.label == "ft"]
        for index, trial in enumerate(trained):
            wise = folder.trial(
                "wise_ft", kind="post_hoc", of="ft", inputs=(trial.id,), sources=trial.spec.data.sources
            )
            record = folder.measured(
                wise, {(DOMAINS[index], "test"): 60, **{(d, "val"): 60 for d in DOMAINS if d != DOMAINS[index]}}
            )
            moved = tuple(e.model_copy(update={"variant": "alpha=0.5"}) for e in record.evaluations)
            if index:
                folder.records[wise.id] = record.model_copy(
                    update={"evaluations": moved, "variants": {"alpha=0.5": {"alpha": 0.5}}}
                )
            else:
                del folder.records[wise.id]
        wise_row = row(board(folder).tables[0], "wise_ft of ft, alpha=0.5")
        assert wise_row.accuracy["photo"].mean == pytest.approx(0.6)
        assert wise_row.shift.why == "0 of 1 seeds: s0 not run"

    def test_page_markdown_and_figures(self, tmp_path: Path) -> None:
        folder = leave_one_out()
        html, markdown, table, _ = build_report(folder.write(tmp_path))
        text = " ".join(
            re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)\b.*?</\1>", " ", html.read_text(), flags=re.S)).split()
        )
        for part in (
            "fine-tuned on all domains but the one of the column",
            "Against zero_shot, ft is at +12.5 ± 0.7 points on the source domains and at +32.5 ± 0.7 points on the mean "
            "of the held-out domains.",
            "held out where each domain is held out in turn",
            "val the images of a domain are one pool",
        ):
            assert part in text
        assert "S, U, H" not in text
        assert (
            "| ft | 2 | 80.5 ± 0.7 | 70.5 ± 0.7 | 96.5 ± 0.7 | 82.5 ± 0.7 | 70.5 ± 0.7 | 72.5 ± 0.7 |"
            in markdown.read_text()
        )
        (found,) = board(folder).tables
        scatter = figures.scatter(found)
        assert (
            scatter["layout"]["xaxis"]["title"]["text"]
            == "accuracy on the source domains (reference, held-out images), %"
        )
        assert scatter["layout"]["yaxis"]["title"]["text"] == "mean accuracy on the held-out domains, %"
        point = next(trace for trace in scatter["data"] if trace.get("name") == "ft")
        assert (point["x"], point["y"]) == (pytest.approx([72.5]), pytest.approx([82.5]))
        for figure in (scatter, gained(found)):
            go.Figure(figure)
        with table.open(newline="") as file:
            sources = {line["source"] for line in csv.DictReader(file)}
        assert sources == {"", "art+cartoon", "art+photo", "cartoon+photo"}


class TestSeveralSources:
    def test_a_table_of_trials_with_two_sources_is_as_ever(self) -> None:
        folder = Folder(domains=DOMAINS)
        folder.done(folder.trial("ft", sources=("art", "photo")), (70, 50, 90))
        (table,) = board(folder).tables
        assert heading(table) == "demo, tiny, reference art + photo"
        assert [column.title for column in columns(table)][:5] == [
            "art (ref.)",
            "photo (ref.)",
            "reference mean",
            "cartoon",
            "shift mean",
        ]


def seen_unseen(by_class: bool = True) -> Folder:
    """Birds: zero-shot, and ft with two seeds."""
    folder = Folder(domains=("seen", "unseen"), seen_unseen=("seen", "unseen"))
    zero = {("seen", "test"): 50.0, ("unseen", "test"): 50.0}
    folder.measured(folder.trial("zero_shot", kind="reference"), zero, zero if by_class else None)
    for seed in (0, 1):
        values = {("seen", "test"): 80.0 + seed, ("unseen", "test"): 40.0}
        classes = {("seen", "test"): 60.0, ("unseen", "test"): 30.0 + 10 * seed}
        folder.measured(folder.trial("ft", seed, sources=("seen",)), values, classes if by_class else None)
    return folder


class TestSeenAndUnseenClasses:
    def test_s_u_and_h_by_image_and_by_class(self) -> None:
        (table,) = board(seen_unseen()).tables
        found = {k: v for k, v in cells(table, "ft").items() if k.startswith("generalised")}
        assert found == {
            "generalised zero-shot by class, %: S": "60.0 ± 0.0",
            "generalised zero-shot by class, %: U": "35.0 ± 7.1",
            "generalised zero-shot by class, %: H": "44.0 ± 5.7",
            "generalised zero-shot by image, %: S": "80.5 ± 0.7",
            "generalised zero-shot by image, %: U": "40.0 ± 0.0",
            "generalised zero-shot by image, %: H": "53.4 ± 0.2",
        }
        # H is taken for each seed, then the mean: 2*60*30/90 = 40 and 2*60*40/100 = 48
        assert row(table, "ft").by_class.harmonic.values == pytest.approx({0: 0.40, 1: 0.48})
        assert cells(table, "zero_shot")["generalised zero-shot by image, %: H"] == "50.0"

    def test_both_at_zero_have_a_harmonic_mean_of_zero(self) -> None:
        folder = Folder(domains=("seen", "unseen"), seen_unseen=("seen", "unseen"))
        none = {("seen", "test"): 0.0, ("unseen", "test"): 0.0}
        folder.measured(folder.trial("ft", sources=("seen",)), none, none)
        assert cells(board(folder).tables[0], "ft")["generalised zero-shot by image, %: H"] == "0.0"

    def test_early_records_have_them_by_image_alone(self) -> None:
        (table,) = board(seen_unseen(by_class=False)).tables
        assert cells(table, "ft")["generalised zero-shot by class, %: S"] == ""
        assert row(table, "ft").by_class.seen.why == (
            "0 of 2 seeds: s0 recorded before this was measured; s1 recorded before this was measured"
        )
        assert cells(table, "ft")["generalised zero-shot by image, %: S"] == "80.5 ± 0.7"

    def test_other_benchmarks_have_no_such_columns(self) -> None:
        folder = seen_unseen()
        folder.seen_unseen = None
        (table,) = board(folder).tables
        assert not [column for column in columns(table) if column.group.startswith("generalised")]

    def test_exports(self, tmp_path: Path) -> None:
        html, markdown, table, _ = build_report(seen_unseen().write(tmp_path))
        assert "generalised zero-shot by class, %: H" in markdown.read_text()
        assert "S, U, H" in html.read_text()
        with table.open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert {(line["seed"], line["domain"]): line["class_accuracy"] for line in lines if line["label"] == "ft"} == {
            ("0", "seen"): "0.6",
            ("0", "unseen"): "0.3",
            ("1", "seen"): "0.6",
            ("1", "unseen"): "0.4",
        }


def test_a_chart_grows_with_its_legend() -> None:
    def height(count: int, length: int) -> int:
        folder = Folder(domains=DOMAINS)
        for index in range(count):
            folder.done(folder.trial(f"{'m' * length}{index:02d}", sources=("art",)), (70, 50, 90))
        height: int = figures.scatter(board(folder).tables[0])["layout"]["height"]
        return height

    assert height(3, 5) < height(30, 5) < height(30, 40)
    assert height(30, 40) - height(3, 40) == 27 * drawing.LEGEND_LINE, "long names stand one a line"


def test_worst_domain_calibration_error_and_cost_by_hand() -> None:
    folder = Folder(domains=("real", "clipart", "sketch"))
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40))
    for seed, values in enumerate(((70, 52, 54), (70, 56, 50))):
        record = folder.done(folder.trial("ft", seed), values, train_seconds=3600.0)
        eces = {"real": 0.01, "clipart": 0.1, "sketch": 0.2}
        measured = tuple(e.model_copy(update={"ece": eces[e.domain]}) for e in record.evaluations)
        assert record.environment is not None
        environment = record.environment.model_copy(update={"device": "NVIDIA H200", "num_workers": 2})
        folder.records[record.id] = record.model_copy(update={"evaluations": measured, "environment": environment})
    (table,) = board(folder).tables
    found = cells(table, "ft")
    assert found["worst"] == "51.0 ± 1.4", "52 of seed 0 is clipart's, 50 of seed 1 sketch's"
    assert (found["ECE, 15 bins, %: reference"], found["ECE, 15 bins, %: shift mean"]) == ("1.0 ± 0.0", "15.0 ± 0.0")
    assert (found["training: s"], found["training: GPU-h"]) == ("3,600 ± 0.00", "2.0 ± 0.00")
    before = cells(table, "zero_shot")
    assert (before["ECE, 15 bins, %: reference"], before["training: GPU-h"]) == ("", "")
    assert row(table, "zero_shot").reference_ece.why == "recorded before this was measured"


def test_a_method_that_fits_in_setup_has_its_seconds_there() -> None:
    folder = Folder()
    record = folder.done(folder.trial("probe"), (50.0,) * 5)
    assert train_seconds(record.model_copy(update={"seconds": {"setup": 3.0, "select": 9.0}})) == 3.0
    assert train_seconds(record.model_copy(update={"seconds": {"setup": 0.5, "train": 2.0}})) == 2.5
    assert train_seconds(record.model_copy(update={"seconds": {"evaluate": 2.0}})) is None
