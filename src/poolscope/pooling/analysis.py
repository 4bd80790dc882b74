"""A network and its controls under the same perturbations: shuffled channels, mean channels, Gaussian filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import nn

from poolscope._progress import Progress
from poolscope.networks import model_name
from poolscope.perturb import Diffeomorphism
from poolscope.pooling.convolutions import choose
from poolscope.pooling.convolutions import convolutions as convolutions_of
from poolscope.pooling.nulls import gaussian_filters
from poolscope.pooling.nulls import mean_channel as mean_filters_of
from poolscope.pooling.share import NOTHING, Share, log_ratios, spatial_share
from poolscope.pooling.shuffling import ShuffleMode, shuffled
from poolscope.pooling.skips import identity_skips
from poolscope.probe import unwrap
from poolscope.sensitivity import COLUMNS, Result
from poolscope.sensitivity.comparing import log_ratio
from poolscope.sensitivity.estimate import quantile_t
from poolscope.sensitivity.moments import Covariance
from poolscope.sensitivity.session import Session, Settings, make_settings
from poolscope.sensitivity.source import Source, open_source
from poolscope.sensitivity.together import process_together

if TYPE_CHECKING:
    import pandas as pd

#: Controls that ``pooling_analysis`` can measure beside the network, by the name of their variant.
CONTROLS = ("mean_channel", "mean_filters", "gaussian_filters")


@dataclass
class PoolingAnalysis:
    """What channel shuffling and the other controls showed.

    Attributes:
        result: D, G, R of every variant: the network ("given", or "trained" beside an "initial" one), "shuffled" with
            its ``draw``, and the controls; a result's columns, and ``displacement`` (pixels, true rms) and ``cutoff``.
        shares: the table of ``pooling_share``.
        contrasts: log(R_second / R_first) of every layer, natural, with a 95 % interval paired over images: the initial
            against the trained network, and the network against each of its controls (shuffled ones: their geometric
            mean, crossed over images and shuffles). Columns ``layer, first, second, R_first, R_second, log_ratio,
            log_ratio_se, low, high, model, displacement, cutoff, note``.
        record: how it was measured.
    """

    result: Result
    shares: pd.DataFrame
    contrasts: pd.DataFrame
    record: dict[str, Any] = field(default_factory=dict)


def pooling_share(
    model: nn.Module, images: object, deformation: Any = None, *, draws: int = 8, **options: Any
) -> pd.DataFrame:
    """Tell spatial from channel pooling: how much of the fall of R is left when channels are shuffled, layer by layer.

    spatial_share_k = log(R_shuffled,k / R_input) / log(R_k / R_input), R_shuffled the geometric mean over shuffles: 1
    where the shuffled copies lose R as the network does (all pooling is spatial), 0 where they keep the input's R (all
    of it is made by channels together). It is not clipped: below 0, the shuffled copies are *more* sensitive to
    deformations than the input, relative to noise, so that without its channels the network would undo spatial pooling;
    above 1, R falls further without the learned order of channels, which then works against the fall (or batch-norm
    statistics no longer fit: see ``recalibrate``). Where the network raises R above the input's, the same ratio is the
    part of the rise that shuffling leaves.

    Args:
        model: any module; it comes back as it was.
        images: as for ``measure``.
        deformation: as for ``measure``; or give ``displacement``.
        draws: number of shuffles; a single one gives no standard errors.
        options: as for ``pooling_analysis``: ``displacement``, ``mode``, ``recalibrate``, ….

    Returns:
        A table, one row a layer and displacement: ``layer, kind, position, depth, R, R_low, R_high, R_shuffled,
        R_shuffled_low, R_shuffled_high, spatial_share, spatial_share_se, spatial_share_low, spatial_share_high, draws,
        model, displacement, cutoff, note``. Errors are crossed over images and shuffles. The share is nan, with a note,
        where the 95 % interval of log(R_k / R_input) contains 0, where R is not defined, and in networks without
        convolutions; a note says where the denominator is that uncertain that the share is rough. ``note`` also names
        the identity skips that were added, unshuffled, since the layer before.

    Raises:
        TypeError: as for ``measure``.
        ValueError: as for ``measure`` and ``shuffle_channels``, or a number of draws below 1.

    Source: section 2, "Disentangling spatial and channel pooling", which compares the curves by eye (figure 3).
    """
    if draws == 0:
        raise ValueError("draws must be 1 or more shuffles, the share is made of them; got 0")
    return pooling_analysis(model, images, deformation, draws=draws, **options).shares


def pooling_analysis(
    model: nn.Module,
    images: object,
    deformation: Any = None,
    *,
    displacement: float | Sequence[float] | None = None,
    cutoff: int = 3,
    initial: nn.Module | None = None,
    draws: int = 8,
    perturbations: int = 1,
    mode: ShuffleMode = "independent",
    convolutions: str | Sequence[str] = "all",
    image_channels: bool = True,
    recalibrate: bool = False,
    controls: Sequence[str] = (),
    seed: int = 0,
    progress: bool = True,
    name: str | None = None,
    **options: Any,
) -> PoolingAnalysis:
    """Measure a network and its controls on the same images, deformations and noise.

    All copies are in memory at once, where they share every parameter that a control does not replace.

    Args:
        model: any module; it comes back as it was.
        images: as for ``measure``.
        deformation: as for ``measure``, one for all.
        displacement: instead: true rms displacements in pixels, one or several; all are measured with the same
            shuffles and, image by image, the same random fields and noise directions.
        cutoff: highest mode, with ``displacement``.
        initial: the same network before training, measured beside it.
        draws: number of shuffles; 0 for none.
        perturbations: deformations and noises an image (``draws`` of ``measure``).
        mode: of shuffling, see ``shuffle_channels``.
        convolutions: which ones are shuffled, see ``shuffle_channels``.
        image_channels: whether the first convolution is among them, see ``shuffle_channels``.
        recalibrate: let the batch norms of shuffled copies and of copies with other filters re-estimate their
            statistics on these images. Without, they expect the channels as they were, which alone moves R.
        controls: further variants: ``"mean_channel"`` (activations of the network averaged over channels, the authors'
            "mean channel"), ``"mean_filters"`` (see ``mean_channel``), ``"gaussian_filters"`` (as many as ``draws``, at
            least one). Those of filters are left out where there is no convolution.
        seed: of perturbations and of shuffles; a shuffle depends on (seed, its number) alone.
        progress: show progress with the time left, if standard error is a terminal.
        name: the table's ``model`` column (default: the model's own name).
        options: further ones of ``measure``: ``noise``, ``layers``, ``batch_size``, ``device``, ``precision``, ``bn``,
            ``memory_format``, ``noise_on``, ``protocol``.

    Raises:
        TypeError: as for ``measure``.
        ValueError: as for ``measure`` and ``shuffle_channels``; a number of draws that is negative or not whole; an
            unknown control; both a deformation and displacements; a displacement that is not a positive number; an
            initial network with other layers.
    """
    import pandas as pd

    if not isinstance(draws, int) or isinstance(draws, bool) or draws < 0:
        raise ValueError(f"draws must be a whole number, 0 or more shuffles; got {draws!r}")
    if mode not in get_args(ShuffleMode):
        raise ValueError(f"mode must be one of {', '.join(get_args(ShuffleMode))}; got {mode!r}")
    if isinstance(controls, str) or not set(controls) <= set(CONTROLS):
        raise ValueError(f"controls must be a sequence of {', '.join(CONTROLS)}; got {controls!r}")
    for taken in ("readout", "variant", "process_group"):
        if taken in options:
            raise ValueError(f"{taken} is not an option of the pooling analysis, which sets it itself; got {taken}=")
    if displacement is not None and deformation is not None:
        raise ValueError("either a deformation or displacements can be asked for; got both")
    deformations = [deformation]
    if displacement is not None:
        deformations = [Diffeomorphism(size, cutoff) for size in _displacements(displacement)]
    settings = [make_settings(each, draws=perturbations, seed=seed, **options) for each in deformations]
    name = name or model_name(model)
    variants, left = _variants(
        model, initial, draws, mode, convolutions, image_channels, recalibrate, tuple(controls), seed
    )
    source = open_source(images, model)
    parts = [_one(variants, source, each, name, draws, progress) for each in settings]
    result = Result(pd.concat([part.result.table for part in parts], ignore_index=True), parts[0].record)
    record = {
        **parts[0].record,
        "deformation": _one_or_all([part.record["deformation"] for part in parts]),
        "displacement": _one_or_all([part.record["displacement"] for part in parts]),
        "shuffles": {
            "draws": draws,
            "mode": mode,
            "recalibrate": recalibrate,
            "image_channels": image_channels,
            "left_as_they_are": left,
        },
        "controls": list(controls),
    }
    result.record = record
    return PoolingAnalysis(
        result,
        pd.concat([part.shares for part in parts], ignore_index=True),
        pd.concat([part.contrasts for part in parts], ignore_index=True),
        record,
    )


def _displacements(asked: float | Sequence[float]) -> list[float]:
    """Return displacements in pixels, each once, the smallest first."""
    sizes = list(asked) if isinstance(asked, (Sequence, np.ndarray)) and not isinstance(asked, str) else [asked]
    if not sizes:
        raise ValueError(f"at least one displacement is needed; got {asked!r}")
    for size in sizes:
        if not isinstance(size, Real) or isinstance(size, bool) or not 0 < size < math.inf:
            raise ValueError(
                f"displacements must be positive numbers of pixels, for R compares deformations of them; got {size!r}"
            )
    return sorted({float(size) for size in sizes})


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


@dataclass
class _Variant:
    """One model to be measured, under the name it has in the tables."""

    variant: str
    draw: int
    model: nn.Module
    changes: dict[str, Any] = field(default_factory=dict)  # of the settings


def _variants(
    model: nn.Module,
    initial: nn.Module | None,
    draws: int,
    mode: ShuffleMode,
    which: str | Sequence[str],
    image_channels: bool,
    recalibrate: bool,
    controls: tuple[str, ...],
    seed: int,
) -> tuple[list[_Variant], dict[str, str]]:
    """Return the network first, then the initial one, the shuffled copies and the controls; what was not shuffled."""
    found = [_Variant("given" if initial is None else "trained", 0, model)]
    if initial is not None:
        found.append(_Variant("initial", 0, initial))
    left: dict[str, str] = {}
    changes = {"bn": "reestimate"} if recalibrate else {}
    if choose(convolutions_of(unwrap(model)), which):
        for draw in range(draws):
            copy, left = shuffled(model, _generator(seed, draw, 0), mode, which, image_channels, share=True)
            found.append(_Variant("shuffled", draw, copy, changes))
        if "mean_filters" in controls:
            found.append(_Variant("mean_filters", 0, mean_filters_of(model, share=True), changes))
        for draw in range(max(draws, 1) if "gaussian_filters" in controls else 0):
            copy = gaussian_filters(model, generator=_generator(seed, draw, 1), share=True)
            found.append(_Variant("gaussian_filters", draw, copy, changes))
    if "mean_channel" in controls:
        found.append(_Variant("mean_channel", 0, model, {"readout": "channel_mean"}))
    return found, left


def _generator(seed: int, draw: int, purpose: int) -> torch.Generator:
    """Return a generator of its own for each (seed, draw, purpose): hashed, since torch's CPU seeds have 32 bits."""
    words = np.random.SeedSequence([seed, draw, purpose]).generate_state(1)
    return torch.Generator().manual_seed(int(words[0]))


def _one(
    variants: list[_Variant], source: Source, settings: Settings, name: str, draws: int, progress: bool
) -> PoolingAnalysis:
    """Measure all variants at one amplitude."""
    import pandas as pd

    with ExitStack() as stack:
        sessions: list[Session] = []
        for variant in variants:
            changes = {key: value for key, value in variant.changes.items() if key != "bn" or settings.bn == "eval"}
            layers = sessions[0].layers if sessions and variant.variant != "initial" else None
            session = Session(variant.model, source, replace(settings, **changes), layers)
            sessions.append(stack.enter_context(session))
        first = sessions[0]
        names = [layer.name for layer in first.sums.layers]
        for variant, session in zip(variants, sessions, strict=True):
            own = [layer.name for layer in session.sums.layers]
            if own != names:
                raise ValueError(
                    f"the {variant.variant} network must have the layers of the first, {', '.join(names)}, to be "
                    f"compared; got {', '.join(own)}"
                )
            session.batch_size = first.batch_size
        amplitude = _amplitude(settings.perturber.deformation, first.sums.image_shape)
        skips = identity_skips(first.model, first.sums.reference[:1], first.layers) if draws else {}
        joint = Covariance(len(names), 2 * (1 + len(sessions)))
        label = f"measuring {name} and {len(sessions) - 1} controls"
        with Progress(first.total(), label, enabled=progress) as bar:
            for part, indices in first.pieces():
                powers = process_together(sessions, part, indices)
                at_input = powers[0][:1, :2].expand(len(names), -1, -1)
                joint.update(torch.cat([at_input, *[each[:, :2] for each in powers]], dim=1))
                bar.advance(len(part))
        results = [session.result(name, each.variant) for session, each in zip(sessions, variants, strict=True)]
    tables = []
    for variant, result in zip(variants, results, strict=True):
        table = result.table.assign(draw=variant.draw, **amplitude)
        if variant.variant == "mean_filters":
            dead = table["note"].str.startswith("constant")
            table.loc[dead, "note"] = "the averaged filters leave no signal: " + table.loc[dead, "note"]
        tables.append(table)
    shares = _shares(tables, variants, joint, skips, amplitude)
    contrasts = _contrasts(tables, variants, joint, amplitude)
    record = {**results[0].record, **amplitude, "compared": [each.record for each in results[1:]]}
    columns = [*COLUMNS, "displacement", "cutoff"]
    return PoolingAnalysis(Result(pd.concat(tables, ignore_index=True)[columns], record), shares, contrasts, record)


def _amplitude(deformation: Any, size: tuple[int, int]) -> dict[str, float]:
    displacement = getattr(deformation, "displacement", None)
    value = displacement(size) if callable(displacement) else displacement
    cutoff = getattr(deformation, "cutoff", math.nan)
    return {"displacement": math.nan if value is None else float(value), "cutoff": cutoff}


def _columns_of(variants: list[_Variant], variant: str) -> list[int]:
    """Return the columns (a, b) of all draws of a variant in the joint covariance."""
    numbers = [number for number, each in enumerate(variants) if each.variant == variant]
    return [column for number in numbers for column in (2 * number + 2, 2 * number + 3)]


def _part(joint: Covariance, layer: int, columns: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return joint.mean[layer, columns], joint.covariance[layer][columns][:, columns]


def _undefined(tables: list[pd.DataFrame], variants: list[_Variant], variant: str, layer: int) -> bool:
    """Return whether R is nan in any draw of a variant: powers of a dead layer may be rounding, and yet positive."""
    return not all(
        math.isfinite(table["R"].iloc[layer])
        for table, each in zip(tables, variants, strict=True)
        if each.variant == variant
    )


def _shares(
    tables: list[pd.DataFrame],
    variants: list[_Variant],
    joint: Covariance,
    skips: dict[str, list[str]],
    amplitude: dict[str, float],
) -> pd.DataFrame:
    import pandas as pd

    columns = _columns_of(variants, "shuffled")
    rows = []
    for number, row in enumerate(tables[0].to_dict("records")):
        found = Share(NOTHING, NOTHING, "no convolution is shuffled")
        if columns and row["note"] and not math.isfinite(row["R"]):
            found = Share(NOTHING, NOTHING, row["note"])
        elif columns and _undefined(tables, variants, "shuffled", number):
            found = Share(NOTHING, NOTHING, "R is not defined in every shuffled copy")
        elif columns and row["kind"] == "input":
            found = spatial_share(*_part(joint, number, [0, 1, 2, 3, *columns]), joint.count)
            found = Share(found.shuffled, NOTHING, "the input itself")
        elif columns:
            found = spatial_share(*_part(joint, number, [0, 1, 2, 3, *columns]), joint.count)
        notes = [found.note]
        if columns and row["layer"] in skips:
            notes.append(f"skip added unshuffled in {', '.join(skips[row['layer']])}")
        rows.append(
            {
                **{key: row[key] for key in ("layer", "kind", "position", "depth", "R", "R_low", "R_high")},
                "R_shuffled": found.shuffled.value,
                "R_shuffled_low": found.shuffled.low,
                "R_shuffled_high": found.shuffled.high,
                "spatial_share": found.share.value,
                "spatial_share_se": found.share.se,
                "spatial_share_low": found.share.low,
                "spatial_share_high": found.share.high,
                "draws": len(columns) // 2,
                "model": row["model"],
                **amplitude,
                "note": "; ".join(note for note in notes if note),
            }
        )
    return pd.DataFrame(rows)


def _contrasts(
    tables: list[pd.DataFrame],
    variants: list[_Variant],
    joint: Covariance,
    amplitude: dict[str, float],
) -> pd.DataFrame:
    """Compare the network with the initial one, which comes first, and with its controls, which come second."""
    import pandas as pd

    rows = []
    for variant in dict.fromkeys(each.variant for each in variants[1:]):
        first, second = (variant, variants[0].variant) if variant == "initial" else (variants[0].variant, variant)
        columns = _columns_of(variants, variant)
        sign = -1 if variant == "initial" else 1
        for number, row in enumerate(tables[0].to_dict("records")):
            R, other = row["R"], math.nan
            mean, covariance = _part(joint, number, [2, 3, *columns])
            ratio = error = reach = math.nan
            defined = math.isfinite(R) and not _undefined(tables, variants, variant, number)
            note = ""
            if not (defined and bool((mean > 0).all())):
                note = "R is not defined and positive for both"
            elif len(columns) == 2:
                ratio, error = log_ratio(mean, covariance, joint.count)
                reach = quantile_t(joint.count - 1) * error
                other = R * math.exp(ratio)
                if variant in ("shuffled", "gaussian_filters"):
                    note = "one draw: the interval is over images alone"
            else:
                found = log_ratios(mean, covariance, joint.count)
                ratio, error, reach = found.value, found.se, found.high - found.value
                other = R * math.exp(ratio)
            before, after = (other, R) if variant == "initial" else (R, other)
            rows.append(
                {
                    "layer": row["layer"],
                    "first": first,
                    "second": second,
                    "R_first": before,
                    "R_second": after,
                    "log_ratio": sign * ratio + 0.0,  # no minus before a zero
                    "log_ratio_se": error,
                    "low": sign * ratio - reach + 0.0,
                    "high": sign * ratio + reach,
                    "model": row["model"],
                    **amplitude,
                    "note": note,
                }
            )
    columns_ = ["layer", "first", "second", "R_first", "R_second", "log_ratio", "log_ratio_se", "low", "high", "model"]
    return pd.DataFrame(rows, columns=[*columns_, "displacement", "cutoff", "note"])
