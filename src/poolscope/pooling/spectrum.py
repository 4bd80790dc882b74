"""How smooth the filters of each convolution are: their power by spatial frequency, and one number for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from poolscope.networks import model_name
from poolscope.pooling.convolutions import Convolution, choose
from poolscope.pooling.convolutions import convolutions as convolutions_of
from poolscope.pooling.laplacian import Levels, grid_levels, level_powers
from poolscope.probe import unwrap

if TYPE_CHECKING:
    import pandas as pd

_SPECTRUM = {
    "layer": "str", "position": "int64", "kernel": "str", "filters": "int64", "dilation": "str", "level": "int64",
    "eigenvalue": "float64", "multiplicity": "int64", "power": "float64", "share": "float64", "share_se": "float64",
    "total_power": "float64", "white_share": "float64", "init_share": "float64", "frequency_se": "float64",
    "model": "str", "note": "str",
}  # fmt: skip
_CONTENT = {
    "layer": "str", "position": "int64", "model": "str", "frequency": "float64", "frequency_se": "float64",
    "init_frequency": "float64",
}  # fmt: skip

_AT_ONCE = 2**20  # taps transformed together: 8 MiB in float64, so that memory does not grow with the layer


def filter_spectrum(
    model: nn.Module,
    *,
    initial: nn.Module | None = None,
    convolutions: str | Sequence[str] = "all",
    name: str | None = None,
) -> pd.DataFrame:
    """Sort the power of every convolution's filters by spatial frequency: one row for each level of each convolution.

    Filters w_{c,c'} (output channel c, input channel c') are projected on the eigenvectors Ψ_l of the Laplacian of
    their grid of taps. γ_{k,l} = ⟨(Ψ_l · w_{c,c'})²⟩ over the pairs (c, c') of layer k (equation 3) is summed over
    the eigenvectors of equal eigenvalue, a level: where there are several, each single γ_{k,l} depends on the basis
    that the eigensolver happens to return, as the single curves of the paper's figure 4 do, and their sum does not.
    A trained layer that pools in space has most of its power at level 0, the constant filter.

    Weights are read as the convolution uses them in evaluation mode, in float64. Dilation spreads the taps and does
    not enter. A transposed convolution's filters are mirrored ones, which have the same powers.

    Args:
        model: handed back as it came; ``torch.compile``, DataParallel and their like are looked through.
        initial: a model of the same structure with the weights from before training, for ``init_share``.
        convolutions: ``"all"``; a regular expression that must match whole names; or a sequence of names.
        name: what the column ``model`` says (default: `load_model`'s name, or the class).

    Returns:
        A table, empty where the model has no convolution, with the columns

        - ``layer``, ``position``: the convolution's name, and its number among all of the model's, in module order,
          from 1.
        - ``kernel``, ``dilation``: taps and their distance in pixels along the axes, as text: "3x3", "1x1".
        - ``filters``: number of pairs (c, c') that exist, so out * in / groups.
        - ``level``: from 0, the constant mode, upwards; ``eigenvalue``, ``multiplicity``: of the level.
        - ``power``: γ_{k,l} summed over the level, in units of the weights squared.
        - ``total_power``: ⟨|w_{c,c'}|²⟩, which is the sum of the layer's powers.
        - ``share``: power / total_power (γ~ of equation B.1, summed over the level); ``share_se``: its standard
          error over filters taken as independent (delta method for a ratio of means; nan for a single filter).
        - ``white_share``: multiplicity / number of taps, which weights drawn independently with one variance have on
          average, at initialisation for one.
        - ``init_share``: the share in ``initial``, nan without it.
        - ``frequency_se``: standard error of the layer's `frequency_content`, the same in all of its rows.
        - ``model``, ``note``: why there are no shares: a kernel of one tap (one row, "1x1: no spectrum"), filters
          that are all zero, or not finite.

    Raises:
        TypeError: not a model, or a scripted one; complex weights; ``convolutions`` of another type.
        ValueError: an unknown name, an expression that matches nothing, weights without values, or an ``initial`` in
            which a convolution is missing or has another shape.

    Source: equation 3, figures 4 and B1, equation B.1.
    """
    import pandas as pd

    inner = unwrap(model)
    found = convolutions_of(inner)
    chosen = choose(found, convolutions)
    starts = None if initial is None else _counterparts(chosen, unwrap(initial))
    positions = {convolution.name: number for number, convolution in enumerate(found, 1)}
    label = model_name(inner) if name is None else name
    rows: list[dict[str, Any]] = []
    for convolution in chosen:
        start = None if starts is None else starts[convolution.name]
        layer = {
            "layer": convolution.name,
            "position": positions[convolution.name],
            "kernel": _by("x", convolution.kernel),
            "dilation": _by("x", convolution.dilation),
            "model": label,
        }
        rows += [{**layer, **level} for level in _levels(convolution, start)]
    return pd.DataFrame(rows, columns=list(_SPECTRUM)).astype(_SPECTRUM)


def frequency_content(spectrum: pd.DataFrame) -> pd.DataFrame:
    """Return one number for each convolution: the power's mean eigenvalue, in units of that of white filters.

    Σ_l λ_l ⟨(Ψ_l · w)²⟩ / ⟨|w|²⟩ / (Σ_l λ_l / N) = ⟨w · Lw⟩ / ⟨|w|²⟩ / (mean eigenvalue), L the Laplacian: 0 for
    constant filters, 1 for filters of independent weights of one variance. N is the number of taps, F², which makes
    that 1; the caption of figure C5 leaves N open.

    Args:
        spectrum: one or more tables of `filter_spectrum`, one under the other, each layer with all of its levels.

    Returns:
        A table with the columns ``layer``, ``position``, ``model``, ``frequency``, ``frequency_se`` (standard error
        over filters taken as independent) and ``init_frequency`` (of the initial weights); nan where there are no
        shares.

    Raises:
        ValueError: a column is missing, or a layer's levels are not all there once.

    Source: figure C5.
    """
    import pandas as pd

    used = {*_CONTENT, "kernel", "eigenvalue", "multiplicity", "share", "init_share"} - {"frequency", "init_frequency"}
    missing = sorted(used - set(spectrum.columns))
    if missing:
        raise ValueError(f"spectrum must be a table of filter_spectrum; it lacks {', '.join(missing)}")
    rows = []
    for (model, layer, position), levels in spectrum.groupby(["model", "layer", "position"], sort=False):
        kernel = str(levels["kernel"].iloc[0])
        taps, modes = math.prod(int(side) for side in kernel.split("x")), int(levels["multiplicity"].sum())
        if modes != taps:
            raise ValueError(
                f"spectrum must hold every level of a layer once, for the mean over all {taps} modes of {kernel}; "
                f"{layer!r} of {model!r} has {modes}"
            )
        scaled = levels["eigenvalue"] / ((levels["eigenvalue"] * levels["multiplicity"]).sum() / taps)
        rows.append(
            {
                "layer": layer,
                "position": position,
                "model": model,
                "frequency": (scaled * levels["share"]).sum(skipna=False),
                "frequency_se": levels["frequency_se"].iloc[0],
                "init_frequency": (scaled * levels["init_share"]).sum(skipna=False),
            }
        )
    return pd.DataFrame(rows, columns=list(_CONTENT)).astype(_CONTENT)


def _levels(convolution: Convolution, start: Convolution | None) -> list[dict[str, Any]]:
    """Return the columns of one convolution that are its own numbers, level by level."""
    levels = grid_levels(convolution.kernel)
    taps = len(levels.level)
    filters = _filters(convolution)
    power = _mean_powers(filters)
    total = power.sum()
    notes = [_reason(power) if len(filters) else "no filters"]
    single = taps == 1
    nothing = torch.full_like(power, math.nan)
    share, share_se, frequency_se, init_share = nothing, nothing, math.nan, nothing
    if not single and not notes[0]:
        share = power / total
        share_se, frequency_se = _errors(filters, power, levels)
    if single:
        notes.append(f"{_by('x', convolution.kernel)}: no spectrum")
    elif start is not None:
        init_power = _mean_powers(_filters(start))
        init_reason = _reason(init_power)
        init_share = nothing if init_reason else init_power / init_power.sum()
        notes.append(init_reason and f"initial: {init_reason}")
    return [
        {
            "filters": len(filters),
            "level": level,
            "eigenvalue": float(levels.eigenvalue[level]),
            "multiplicity": int(levels.multiplicity[level]),
            "power": float(power[level]),
            "share": float(share[level]),
            "share_se": float(share_se[level]),
            "total_power": float(total),
            "white_share": math.nan if single else float(levels.multiplicity[level]) / taps,
            "init_share": float(init_share[level]),
            "frequency_se": frequency_se,
            "note": "; ".join(filter(None, notes)),
        }
        for level in range(len(power))
    ]


def _counterparts(chosen: Sequence[Convolution], initial: nn.Module) -> dict[str, Convolution]:
    """Return the convolutions of ``initial`` by name, if all that are needed are there with the same shape."""
    starts = {convolution.name: convolution for convolution in convolutions_of(initial)}
    for convolution in chosen:
        rule = f"initial must have the structure of the model; convolution {convolution.name!r}"
        if convolution.name not in starts:
            raise ValueError(f"{rule} is not in it")
        wanted, arrived = _shape(convolution), _shape(starts[convolution.name])
        if arrived != wanted:
            raise ValueError(f"{rule} has {wanted}, the initial one {arrived}")
    return starts


def _shape(convolution: Convolution) -> str:
    return (
        f"{convolution.out_channels} <- {convolution.in_channels} channels in {convolution.groups} groups, "
        f"kernel {_by('x', convolution.kernel)}"
    )


def _filters(convolution: Convolution) -> Tensor:
    """Return the filters one after the other, ``[filters, *kernel]``, in their own dtype and on their own device."""
    # Spectral normalisation in training mode takes a step of its power iteration whenever the weight is read.
    training = [module for module in convolution.module.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            weight = convolution.weight.flatten(0, 1)
    finally:
        for module in training:
            module.training = True
    if weight.is_complex():
        raise TypeError(f"weights must be real, a power by level is not defined here otherwise; got {weight.dtype}")
    if weight.is_meta:
        raise ValueError(f"weights must have values; those of {convolution.name!r} are on the device 'meta'")
    return weight


def _powers(filters: Tensor) -> Iterator[Float64[Tensor, "part levels"]]:
    for part in filters.split(max(1, _AT_ONCE // math.prod(filters.shape[1:]))):
        with torch.no_grad():
            yield level_powers(part.to(device="cpu", dtype=torch.float64))


def _mean_powers(filters: Tensor) -> Float64[Tensor, " levels"]:
    """Return the mean over filters of the squared projection on each level."""
    sums = [powers.sum(dim=0) for powers in _powers(filters)]
    return torch.stack(sums).sum(dim=0) / len(filters)


def _errors(
    filters: Tensor, power: Float64[Tensor, " levels"], levels: Levels
) -> tuple[Float64[Tensor, " levels"], float]:
    """Return the standard errors of the shares and of the frequency content, over filters taken as independent.

    A filter with powers p_l and |w|² = t moves the share s_l = E p_l / E t by (p_l - s_l t) / E t, and their sum
    weighted by eigenvalues by the weighted sum of these. Their mean over the filters is 0.
    """
    count, total = len(filters), float(power.sum())
    if count < 2:
        return torch.full_like(power, math.nan), math.nan
    share = power / total
    squares, weighted = torch.zeros_like(power), 0.0
    for powers in _powers(filters):
        moves = (powers - share * powers.sum(dim=1, keepdim=True)) / total
        squares += moves.square().sum(dim=0)
        weighted += float((moves @ levels.eigenvalue).square().sum())
    scale = count * (count - 1)
    white = float(levels.eigenvalue @ levels.multiplicity.double()) / len(levels.level)
    return (squares / scale).sqrt(), math.sqrt(weighted / scale) / white


def _reason(power: Tensor) -> str:
    """Say why there are no shares, if there are none."""
    total = float(power.sum())
    if not math.isfinite(total):
        return "not finite"
    return "" if total > 0 else "all filters are zero"


def _by(sign: str, numbers: Sequence[int]) -> str:
    return sign.join(map(str, numbers))
