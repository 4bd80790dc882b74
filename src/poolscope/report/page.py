"""One self-contained HTML page: words, figures and tables. It loads nothing, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope._files import written_whole
from poolscope.report.panel import Panel, Pictures, data_uri
from poolscope.report.tables import Table
from poolscope.report.tables import to_html as table_to_html

if TYPE_CHECKING:
    import jinja2
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        paragraphs: plain text.
        facts: names and values.
        panels: its figures.
        tables: its tables.
    """

    title: str = ""
    paragraphs: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    panels: Sequence[Panel | tuple[Figure, str]] = field(default_factory=list)
    tables: Sequence[Table] = field(default_factory=list)


def write_page(
    path: str | Path,
    title: str,
    *,
    summary: Sequence[str | tuple[str, Sequence[str]]],
    figures: Sequence[Panel | tuple[Figure, str]] = (),
    tables: Sequence[Table | tuple[str, pd.DataFrame]] = (),
    sections: Sequence[Section] = (),
    record: dict[str, Any],
    subtitle: str = "",
) -> Path:
    """Write one HTML file that needs no network, whole or not at all.

    Figures follow the reader's colour scheme, tables sort by their headings and download as CSV in full precision.
    Text, names and values are escaped wherever they come from.

    Args:
        path: where to.
        title: of the page.
        summary: paragraphs of plain text, or topics with theirs.
        figures: panels, or matplotlib figures with their captions, which keep their white ground in the dark.
        tables: titles and tables; numbers are shown to four digits.
        sections: parts with headings of their own, before ``figures`` and ``tables``.
        record: how it was made, shown at the end.
        subtitle: a line under the title.

    Raises:
        FileNotFoundError: no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path.name} must exist; {path.parent} is not a folder")
    named = [table if isinstance(table, Table) else Table(*table) for table in tables]
    parts = [*sections, *([Section(panels=figures)] if figures else []), *([Section(tables=named)] if named else [])]
    number = iter(range(1, 1 + sum(len(part.tables) for part in parts)))
    shown = [
        {
            "title": part.title,
            "paragraphs": part.paragraphs,
            "facts": part.facts,
            "groups": groups([to_html(panel) for panel in part.panels]),
            "tables": [table_to_html(table, next(number)) for table in part.tables],
        }
        for part in parts
    ]
    return write_html(
        path, "page.html.j2", title=title, subtitle=subtitle, findings=_topics(summary), sections=shown, record=record
    )


def write_html(
    path: Path,
    template: str,
    *,
    record: dict[str, Any],
    styles: Sequence[str] = ("page.css",),
    scripts: Sequence[str] = ("page.js",),
    **values: Any,
) -> Path:
    """Fill in a template of this package and write it, whole or not at all; every value is escaped.

    Args:
        path: where to.
        template: "page.html.j2", or one that extends it.
        record: how it was made, shown at the end.
        styles, scripts: files of this package, one after the other.
        values: of the template.
    """
    from markupsafe import Markup

    script = "\n".join(map(_text, scripts))
    html = (
        _environment()
        .get_template(template)
        .render(
            record=json.dumps(record, indent=2, sort_keys=True, default=str, ensure_ascii=False),
            style=Markup("\n".join(map(_text, styles))),
            script=Markup(script),
            script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
            **values,
        )
    )
    with written_whole(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return path


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(_text)
    )
    environment.filters["together"] = _together
    return environment


def _text(name: str) -> str:
    """Return a template, style sheet or script of this package."""
    return resources.files("poolscope.report").joinpath(name).read_text(encoding="utf-8")


def _together(text: str) -> str:
    """Return text in which no line ends between a number and what it belongs to."""
    for unit in (" %", " px"):
        text = text.replace(unit, "\N{NO-BREAK SPACE}" + unit[1:])
    return text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _topics(summary: Sequence[str | tuple[str, Sequence[str]]]) -> list[tuple[str, Sequence[str]]]:
    """Return topics with their sentences; plain sentences together under no topic."""
    found: list[tuple[str, list[str]]] = []
    for entry in summary:
        topic, sentences = ("", [entry]) if isinstance(entry, str) else entry
        if found and found[-1][0] == topic:
            found[-1][1].extend(sentences)
        else:
            found.append((topic, list(sentences)))
    return list(found)


def groups(figures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return figures of `to_html` in the order they are given; a tall one takes those after it to its side."""
    found: list[dict[str, Any]] = []
    for figure in figures:
        if figure["layout"] == "tall":
            found.append({"tall": figure, "figures": []})
            continue
        if not found:
            found.append({"tall": None, "figures": []})
        found[-1]["figures"].append(figure)
    return found


def to_html(figure: Panel | Pictures | tuple[Figure, str]) -> dict[str, Any]:
    """Return what the page's template needs of a figure; sizes in CSS pixels, 96 an inch."""
    if isinstance(figure, tuple):
        drawn, caption = figure
        width, height = drawn.get_size_inches().tolist()
        own: dict[str, Any] = {
            "light": data_uri(drawn),
            "dark": "",
            "caption": caption,
            "alt": caption,
            "layout": "wide",
            "files": [],
        }
    else:
        if isinstance(figure, Panel):
            figure = Pictures(figure, figure.data_uri(), figure.data_uri(dark=True))
        panel = figure.panel
        width, height = panel.size
        own = {
            "light": figure.light,
            "dark": figure.dark,
            "caption": panel.caption,
            "alt": panel.alt or panel.caption,
            "layout": panel.layout,
            "files": [(path.suffix[1:].upper(), path.name) for path in figure.files],
        }
    return {**own, "width": round(96 * width), "height": round(96 * height)}
