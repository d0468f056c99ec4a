"""The figures of views: what is drawn where, and the files that they become."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datasets.prepared import Prepared
from orchestrator.cli import app
from orchestrator.records import Results
from orchestrator.report.drawing import Figure
from orchestrator.report.figure_files import FigureExportError, standing_alone, write_figures
from orchestrator.views import views
from orchestrator.views.column_words import columns_in_words
from orchestrator.views.drawing import Drawn, figures
from orchestrator.views.extra import EXTRA
from orchestrator.views.figure_export import export_view_figures
from orchestrator.views.join import load
from orchestrator.views.page import html_text
from tests.orchestrator import view_factory as make
from tests.orchestrator.page_browser import HOSTILE
from tests.orchestrator.test_gallery import folder as gallery_folder
from tests.orchestrator.test_papers import SMALL
from tests.orchestrator.view_browser import open_view, quiet_and_closed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def drawn(root: Path, name: str) -> list[Drawn]:
    return figures(load(Results(root)).fill(views()[name]))


def trace(figure: Figure, name: str) -> dict[str, Any]:
    return next(found for found in figure["data"] if found.get("name") == name and found["x"] != [None])


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A folder with learning rates and steps of FT, two seeds each, and what Figures 2, 3, 4 and 8 draw of them."""
    results = make.folder("lipsum_figure_2")
    for steps in (1000, 3000):
        for seed in (0, 1):
            made = make.trial(results, "ft", seed, recipe={"num_steps": steps}, benchmark="lipsum_figure_2")
            make.done(results, made, (88.0 + seed, 60.0, 50.0, 40.0, 30.0))
    for seed in (0, 1):
        made = make.trial(results, "ft", seed, benchmark="lipsum_table_1_domainnet")
        make.done(results, made, (80.0, 60.0, 50.0, 40.0, 30.0))
    for id, record in results.records.items():
        moved = {"feature_distortion": 0.25 + 0.1 * record.spec.seed, "energy_gap": 0.002}
        told = tuple(e.model_copy(update=moved) for e in record.evaluations)
        results.records[id] = record.model_copy(update={"evaluations": told})
    return make.write(results, tmp_path)


def test_a_curve_of_steps_with_its_ends_named(swept: Path) -> None:
    (one,) = drawn(swept, "lipsum-figure-2")
    curve = trace(one.figure, "FT, lr=1e-05")
    assert (curve["x"], curve["y"]) == ([45.0] * 3, [88.5, 88.5, 80.0]), "up: the reference, right: the shift"
    assert curve["text"] == ["1,000", "", "5,000"] and curve["mode"] == "lines+markers+text"
    assert curve["error_y"]["array"] == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])
    assert not curve["error_x"]["visible"] and not curve["marker"]["symbol"].endswith("-open")
    layout = one.figure["layout"]
    assert layout["xaxis"]["title"]["text"] == "mean accuracy on painting, clipart, infograph, sketch, %"
    assert layout["yaxis"]["title"]["text"] == "accuracy on real (reference), %"
    assert one.caption == "Error bars: s.d. over seeds of ours."
    assert [found.name for found in drawn(swept, "lipsum-figure-8")] == [
        *("painting", "clipart", "infograph", "sketch", "shift mean")
    ]


def test_bars_and_pairs(swept: Path) -> None:
    (bars,) = drawn(swept, "lipsum-figure-3")
    (bar,) = bars.figure["data"]
    assert bar["type"] == "bar" and bar["x"][0] == "real (reference)" and bar["y"] == pytest.approx([0.3] * 6)
    assert bars.figure["layout"]["yaxis"]["rangemode"] == "tozero"
    pairs = drawn(swept, "lipsum-figure-4")
    assert [found.name for found in pairs] == ["painting", "clipart", "infograph", "sketch"]
    point = trace(pairs[0].figure, "FT")
    assert (point["x"], point["y"]) == ([0.002], [pytest.approx(0.75)])
    assert pairs[0].caption.startswith("P energy gap and P relative accuracy: no correlation, 1 rows")
    assert export(swept, "--view", "lipsum-figure-4").exit_code == 0
    table = (swept / "views" / "lipsum-figure-4.md").read_text()
    assert "| FT | 0.00200 ± 0.00000 | 0.750 ± 0.000 |" in table, "three digits that mean something; ours alone"


def export(*words: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_published_points_are_open_and_what_builds_on_one_row_has_its_colour(tmp_path: Path) -> None:
    (one,) = drawn(make.write(make.folder(), tmp_path), "lipsum-figure-5")
    traces = {found["name"]: found for found in one.figure["data"]}
    assert list(traces) == [
        *("WiSE", "Lipsum-FT + WiSE", "TPGM", "TPGM-C", "Lipsum-FT + TPGM", "Lipsum-FT + TPGM-C", "published")
    ]
    assert all(found["marker"]["symbol"].endswith("-open") for found in traces.values())
    colours = {name: found["marker"]["color"] for name, found in traces.items()}
    assert colours["WiSE"] == colours["TPGM"] == colours["TPGM-C"] != colours["Lipsum-FT + TPGM-C"]
    assert len({traces[name]["marker"]["symbol"] for name in ("WiSE", "TPGM", "TPGM-C")}) == 3
    assert traces["WiSE"]["line"]["dash"] == "dot" and traces["WiSE"]["text"] == ["1.0", "", "", "", "", "0.5"]
    assert one.caption == "Error bars: s.d. as published." and not drawn(tmp_path, "lipsum-table-6")


def test_ours_that_cannot_be_compared_are_called_so(tmp_path: Path) -> None:
    results = make.folder("lipsum_table_6")
    ft = make.trial(results, "ft", selection="reference_val")
    make.done(results, ft, (89.0, 66.0, 67.0, 44.0, 55.0))
    make.done(results, make.trial(results, "tpgm", inputs=[ft.id]), (89.0, 66.0, 67.0, 44.0, 55.0))
    (one,) = drawn(make.write(results, tmp_path), "lipsum-figure-5")
    assert one.figure["data"][-1]["name"] == "ours, by another protocol (not comparable)"
    texts = [text for found in one.figure["data"] for text in found.get("hovertext", ()) if "ours" in text]
    assert len(texts) == 1 and "<br>not comparable: selection: reference_val" in texts[0]


def test_columns_are_explained_and_short_names_have_their_dataset() -> None:
    words = columns_in_words(views()["lipsum-table-1"].panels[1])
    assert words == (
        "IN*: imagenet (the reference: what is fine-tuned on); V2: imagenet-v2; R: imagenet-r; A: imagenet-a; S: sketch; "
        "shift mean: over imagenet-v2, imagenet-r, imagenet-a, sketch"
    )
    assert columns_in_words(views()["lipsum-table-11"].panels[0]).endswith("H: harmonic mean of seen and unseen")


def test_a_long_title_is_wrapped_and_the_figure_grows() -> None:
    figure: Figure = {"data": [], "layout": {"margin": {"t": 12, "r": 12}, "xaxis": {}, "yaxis": {}, "height": 400}}
    one, long = (standing_alone(figure, "title " * times, "below")["layout"] for times in (1, 40))
    assert long["height"] - one["height"] == long["margin"]["t"] - one["margin"]["t"] > 40
    assert long["title"]["text"].count("<br>") > one["title"]["text"].count("<br>") == 1
    assert one["paper_bgcolor"] == "#ffffff" and one["width"] == 800


@pytest.mark.browser
def test_figures_of_views_become_files(
    blobs: Prepared, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kaleido", reason="the extra `figures` is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; `apt-get install chromium` to run the browser tests")
    chosen = [views()[name] for name in ("lipsum-table-6", "lipsum-figure-2", "lipsum-figure-5")]
    monkeypatch.setattr("orchestrator.views.figure_export.find", lambda name: [*chosen, EXTRA["lipsum-figure-16"]])
    root = gallery_folder(tmp_path / "results", tiny_config, blobs)
    ran = export(root, "--view", "all", "--figures", tmp_path / "fig", "--format", "svg")
    assert ran.exit_code == 0, ran.output
    names = ["lipsum-figure-5-domainnet-b-16", f"lipsum-figure-16-{blobs.title.lower().replace(' ', '-')}"]
    assert ran.stdout.split() == [str(tmp_path / "fig" / f"{name}.svg") for name in names]
    assert sorted(path.stem for path in (tmp_path / "fig").iterdir()) == sorted(names)
    assert ran.stderr.splitlines() == [
        "left out: lipsum-table-6: no figure, they are tables",
        "left out: lipsum-figure-2: nothing to draw yet, their benchmarks were not run",
    ]
    assert not (root / "views").exists(), "figures only"
    curves, sheet = (ET.parse(tmp_path / "fig" / f"{name}.svg").getroot() for name in names)
    text = "".join(curves.itertext())
    for part in ("Post-hoc methods", "After Nam et al.", "Lipsum-FT + WiSE", "accuracy on real (reference), %"):
        assert part in text
    pictures = list(sheet.iter("{http://www.w3.org/2000/svg}image"))
    assert len(pictures) == 9
    assert all(p.get("{http://www.w3.org/1999/xlink}href", "").startswith("data:image/jpeg") for p in pictures)
    assert {"red", "green", "blue", "disc", "box", "ring"} <= set(sheet.itertext())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lipsum-table-1", "lipsum-table-1: no figure, they are tables"),
        ("lipsum-figure-2", "lipsum-figure-2: nothing to draw yet, their benchmarks were not run"),
        ("lipsum-figure-16", "lipsum-figure-16 shows images of the prepared datasets, and none can be read from here"),
        ("lipsum-figure-222", "no view 'lipsum-figure-222', did you mean 'lipsum-figure-2'?"),
    ],
)
def test_a_view_without_a_figure_says_so(name: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("kaleido", reason="the extra `figures` is not installed")
    ran = export(tmp_path, "--view", name, "--figures", tmp_path / "fig")
    assert ran.exit_code == 2 and said in ran.stderr and ran.stderr.count("\n") == 1
    assert not (tmp_path / "fig").exists()


def test_without_kaleido_or_a_browser_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kaleido", reason="the extra `figures` is not installed")
    figure: Figure = {"data": [], "layout": {"width": 100, "height": 100}}
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "kaleido", None)
        ran = export(tmp_path, "--view", "lipsum-figure-5", "--figures", tmp_path / "fig")
        assert ran.exit_code == 2 and "need kaleido: pip install 'kaleido>=1'" in ran.stderr
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(FigureExportError, match="need a browser, and none was found"):
        write_figures({"a": figure}, tmp_path / "fig", "png")
    assert not (tmp_path / "fig").exists()
    (tmp_path / "file").write_text("")
    ran = export(tmp_path, "--view", "lipsum-figure-5", "--figures", tmp_path / "file")
    assert (ran.exit_code, ran.stderr) == (
        2,
        f"{tmp_path}/file is a file; name a folder, which is made if it is not there\n",
    )
    with pytest.raises(FigureExportError, match="'gif' is no format of figures"):
        export_view_figures(tmp_path, "lipsum-figure-5", tmp_path / "fig", "gif", print)  # type: ignore[arg-type]


@pytest.mark.browser
def test_the_page_of_a_figure_draws_in_silence_whatever_the_names_are(browser: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    text = SMALL.replace("title: FT", f"title: '{HOSTILE}'").replace("values: {FT", f"values: {{'{HOSTILE}'")
    own.write_text(text.replace("name: mine", "name: mine\n    figure: true"))
    ran = export(tmp_path, "--view", own)
    assert ran.exit_code == 0, ran.stderr
    opened = open_view(browser, tmp_path / "views" / "mine.html", "html[data-charts=drawn]")
    assert opened.page.locator("img").count() == 0 and HOSTILE in opened.texts("tbody td")[0]
    name = opened.page.locator(".chart .legendtoggle").first
    name.focus()
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector(".chart .legendtoggle[aria-pressed=false]", state="attached")
    quiet_and_closed(opened)


def test_a_page_without_a_point_embeds_no_plotly(tmp_path: Path) -> None:
    filled = load(Results(make.write(make.folder(), tmp_path))).fill(views()["lipsum-figure-2"])
    assert len(page := html_text(filled)) < 20_000 and "<script" not in page and "Nothing to draw yet." in page
