"""The view of example images: one page with all thumbnails in it, a CSV of what it shows, and the texts. No ray, no torch."""

from __future__ import annotations

import csv
import io
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from datasets import DatasetError
from orchestrator.records import Results, load_plans, write_atomic
from orchestrator.views.drawing import Drawn
from orchestrator.views.extra import ExtraView, NotHereError
from orchestrator.views.gallery import Dataset, load, wanted
from orchestrator.views.gallery_sheet import contact_sheet
from orchestrator.views.gallery_text import facts, images, latex, legend, markdown, pictures

CSV_COLUMNS = ("view", "dataset", "domain", "split", "class", "key", "reason")
"""One row for each place of the gallery; `reason`: why it is empty."""


def build(results: Path, into: Path, view: ExtraView) -> list[Path]:
    """Write the view's page, its texts and the pictures of the texts into `into`; returns the paths of all but the pictures.

    Raises NotHereError if no data of the folder's plans can be read from here, ValueError for an unreadable plan.
    """
    found, missing = _datasets(results, view)
    _write_pictures(into / view.name, pictures(found))
    texts = {
        "html": html_text(view, found, missing),
        "md": markdown(view, found, missing),
        "tex": latex(view, found, missing),
        "csv": csv_text(view, found),
    }
    paths = [into / f"{view.name}.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomic(path, text)
    return paths


def _write_pictures(folder: Path, named: dict[str, bytes]) -> None:
    """And remove those of an earlier call that showed more."""
    for name, jpeg in named.items():
        write_atomic(folder / name, jpeg)
    for path in folder.glob("*.jpg"):
        if path.name not in named:
            path.unlink()


def figures(results: Path, view: ExtraView) -> list[Drawn]:
    """A contact sheet for each dataset. Raises as `build`."""
    found, _ = _datasets(results, view)
    return [
        Drawn(
            dataset.title,
            "",
            view.title,
            f"Source: {dataset.source}. Licence: {dataset.license}.",
            contact_sheet(dataset),
        )
        for dataset in found
    ]


def _datasets(results: Path, view: ExtraView) -> tuple[list[Dataset], list[tuple[str, str]]]:
    """What can be shown, and (name, reason) of what cannot; two contents may have one name."""
    found: list[Dataset] = []
    missing: list[tuple[str, str]] = []
    for dataset in wanted(load_plans(Results(results))):
        try:
            found.append(load(dataset))
        except (DatasetError, OSError, ValueError) as error:
            missing.append((dataset.name, " ".join(str(error).split())))
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing)
        raise NotHereError(
            f"{view.name} shows images of the prepared datasets, and none can be read from here: "
            f"{reasons or f'{results} has no plans, which say where they lie'}; make it where the sweep ran"
        )
    return found, missing


def html_text(view: ExtraView, found: Sequence[Dataset], missing: Sequence[tuple[str, str]]) -> str:
    """The page. All text is escaped, and its policy allows neither scripts nor requests."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(base64=lambda data: b64encode(data).decode(), facts=facts, images=images)
    template = environment.get_template("gallery.html.j2")
    return template.render(view=view, legend=legend(view), datasets=found, missing=missing)


def csv_text(view: ExtraView, found: Sequence[Dataset]) -> str:
    """Which image stands where."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for dataset in found:
        for row in dataset.rows:
            for example in row.examples:
                place = [view.name, dataset.name, row.domain, row.split]
                writer.writerow([*place, example.classname, example.key, example.why])
    return file.getvalue()
