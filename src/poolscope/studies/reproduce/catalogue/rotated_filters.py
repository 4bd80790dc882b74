"""Channels whose filters are rotations of each other: how much their average changes if the input is rotated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    import pandas as pd

Fields = Float64[Tensor, "pairs side side"]
Filters = Float64[Tensor, "pairs 3 3"]
Activation = Literal["linear", "ReLU"]
Readout = Literal["each position", "mean over positions"]

#: How many of the four rotations by 90 degrees are channels: a filter alone, with one rotation (figure 2 b), all.
CHANNELS = (1, 2, 4)


def pooled(images: Fields, filters: Filters, channels: int, activation: Activation = "linear") -> Fields:
    """Return f(x): the mean over channels of each filter's rotations, applied to an image of its own.

    Channel c is σ(w_c * x) with w_c the filter turned by c times 90 degrees, σ the identity or ReLU, and borders that
    go round, so that turning the image and the filter turns the response and nothing else.

    Args:
        images: one for each filter.
        filters: w.
        channels: so many rotations, from the filter itself on.
        activation: σ.
    """
    total = torch.zeros_like(images)
    wrapped = functional.pad(images[None], (1, 1, 1, 1), mode="circular")
    for turns in range(channels):
        turned = torch.rot90(filters, turns, (1, 2))
        response = functional.conv2d(wrapped, turned[:, None], groups=len(filters))[0]
        total += response.relu() if activation == "ReLU" else response
    return total / channels


def changes(
    images: Fields, filters: Filters, channels: int, activation: Activation, readout: Readout
) -> tuple[Float64[Tensor, " pairs"], Float64[Tensor, " pairs"]]:
    """Return |change|² and |f|² of each pair of image and filter, the image being turned by 90 degrees.

    Args:
        images, filters, channels, activation: as for `pooled`.
        readout: "each position": of f(Rx) turned back less f(x), summed over positions; or "mean over positions": of
            the averages of f(Rx) and f(x) over all positions.
    """
    before = pooled(images, filters, channels, activation)
    after = torch.rot90(pooled(torch.rot90(images, 1, (1, 2)), filters, channels, activation), -1, (1, 2))
    if readout == "mean over positions":
        before, after = (each.mean((1, 2), keepdim=True) for each in (before, after))
    return (after - before).square().sum((1, 2)), before.square().sum((1, 2))


def change_table(images: Fields, filters: Filters, name: str) -> pd.DataFrame:
    """Return E|change|² / E|f|² for all numbers of channels, activations and readouts.

    Args:
        images, filters: as for `pooled`, independent pairs.
        name: of the images.

    Returns:
        ``images``, ``activation``, ``readout``, ``channels``, ``change``, ``low`` and ``high`` (95 % over pairs, delta
        method for a ratio of means), ``pairs``.
    """
    import pandas as pd

    rows = []
    activations: tuple[Activation, ...] = ("linear", "ReLU")
    readouts: tuple[Readout, ...] = ("each position", "mean over positions")
    for activation in activations:
        for readout in readouts:
            for channels in CHANNELS:
                change, power = changes(images, filters, channels, activation, readout)
                ratio = float(change.mean() / power.mean())
                error = float((change - ratio * power).std() / power.mean()) / math.sqrt(len(power))
                rows.append(
                    {
                        "images": name,
                        "activation": activation,
                        "readout": readout,
                        "channels": channels,
                        "change": ratio,
                        "low": ratio - 1.96 * error,
                        "high": ratio + 1.96 * error,
                        "pairs": len(power),
                    }
                )
    return pd.DataFrame(rows)


def exact_change(channels: int) -> float:
    """Return E|change|² / E|f|² at each position for linear channels, white images and filters of independent taps.

    With u the mean of the filter's rotations, f = u * x and f(Rx) turned back is (R⁻¹u) * x, so that on white images
    the ratio is E|R⁻¹u - u|² / E|u|²: 16/9 for one channel, 4/5 for two (erratum 21), 0 for four.
    """
    taps = torch.eye(9, dtype=torch.float64).view(9, 3, 3)  # each tap's own response in u is a column of its matrix
    mean = torch.stack([torch.rot90(taps, turns, (1, 2)) for turns in range(channels)]).mean(0)
    return float((torch.rot90(mean, -1, (1, 2)) - mean).square().sum() / mean.square().sum())
