"""t-SNE of energy vectors: what is embedded, what is told apart, and what the page shows."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.records import Results
from orchestrator.spec import PlannedTrial
from orchestrator.trials.features import FEATURES_FILE, TEXT_MOMENT, energy_coordinates
from orchestrator.views.extra import EXTRA, NotHereError
from orchestrator.views.tsne import apart, embed
from orchestrator.views.tsne_cache import kept
from tests.orchestrator import view_factory as make
from tests.orchestrator.page_browser import HOSTILE
from tests.orchestrator.record_factory import Folder
from tests.orchestrator.test_imports import loaded_after
from tests.orchestrator.view_browser import open_view, quiet_and_closed

NAME = "lipsum-figure-15"
WIDTH, COUNT = 8, 25
"""Numbers of a feature, images of a domain: 100 points are the fewest that allow a perplexity of 30, with two domains."""
DOMAINS = ("real", "sketch")


def normalised(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


RNG = np.random.default_rng(0)
BASE = {domain: RNG.normal(size=(COUNT, WIDTH)) + 6 * np.eye(WIDTH)[at] for at, domain in enumerate(DOMAINS)}
TEXTS = RNG.normal(size=(300, WIDTH)) / np.sqrt(WIDTH)
MOMENT = (TEXTS.T @ TEXTS / len(TEXTS)).astype(np.float32)
FAR = {domain: rows + 20 * np.eye(WIDTH)[5] for domain, rows in BASE.items()}
NEAR = {domain: rows + 1e-2 for domain, rows in BASE.items()}


def features(root: Path, trial: PlannedTrial, rows: dict[str, np.ndarray], moment: np.ndarray | None = MOMENT) -> None:
    tensors = {json.dumps(["", domain]): normalised(found) for domain, found in rows.items()}
    save_file(
        tensors | ({} if moment is None else {TEXT_MOMENT: moment}), Results(root).trial(trial.id) / FEATURES_FILE
    )


def folder(root: Path, dataset: str = "domainnet", domains: tuple[str, ...] = DOMAINS) -> dict[str, PlannedTrial]:
    """Zero-shot, one method far from it and one near it, of the paper's DomainNet scenario."""
    results: Folder = make.folder("lipsum_table_1_domainnet", dataset, domains)
    trials = {}
    for method, rows in {"zero_shot": BASE, "ft": FAR, "kd": NEAR}.items():
        made = make.trial(results, method, data={"sources": () if method == "zero_shot" else (domains[0],)})
        make.done(results, made, [50.0] * len(domains))
        make.outcomes(Results(root), made, 0.5, COUNT + 5)
        features(root, made, dict(zip(domains, rows.values(), strict=True)))
        trials[method] = made
    make.write(results, root)
    return trials


def build(root: Path) -> dict[str, str]:
    """The files of the view by suffix."""
    paths = EXTRA[NAME].build(root, root / "views")
    assert [path.parent for path in paths] == [root / "views"] * 4
    return {path.suffix[1:]: path.read_text() for path in paths}


def points(text: str, row: str, **where: str) -> np.ndarray:
    lines = [line for line in csv.DictReader(io.StringIO(text)) if line["row"] == row]
    return np.array([(line["x"], line["y"]) for line in lines if where.items() <= line.items()], float)


def nearest(rows: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(axis=1)


def test_it_is_scikit_learns_own_and_tells_far_models_from_near_ones(tmp_path: Path) -> None:
    trials = folder(tmp_path)
    files = build(tmp_path)
    assert build(tmp_path) == files, "the same records give the same bytes"
    energies = [energy_coordinates(normalised(of[d]).astype(np.float32), MOMENT) for d in DOMAINS for of in (BASE, FAR)]
    with threadpool_limits(limits=1):
        expected = TSNE(random_state=0).fit_transform(np.concatenate(energies))
    assert np.array_equal(points(files["csv"], "FT"), expected.astype(float)), "perplexity 30 and all other defaults"

    before, after = (points(files["csv"], "FT", model=model) for model in ("zero-shot", "fine-tuned"))
    assert len(before) == len(after) == 2 * COUNT
    together = np.concatenate([before, after])
    assert all((index < 50) == (found < 50) for index, found in enumerate(nearest(together))), "two clouds"
    before, after = (points(files["csv"], "KD", model=model) for model in ("zero-shot", "fine-tuned"))
    own = nearest(np.concatenate([before, after]))
    assert (own == np.roll(np.arange(100), 50)).mean() > 0.9, "an image's nearest point is itself after fine-tuning"
    first = next(csv.DictReader(io.StringIO(files["csv"])))
    assert (first["key"], first["trial"], first["zero_shot_trial"]) == (
        "real/0",
        trials["ft"].id,
        trials["zero_shot"].id,
    )


def test_the_numbers_come_from_energies_not_from_the_picture(tmp_path: Path) -> None:
    folder(tmp_path)
    table = [line.split("|") for line in build(tmp_path)["md"].splitlines() if line.startswith("| ")]
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in table}
    assert rows["method"] == ["real energy gap", "real apart", "sketch energy gap", "sketch apart"]
    for title, tuned, share in (("FT", FAR, "1.00"), ("KD", NEAR, "0.00")):
        for at, domain in enumerate(DOMAINS):
            shift = normalised(tuned[domain]).astype(float) - normalised(BASE[domain]).astype(float)
            gap = float(((shift @ TEXTS.T) ** 2).mean())
            assert float(rows[title][2 * at]) == pytest.approx(gap, rel=6e-3), "over images and texts, one by one"
            assert rows[title][2 * at + 1] == share
    assert rows["EMA"] == ["", "", "", ""]


def test_apart_counts_neighbours_of_the_same_model() -> None:
    before = np.array([[0.0, 0], [10, 0], [20, 0]])
    assert apart(before, before) == 0, "equal points are no nearer to their own model's"
    assert apart(before, before + np.array([0, 100])) == 1
    # Of the six, only (20, 0) has another one of its own model nearest: (10, 0), not (10, 1).
    assert apart(before, before + np.array([[0, 1], [0, 1], [100, 0]])) == pytest.approx(1 / 6)


def test_few_points_get_a_smaller_perplexity(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(10, 4))
    with threadpool_limits(limits=1):
        expected = TSNE(random_state=0, perplexity=3).fit_transform(rows)
    assert np.array_equal(embed(rows, tmp_path / "cache"), expected)
    trials = folder(tmp_path)
    for trial, of in ((trials["zero_shot"], BASE), (trials["ft"], FAR)):
        features(tmp_path, trial, {domain: rows[:8] for domain, rows in of.items()})
    assert "32 points, perplexity 10.3333, seed 0" in build(tmp_path)["md"]


@pytest.mark.parametrize("damage", ["cut", "another number", "another shape", "no JSON"])
def test_embeddings_are_kept_and_a_damaged_one_is_computed_again(damage: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(10, 4))
    calls: list[int] = []

    def compute(points: np.ndarray) -> np.ndarray:
        calls.append(len(points))
        return np.asarray(points[:, :2] / 3)

    settings: dict[str, float | str] = {"perplexity": 3.0, "seed": 0, "scikit-learn": "1.9.1"}
    first = kept(tmp_path, rows, settings, compute)
    assert np.array_equal(kept(tmp_path, rows, settings, compute), first) and calls == [10], "to the last bit"
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    point = json.loads(text)["points"][0]
    path.write_text(
        {
            "cut": text[:-20],
            "another number": text.replace(str(point[0]), str(point[0] + 1e-9)),
            "another shape": text.replace(str(point[1]), f"{point[1]}, 0.0"),
            "no JSON": "\x00",
        }[damage]
    )
    assert np.array_equal(kept(tmp_path, rows, settings, compute), first) and calls == [10, 10]
    assert path.read_text() == text, "mended"
    for other in ({"perplexity": 2.0}, {"seed": 1}, {"scikit-learn": "1.9.2"}):
        kept(tmp_path, rows, settings | other, compute)
    kept(tmp_path, rows + 1e-12, settings, compute)
    assert len(calls) == 6 == len(list(tmp_path.iterdir())) + 1, "anything else is another embedding"


def test_the_view_takes_what_was_kept_and_draws_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    files = build(tmp_path)
    assert len(list((tmp_path / "cache" / "tsne").glob("*.json"))) == 2, "one for each method"
    monkeypatch.setattr("orchestrator.views.tsne._embedding", None)
    assert build(tmp_path) == files
    drawn = EXTRA[NAME].draw(tmp_path)
    assert [(one.section, one.name) for one in drawn] == [("DomainNet, B/16", "FT"), ("DomainNet, B/16", "KD")]
    assert [len(one.figure["data"]) for one in drawn] == [4, 4]


def test_too_few_points_are_a_reason_and_a_bug_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = folder(tmp_path)
    first = next(iter(BASE))
    for trial, of in ((trials["zero_shot"], BASE), (trials["ft"], FAR)):
        features(tmp_path, trial, {first: of[first][:1]})
    assert "kept features of too few images to place in a plane" in build(tmp_path)["md"]

    def broken(*_: object) -> None:
        raise KeyError("no such column")

    monkeypatch.setattr("orchestrator.views.tsne.energy_coordinates", broken)
    with pytest.raises(KeyError):
        build(tmp_path)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("no features", "kept no features: it is of an earlier version, or not one image encoder"),
        ("damaged", "holds no features that can be read"),
        ("no texts", "the model's text encoder cannot read random texts"),
        ("other images", "kept features of other images of real"),
        ("no outcomes", "does not exist; without per-image outcomes"),
        ("no zero-shot", "the zero-shot model on the same images was not run"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, harm: str, reason: str) -> None:
    trials = folder(tmp_path)
    own = {name: Results(tmp_path).trial(trial.id) for name, trial in trials.items()}
    match harm:
        case "no features":
            (own["zero_shot"] / FEATURES_FILE).unlink()
        case "damaged":
            (own["zero_shot"] / FEATURES_FILE).write_bytes(b"\xff" * 40)
        case "no texts":
            features(tmp_path, trials["zero_shot"], BASE, moment=None)
        case "other images":
            features(tmp_path, trials["zero_shot"], {domain: rows[:-1] for domain, rows in BASE.items()})
        case "no outcomes":
            (own["zero_shot"] / "predictions.parquet").unlink()
        case "no zero-shot":
            (own["zero_shot"] / "record.json").unlink()
    files = build(tmp_path)
    lines = [line for line in files["md"].splitlines() if reason in line]
    assert {name for line in lines for name in line[2:].split(": ")[0].split(", ")} == {"FT", "KD"}
    assert files["csv"].count("\n") == 1, "no coordinates"
    assert "Nothing to draw yet" in files["html"] and "<script" not in files["html"]


def test_other_settings_of_the_folder_are_drawn_too(tmp_path: Path) -> None:
    folder(tmp_path, dataset="mine")
    files = build(tmp_path)
    title = "mine, ViT-B-16-quickgelu, fine-tuned on real"
    assert [line for line in files["md"].splitlines() if line.startswith("## ")] == [
        "## DomainNet, B/16",
        "## ImageNet, B/16",
        f"## {title}",
    ]
    assert {line["panel"] for line in csv.DictReader(io.StringIO(files["csv"]))} == {title}
    assert "EMA" in files["md"], "rows of the paper's scenarios stay, with the reason"


def test_without_scikit_learn_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(NotHereError, match=r"^t-SNE needs scikit-learn, .*pip install 'scikit-learn>=1\.6'"):
        build(tmp_path)
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--view", NAME])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "pip install 'scikit-learn" in result.stderr
    assert not (tmp_path / "views").exists()


def test_a_folder_without_features_needs_no_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    make.write(make.folder(), tmp_path)
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--view", NAME])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [
        str(tmp_path / "views" / f"{NAME}.{suffix}") for suffix in ("html", "md", "tex", "csv")
    ]
    assert "not run" in (tmp_path / "views" / f"{NAME}.md").read_text()


def test_the_views_load_neither_ray_nor_torch_and_what_they_need_only_when_made() -> None:
    building = "orchestrator.views.tsne_page orchestrator.views.gallery_page sklearn.manifold"
    assert loaded_after(building, "ray", "torch", "sklearn", "PIL") == ["sklearn", "PIL"]
    assert loaded_after("orchestrator.views", "ray", "torch", "sklearn", "PIL") == []


@pytest.mark.browser
def test_the_page_draws_in_silence_whatever_the_names_are(browser: Any, tmp_path: Path) -> None:
    folder(tmp_path, dataset=HOSTILE, domains=(HOSTILE, "plain"))
    build(tmp_path)
    opened = open_view(browser, tmp_path / "views" / f"{NAME}.html", "html[data-charts=drawn]")
    page = opened.page
    assert opened.texts("figure h3") == ["ft 1: before and after fine-tuning", "kd 2: before and after fine-tuning"]
    assert page.locator(".scatterlayer .points path").count() == 2 * 4 * COUNT
    assert opened.texts(".chart >> nth=0 >> .legendtext")[:2] == [f"{HOSTILE}, zero-shot", f"{HOSTILE}, fine-tuned"]
    assert page.locator("img").count() == 0
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector(".legendtext[style*='rgb(232, 232, 228)']")  # the theme's ink
    quiet_and_closed(opened)
