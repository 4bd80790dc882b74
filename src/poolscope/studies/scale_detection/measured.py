"""D, G and R of trained simple CNNs on a whole task: every pair, every move, both protocols of noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from poolscope.perturb import MatchedNoise, PixelShift
from poolscope.pooling import filter_spectrum, noise_pileup
from poolscope.sensitivity import measure
from poolscope.tasks import ScaleDetection, parse
from poolscope.training.averages import average_over_seeds
from poolscope.training.simple.finished import SimpleRuns

if TYPE_CHECKING:
    import pandas as pd

Protocol = Literal["text", "published"]

_MOST = 1000  # pairs, evenly taken from all, on which noise is looked at draw by draw

#: What tells rows of one seed apart.
KEYS = ("model", "variant", "noise", "layer", "k", "A")
#: What is measured of each seed, and what of it.
VARIANTS: tuple[tuple[str, str, Literal["values", "channel_mean"]], ...] = (
    ("trained", "last", "values"),
    ("initial", "initial", "values"),
    ("mean_channel", "last", "channel_mean"),
)


def moves_of(task: ScaleDetection, protocol: Protocol) -> PixelShift:
    """Return the moves that D is measured under, all of them in turn.

    Args:
        task: whose images are moved.
        protocol: "text": left or right, round the ring, overlaps add (section 4); or "published": stopped at the ends,
            moves across task 2's patches undone, overlaps set (the authors' code).
    """
    if protocol == "text":
        return PixelShift(
            edge="wrap" if task.is_periodic or task.task == 2 else "clamp", margin=task.padding, every=True
        )
    patch = task.scale if task.task == 2 else None
    return PixelShift(edge="clamp", patch=patch, overlap="set", margin=task.padding, every=True)


def sensitivities(
    runs: SimpleRuns, *, protocol: Protocol = "text", noise: Sequence[str] = ("rectified", "plain"), name: str = ""
) -> pd.DataFrame:
    """Measure every finished seed: trained, initial, and the trained one's mean channel (of activations, as published).

    All pairs of the task and all moves of their pixels: D is exact. Each image has one noise for every move.

    Args:
        runs: of one experiment.
        protocol: as for `moves_of`.
        noise: "rectified" as in section 4.3, "plain" as in definition (1), or both.
        name: the column ``model`` (default: the activation).

    Returns:
        The rows of ``measure`` for f_1 .. f_depth, with ``seed``, ``noise``, ``k`` and ``A`` (sqrt(k (F² - 1) / 12) at
        stride 1, F^k at stride F) in front.
    """
    import pandas as pd

    experiment = runs.experiment
    task = parse(experiment.task)[0]
    images = task.images(task.pairs)
    moves = moves_of(task, protocol)
    tables = []
    for seed in runs.finished:
        for variant, which, readout in VARIANTS:
            model = runs.model(seed, which)
            for kind in noise:
                table = measure(
                    model,
                    images,
                    moves,
                    MatchedNoise(rectified=kind == "rectified"),
                    layers=model.representations,
                    draws=moves.combinations(2, task.dim),
                    readout=readout,
                    pairs="all",
                    seed=seed,
                    progress=False,
                    name=name or experiment.activation,
                    variant=variant,
                ).table.iloc[1:]
                table.insert(0, "A", receptive_fields(experiment.filter_size, experiment.stride, experiment.depth))
                table.insert(0, "k", range(1, experiment.depth + 1))
                table.insert(0, "noise", kind)
                table.insert(0, "seed", seed)
                tables.append(table)
    return pd.concat(tables, ignore_index=True)


def receptive_fields(filter_size: int, stride: int, depth: int) -> list[float]:
    """Return A_k of homogeneous filters, in pixels."""
    if stride > 1:
        return [float(filter_size**k) for k in range(1, depth + 1)]
    return [(k * (filter_size**2 - 1) / 12) ** 0.5 for k in range(1, depth + 1)]


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Average `sensitivities` over seeds: geometric means, 95 % intervals of Student's t on the logarithm."""
    return average_over_seeds(table, KEYS)


def mean_filters(runs: SimpleRuns) -> pd.DataFrame:
    """Return each layer's filter averaged over channels, raw parameters as in Tables C2 and C3.

    Returns:
        One row a seed, moment ("initial", "trained") and layer: ``k``, ``tap_1`` .. ``tap_F`` (in two dimensions row by
        row), and ``spread``, the standard deviation of the taps over the size of their mean: 0 if homogeneous.
    """
    import pandas as pd

    rows = []
    for seed in runs.finished:
        for moment, which in (("initial", "initial"), ("trained", "last")):
            for number, taps in enumerate(taps_of(runs, seed, which), start=1):
                values = {f"tap_{tap}": value for tap, value in enumerate(taps.flatten().tolist(), start=1)}
                spread = float(taps.std(correction=0) / taps.mean().abs())
                rows.append({"seed": seed, "moment": moment, "k": number, **values, "spread": spread})
    return pd.DataFrame(rows)


def taps_of(runs: SimpleRuns, seed: int, which: str = "last") -> list[Tensor]:
    """Return the mean filter of each layer of a seed, ``[F]`` or ``[F, F]``."""
    return [layer.weight.detach().double().mean((0, 1)) for layer in runs.model(seed, which).layers]  # type: ignore[operator]


def spectra(runs: SimpleRuns, *, name: str = "") -> pd.DataFrame:
    """Return the filters' spectra of each seed, trained against initial (figure B1, equation (B.1))."""
    import pandas as pd

    tables = []
    for seed in runs.finished:
        table = filter_spectrum(
            runs.model(seed), initial=runs.model(seed, "initial"), name=name or runs.experiment.activation
        )
        table.insert(0, "seed", seed)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def pileup(runs: SimpleRuns, *, draws: int = 8, name: str = "") -> pd.DataFrame:
    """Return how much of each layer's response to plain noise is common to all noise draws, by seed and variant.

    Variants "trained" and "initial", and "linear": the trained network without its activations, whose share is 0.
    """
    import pandas as pd

    experiment = runs.experiment
    task = parse(experiment.task)[0]
    images = task.images(task.pairs[:: -(-len(task.pairs) // _MOST)])
    tables = []
    for seed in runs.finished:
        for variant, which in (("trained", "last"), ("initial", "initial"), ("linear", "last")):
            model = runs.model(seed, which)
            if variant == "linear":
                for layer in model.layers:
                    layer.activation = nn.Identity()
            found = noise_pileup(
                model,
                images,
                PixelShift(edge="wrap"),
                MatchedNoise(),
                layers=model.representations,
                draws=draws,
                seed=seed,
                progress=False,
                name=name or experiment.activation,
                variant=variant,
            )
            table = found.iloc[1:]
            table.insert(0, "k", range(1, experiment.depth + 1))
            table.insert(0, "seed", seed)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
