"""What training cost, from records to the CSVs and the details of a row; early records leave blanks."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from orchestrator.analysis.aggregate import aggregate
from orchestrator.analysis.costs import COSTS, passes_per_image
from orchestrator.records import Loaded, TrialRecord
from orchestrator.report import build_report
from orchestrator.report.inspector import details
from orchestrator.report.log_tail import no_log
from tests.orchestrator.record_factory import Folder

DOMAINS = ("real", "sketch")
COUNTED = {"images_seen": 6400, "images_encoded": 12_800, "texts_seen": 640, "peak_memory_bytes": 3 * 2**30}


def spent(folder: Folder, record: TrialRecord, device: str, **counts: int) -> None:
    assert record.environment is not None
    environment = record.environment.model_copy(update={"device": device, "num_workers": 2})
    folder.records[record.id] = record.model_copy(update={"environment": environment, **counts})


@pytest.fixture
def folder() -> Folder:
    """Zero-shot, `counted` of two seeds on GPUs, `early`, whose record says nothing but seconds, and what builds on it."""
    found = Folder(domains=DOMAINS, baseline="early")
    found.done(found.trial("zero_shot", kind="reference"), (50, 40))
    for seed in (0, 1):
        record = found.done(found.trial("counted", seed), (70, 60), train_seconds=1800.0 * (seed + 1))
        spent(found, record, "NVIDIA H200", **COUNTED)
    early = found.trial("early")
    found.done(early, (60, 50), train_seconds=90.0)
    post_hoc = found.done(found.trial("soup", kind="post_hoc", of="early", inputs=(early.id,)), (60, 50))
    spent(found, post_hoc, "cpu", peak_memory_bytes=2**30)
    return found


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_evaluation_in_the_csv_has_what_its_trial_cost(folder: Folder, tmp_path: Path) -> None:
    names = ["images_seen", *(cost.name for cost in COSTS)]
    found = {
        (line["label"], line["seed"]): [line[name] for name in names]
        for line in lines(build_report(folder.write(tmp_path))[2])
    }
    rate = 6400 / 3600
    memory = str(3 * 2**30)
    assert found["counted", "1"] == ["6400", "3600.0", "2.0", repr(rate), "12800", "640", memory]
    assert found["early", "0"] == ["", "90.0", *[""] * 5]
    assert found["zero_shot", "0"] == found["soup", "0"] == [""] * 7


def test_rows_have_means_over_seeds_and_reasons(folder: Folder, tmp_path: Path) -> None:
    found = {(line["row"], line["quantity"]): line for line in lines(build_report(folder.write(tmp_path))[3])}
    assert float(found["counted", "training: GPU-hours"]["mean"]) == 1.5
    assert float(found["counted", "training: images/s"]["mean"]) == pytest.approx((6400 / 1800 + 6400 / 3600) / 2)
    assert float(found["counted", "training: images encoded"]["mean"]) == 12_800
    assert float(found["counted", "training: peak memory, bytes"]["sd"]) == 0.0
    assert found["early", "training: texts encoded"]["mean"] == ""
    assert found["early", "training: texts encoded"]["why"] == "0 of 1 seeds: s0 not recorded"
    assert not [
        row for row, quantity in found if quantity.startswith("training") and row in ("zero_shot", "soup of early")
    ]


def test_details_of_a_row_say_it_in_words(folder: Folder) -> None:
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
    found = {
        detail.name: [seed.images for seed in detail.seeds] for detail in details(table, folder.plans()[0], no_log)
    }
    assert (
        found["counted"][0]
        == "6,400 images seen, 12,800 encoded (2.0 passes an image), 640 texts, 3.6 images/s, 1.0 GPU-h"
    )
    assert found["early"] == found["zero_shot"] == [""]


def test_folds_add_up_or_the_worst_of_them_counts() -> None:
    folder = Folder(domains=("a", "b", "c"), leave_one_out=True, baseline="ft")
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 50, 50))
    for number, sources in enumerate((("a", "b"), ("a", "c"), ("b", "c")), start=1):
        record = folder.done(folder.trial("ft", sources=sources), (60, 60, 60), train_seconds=3600.0)
        spent(folder, record, "NVIDIA H200", **{**COUNTED, "images_seen": 3600 * number, "peak_memory_bytes": number})
    (table,) = aggregate(folder.plans(), Loaded(records=folder.records)).tables
    costs = {name: series.mean for name, series in table.rows[1].costs.items()}
    assert costs == {
        "train_seconds": 10_800.0,
        "gpu_hours": 6.0,
        "images_per_second": 1.0,
        "images_encoded": 38_400.0,
        "texts_seen": 1920.0,
        "peak_memory_bytes": 3.0,
    }


def test_plain_fine_tuning_costs_one_pass_an_image(folder: Folder) -> None:
    record = next(iter(folder.records.values()))
    assert passes_per_image(record.model_copy(update={"images_seen": 64, "images_encoded": 64})) == 1.0
    assert passes_per_image(record) is None
