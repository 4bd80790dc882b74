"""How the figures look: one colour-blind-safe cycle, thin axes, sizes for a page and for a phone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw with poolscope's settings; the caller's are back afterwards."""
    import matplotlib as mpl
    from cycler import cycler

    with mpl.rc_context(
        {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "font.size": 10,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "savefig.dpi": 160,
            "pdf.fonttype": 42,
        }
    ):
        yield


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of its own, not known to pyplot, with ``columns`` axes beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def own_axes(ax: Axes | None) -> Axes:
    """Return ``ax``, or the axes of a new figure."""
    return new_figure(5.2, 3.6)[1][0] if ax is None else ax


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf, each whole or not at all; return their paths."""
    from poolscope._files import written_whole

    paths = [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    for path in paths:
        with written_whole(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:])
    return paths
