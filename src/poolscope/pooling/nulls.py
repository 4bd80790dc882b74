"""Nulls for the filters of a network: their mean over channels, or Gaussian ones of the same mean and variance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from poolscope._checks import check_generator
from poolscope.pooling.convolutions import Convolution, choose
from poolscope.pooling.convolutions import convolutions as convolutions_of
from poolscope.pooling.copies import with_filters
from poolscope.pooling.recalibrate import recalibrate as recalibrate_
from poolscope.probe import unwrap


def mean_channel(
    model: nn.Module,
    *,
    convolutions: str | Sequence[str] = "all",
    average: str = "all",
    recalibrate: object = None,
    share: bool = False,
) -> nn.Module:
    """Return a copy of ``model`` in which all filters of a convolution are replaced by their channel mean.

    Every filter of layer k becomes the mean over (c, c') of w_{c,c'}, every bias the mean of the layer's biases; batch
    norm and linear layers stay. Averaged filters may be negative everywhere, and the signal then ends at the next ReLU:
    ``measure`` gives nan from there on, with a note. Convolutions that standardise their weights as they run (timm's
    ``StdConv2d``) take the mean off the averaged filters once more: a 1x1 one then passes no signal at all.

    The authors' dotted lines in figure 7 are something else: *activations* of the unmodified network averaged over
    channels, ``measure(..., readout="channel_mean")``.

    Args:
        model: any module; it stays as it is.
        convolutions: ``"all"``, a regular expression that must match whole names, or names.
        average: ``"all"``: over output and input channels, as the text says. ``"published"``: the same, but the
            filters of the first convolution over output channels only, so that each colour keeps its own, as the
            authors' code does in 2D (which takes sums where this takes means, and of linear layers too).
        recalibrate: images (anything ``measure`` takes) on which batch norms re-estimate their running statistics.
        share: let the copy hold the model's own parameters wherever they are not replaced, which saves memory.

    Raises:
        TypeError: a scripted model, or names of a wrong type.
        ValueError: an unknown convolution or average, a model without convolutions, or one that cannot be copied.

    Source: section 4.3 ("all the filters at a given layer are replaced with their average").
    """
    if average not in ("all", "published"):
        raise ValueError(f"average must be one of all, published; got {average!r}")
    found = _found(model)
    filters: dict[str, Tensor] = {}
    biases: dict[str, Tensor] = {}
    for one in choose(found, convolutions):
        weight = one.weight
        axes = 0 if average == "published" and one.name == found[0].name else (0, 1)
        mean = weight.cpu().double().mean(dim=axes, keepdim=True).to(weight)  # some devices have no float64
        filters[one.name] = mean.expand_as(weight).contiguous()
        bias = one.module.bias
        if bias is not None:
            biases[one.name] = bias.detach().cpu().double().mean().to(bias).expand_as(bias)
    copy = with_filters(model, filters, biases, share=share)
    if recalibrate is not None:
        recalibrate_(copy, recalibrate)
    return copy


def gaussian_filters(
    model: nn.Module,
    *,
    generator: torch.Generator,
    convolutions: str | Sequence[str] = "all",
    recalibrate: object = None,
    share: bool = False,
) -> nn.Module:
    """Return a copy of ``model`` whose filters are Gaussian, with the mean and variance of their layer's weights.

    A null for the filters' shape: independent weights have no spatial structure and no order between channels, but the
    signal has the size it had. Biases, batch norm and linear layers stay.

    Args:
        model: any module; it stays as it is.
        generator: source of all randomness, on the CPU.
        convolutions: ``"all"``, a regular expression that must match whole names, or names.
        recalibrate: images (anything ``measure`` takes) on which batch norms re-estimate their running statistics.
        share: let the copy hold the model's own parameters wherever they are not replaced, which saves memory.

    Raises:
        TypeError: a scripted model, names of a wrong type, or no generator.
        ValueError: an unknown convolution, a model without convolutions, or one that cannot be copied.
    """
    check_generator(generator)
    filters: dict[str, Tensor] = {}
    for one in choose(_found(model), convolutions):
        weight = one.weight.cpu().double()
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        filters[one.name] = (weight.mean() + weight.std(correction=0) * drawn).to(one.weight)
    copy = with_filters(model, filters, share=share)
    if recalibrate is not None:
        recalibrate_(copy, recalibrate)
    return copy


def _found(model: nn.Module) -> list[Convolution]:
    original = unwrap(model)
    found = convolutions_of(original)
    if not found:
        raise ValueError(
            f"the model must have a convolution (as a module) whose filters can be replaced; "
            f"{type(original).__name__} has none"
        )
    return found
