"""Every view's LaTeX compiles with a plain pdflatex, whatever names are in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.records import Results
from orchestrator.views import views
from orchestrator.views.join import FilledPanel, FilledView, Line, load
from orchestrator.views.latex import latex, latex_escape
from tests.orchestrator import view_factory as make

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="no pdflatex here: apt-get install texlive-latex-base texlive-latex-recommended",
)
NAMES = (
    r"_&%#{}\~^<>|$[]\"`'",
    r"\input{/etc/passwd} \end{document} \\[1em]",
    "±\u2212\u03b1 Ω ςé üñçœ 中文 🙂 \u200b\ufb01 \u00a0\t\n\r\x00\x1b",
    "".join(map(chr, range(0x20, 0x500))),
    "[x] & y -- z --- ,, '' `` << >> ?` !`",
    "",
)


def compile_latex(text: str, folder: Path) -> None:
    """Fails the test if pdflatex stops, or makes no page of it."""
    (folder / "view.tex").write_text(text, encoding="ascii")
    # Without fonts and a PDF: those are made from bitmaps where scalable ones are not installed, which takes long.
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "view.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert "No pages of output" not in said
    assert r"Overfull \vbox" not in said, "rows fall off the page"


def hostile(filled: FilledView, name: str) -> FilledView:
    """A view with the name at every place that has one."""

    def of_line(line: Line) -> Line:
        cells = tuple(replace(cell, differences=(name,)) for cell in line.cells)
        return replace(line, row=replace(line.row, title=name), cells=cells, differences=(name,), remarks=(name,))

    def of_panel(panel: FilledPanel) -> FilledPanel:
        columns = tuple(replace(column, title=name) for column in panel.panel.columns)
        changed = replace(panel.panel, title=name, columns=columns)
        return replace(panel, panel=changed, lines=tuple(map(of_line, panel.lines)), notes=(name,))

    view = replace(filled.view, title=name, source=name, notes=(name,), benchmarks=(name,))
    return replace(filled, view=view, panels=tuple(map(of_panel, filled.panels)))


def with_ours(root: Path) -> FilledView:
    results = make.folder()
    for seed in range(2):
        make.done(results, make.trial(results, "car_ft", seed, make.CAR_FT), (89.0, 60.0, 67.0 + seed, 44.0, 55.0))
    return load(Results(make.write(results, root))).fill(views()["lipsum-table-3"])


def body(text: str) -> str:
    return text.partition("\\begin{document}\n")[2].partition("\\end{document}")[0]


@needs_latex
def test_every_view_compiles(tmp_path: Path) -> None:
    """All in one run: their preambles are the same, and a body that compiles among others does so alone."""
    joiner = load(Results(tmp_path))
    texts = [latex(joiner.fill(view)) for view in views().values()]
    preambles = {text.partition(r"\begin{document}")[0] for text in texts}
    assert len(preambles) == 1
    pages = [f"{body(text)}\\clearpage\n" for text in texts]
    whole = "".join([*preambles, "\\begin{document}\n", *pages, "\\end{document}\n"])
    assert whole.count(r"\begin{tabular}") == sum(len(view.panels) for view in views().values())
    compile_latex(whole, tmp_path)


@needs_latex
def test_a_view_with_our_numbers_and_hostile_names_compiles(tmp_path: Path) -> None:
    filled = with_ours(tmp_path / "results")
    compile_latex(latex(filled), tmp_path)
    texts = [latex(hostile(filled, name)) for name in NAMES]
    whole = "".join([texts[0].partition(r"\begin{document}")[0], "\\begin{document}\n", *map(body, texts)])
    compile_latex(f"{whole}\\end{{document}}\n", tmp_path)


@needs_latex
def test_a_document_that_does_not_compile_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Undefined control sequence"):
        compile_latex(latex(with_ours(tmp_path / "results")).replace(r"\toprule", r"\notoprule"), tmp_path)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_what_is_escaped_is_one_line_of_ascii(name: str) -> None:
    text = latex_escape(name)
    assert text.isascii() and text.isprintable()
    assert not re.search(r"(?<!\\)[%#&_]", re.sub(r"\\\\", "", text))


def test_letters_that_latex_has_are_those() -> None:
    assert latex_escape("\u03b1 = 0.5 ± 1 \u2212 2") == r"$\alpha$ = 0.5 $\pm$ 1 $-$ 2"
    assert latex_escape("Ω Ünï ça Erdős Škoda") == r"$\Omega$ \"{U}n\"{i} \c{c}a Erd\H{o}s \v{S}koda"
    assert latex_escape("--cache, 'x'' ,,") == r"-{}-cache, 'x'{}' ,{},"
    assert latex_escape("中 \u0391") == "(U+4E2D) (U+0391)", "a capital alpha has no command"
