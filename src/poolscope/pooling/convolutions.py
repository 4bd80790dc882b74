"""Which convolutions a model has, and their filters."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass
class Convolution:
    """One convolution module of a model.

    Attributes:
        name: of the module.
        module: the module itself.
        groups: number of groups, inputs of which only reach outputs of the same.
        transposed: whether it is a transposed convolution.
    """

    name: str
    module: Any
    groups: int
    transposed: bool

    @property
    def weight(self) -> Tensor:
        """Filters with parametrisations applied, in evaluation mode, ``[out, in / groups, *kernel]``, detached.

        What a subclass' own forward makes of them afterwards, such as weight standardisation, is not applied.
        """
        with torch.no_grad(), _evaluation(self.module):
            weight: Tensor = self.module.weight.detach()
        return to_filters(weight, self.groups) if self.transposed else weight

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return tuple(self.module.kernel_size)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Pixels from one tap to the next, along each axis."""
        return tuple(self.module.dilation)

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return int(self.module.in_channels)

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return int(self.module.out_channels)


def to_filters(weight: Tensor, groups: int) -> Tensor:
    """Bring a transposed convolution's weight ``[in, out / groups, *kernel]`` to ``[out, in / groups, *kernel]``."""
    filters: Tensor = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return filters


def from_filters(filters: Tensor, groups: int) -> Tensor:
    """Bring filters ``[out, in / groups, *kernel]`` to a transposed convolution's ``[in, out / groups, *kernel]``."""
    weight: Tensor = filters.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return weight


@contextlib.contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Put a module's parametrisations into evaluation mode: a spectral norm in training changes when it is read."""
    modes = [(part, part.training) for part in getattr(module, "parametrizations", nn.Module()).modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def convolutions(model: nn.Module) -> list[Convolution]:
    """Return every convolution module of ``model``, in the order of its modules (a shared module once).

    Convolutions called as functions, with weights that no convolution module holds, are not among them.

    Raises:
        ValueError: a weight made by a hook before each forward, which is out of date between forwards.
    """
    for name, module in model.named_modules():
        if (
            isinstance(module, _CONVOLUTIONS)
            and "weight" not in module._parameters
            and not parametrize.is_parametrized(module, "weight")
        ):
            raise ValueError(
                "weights of convolutions must be parameters or parametrised, since what a hook makes is made anew in "
                "each forward (torch.nn.utils.parametrizations.weight_norm instead of torch.nn.utils.weight_norm); got "
                f"{name!r} without"
            )
    return [
        Convolution(name, module, module.groups, bool(module.transposed))
        for name, module in model.named_modules()
        if isinstance(module, _CONVOLUTIONS)
    ]


def choose(found: Sequence[Convolution], which: str | Sequence[str]) -> list[Convolution]:
    """Return the convolutions that are meant.

    Args:
        found: all of a model's.
        which: ``"all"``; a regular expression that must match whole names; or a sequence of names.

    Raises:
        TypeError: neither text nor a sequence of texts.
        ValueError: an unknown name (close ones are listed), or an expression that matches none.
    """
    names = [one.name for one in found]
    if isinstance(which, str):
        if which == "all":
            return list(found)
        try:
            expression = re.compile(which)
        except re.error as error:
            raise ValueError(
                f'convolutions must be "all", names, or a regular expression; got {which!r}: {error}'
            ) from None
        chosen = [one for one in found if expression.fullmatch(one.name)]
        if not chosen:
            raise ValueError(
                f"convolutions must match at least one whole name; {which!r} matches none of {_some(names)}"
            )
        return chosen
    wanted = list(which) if isinstance(which, Iterable) else []
    if not wanted or not all(isinstance(name, str) for name in wanted):
        raise TypeError(f'convolutions must be "all", a regular expression or a sequence of names; got {which!r}')
    for name in wanted:
        if name not in names:
            close = _some(difflib.get_close_matches(name, names, n=5, cutoff=0.3) or names)
            raise ValueError(f"convolutions must be names of this model's convolutions; {name!r} is none of {close}")
    return [one for one in found if one.name in wanted]


def _some(names: Sequence[str]) -> str:
    return (", ".join(names[:5]) + (", …" if len(names) > 5 else "")) or "no convolutions at all"
