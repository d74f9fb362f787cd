"""Reads a page as a browser would, strictly: what is open is closed in its turn, ids are unique."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input"}


@dataclass
class Table:
    """A table's caption, its heads and its rows, as text."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    @property
    def heads(self) -> list[str]:
        return self.rows[0]

    def cell(self, row: str, head: str) -> str:
        """What stands in this row below this head."""
        return next(cells for cells in self.rows if cells[0] == row)[self.heads.index(head)]


@dataclass
class Picture:
    """A figure: its caption, and its words for whoever cannot see it."""

    caption: str = ""
    words: str = ""
    drawings: int = 0


class Page(HTMLParser):
    """What is on a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tables: list[Table] = []
        self.figures: list[Picture] = []
        self.sections: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def _take(self, tag: str, attrs: dict[str, str | None]) -> None:
        if attrs.get("id"):
            self.ids.append(str(attrs["id"]))
        self.links += [str(attrs[name]) for name in ("src", "href", "xlink:href", "action") if attrs.get(name)]
        match tag:
            case "table":
                self.tables.append(Table())
            case "tr":
                self.tables[-1].rows.append([])
            case "td" | "th":
                self.tables[-1].rows[-1].append("")
            case "figure":
                self.figures.append(Picture())
            case "h2":
                self.sections.append("")
            case "svg" if "figure" in self.open:
                self.figures[-1].drawings += 1
        if attrs.get("role") == "img":
            self.figures[-1].words = str(attrs.get("aria-label") or "")

    def handle_data(self, data: str) -> None:
        if not self.open or "style" in self.open:
            return
        self.words.append(data)
        match self.open[-1]:
            case "td" | "th":
                self.tables[-1].rows[-1][-1] += data
            case "caption":
                self.tables[-1].caption += data
            case "figcaption":
                self.figures[-1].caption += data
            case "h2":
                self.sections[-1] += data

    def table(self, caption: str) -> Table:
        """The one table of that caption."""
        (found,) = [table for table in self.tables if table.caption == caption]
        return found
