"""Images and what is done to them: x, τx, x + η and their differences; a grid of deformations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope.report.style import COLOURS, house_style, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show_image(
    ax: Axes, image: Float[Tensor, "channels height width"], *, low: float | None = None, high: float | None = None
) -> None:
    """Show an image, its values scaled from ``low`` .. ``high`` (default: its own range) to black .. white."""
    image = image.detach().float().cpu()
    low = float(image.min()) if low is None else low
    high = float(image.max()) if high is None else high
    scaled = ((image - low) / max(high - low, 1e-12)).clamp(0, 1).permute(1, 2, 0)
    if scaled.shape[2] == 3:
        ax.imshow(scaled.numpy(), interpolation="nearest")
    else:
        ax.imshow(scaled[:, :, 0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def plot_perturbed(
    images: Float[Tensor, "count channels height width"],
    moved: Float[Tensor, "count channels height width"],
    noisy: Float[Tensor, "count channels height width"],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Show each image x beside τx, x + η and the two differences, one row an image.

    Differences are averages over channels in one grey scale for both, zero in the middle.

    Args:
        images: x.
        moved: τx.
        noisy: x + η.
        ax: where to draw (default: a new figure); the pictures are insets of it.

    Raises:
        ValueError: no image.
    """
    count, _, height, width = images.shape
    if count == 0:
        raise ValueError("at least 1 image is needed to show what is done to it; got 0")
    with house_style():
        ax = own_axes(ax, *perturbed_size(images))
        ax.set_axis_off()
        # Cells in units of one picture's width; the head of each column above the first row.
        aspect = height / width
        gap, row_height = 0.06, aspect + 0.06
        ax.set_xlim(0, len(_TITLES) * (1 + gap) - gap)
        ax.set_ylim(count * row_height - 0.06, -0.3)
        ax.set_aspect("equal")
        for row in range(count):
            x, tau_x, x_eta = (each[row].detach().float().cpu() for each in (images, moved, noisy))
            low, high = float(x.min()), float(x.max())
            differences = [(each - x).mean(dim=0, keepdim=True) for each in (tau_x, x_eta)]
            reach = float(torch.stack(differences).abs().max())
            shown = [(x, low, high), (tau_x, low, high), (x_eta, low, high), *((d, -reach, reach) for d in differences)]
            for column, (picture, darkest, brightest) in enumerate(shown):
                cell = ax.inset_axes((column * (1 + gap), row * row_height, 1, aspect), transform=ax.transData)
                show_image(cell, picture, low=darkest, high=brightest)
        for column, title in enumerate(_TITLES):
            ax.text(column * (1 + gap) + 0.5, -0.05, title, ha="center", va="bottom", fontsize=12.5)
    return ax


_TITLES = ("x", "τx", "x + η", "τx − x", "η")


def perturbed_size(images: Float[Tensor, "count channels height width"]) -> tuple[float, float]:
    """Return the width and height in inches of the figure that shows these images."""
    count, _, height, width = images.shape
    return 6.4, 0.4 + 1.25 * count * (height / width + 0.06)


def plot_deformations(
    pictures: list[list[Tensor]],
    *,
    rows: list[str],
    columns: list[str],
    allowed: list[list[bool]],
    title: str,
) -> Figure:
    """Show a grid of deformed images, one row a temperature, one column a cutoff; allowed ones are framed.

    Args:
        pictures: ``[row][column]``, each ``[C, H, W]``, values in 0 .. 1.
        rows: label of each row, from the top.
        columns: label of each column.
        allowed: whether the temperature lies in the published range at that cutoff.
        title: of the figure.
    """
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(1.9 * len(columns) + 1, 1.9 * len(rows) + 0.8))
        axes = figure.subplots(len(rows), len(columns), squeeze=False)
        for number, line in enumerate(pictures):
            for column, picture in enumerate(line):
                ax = axes[number, column]
                show_image(ax, picture, low=0.0, high=1.0)
                for spine in ax.spines.values():
                    spine.set_visible(allowed[number][column])
                    spine.set_edgecolor(COLOURS[2])
                    spine.set_linewidth(3)
                if column == 0:
                    ax.set_ylabel(rows[number], fontsize=9)
                if number == 0:
                    ax.set_title(columns[column], fontsize=9)
        figure.suptitle(title, fontsize=10)
    return figure
