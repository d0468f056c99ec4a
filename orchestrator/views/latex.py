"""A filled view as a LaTeX document that compiles with a plain pdflatex, whatever names are in it. No ray, no torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from orchestrator.report.numbers import MINUS
from orchestrator.views.join import FilledPanel, FilledView
from orchestrator.views.text import facts, flat, legend, parts, remarks

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "{}$&#%_"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    **{
        MINUS: "$-$",
        "±": r"$\pm$",
        "\u00d7": r"$\times$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "→": r"$\to$",
        "·": r"$\cdot$",
    },
    **{"\u2013": "--", "\u2014": "---", "…": r"\ldots{}", "°": r"$^\circ$", "ß": r"\ss{}", "ø": r"\o{}", "æ": r"\ae{}"},
    **{"\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''"},
}
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328", "`'^~=u.\"rHvck", strict=True)
)
"""combining character -> the command that sets it over (or under) a letter"""
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu", "xi"),
    *("pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
)
_GREEK_CAPITALS = ("gamma", "delta", "theta", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
"""the others look like Latin letters and have no command"""


FITTED = (
    r"\newcommand{\fitted}[1]{\sbox0{#1}%",
    r"  \ifdim\wd0>\textwidth\sbox0{\resizebox{\textwidth}{!}{\usebox0}}\fi",
    r"  \ifdim\dimexpr\ht0+\dp0\relax>.9\textheight\sbox0{\resizebox*{!}{.9\textheight}{\usebox0}}\fi",
    r"  \usebox0}",
)
"""A table as it is, or made smaller until the page holds it; never larger, or rows would fall off the page."""


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it is, in one line of ASCII: what has no command here is printed as its code point."""
    line = " ".join(text.split())
    # Two of these in a row would become one character: a dash, a closing quotation mark, a low one.
    return "{}".join(_characters(part) for part in re.split("(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)", line))


def _characters(text: str) -> str:
    return "".join(_SPECIAL.get(c) or (c if " " <= c <= "~" else _other(c)) for c in text)


def _other(character: str) -> str:
    """An accented Latin letter, a Greek one, or the code point."""
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return rf"\{_ACCENTS[marks[0]]}{{{letter}}}"
    case, _, name = unicodedata.name(character, "").lower().removeprefix("greek ").partition(" letter ")
    if (case, name in _GREEK) == ("small", True):
        return rf"$\{name}$"
    if (case, name in _GREEK_CAPITALS) == ("capital", True):
        return rf"$\{name.capitalize()}$"
    return f"(U+{ord(character):04X})"


def latex(filled: FilledView) -> str:
    """A document of its own, of booktabs tables; each tabular can be taken into another."""
    body = [line for panel in filled.panels for line in _latex_panel(panel)]
    return document(filled.view.title, legend(filled), body)


def document(title: str, notes: Sequence[str], body: Iterable[str]) -> str:
    """A document with a title, notes as a list and a body that is LaTeX already."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[a4paper,landscape,margin=15mm]{geometry}",
        r"\usepackage{booktabs}",
        r"\usepackage{graphicx}",
        *FITTED,
        r"\begin{document}",
        rf"\section*{{{latex_escape(title)}}}",
        *items(notes),
        *body,
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def items(texts: Sequence[str]) -> list[str]:
    """A list, an item for each text; nothing for no texts."""
    return (
        [r"\begin{itemize}", *(rf"\item {{}}{latex_escape(text)}" for text in texts), r"\end{itemize}"] if texts else []
    )


def _latex_panel(panel: FilledPanel) -> list[str]:
    columns = panel.panel.columns
    own = parts(panel)
    width = len(own)
    heads = [rf"\multicolumn{{{width}}}{{c}}{{{latex_escape(c.title)}}}" for c in columns]
    rules = [rf"\cmidrule(lr){{{2 + width * i}-{1 + width * (i + 1)}}}" for i in range(len(columns))]
    names = [latex_escape(part) for _ in columns for part in own]
    body = [" & ".join(map(latex_escape, [line.row.title, *flat(line, panel)])) + r" \\" for line in panel.lines]
    return [
        "",
        rf"\subsection*{{{latex_escape(panel.panel.title)}}}",
        rf"\noindent {latex_escape(' '.join(facts(panel)))}\par\medskip",
        r"\noindent\fitted{%",
        rf"\begin{{tabular}}{{l{'r' * width * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *heads]) + r" \\",
        "".join(rules),
        " & ".join(["method", *names]) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        *items([f"{row}: {text}" for row, text in remarks(panel)]),
    ]
