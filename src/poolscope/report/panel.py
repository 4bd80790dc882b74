"""The figures of a report: each drawn by one function, for the page in light and dark and for PNG and PDF files."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from poolscope.report.style import house_style, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        name: of its files, without ending.
        caption: what it shows, under it on the page.
        size: width and height in inches.
        draw: draws it on the axes it is given.
        alt: what is drawn, for those who do not see it (default: the caption).
        section: heading of the page it stands under.
        layout: of the page: "" for a column, "wide" for the whole width, "tall" to stand beside those that follow it.
        photographs: whether it holds photographs, which are kept as pixels on the page; else as lines.
    """

    name: str
    caption: str
    size: tuple[float, float]
    draw: Callable[[Axes], Any]
    alt: str = ""
    section: str = ""
    layout: Literal["", "wide", "tall"] = ""
    photographs: bool = False

    def figure(self, *, dark: bool = False) -> Figure:
        """Return the figure, for a light or a dark ground."""
        with house_style(dark=dark):
            figure, (ax,) = new_figure(*self.size)
            self.draw(ax)
        return figure

    def data_uri(self, *, dark: bool = False) -> str:
        """Return the figure as it stands in a page: SVG, or WebP for photographs, on a transparent ground."""
        return data_uri(self.figure(dark=dark), dark=dark, photographs=self.photographs)


def data_uri(figure: Figure, *, dark: bool = False, photographs: bool = False) -> str:
    """Return a figure as an image's address that holds it: SVG, or WebP for photographs, on a transparent ground."""
    buffer = io.BytesIO()
    with house_style(dark=dark):
        if photographs:
            figure.savefig(buffer, format="webp", dpi=150, transparent=True, pil_kwargs={"quality": 90})
            kind, content = "image/webp", buffer.getvalue()
        else:
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            kind, content = "image/svg+xml", _leaner(buffer.getvalue().decode()).encode()
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _leaner(svg: str) -> str:
    """Return the same picture in fewer bytes: positions to a hundredth of a point, no remarks, no indentation."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<![\w.#])(-?[1-9]\d*\.\d\d)\d+", r"\1", svg)  # numbers below 1 are scales, which must stay
    return re.sub(r"\s+", " ", svg).replace("> <", "><")


@dataclass(frozen=True)
class Pictures:
    """A panel as it was drawn.

    Attributes:
        panel: what was drawn.
        light, dark: its data URIs.
        files: PNG and PDF, where they were written.
    """

    panel: Panel
    light: str
    dark: str
    files: Sequence[Path] = ()


def draw_panels(panels: Sequence[Panel], folder: str | Path) -> list[Pictures]:
    """Draw every panel for a page and write it to ``folder`` as PNG and PDF, each file whole or not at all.

    One figure, laid out once, serves the light page and both files. Text of these PDFs is in Type 3 fonts, matplotlib's
    own default: TrueType subsets, which `save_panels` has, would take as long as all else together.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: two panels of one name, of which one file would overwrite the other.
    """
    import matplotlib as mpl

    folder = _checked(panels, folder)
    drawn = []
    for panel in panels:
        figure = panel.figure()
        light = data_uri(figure, photographs=panel.photographs)
        with house_style(dark=False), mpl.rc_context({"figure.constrained_layout.use": False, "pdf.fonttype": 3}):
            figure.set_layout_engine(None)  # it has been laid out
            files = save_figure(figure, folder / panel.name)
        drawn.append(Pictures(panel, light, panel.data_uri(dark=True), files))
    return drawn


def save_panels(panels: Sequence[Panel], folder: str | Path) -> list[Path]:
    """Write every panel to ``folder`` as PNG and PDF, each file whole or not at all; return their paths.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: two panels of one name, of which one file would overwrite the other.
    """
    folder = _checked(panels, folder)
    paths = []
    for panel in panels:
        with house_style(dark=False):
            paths += save_figure(panel.figure(), folder / panel.name)
    return paths


def _checked(panels: Sequence[Panel], folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder of the pictures must exist; {folder} is not a folder")
    names = [panel.name for panel in panels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"panels must have names of their own, they name the files; got {', '.join(twice)} twice")
    return folder


def file_name(*parts: str) -> str:
    """Return a name for files of the parts that are not empty: letters, digits, "-", "_" and "." alone."""
    return "-".join(re.sub(r"[^\w.]+", "_", part, flags=re.ASCII).strip("_.") or "_" for part in parts if part)
