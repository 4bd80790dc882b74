"""How the figures look: one colour-blind-safe cycle, thin axes, light and dark, a line style for every variant."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: The same on a dark ground: blue lightened, sky and black replaced by their yellow and a light grey.
DARK_COLOURS = ("#4AA3DF", "#F0803C", "#23B98C", "#D98BB6", "#E69F00", "#F0E442", "#D5D9DE")

#: TrueType: journals refuse matplotlib's own type 3, and programs that edit PDF know their letters.
PDF_FONTS = 42

_TEXT = {False: "#1f2328", True: "#e4e7eb"}


class Look(NamedTuple):
    """How a line is drawn: number of its colour, line style, marker."""

    colour: int
    line: str | tuple[float, tuple[float, ...]]
    marker: str


#: Variants are told apart without colour too, by line style and marker.
VARIANTS = {
    "given": Look(0, "-", "o"),
    "trained": Look(0, "-", "o"),
    "initial": Look(1, ":", "s"),
    "shuffled": Look(2, "--", "^"),
    "mean_channel": Look(3, "-.", "D"),
    "mean_filters": Look(4, (0.0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "v"),
    "gaussian_filters": Look(5, (0.0, (7.0, 2.0)), "P"),
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@contextlib.contextmanager
def house_style(dark: bool | None = None) -> Iterator[None]:
    """Draw with poolscope's settings; the caller's are back afterwards.

    Args:
        dark: light text for a dark ground (True) or dark text on white (False); None keeps the text colours in force,
            so that a figure drawn into the caller's axes fits them.
    """
    import matplotlib as mpl
    from cycler import cycler

    settings: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "grid.alpha": 0.18,
        "grid.linewidth": 0.7,
        "font.size": 10,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "hatch.linewidth": 0.6,
        "figure.constrained_layout.use": True,
        "savefig.dpi": 160,
        "pdf.fonttype": PDF_FONTS,
        "svg.fonttype": "path",
        "svg.hashsalt": "poolscope",
        "text.parse_math": False,  # a "$" in a layer's or a model's name is a "$"
    }
    if dark is not None:
        text = _TEXT[dark]
        settings |= dict.fromkeys(
            ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"], text
        )
        settings |= {"figure.facecolor": "#15181c" if dark else "white", "axes.facecolor": "none"}
    with mpl.rc_context(settings), mpl.rc_context({"axes.prop_cycle": cycler(color=colours())}):
        yield


def is_dark() -> bool:
    """Return whether text is drawn light on dark at present."""
    import matplotlib as mpl
    from matplotlib.colors import to_rgb

    return sum(to_rgb(mpl.rcParams["text.color"])) > 1.5


def colours() -> tuple[str, ...]:
    """Return the colour cycle for the ground drawn on at present."""
    return DARK_COLOURS if is_dark() else COLOURS


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of its own, not known to pyplot, with ``columns`` axes beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def own_axes(ax: Axes | None, width: float = 5.2, height: float = 3.6) -> Axes:
    """Return ``ax``, or the axes of a new figure (inches)."""
    return new_figure(width, height)[1][0] if ax is None else ax


def legend_below(ax: Axes, columns: int = 2, *, drop: float = 0.42) -> None:
    """Put the legend under the axes, where it covers nothing.

    Args:
        ax: whose legend.
        columns: of the legend, at most; one where a label is long.
        drop: from the axes down to the legend, in inches: room for tick labels and the name of the axis.
    """
    from matplotlib.transforms import ScaledTranslation

    handles, labels = ax.get_legend_handles_labels()
    lowered = ax.transAxes + ScaledTranslation(0, -drop, ax.figure.dpi_scale_trans)
    ax.legend(
        handles,
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=lowered,
        ncols=legend_columns(labels, columns),
        handlelength=2.8,
        columnspacing=1.4,
    )


def legend_columns(labels: Sequence[str], columns: int = 2) -> int:
    """Return how many columns a legend under narrow axes has."""
    return max(1, min(columns, len(labels), 44 // max(map(len, labels), default=1)))


def legend_height(labels: Sequence[str]) -> float:
    """Return the inches that a legend below takes, none for a single line's."""
    return 0.19 * math.ceil(len(labels) / legend_columns(labels)) if len(labels) > 1 else 0.0


def short(label: str, length: int = 32) -> str:
    """Return a label that leaves room for the data: of long ones, such as paths, the end."""
    return label if len(label) <= length else f"…{label[-length + 1 :]}"


def tell_apart(layers: Sequence[str], length: int = 28) -> list[str]:
    """Return layers' names short enough for an axis.

    Where one is too long, all lose the dotted parts they begin with in common, then those they end with; of what is
    still too long the end is kept.
    """
    dotted = [layer.split(".") for layer in layers if "." in layer]
    fewest = min(map(len, dotted), default=1)
    head = tail = 0
    if max(map(len, layers), default=0) > length and len(dotted) > 1:
        while head < fewest - 1 and len({part[head] for part in dotted}) == 1:
            head += 1
    if max((len(".".join(part[head:])) for part in dotted), default=0) > length:
        while head + tail < fewest - 1 and len({part[-1 - tail] for part in dotted}) == 1:
            tail += 1
    names = []
    for layer in layers:
        parts = layer.split(".")
        kept = ".".join(parts[head : len(parts) - tail]) + ("…" if tail else "")
        names.append(short(kept if len(parts) > 1 else layer, length))
    return names


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf, each whole or not at all; return their paths."""
    from poolscope._files import written_whole

    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path in paths:
        with written_whole(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:])
    return paths
