"""The gallery in Markdown and LaTeX, whose pictures are files in a folder of the view's name beside them. No ray, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.report.export import escape as markdown_escape
from orchestrator.views.extra import ExtraView
from orchestrator.views.gallery import Dataset, Example, Row
from orchestrator.views.latex import document, items, latex_escape

WIDTH = "18mm"
"""Of a picture in LaTeX; a table that is too wide for the page is made smaller as a whole."""

Missing = Sequence[tuple[str, str]]
"""(name, reason) of datasets that cannot be shown."""


def legend(view: ExtraView) -> list[str]:
    """What the pictures are."""
    return [
        f"Published: {view.source}.",
        "Ours: the datasets that this folder's benchmarks are about, from their prepared shards. In the paper's scenarios: "
        f"{', '.join(view.benchmarks)} (benchmarks.yaml).",
        "The first stored image of each class, test split where there is one, reduced; the same classes in every domain, those "
        f"that all domains have, spread evenly over the list of classes. {view.name}.csv has the keys of the images.",
    ]


def facts(dataset: Dataset) -> str:
    """Which data these are."""
    return f"{dataset.attestation}. Source: {dataset.source}. Licence: {dataset.license}."


def images(row: Row) -> str:
    """'591 test images'."""
    return f"{row.num_images:,} {row.split} images"


def pictures(found: Sequence[Dataset]) -> dict[str, bytes]:
    """File name -> JPEG of every picture; the names are numbers, as names of domains and classes may be anything."""
    return {
        _file(number, place, at): example.jpeg
        for number, dataset in enumerate(found)
        for place, row in enumerate(dataset.rows)
        for at, example in enumerate(row.examples)
        if example.jpeg
    }


def markdown(view: ExtraView, found: Sequence[Dataset], missing: Missing) -> str:
    """Tables of pictures in GitHub's Markdown."""

    def cell(example: Example, domain: str, file: str) -> str:
        if not example.jpeg:
            return markdown_escape(example.why)
        return f"![{markdown_escape(f'{example.classname}, {domain}')}]({view.name}/{file})"

    lines = [f"# {markdown_escape(view.title)}", "", *(f"- {markdown_escape(text)}" for text in legend(view))]
    for number, dataset in enumerate(found):
        names = [example.classname for example in dataset.rows[0].examples]
        lines += ["", f"## {markdown_escape(dataset.title)}", "", markdown_escape(facts(dataset)), ""]
        lines.append(_line(["domain", *map(markdown_escape, names)]))
        lines.append("|:--|" + ":-:|" * len(names))
        for row, files in _rows(dataset, number):
            cells = [cell(example, row.domain, file) for example, file in zip(row.examples, files, strict=True)]
            lines.append(_line([markdown_escape(f"{row.domain}: {images(row)}"), *cells]))
    if missing:
        lines += ["", "## Not shown", ""]
    lines += [f"- {markdown_escape(name)}: {markdown_escape(why)}" for name, why in missing]
    return "\n".join(lines) + "\n"


def latex(view: ExtraView, found: Sequence[Dataset], missing: Missing) -> str:
    """A document of its own, to be compiled in the folder that it lies in."""

    def cell(example: Example, file: str) -> str:
        if not example.jpeg:
            return rf"\parbox{{{WIDTH}}}{{\tiny\raggedright {latex_escape(example.why)}}}"
        return rf"\raisebox{{-.5\height}}{{\includegraphics[width={WIDTH}]{{{view.name}/{file}}}}}"

    lines = list[str]()
    for number, dataset in enumerate(found):
        names = [example.classname for example in dataset.rows[0].examples]
        body = [
            " & ".join([latex_escape(f"{row.domain}: {images(row)}"), *map(cell, row.examples, files)]) + r" \\[1ex]"
            for row, files in _rows(dataset, number)
        ]
        lines += [
            *("", rf"\subsection*{{{latex_escape(dataset.title)}}}"),
            *(rf"\noindent {latex_escape(facts(dataset))}\par\medskip", r"\noindent\fitted{%"),
            *(rf"\begin{{tabular}}{{l{'c' * len(names)}}}", r"\toprule"),
            " & ".join(map(latex_escape, ["domain", *names])) + r" \\",
            *(r"\midrule", *body, r"\bottomrule", r"\end{tabular}}"),
        ]
    if missing:
        lines += ["", r"\subsection*{Not shown}", *items([f"{name}: {why}" for name, why in missing])]
    return document(view.title, legend(view), lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rows(dataset: Dataset, number: int) -> Iterator[tuple[Row, list[str]]]:
    """The domains with the names of their pictures' files."""
    for place, row in enumerate(dataset.rows):
        yield row, [_file(number, place, at) for at in range(len(row.examples))]


def _file(dataset: int, domain: int, place: int) -> str:
    return f"{dataset + 1}-{domain + 1}-{place + 1}.jpg"
