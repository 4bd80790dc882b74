"""D, G and R over amplitudes and cutoffs of the deformation: where they are quadratic, and where rounding ends them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from poolscope.perturb import Diffeomorphism
from poolscope.sensitivity.measuring import measure
from poolscope.sensitivity.result import Result
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import open_source

#: A local exponent within this of 2 counts as quadratic.
TOLERANCE = 0.1
#: D or G below this many times the rounding floor is marked.
ABOVE_FLOOR = 10.0


def sweep(
    model: nn.Module,
    images: object,
    *,
    displacement: Sequence[float],
    cutoff: Sequence[int] = (3,),
    **options: Any,
) -> Result:
    """Measure D, G and R at every displacement and cutoff, with the same random fields and noise directions throughout.

    For small amplitudes D and G grow as the amplitude squared and R does not depend on it; R of two networks can change
    order where that ends, so anything said of R is said with its displacement.

    Args:
        model: as for ``measure``.
        images: as for ``measure``.
        displacement: true rms displacements in pixels, positive.
        cutoff: highest modes.
        options: as for ``measure``; ``deformation`` is not among them, nor ``precision="bf16-mixed"``.

    Returns:
        ``Result`` whose table has further columns: ``displacement`` (pixels), ``cutoff``; ``D_exponent`` and
        ``G_exponent``, the local slopes d log / d log displacement (from the neighbouring displacements; nan if there
        is none); ``quadratic``, whether both are within 0.1 of 2; ``floor``, the D and G that rounding alone makes,
        2 E|f - f64|² / spread on up to 16 images, f64 the same forward in float64 (0 for a float64 sweep).

    Raises:
        ValueError: no displacement, one that is not positive, bf16, or what ``measure`` refuses.
    """
    displacements, cutoffs = sorted({float(value) for value in displacement}), sorted(set(cutoff))
    if not displacements or not cutoffs:
        raise ValueError(f"at least one displacement and cutoff are needed; got {displacement!r} and {cutoff!r}")
    if displacements[0] <= 0:
        raise ValueError(f"displacements must be positive, slopes are taken on a log scale; got {displacements[0]}")
    if options.get("precision") == "bf16-mixed":
        raise ValueError(
            "precision must be float32 or float64 in a sweep: bf16 drops differences below its rounding, 20 % of D at "
            "0.01 pixels; got 'bf16-mixed'"
        )
    if "deformation" in options:
        raise ValueError("a sweep makes its own deformations; got deformation=")
    import pandas as pd

    floors = rounding_floor(model, images, **options)
    results = []
    tables = []
    for c, d in itertools.product(cutoffs, displacements):
        result = measure(model, images, Diffeomorphism(d, c), **options)
        results.append(result)
        tables.append(result.table.assign(displacement=d, cutoff=c))
    table = pd.concat(tables, ignore_index=True)
    table["floor"] = table["layer"].map(floors)
    for quantity in ("D", "G"):
        table[f"{quantity}_exponent"] = math.nan
        for _, group in table.groupby(["layer", "cutoff"], sort=False):
            table.loc[group.index, f"{quantity}_exponent"] = _slopes(
                group["displacement"].tolist(), group[quantity].tolist()
            )
    table["quadratic"] = ((table["D_exponent"] - 2).abs() < TOLERANCE) & ((table["G_exponent"] - 2).abs() < TOLERANCE)
    low = table[["D", "G"]].min(axis=1) < ABOVE_FLOOR * table["floor"]
    table.loc[low, "note"] = table.loc[low, "note"].map(lambda note: "; ".join(filter(None, [note, "near rounding"])))
    record = {**results[0].record, "displacement": displacements, "cutoff": cutoffs}
    record["deformation"] = [result.record["deformation"] for result in results]
    return Result(table, record)


def _slopes(x: list[float], y: list[float]) -> list[float]:
    """Return d log y / d log x at each point, from its neighbours on both sides, or the one there is."""
    slopes = []
    for number in range(len(x)):
        left, right = max(number - 1, 0), min(number + 1, len(x) - 1)
        if left == right or not (y[left] > 0 and y[right] > 0):
            slopes.append(math.nan)
        else:
            slopes.append((math.log(y[right]) - math.log(y[left])) / (math.log(x[right]) - math.log(x[left])))
    return slopes


def rounding_floor(model: nn.Module, images: object, **options: Any) -> dict[str, float]:
    """Return, by layer, the D that rounding alone makes: 2 E|f - f64|² over E|f(x1) - f(x2)|², on up to 16 images.

    Args:
        model: as for ``measure``.
        images: as for ``measure``.
        options: as for ``measure``.
    """
    options = {**options, "draws": 1, "batch_size": "auto"}
    for key in ("name", "variant", "process_group", "progress"):
        options.pop(key, None)
    precision = options.pop("precision", "float32")
    source = open_source(images, model)
    rows: dict[str, dict[str, torch.Tensor]] = {}
    for used in (precision, "float64"):
        with Session(model, source, make_settings(**options, precision=used)) as session:
            names = [layer.name for layer in session.sums.layers]
            rows[used] = dict(zip(names, session.sums.representations(session.sums.reference), strict=True))
    floors = {}
    for name, exact in rows["float64"].items():
        spread = 2 * exact.var(dim=0, unbiased=True).sum()
        floors[name] = float(2 * (rows[precision][name].double() - exact).square().sum(dim=1).mean() / spread)
    return floors
