"""From a folder of results to Markdown and CSV; the page is tested in test_page.py."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.analysis.aggregate import aggregate
from orchestrator.records import Loaded, Results, load_plans, load_records
from orchestrator.report import build_report
from orchestrator.report.export import escape
from orchestrator.report.numbers import points
from tests.conftest import ROOT
from tests.orchestrator.record_factory import ALPHAS, Folder, demo, incomplete

GOLDEN = """\
# Leaderboard

5 of 7 trials done. Mean ± standard deviation over seeds (ddof = 1).

## demo, tiny, reference real

| method | seeds | real (ref.) | clipart | sketch | shift mean | worst | effective robustness: points | difference to zero_shot: reference | difference to zero_shot: shift mean | difference to ft: reference | difference to ft: shift mean | NLL, nats: reference | NLL, nats: shift mean | training: s |
|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| zero_shot | \N{EN DASH} | 50.0 | 60.0 | 40.0 | 50.0 | 40.0 | +0.4 |  |  | \N{MINUS SIGN}22.0 ± 2.8 | +9.0 ± 1.4 | 1.50 | 1.50 |  |
| wise_ft of ft, alpha=0.25 | 1 | 58.0 | 60.0 | 38.0 | 49.0 | 38.0 | +2.3 | +8.0 | \N{MINUS SIGN}1.0 | \N{MINUS SIGN}12.0 | +9.0 | 1.42 | 1.51 |  |
| wise_ft of ft, alpha=0.5 | 1 | 65.0 | 58.0 | 36.0 | 47.0 | 36.0 | +2.9 | +15.0 | \N{MINUS SIGN}3.0 | \N{MINUS SIGN}5.0 | +7.0 | 1.35 | 1.53 |  |
| ft | 2 | 72.0 ± 2.8 | 52.0 ± 2.8 | 30.0 ± 0.0 | 41.0 ± 1.4 | 30.0 ± 0.0 | \N{MINUS SIGN}0.2 ± 2.6 | +22.0 ± 2.8 | \N{MINUS SIGN}9.0 ± 1.4 |  |  | 1.28 ± 0.03 | 1.59 ± 0.01 | 20.0 ± 0.00 |
| lipsum_ft | 1 of 2 |  |  |  |  |  |  |  |  |  |  |  |  |  |
| wise_ft of lipsum_ft | 0 of 1 |  |  |  |  |  |  |  |  |  |  |  |  |  |

- lipsum_ft: 1 of 2 seeds: s1 failed: ValueError: loss is not finite at step 31
- wise_ft of lipsum_ft: 0 of 1 seeds: s0 not run

## Records not used

- 1 record of trials that no current plan lists, not shown.
"""  # noqa: E501 - a table has long lines


def golden_folder() -> Folder:
    folder = Folder(domains=("real", "clipart", "sketch"))
    folder.done(folder.trial("zero_shot", kind="reference"), (50, 60, 40))
    ft = folder.trial("ft", 0)
    folder.done(ft, (70, 50, 30))
    folder.done(folder.trial("ft", 1), (74, 54, 30))
    lipsum = folder.trial("lipsum_ft", 0)
    folder.done(lipsum, (69, 58, 38))
    folder.failed(folder.trial("lipsum_ft", 1))
    wise = folder.trial("wise_ft", 0, kind="post_hoc", of="ft", inputs=(ft.id,))
    paths = {"alpha=0.5": (65, 58, 36), "alpha=0.25": (58, 60, 38)}
    folder.done(wise, paths, {"alpha=0.5": {"alpha": 0.5}, "alpha=0.25": {"alpha": 0.25}})
    folder.trial("wise_ft", 0, kind="post_hoc", of="lipsum_ft", inputs=(lipsum.id,))
    folder.done(folder.trial("removed", 0), (1, 2, 3))
    folder.plan.pop()
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_markdown_is_the_golden_file(tmp_path: Path) -> None:
    _, markdown, *_ = build_report(golden_folder().write(tmp_path))
    assert markdown.read_text(encoding="utf-8") == GOLDEN


def test_paths_and_identical_bytes(tmp_path: Path) -> None:
    folder = demo().write(tmp_path)
    paths = build_report(folder)
    assert paths == [tmp_path / f"leaderboard{suffix}" for suffix in (".html", ".md", ".csv", "-rows.csv")]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in build_report(folder)] == before


def test_a_moved_folder_gives_the_same_report(tmp_path: Path) -> None:
    before = [path.read_bytes() for path in build_report(demo().write(tmp_path / "here"))]
    shutil.move(tmp_path / "here", tmp_path / "there")
    for path in (tmp_path / "there").glob("leaderboard.*"):
        path.unlink()
    after = build_report(tmp_path / "there")
    assert [path.read_bytes() for path in after] == before
    assert str(tmp_path).encode() not in b"".join(before)


def test_csv_holds_every_value_in_full(tmp_path: Path) -> None:
    folder = demo()
    written = rows(build_report(folder.write(tmp_path))[2])
    evaluations = [(r, e) for r in folder.records.values() for e in r.evaluations]
    assert len(written) == len(evaluations)
    found = {(row["trial_id"], row["variant"], row["domain"]): row for row in written}
    for record, evaluation in evaluations:
        row = found[record.id, evaluation.variant, evaluation.domain]
        assert float(row["accuracy"]) == evaluation.accuracy
        assert float(row["nll"]) == evaluation.nll
        assert int(row["num_images"]) == evaluation.num_images
        assert (row["seed"], row["split"], row["status"]) == (str(record.spec.seed), "test", "done")
    assert {row["variant"] for row in written if row["method"] == "wise_ft"} == {f"alpha={a}" for a in ALPHAS}


def test_csv_lists_trials_without_a_result(tmp_path: Path) -> None:
    holes = [row for row in rows(build_report(incomplete().write(tmp_path))[2]) if row["status"] != "done"]
    assert [(row["status"], row["label"], row["of"], row["seed"]) for row in holes] == [
        ("failed", "lipsum_ft", "", "1"),
        ("missing", "lipsum_ft", "", "2"),
        ("failed", "wise_ft", "lipsum_ft", "1"),
        ("missing", "wise_ft", "lipsum_ft", "2"),
    ]
    assert holes[0]["reason"] == "failed: ValueError: loss is not finite at step 31"
    assert all(row["accuracy"] == row["domain"] == "" for row in holes)


def test_records_without_plans(tmp_path: Path) -> None:
    page, markdown, *_ = build_report(demo().write(tmp_path, plans=False))
    assert "the grid is inferred from the records" in markdown.read_text(encoding="utf-8")
    assert "the grid is inferred from the records" in page.read_text(encoding="utf-8")
    assert "| wise_ft of lipsum_ft, alpha=0.5 | 3 |" in markdown.read_text(encoding="utf-8")


def test_plans_without_records(tmp_path: Path) -> None:
    folder = demo()
    folder.records.clear()
    page, markdown, *_ = build_report(folder.write(tmp_path))
    assert "0 of 13 trials done" in markdown.read_text(encoding="utf-8")
    assert "0 of 3 seeds: s0 not run; s1 not run; s2 not run" in page.read_text(encoding="utf-8")


def test_a_damaged_record_is_listed_with_its_reason(tmp_path: Path) -> None:
    folder = demo()
    folder.write(tmp_path)
    damaged = Results(tmp_path).record(folder.plan[1].id)
    damaged.write_text("{", encoding="utf-8")
    page, markdown, *_ = build_report(tmp_path)
    line = f"trials/{folder.plan[1].id}/record.json"
    assert line in page.read_text(encoding="utf-8")
    assert line in markdown.read_text(encoding="utf-8")
    assert "s0 record cannot be read" in markdown.read_text(encoding="utf-8")


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no plans and no records, so nothing to report; give the folder that"):
        build_report(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder of results"):
        build_report(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_the_report_needs_neither_ray_nor_torch(tmp_path: Path) -> None:
    demo().write(tmp_path)
    script = (
        "import sys; from pathlib import Path; from orchestrator.report import build_report\n"
        f"print(len(build_report(Path({str(tmp_path)!r}))), [m for m in ('ray', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "4 []\n"


def test_a_thousand_records_take_seconds(tmp_path: Path) -> None:
    folder = Folder()
    for benchmark in range(10):
        folder.benchmark = f"part{benchmark}"
        demo(sources=("real", "sketch"), seeds=range(benchmark * 13, benchmark * 13 + 13), folder=folder)
    assert len(folder.records) >= 1000
    folder.write(tmp_path)
    started = time.perf_counter()
    build_report(tmp_path)
    assert time.perf_counter() - started < 20, "about 2 s on a quiet machine"


def test_aggregation_reads_what_a_sweep_wrote(tmp_path: Path) -> None:
    folder = demo()
    results = Results(folder.write(tmp_path))
    board = aggregate(load_plans(results), load_records(results))
    assert board.tables == aggregate(folder.plans(), Loaded(records=folder.records)).tables


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lipsum_ft strength=0.3", "lipsum_ft strength=0.3"),
        ("a|b", "a\\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("[x](javascript:y)", "\\[x\\](javascript:y)"),
        ("_a_ *b* `c`\n# d", "\\_a\\_ \\*b\\* \\`c\\` \\# d"),
    ],
)
def test_markdown_shows_names_as_they_are(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0123, "+1.2"), (-0.0123, "\N{MINUS SIGN}1.2"), (0.0004, "0.0"), (-0.0004, "0.0")]
)
def test_differences_have_a_sign_unless_they_round_to_zero(value: float, shown: str) -> None:
    assert points(value) == shown
