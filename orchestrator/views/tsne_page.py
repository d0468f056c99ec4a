"""The view of t-SNE embeddings: a page with plotly figures, tables of numbers, coordinates as CSV. No ray, no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.records import Results, load_plans, load_records, write_atomic
from orchestrator.report.drawing import COLOURS, SYMBOLS, Figure, add, escape_html, make_room, new_figure
from orchestrator.report.export import escape as markdown_escape
from orchestrator.report.offline import environment, policy, scripts
from orchestrator.views.catalog import shipped
from orchestrator.views.drawing import Drawn
from orchestrator.views.extra import ExtraView, NotHereError
from orchestrator.views.latex import document, items, latex_escape
from orchestrator.views.match import Trials
from orchestrator.views.page import CLOSED, HERE, SCRIPTS, chart
from orchestrator.views.text import markdown_line
from orchestrator.views.tsne import PERPLEXITY, SEED, Domain, Line, Section, perplexity, sections

ROWS_OF = "lipsum-table-1"
"""The view whose panels and methods are drawn."""
CSV_COLUMNS = ("view", "panel", "row", "seed", "trial", "zero_shot_trial", "domain", "key", "model", "x", "y")
"""One row for each point; model: zero-shot or fine-tuned."""
BEFORE, AFTER = "zero-shot", "fine-tuned"


def build(results: Path, into: Path, view: ExtraView) -> list[Path]:
    """Write the view's four files into `into`. Raises NotHereError without scikit-learn, ValueError for an unreadable plan."""
    found = _sections(results, view.name)
    texts = {
        "html": html_text(view, found),
        "md": markdown(view, found),
        "tex": latex(view, found),
        "csv": csv_text(view, found),
    }
    paths = [into / f"{view.name}.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomic(path, text)
    return paths


def figures(results: Path, name: str) -> list[Drawn]:
    """One for each method that has something to show. Raises as `build`."""
    return [_drawn(section, line) for section in _sections(results, name) for line in section.lines if line.domains]


def _drawn(section: Section, line: Line) -> Drawn:
    return Drawn(section.title, line.title, "before and after fine-tuning", _about(line), _figure(line))


def _sections(results: Path, name: str) -> list[Section]:
    rows = shipped()[0].get(ROWS_OF)
    if rows is None:
        raise NotHereError(f"{name} shows the methods of {ROWS_OF}, whose file in orchestrator/views/papers is wrong")
    folder = Results(results)
    return list(sections(folder, Trials(load_plans(folder), load_records(folder)), rows))


def legend(view: ExtraView) -> list[str]:
    """What a reader has to know."""
    return [
        f"Published: {view.source}: a figure whose coordinates are not in the paper's text.",
        f"Ours filled by: {', '.join(view.benchmarks)} (benchmarks.yaml). Nothing is drawn where a method was not run.",
        "One point for each of the first 100 test images of a domain under each model: its energies with 10,000 random texts, "
        f"in two dimensions by t-SNE (scikit-learn's defaults, perplexity {PERPLEXITY:g}, as in the paper; random state {SEED}). "
        "Each picture is an embedding of its own, of both models and all domains together; its axes have no unit, and distances "
        "between far groups mean little.",
        "Energy gap: mean squared difference of energies between the two models over these images, without a temperature. Apart: "
        "share of the energy vectors of a domain, both models' together, whose nearest other one is of the same model. 0: every "
        "image stays nearest to itself; 1: the two models' vectors do not mix. Both are computed from energies, not from the "
        "picture, and are not in the paper.",
    ]


def html_text(view: ExtraView, found: Sequence[Section]) -> str:
    """The page: its policy allows its own scripts, by their hash, and no request; all text is escaped."""
    drawn = any(line.domains for section in found for line in section.lines)
    embedded_scripts = scripts(SCRIPTS) if drawn else []
    return (
        environment(HERE)
        .get_template("tsne.html.j2")
        .render(
            title=view.title,
            legend=legend(view),
            policy=policy(embedded_scripts) if drawn else CLOSED,
            scripts=embedded_scripts,
            sections=[
                {
                    "title": section.title,
                    "head": _head(section),
                    "rows": list(_rows(section)),
                    "figures": [chart(_drawn(section, line)) for line in section.lines if line.domains],
                    "holes": list(_holes(section)),
                }
                for section in found
            ],
        )
    )


def _figure(line: Line) -> Figure:
    """Open symbols are the zero-shot model's, filled ones the fine-tuned model's; colour and symbol are the domain's."""
    figure = new_figure("", "")
    axis = {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure["layout"]["xaxis"] |= axis
    figure["layout"]["yaxis"] |= {**axis, "scaleanchor": "x"}
    figure["layout"]["margin"] = dict.fromkeys("lrtb", 12)
    for index, domain in enumerate(line.domains):
        colour, symbol = COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]
        for model, points, suffix in ((BEFORE, domain.before, "-open"), (AFTER, domain.after, "")):
            name = f"{escape_html(domain.name)}, {model}"
            add(
                figure,
                x=[round(float(x), 3) for x in points[:, 0]],
                y=[round(float(y), 3) for y in points[:, 1]],
                mode="markers",
                name=name,
                marker={"color": colour, "symbol": symbol + suffix, "size": 7, "opacity": 0.8},
                hoverinfo="text",
                hovertext=[f"{escape_html(key)}<br>{name}" for key in domain.keys],
            )
    make_room(figure)
    return figure


def _about(line: Line) -> str:
    count = sum(len(domain.before) + len(domain.after) for domain in line.domains)
    fewer = f", perplexity {perplexity(count):g}" if perplexity(count) < PERPLEXITY else ""
    return f"{count} points{fewer}, seed {line.seed}: {line.trial} and {line.zero_shot}"


def _remarks(section: Section) -> Iterator[tuple[str, str]]:
    """(rows, what to know about them): what is drawn, then what is not, and why."""
    yield from ((line.title, _about(line)) for line in section.lines if line.domains)
    yield from _holes(section)


def _holes(section: Section) -> Iterator[tuple[str, str]]:
    """(rows, why they have no picture), one for each reason."""
    for why in dict.fromkeys(line.why for line in section.lines if not line.domains):
        yield ", ".join(line.title for line in section.lines if not line.domains and line.why == why), why


def _head(section: Section) -> list[str]:
    names = dict.fromkeys(domain.name for line in section.lines for domain in line.domains)
    return ["method", *(f"{name} {what}" for name in names for what in ("energy gap", "apart"))]


def _rows(section: Section) -> Iterator[list[str]]:
    """Cells as text, '' where there is nothing."""
    names = dict.fromkeys(domain.name for line in section.lines for domain in line.domains)
    for line in section.lines if names else ():
        by_name = {domain.name: domain for domain in line.domains}
        yield [line.title, *(text for name in names for text in _cells(by_name.get(name)))]


def _cells(domain: Domain | None) -> tuple[str, str]:
    return ("", "") if domain is None else (f"{domain.energy_gap:.2e}", f"{domain.apart:.2f}")


def markdown(view: ExtraView, found: Sequence[Section]) -> str:
    """The tables in GitHub's Markdown."""
    lines = [f"# {markdown_escape(view.title)}", "", *(f"- {markdown_escape(text)}" for text in legend(view))]
    for section in found:
        head = _head(section)
        lines += ["", f"## {markdown_escape(section.title)}", ""]
        if len(head) > 1:
            lines += [
                markdown_line(head),
                "|:--|" + "--:|" * (len(head) - 1),
                *map(markdown_line, _rows(section)),
                "",
            ]
        lines += [f"- {markdown_escape(row)}: {markdown_escape(text)}" for row, text in _remarks(section)]
    return "\n".join(lines) + "\n"


def latex(view: ExtraView, found: Sequence[Section]) -> str:
    """A document of its own, of booktabs tables."""
    lines = list[str]()
    for section in found:
        lines += ["", rf"\subsection*{{{latex_escape(section.title)}}}", *_tabular(section)]
        lines += items([f"{row}: {text}" for row, text in _remarks(section)])
    return document(view.title, legend(view), lines)


def _tabular(section: Section) -> list[str]:
    head = _head(section)
    if len(head) == 1:
        return []
    return [
        r"\noindent\fitted{%",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(map(latex_escape, head)) + r" \\",
        r"\midrule",
        *(" & ".join(map(latex_escape, row)) + r" \\" for row in _rows(section)),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def csv_text(view: ExtraView, found: Sequence[Section]) -> str:
    """The coordinates of every point."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for section in found:
        for line in section.lines:
            head = [view.name, section.title, line.title, line.seed, line.trial, line.zero_shot]
            for domain in line.domains:
                for model, points in ((BEFORE, domain.before), (AFTER, domain.after)):
                    for key, (x, y) in zip(domain.keys, points.tolist(), strict=True):
                        writer.writerow([*head, domain.name, key, model, repr(x), repr(y)])
    return file.getvalue()
