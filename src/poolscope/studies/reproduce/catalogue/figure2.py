"""Figure 2: spatial and channel pooling, computed: windows of pixels, and filters that are rotations of each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from poolscope.datasets import load_images
from poolscope.report import Panel
from poolscope.report.pictures import show_image
from poolscope.report.style import colours, house_style, legend_below, own_axes
from poolscope.studies.reproduce.catalogue.rotated_filters import CHANNELS, change_table, exact_change, pooled
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_EACH = "each position"
_COLUMNS = ("input", "filter w", "w turned by 90°", "mean of these two", "mean of all four")
_ROWS = ("of x", "of Rx, turned back", "difference")


class Figure2(Settings):
    """Random filters and images.

    Attributes:
        pairs: of a filter and an image of its own, at most 1797, as many as there are digits.
        side: pixels of an image.
        seed: of filters and white images.
    """

    pairs: int = Field(default=500, ge=2, le=1797)
    side: int = Field(default=16, ge=3)
    seed: int = Field(default=0, ge=0, lt=2**32)


def windows(values: Float64[Tensor, "fields rows columns"]) -> Float64[Tensor, "fields fewer narrower"]:
    """Return the means of 2x2 windows, one pixel apart: spatial average pooling of figure 2 (a)."""
    return functional.avg_pool2d(values[:, None], 2, stride=1)[:, 0]


def variation(values: Float64[Tensor, "fields rows columns"]) -> tuple[float, float]:
    """Return the mean square difference of neighbours, along rows and columns, and the mean square of the values."""
    across, down = values.diff(dim=2).square(), values.diff(dim=1).square()
    both = torch.cat([across.flatten(), down.flatten()])
    return float(both.mean()), float(values.square().mean())


def _runs(settings: Figure2, sources: Sources) -> dict[str, Job]:
    return {}


def _tables(settings: Figure2, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    generator = torch.Generator().manual_seed(settings.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    filters = normal(settings.pairs, 3, 3)
    white = normal(settings.pairs, settings.side, settings.side)
    parts = [change_table(white, filters, "white noise")]
    shown = white[:1]
    digits = _digits(settings.pairs, settings.side)
    if digits is not None:
        parts.append(change_table(digits, filters, "digits"))
        shown = digits[5:6]
    changes = pd.concat(parts, ignore_index=True)
    known = (changes["images"] == "white noise") & (changes["activation"] == "linear") & (changes["readout"] == _EACH)
    changes["exact"] = changes["channels"].map(exact_change).where(known)
    representations = normal(settings.pairs, 3, 3)
    rows = []
    for stage, values in (("representation 3x3", representations), ("pooled 2x2", windows(representations))):
        difference, power = variation(values)
        rows.append({"stage": stage, "neighbours": difference, "power": power, "relative": difference / power})
    example = torch.randint(10, (1, 3, 3), generator=generator).double()
    return {
        "changes": changes,
        "spatial": pd.DataFrame(rows),
        "pictures": pd.concat(
            [
                _flat({"representation": example[0], "pooled": windows(example)[0]}),
                _flat(_responses(shown, filters[:1] - filters[:1].mean())),
            ],
            ignore_index=True,
        ),
    }


def _digits(count: int, side: int) -> Float64[Tensor, "{count} {side} {side}"] | None:
    """Return so many of scikit-learn's digits, or none without it."""
    try:
        images = load_images("digits", count=count, size=side)
    except ImportError:
        return None
    return images[:, 0].double()


def _responses(image: Tensor, filters: Tensor) -> dict[str, Tensor]:
    """Return what the picture shows, by "column/row": an image, its two channels, the means over two and four."""
    found = {}
    turned = torch.rot90(image, 1, (1, 2))
    for row, x, back in ((_ROWS[0], image, 0), (_ROWS[1], turned, -1)):
        other = torch.rot90(filters, 1, (1, 2))
        responses = [pooled(x, filters, 1), pooled(x, other, 1), pooled(x, filters, 2), pooled(x, filters, 4)]
        found[f"input/{row}"] = x[0]
        for column, response in zip(_COLUMNS[1:], responses, strict=True):
            found[f"{column}/{row}"] = torch.rot90(response, back, (1, 2))[0]
    for column in _COLUMNS[1:]:
        found[f"{column}/difference"] = found[f"{column}/{_ROWS[1]}"] - found[f"{column}/{_ROWS[0]}"]
    return found


def _flat(pictures: Mapping[str, Tensor]) -> pd.DataFrame:
    """Return pictures as rows: ``picture``, ``row``, ``column``, ``value``."""
    import pandas as pd

    rows = [
        {"picture": name, "row": row, "column": column, "value": value}
        for name, picture in pictures.items()
        for row, line in enumerate(picture.tolist())
        for column, value in enumerate(line)
    ]
    return pd.DataFrame(rows)


def _pictures(table: pd.DataFrame) -> dict[str, Tensor]:
    """Return what `_flat` was given."""
    return {
        str(name): torch.tensor(rows.pivot(index="row", columns="column", values="value").to_numpy())
        for name, rows in table.groupby("picture", sort=False)
    }


def _panels(tables: Tables) -> list[Panel]:
    pictures = _pictures(tables["pictures"])
    before, after = (tables["spatial"].set_index("stage")["neighbours"].iloc[each] for each in (0, 1))
    changes = tables["changes"]
    return [
        Panel(
            "spatial",
            "Spatial average pooling over windows of 2x2 pixels, one pixel apart, of a representation of 3x3 (figure 2 "
            f"a): each number on the right is the mean of four on the left. Over {changes['pairs'].iloc[0]} random "
            f"representations the mean square difference of neighbours falls from {before:.3g} to {after:.3g}.",
            (4.6, 2.4),
            lambda ax: plot_windows(pictures["representation"], pictures["pooled"], ax=ax),
        ),
        Panel(
            "responses",
            "Channel pooling (figure 2 b): responses of a random 3x3 filter w, less its mean, and of its rotation to "
            "an input x, and to Rx, which is x turned by 90 degrees, these turned back; then the average over these "
            "two channels, and over all four rotations. Two channels leave a difference, four do not. Grey: 0, one "
            "scale for all responses.",
            (7.6, 4.9),
            lambda ax: plot_responses(pictures, ax=ax),
            layout="wide",
        ),
        Panel(
            "change",
            "Change of the pooled response if the input turns by 90 degrees, in units of its power, against the number "
            "of channels that are pooled; position by position, after turning back. Bars: 95 % over pairs of a filter "
            "and an image. Four channels leave 0 up to rounding.",
            (5.2, 3.9),
            lambda ax: plot_changes(changes[changes["readout"] == _EACH], ax=ax),
        ),
    ]


def plot_windows(before: Tensor, after: Tensor, *, ax: Axes | None = None) -> Axes:
    """Show the numbers of a representation, and those of its pooled version beside them."""
    with house_style():
        ax = own_axes(ax, 4.6, 2.4)
        ax.set_axis_off()
        ax.set_xlim(0, 6.4)
        ax.set_ylim(3.2, -0.45)
        ax.set_aspect("equal")
        highest = float(before.abs().max())
        for left, top, values, title in ((0.0, 0.0, before, "3 × 3"), (4.2, 0.5, after, "2 × 2 means")):
            side = len(values)
            cell = ax.inset_axes((left, top, side, side), transform=ax.transData)
            cell.imshow(values.numpy(), cmap="Blues", vmin=0, vmax=1.6 * highest, interpolation="nearest")
            for row, line in enumerate(values.tolist()):
                for column, value in enumerate(line):
                    cell.text(column, row, f"{value:g}", ha="center", va="center", fontsize=11, color="#1f2328")
            cell.set_axis_off()
            ax.text(left + side / 2, top - 0.12, title, ha="center", va="bottom", fontsize=10.5)
        ax.annotate("", (4.0, 1.5), (3.2, 1.5), arrowprops={"arrowstyle": "->", "linewidth": 1.6, "color": "0.5"})
    return ax


def plot_responses(pictures: Mapping[str, Tensor], *, ax: Axes | None = None) -> Axes:
    """Show an input and its channels, straight and turned, and what turning changes.

    Args:
        pictures: by "column/row"; responses share one grey scale with 0 in the middle.
        ax: where to draw (default: a new figure).
    """
    reach = max(float(picture.abs().max()) for name, picture in pictures.items() if "/" in name and name[:5] != "input")
    with house_style():
        ax = own_axes(ax, 7.6, 4.9)
        ax.set_axis_off()
        ax.set_xlim(-0.35, len(_COLUMNS) * 1.08)
        ax.set_ylim(len(_ROWS) * 1.08, -0.3)
        ax.set_aspect("equal")
        for across, column in enumerate(_COLUMNS):
            ax.text(across * 1.08 + 0.5, -0.05, column, ha="center", va="bottom", fontsize=10)
            for down, row in enumerate(_ROWS):
                picture = pictures.get(f"{column}/{row}")
                if picture is None:
                    continue
                cell = ax.inset_axes((across * 1.08, down * 1.08, 1, 1), transform=ax.transData)
                limits = {} if column == "input" else {"low": -reach, "high": reach}
                show_image(cell, picture[None], **limits)
        for down, row in enumerate(_ROWS):
            ax.text(-0.08, down * 1.08 + 0.5, row, ha="right", va="center", fontsize=9, rotation=90)
    return ax


def plot_changes(changes: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the change as bars by number of channels, one group for each kind of images and activation.

    Args:
        changes: of `change_table`, one readout.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        groups = list(changes.groupby(["images", "activation"], sort=False))
        thick = 0.8 / len(groups)
        for number, ((images, activation), rows) in enumerate(groups):
            rows = rows.set_index("channels").loc[list(CHANNELS)]
            at = [place + (number - (len(groups) - 1) / 2) * thick for place in range(len(CHANNELS))]
            reach = [rows["change"] - rows["low"], rows["high"] - rows["change"]]
            ax.bar(
                at, rows["change"], 0.88 * thick, yerr=reach, capsize=2, color=colours()[number], ecolor="0.5",
                label=f"{images}, {activation}",
            )  # fmt: skip
            for place, change, high in zip(at, rows["change"], rows["high"], strict=True):
                ax.text(place, high + 0.05, f"{change:.2f}", ha="center", va="bottom", fontsize=8, rotation=90)
        ax.set_xticks(range(len(CHANNELS)), ["w alone", "w and its rotation", "all four rotations"])
        ax.set_ylim(0, 1.25 * float(changes["high"].max()))
        ax.grid(False, axis="x")
        ax.set_title("E|change|² / E|f|²", loc="left")
        legend_below(ax)
    return ax


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    changes = tables["changes"]
    found: dict[str, list[Estimate]] = {}
    for claim, channels in (("orbit-pools", 4), ("two-channels-pool", 2)):
        chosen = changes[(changes["channels"] == channels) & (changes["readout"] == _EACH)]
        found[claim] = [
            Estimate(
                row["change"],
                row["low"],
                row["high"],
                part=f"{row['images']}, {row['activation']}",
                interval=f"over {row['pairs']} filters, each on an image of its own",
                note="" if row["exact"] != row["exact"] else f"exactly {row['exact']:.3g} on average",
            )
            for row in chosen.to_dict("records")
        ]
    return found


def _words(tables: Tables) -> list[str]:
    changes = tables["changes"]
    rows = changes[(changes["readout"] == _EACH) & (changes["activation"] == "linear")]
    one, two, four = (rows[rows["channels"] == channels].iloc[0] for channels in CHANNELS)
    words = [
        "f is the average over channels of a random 3x3 filter's rotations, applied to x (borders go round). If x "
        f"turns by 90 degrees, f turned back changes by {one['change']:.2f} of its power for the filter alone, by "
        f"{two['change']:.2f} for the two channels that figure 2 (b) draws (exactly {two['exact']:.2g} on white "
        f"noise), and by nothing but rounding ({four['change']:.0e}) for all four: only the whole orbit pools.",
        "Averaged over all positions, a linear channel forgets rotations without any other channel, since the average "
        "is the sum of the filter times that of the image; with ReLU it does not.",
    ]
    if "digits" not in set(changes["images"]):
        words.append("scikit-learn, which brings the digits, is not installed: random images alone.")
    return words


STUDY = Study(
    name="fig2",
    title="Spatial and channel pooling",
    source="Figure 2",
    shows="What the two kinds of pooling do, computed: averages over nearby pixels vary less, and an average over "
    "channels forgets rotations if its filters are all rotations of one.",
    scales=dict.fromkeys(SCALES, Figure2()),
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
