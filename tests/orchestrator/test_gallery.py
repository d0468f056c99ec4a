"""The gallery of example images: the right pictures in the right places, or why there are none."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets.prepared import Prepared, file_sha256, open_prepared
from orchestrator.cli import app
from orchestrator.records import Results, load_plans, write_plan
from orchestrator.spec import BenchmarkPlan
from orchestrator.views.extra import EXTRA, NotHereError
from orchestrator.views.gallery import NUM_CLASSES, SIDE, choose, load, thumbnail, wanted
from orchestrator.views.gallery_text import latex, markdown
from tests.datasets.conftest import cache, server  # noqa: F401
from tests.datasets.faulty_server import FaultyServer
from tests.orchestrator.page_browser import HOSTILE
from tests.orchestrator.test_views_latex import NAMES, compile_latex, needs_latex
from tests.orchestrator.trials import planned
from tests.orchestrator.view_browser import open_view, quiet_and_closed

NAME = "lipsum-figure-16"
IMAGE = re.compile(
    r'<img width="(\d+)" height="(\d+)" alt="([^"]*)" title="([^"]*)" src="data:image/jpeg;base64,([^"]*)">'
)


def folder(root: Path, config: Path, *prepared: Prepared) -> Path:
    """A folder of results with a plan about each dataset."""
    for number, found in enumerate(prepared):
        trial = planned(found, config, "zero_shot")
        plan = BenchmarkPlan(
            benchmark=f"bench_{number}",
            manifest="",
            dataset=found.name,
            dataset_title=found.title,
            domains=("disc", "box", "ring"),
            trials=(trial,),
        )
        write_plan(Results(root), plan)
    return root


def build(root: Path) -> tuple[str, list[str]]:
    html, *_, table = written = EXTRA[NAME].build(root, root / "views")
    assert [path.name for path in written] == [f"{NAME}.{suffix}" for suffix in ("html", "md", "tex", "csv")]
    return html.read_text(), table.read_text().splitlines()


def copied(prepared: Prepared, to: Path, **changes: object) -> Prepared:
    """The dataset once more, with other words in its dataset.json."""
    shutil.copytree(prepared.root, to)
    content = json.loads((to / "dataset.json").read_text())
    (to / "dataset.json").write_text(json.dumps(content | changes))
    return open_prepared(to)


def stored(prepared: Prepared) -> dict[str, Image.Image]:
    """All test images by key, read as any tar is."""
    found = {}
    for path in Path(prepared.root).glob("*/test-*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".png"):
                    data = archive.extractfile(member).read()  # type: ignore[union-attr]
                    found[f"{path.parent.name}/{member.name[:-4]}"] = Image.open(io.BytesIO(data)).convert("RGB")
    return found


def test_each_place_shows_the_shards_own_picture(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    html, table = build(folder(tmp_path, tiny_config, blobs))
    assert build(tmp_path) == (html, table), "the same data give the same bytes"
    places = IMAGE.findall(html)
    assert [alt for _, _, alt, _, _ in places] == [
        f"{colour}, {domain}" for domain in ("disc", "box", "ring") for colour in ("red", "green", "blue")
    ]
    everything = stored(blobs)
    assert len(everything) == 36
    for width, height, alt, key, data in places:
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (picture.format, picture.size) == ("JPEG", (int(width), int(height)))
        shown = np.asarray(picture, float)
        errors = {name: np.abs(np.asarray(image, float) - shown).mean() for name, image in everything.items()}
        assert min(errors, key=errors.__getitem__) == key, "no other picture is as close"
        colour, domain = alt.split(", ")
        assert key.split("/")[0] == domain
        assert ["red", "green", "blue"].index(colour) == int(key[-4:]) % 3, "labels of this dataset go in turn"
        assert int(key[-4:]) < 3, "the first of its class"
    assert table[:2] == ["view,dataset,domain,split,class,key,reason", f"{NAME},blobs,disc,test,red,{places[0][3]},"]
    assert len(table) == 10
    assert blobs.attestation in html


def test_classes_that_all_domains_have_spread_over_the_list(blobs: Prepared) -> None:
    def counts(*missing: int) -> dict[str, list[int]]:
        return {"test": [0 if label in missing else 5 for label in range(40)]}

    names = tuple(f"class {label}" for label in range(40))
    splits = dict.fromkeys(("disc", "box"), "test")
    many = replace(blobs, classnames=names, counts={"disc": counts(0, 1), "box": counts(39)})
    chosen = choose(many, splits)
    assert len(chosen) == NUM_CLASSES
    assert chosen[0] == 2
    assert chosen[-1] > 25
    assert not {0, 1, 39} & set(chosen)
    fifteen = replace(many, counts={domain: counts(*range(15, 40)) for domain in splits})
    assert choose(fifteen, splits) == [0, 1, 3, 5, 7, 9, 11, 13], "from the whole list, not from its first half"
    # The images of a group of classes are stored under its first label: class 3 is there as class 2 is.
    grouped = replace(many, counts={"disc": counts(3), "box": counts(*range(4, 40))}, groups={"disc": ((2, 3),)})
    assert choose(grouped, splits) == [0, 1, 2, 3]
    nothing_common = replace(many, counts={"disc": counts(*range(5)), "box": counts(*range(5, 40))})
    assert choose(nothing_common, splits), "some class of some domain is better than none"


def test_two_contents_of_one_name_are_both_named_where_they_are_not(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    both = [copied(blobs, tmp_path / f"data/{name}", classnames=[name, "b", "c"]) for name in ("one", "two")]
    root = folder(tmp_path / "results", tiny_config, *both)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(NotHereError) as caught:
        build(root)
    assert all(f"{tmp_path}/data/{name}" in str(caught.value) for name in ("one", "two")), caught.value


def test_a_thumbnail_is_small_and_holds_nothing_but_the_picture() -> None:
    image = Image.effect_noise((3000, 400), 60).convert("RGBA")
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    image.convert("RGB").save(file, "JPEG", exif=exif, comment="secret comment", icc_profile=b"secret profile")
    assert file.getvalue().count(b"secret") == 3
    data, size = thumbnail(file.getvalue())
    assert size == (SIDE, round(SIDE * 400 / 3000))
    assert b"secret" not in data
    assert len(data) < 8_000
    with pytest.raises(OSError, match="cannot identify image"):
        thumbnail(b"no image")


def test_a_picture_that_cannot_be_read_is_said_in_its_place(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    own = copied(blobs, tmp_path / "data" / "blobs")
    shard = next((tmp_path / "data/blobs/box").glob("test-*.tar"))
    with tarfile.open(shard) as archive:
        first = next(member for member in archive if member.name.endswith(".png"))
    content = bytearray(shard.read_bytes())
    content[first.offset_data : first.offset_data + first.size] = bytes(first.size)
    before = file_sha256(shard)
    shard.write_bytes(content)
    facts = Path(own.root) / "dataset.json"
    facts.write_text(facts.read_text().replace(before, file_sha256(shard)))  # else the whole shard counts as damaged
    html, table = build(folder(tmp_path / "results", tiny_config, open_prepared(own.root)))
    assert len(IMAGE.findall(html)) == 8
    (line,) = [line for line in table if "cannot be read" in line]
    assert line.startswith(f"{NAME},blobs,box,test,red,box/{first.name[:-4]},")


def test_data_that_are_not_here_are_named(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    gone = copied(blobs, tmp_path / "gone", name="other")
    results = folder(tmp_path / "results", tiny_config, gone, blobs)
    shutil.rmtree(gone.root)
    html, _ = build(results)
    assert len(IMAGE.findall(html)) == 9
    assert f"<b>other</b>: no prepared dataset in {gone.root}" in html

    alone = folder(tmp_path / "alone", tiny_config, gone)
    result = CliRunner().invoke(app, ["report", str(alone), "--view", NAME])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"none can be read from here: other: no prepared dataset in {gone.root}" in result.stderr
    assert "make it where the sweep ran" in result.stderr
    assert not (alone / "views").exists()

    copied(blobs, tmp_path / "gone", name="other", revision="2")
    with pytest.raises(NotHereError, match=r"has other data \(content [0-9a-f]{12}, the trials' is [0-9a-f]{12}\)"):
        build(alone)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotHereError, match="has no plans, which say where they lie"):
        build(tmp_path / "empty")


def test_data_behind_a_server_are_shown_as_those_of_a_folder(
    server: FaultyServer,  # noqa: F811
    blobs: Prepared,
    tiny_config: Path,
    tmp_path: Path,
) -> None:
    html, table = build(folder(tmp_path / "there", tiny_config, open_prepared(f"{server.url}/blobs")))
    assert (html, table) == build(folder(tmp_path / "here", tiny_config, blobs))
    fetched = [path for path in server.requests if path.endswith(".tar")]
    assert sorted(fetched) == [f"blobs/{domain}/test-000000.tar" for domain in ("box", "disc", "ring")]


def test_all_views_are_made_without_it_where_the_data_are_not(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--view", "all"])
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("\n") == 1
    assert "left out" in result.stderr
    assert NAME in result.stderr
    names = {Path(line).stem for line in result.stdout.splitlines()}
    assert {"lipsum-table-1", "lipsum-figure-15"} <= names
    assert NAME not in names


def shown_pictures(html: str) -> list[bytes]:
    return [base64.b64decode(data) for *_, data in IMAGE.findall(html)]


def test_markdown_and_latex_show_the_same_pictures(blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    html, _ = build(folder(tmp_path, tiny_config, blobs))
    views = tmp_path / "views"
    text, document = ((views / f"{NAME}.{suffix}").read_text() for suffix in ("md", "tex"))
    markup = re.findall(rf"!\[(.*?)\]\(({NAME}/.*?)\)", text)
    assert [alt for alt, _ in markup] == [alt for _, _, alt, _, _ in IMAGE.findall(html)]
    assert [(views / path).read_bytes() for _, path in markup] == shown_pictures(html)
    assert re.findall(r"includegraphics\[.*?\]{(.*?)}", document) == [path for _, path in markup]
    assert blobs.attestation in text and len(list((views / NAME).iterdir())) == 9
    # Of two datasets there are twice as many; when there is one again, none of them is left.
    build(folder(tmp_path, tiny_config, blobs, copied(blobs, tmp_path / "more", name="more", revision="2")))
    assert len(list((views / NAME).iterdir())) == 18
    (tmp_path / "plans" / "bench_1.json").unlink()
    build(tmp_path)
    assert len(list((views / NAME).iterdir())) == 9


@needs_latex
def test_its_latex_compiles_with_hostile_names_and_empty_places(
    blobs: Prepared, tiny_config: Path, tmp_path: Path
) -> None:
    hostile = copied(blobs, tmp_path / "data", classnames=list(NAMES[:3]), title=NAMES[1], license=NAMES[0])
    view = EXTRA[NAME]
    build(folder(tmp_path / "results", tiny_config, hostile))
    views = tmp_path / "results" / "views"
    compile_latex((views / f"{NAME}.tex").read_text(), views)
    [dataset] = [load(dataset) for dataset in wanted(load_plans(Results(tmp_path / "results")))]
    empty = [replace(example, jpeg=b"", why=NAMES[0]) for example in dataset.rows[0].examples]
    without = replace(dataset, rows=(replace(dataset.rows[0], examples=tuple(empty)), *dataset.rows[1:]))
    compile_latex(latex(view, [without], [(NAMES[1], NAMES[0])]), views)
    assert "## Not shown" in markdown(view, [without], [("other", "it is gone")])


@pytest.mark.browser
def test_hostile_names_are_text(browser: Any, blobs: Prepared, tiny_config: Path, tmp_path: Path) -> None:
    names = [HOSTILE, '" onmouseover="alert(2)', "</td></table><script>alert(3)</script>"]
    hostile = copied(blobs, tmp_path / "data", classnames=names, title=HOSTILE, license=HOSTILE, source=HOSTILE)
    root = folder(tmp_path / "results", tiny_config, hostile)
    build(root)
    opened = open_view(browser, root / "views" / f"{NAME}.html", "tbody tr:nth-child(3)")
    assert opened.texts("thead th") == ["domain", *names]
    assert opened.texts("h2") == [HOSTILE]
    widths = opened.page.locator("img").evaluate_all("images => images.map(i => i.complete && i.naturalWidth)")
    assert widths == [36] * 9, "all pictures are drawn"
    opened.page.locator("img").nth(1).hover()
    quiet_and_closed(opened)
