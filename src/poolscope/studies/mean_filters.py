"""The filters of a trained simple CNN averaged over channels: the one-channel network that theory makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poolscope.networks import load_model
from poolscope.networks.simple import SimpleCNN, SimpleConv


@dataclass(frozen=True)
class MeanFilters:
    """One filter a layer.

    Attributes:
        taps: of each layer, ``[F]`` or ``[F, F]``.
        stride: 1 or F.
        left_out: what else the network has, which theory knows nothing of.
    """

    taps: tuple[np.ndarray, ...]
    stride: int
    left_out: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """Of the images."""
        return self.taps[0].ndim

    @property
    def filter_size(self) -> int:
        """F."""
        return int(self.taps[0].shape[0])


def read_mean_filters(path: str | Path) -> MeanFilters:
    """Return the mean filters of a simple CNN, raw parameters averaged over both channels (tables C2 and C3).

    Args:
        path: a weights file that says of which network it is, as ``train`` writes them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, one that does not say of which network it is, or another network.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights must be an existing file; got {path}")
    model = load_model(str(path))
    if not isinstance(model, SimpleCNN):
        raise ValueError(f"weights must be those of a poolscope:simplecnn, whose layers are equal; got {path}")
    layers = [layer for layer in model.layers if isinstance(layer, SimpleConv)]
    taps = tuple(layer.weight.detach().double().mean((0, 1)).numpy() for layer in layers)
    first = layers[0]
    activation = type(first.activation).__name__
    extra = (
        ("biases", any(layer.bias is not None and bool(layer.bias.abs().max() > 0) for layer in layers)),
        ("zeros outside of the frame", first.outside == "zero"),
        (f"activation ({activation} for ReLU)", activation != "ReLU"),
    )
    return MeanFilters(taps, int(first.stride), tuple(words for words, there in extra if there))
