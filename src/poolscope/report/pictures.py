"""Images and what is done to them: x, τx, x + η and their differences; a grid of deformations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope.report.style import house_style

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
) -> Figure:
    """Show each image x beside τx, x + η and the two differences, one row an image.

    Differences share one grey scale, zero in the middle.
    """
    from matplotlib.figure import Figure

    count, channels = images.shape[:2]
    titles = ("x", "τx", "x + η", "τx − x", "η")
    with house_style():
        figure = Figure(figsize=(8, 1.75 * count))
        axes = figure.subplots(count, len(titles), squeeze=False)
        for row in range(count):
            x = images[row]
            low, high = float(x.min()), float(x.max())
            reach = float(torch.stack([moved[row] - x, noisy[row] - x]).abs().max())
            for ax, picture in zip(axes[row, :3], (x, moved[row], noisy[row]), strict=True):
                show_image(ax, picture, low=low, high=high)
            for ax, picture in zip(axes[row, 3:], (moved[row] - x, noisy[row] - x), strict=True):
                show_image(ax, picture.mean(dim=0, keepdim=True) if channels > 1 else picture, low=-reach, high=reach)
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title, fontsize=10)
    return figure


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

    from poolscope.report.style import COLOURS

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
