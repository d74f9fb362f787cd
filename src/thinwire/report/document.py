"""A page of figures, tables and words that needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from thinwire.report.drawing import DARK, turn
from thinwire.report.grid import Grid

NUMBER = 12
"""Letters that a number, a status or a short name fits into."""
_ID = re.compile(r'\bid="([^"]+)"')
_USE = re.compile(r'((?:href="#)|(?:url\(#))([^")]+)')
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_COLOUR = re.compile(r"(?<![\w#(])#[0-9a-f]{6}\b")


@dataclass(frozen=True)
class Figure:
    """A drawing, what it is called, what it shows in words for whoever cannot see it, and a remark.

    A `wide` one has a line of the page for itself, and scrolls where the page is narrow.
    """

    title: str
    svg: str
    alt: str
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page: what it says first, curves' names in their order, figures, tables, and facts about it.

    `folded` tables are shown when asked for; `facts` are pairs of a name and a value.
    """

    title: str
    lead: str = ""
    legend: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    grids: Sequence[Grid] = ()
    folded: Sequence[Grid] = ()
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    raw: str = ""


def document(title: str, subtitle: str, body: str) -> str:
    """The whole page around its body."""
    dark = " ".join(f"{_name(light)}: {colour};" for light, colour in DARK.items())
    style = Template(_read("style.css")).substitute(dark=dark)
    return Template(_read("template.html")).substitute(
        title=escape(title), subtitle=escape(subtitle), style=style, body=_scoped(body)
    )


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """A page of sections; of several there is a list at the top."""
    links = "".join(f'<li><a href="#part-{i}">{escape(s.title)}</a></li>' for i, s in enumerate(sections))
    nav = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(sections) > 1 else ""
    return document(title, subtitle, nav + "".join(_section(section, i) for i, section in enumerate(sections)))


def _section(section: Section, number: int) -> str:
    parts = [f'<section class="part" id="part-{number}"><h2>{escape(section.title)}</h2>']
    if section.lead:
        parts.append(f'<p class="lead">{escape(section.lead)}</p>')
    if section.legend:
        parts.append(legend(section.legend))
    parts += [figures(section.figures), section.raw, *(table(grid) for grid in section.grids)]
    parts += [
        f"<details><summary>{escape(grid.title)}</summary>{table(grid, caption=False)}</details>"
        for grid in section.folded
    ]
    if section.notes:
        parts.append(f"<h3>What to keep in mind</h3>{listed(section.notes)}")
    if section.facts:
        parts.append(f"<details><summary>How this was made</summary>{facts(section.facts)}</details>")
    return "".join([*parts, "</section>"])


def figures(shown: Sequence[Figure]) -> str:
    """Figures beside each other, where there is room."""
    if not shown:
        return ""
    return f'<div class="plots">{"".join(figure(one) for one in shown)}</div>'


def figure(one: Figure) -> str:
    """A figure with its caption; the drawing is an image that the alternative text describes."""
    note = f'<p class="note">{escape(one.note)}</p>' if one.note else ""
    kind = ' class="wide"' if one.wide else ""
    return (
        f"<figure{kind}><figcaption>{escape(one.title)}</figcaption>"
        f'<div role="img" aria-label="{escape(one.alt)}">{one.svg}</div>{note}</figure>'
    )


def table(grid: Grid, caption: bool = True) -> str:
    """A grid as a table, which scrolls by itself where it is wider than the page; its notes are below it."""
    words = [_in_words([cells[number] for cells in grid.rows]) for number in range(1, len(grid.heads))]
    classes = [' class="words"' if text else "" for text in (False, *words)]
    head = "".join(f'<th scope="col"{of}>{escape(text)}</th>' for of, text in zip(classes, grid.heads, strict=True))
    rows = "".join(row(name, cells, "ours" if name in grid.ours else "", words) for name, *cells in grid.rows)
    titled = f"<caption>{escape(grid.title)}</caption>" if caption else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in grid.notes)
    body = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="scroll"><table>{titled}{body}</table></div>{notes}'


def row(name: str, cells: Sequence[str], kind: str = "", words: Sequence[bool] = ()) -> str:
    """A row of a table; `kind` is a class of the style; cells that `words` marks are texts, which wrap."""
    marked = f' class="{kind}"' if kind else ""
    classes = [' class="words"' if text else "" for text in words] or [""] * len(cells)
    told = "".join(f"<td{of}>{escape(cell)}</td>" for of, cell in zip(classes, cells, strict=True))
    return f'<tr{marked}><th scope="row">{escape(name)}</th>{told}</tr>'


def _in_words(cells: Sequence[str]) -> bool:
    """Whether a column has long texts and no numbers."""
    return max(map(len, cells), default=0) > NUMBER and all(cell[:1].isalpha() for cell in cells)


def legend(names: Sequence[str]) -> str:
    """The names of curves beside their strokes, for all figures of a section."""
    entries = []
    for number, name in enumerate(names):
        colour, dashes = turn(number)
        pattern = "" if dashes == "-" else f' stroke-dasharray="{" ".join(f"{2 * part:g}" for part in dashes[1])}"'
        line = f'<line x1="0" y1="5" x2="30" y2="5" style="stroke: {colour}" stroke-width="3"{pattern}/>'
        entries.append(f'<li><svg viewBox="0 0 30 10" aria-hidden="true">{line}</svg>{escape(name)}</li>')
    return f'<ul class="legend" aria-label="Legend">{"".join(entries)}</ul>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and what belongs to them; a command as code."""
    return f"<dl>{''.join(entry(name, value, code=name == 'Command') for name, value in pairs)}</dl>"


def entry(name: str, value: str, code: bool = False) -> str:
    """One name and its value."""
    shown = f"<code>{escape(value)}</code>" if code else escape(value)
    return f"<dt>{escape(name)}</dt><dd>{shown}</dd>"


def listed(texts: Sequence[str]) -> str:
    """A list of remarks."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _scoped(body: str) -> str:
    """Every drawing's ids made its own, since a page has each id once; colours follow the page, light or dark."""
    parts = re.split(r"(<svg\b.*?</svg>)", body, flags=re.DOTALL)
    for number in range(1, len(parts), 2):
        svg = _ID.sub(rf'id="s{number}-\1"', _METADATA.sub("", parts[number]))
        svg = _USE.sub(rf"\1s{number}-\2", svg)
        parts[number] = _COLOUR.sub(lambda found: _variable(found[0]), svg)
    return "".join(parts)


def _variable(colour: str) -> str:
    return f"var({_name(colour)}, {colour})" if colour in DARK else colour


def _name(colour: str) -> str:
    return f"--c-{colour[1:]}"


def _read(name: str) -> str:
    return files("thinwire.report").joinpath(name).read_text(encoding="utf-8")
