"""How D, G and R grow with the receptive field: slopes fitted over layers, beside those of the theory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolscope.tasks import parse
from poolscope.theory import laws, predict
from poolscope.training.simple.experiment import Experiment

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_FEWEST = 3


def exact(experiment: Experiment) -> pd.DataFrame:
    """Return the theory's D, G and R for the experiment's task and network, homogeneous filters (``predict``)."""
    task = parse(experiment.task)[0]
    return predict(
        task=task.task,
        length=task.length,
        scale=task.scale,
        gap=task.gap,
        filter_size=experiment.filter_size,
        stride=experiment.stride,
        depth=experiment.depth,
        dim=task.dim,
    )


def fitted_range(experiment: Experiment) -> tuple[int, int]:
    """Return the first and last layer that slopes are fitted over.

    Of stride 1 layers 1 to 7, the largest part of the network in which the paper's own mean filters are near
    homogeneous; of stride F those whose receptive field is not larger than the scale ξ, beyond which (8) cannot hold
    (erratum 12).
    """
    if experiment.stride == 1:
        return 1, min(7, experiment.depth)
    scale = parse(experiment.task)[0].scale
    return 1, min(experiment.depth, max(2, math.floor(math.log(scale) / math.log(experiment.stride) + 1e-9)))


def slopes(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Fit log D, log G and log R against log A by least squares, seed by seed.

    Args:
        table: of `sensitivities`.
        experiment: whose theory to compare with.

    Returns:
        One row a model, variant, noise and quantity: ``slope``, the mean over seeds, ``low``, ``high``, the 95 %
        interval of Student's t over seeds (nan below three seeds), ``seeds``, ``layers``, ``exact``, the slope of
        the exact finite-size values over the same layers (rectified or plain noise into a ReLU network; for other
        activations linear, with plain noise), and ``law``, that of equations (5), (7), (8), (9).
    """
    import numpy as np
    import pandas as pd
    from scipy.stats import t

    first, last = fitted_range(experiment)
    theory, law = exact(experiment), laws(experiment.filter_size, experiment.stride, experiment.depth)
    rows = []
    for (model, variant, noise), part in table.groupby(["model", "variant", "noise"], sort=False):
        part = part[part["k"].between(first, last)]
        for quantity in "DGR":
            found = np.array([_slope(seed["A"], seed[quantity]) for _, seed in part.groupby("seed")])
            reach = math.nan
            if len(found) >= _FEWEST:
                reach = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5)
            chosen = theory["k"].between(first, last)
            rows.append(
                {
                    "model": model,
                    "variant": variant,
                    "noise": noise,
                    "quantity": quantity,
                    "slope": float(found.mean()),
                    "low": float(found.mean() - reach),
                    "high": float(found.mean() + reach),
                    "seeds": len(found),
                    "layers": f"{first}-{last}",
                    "exact": _slope(
                        theory["A"][chosen], theory_curve(theory, quantity, str(noise), experiment)[chosen]
                    ),
                    "law": _slope(law["A"][-2:], law[quantity][-2:]),
                }
            )
    return pd.DataFrame(rows)


def theory_curve(theory: pd.DataFrame, quantity: str, noise: str, experiment: Experiment) -> pd.Series:
    """Return the theory's D, G or R for a protocol of noise: see `slopes`."""
    if quantity == "D":
        return theory["D"]
    linear = experiment.activation != "relu"
    noisy = theory["G_rectified" if noise == "rectified" else "G_linear" if linear else "G_relu"]
    return noisy if quantity == "G" else theory["D"] / noisy


def _slope(x: pd.Series, y: pd.Series) -> float:
    import numpy as np

    both: np.ndarray = np.isfinite(x.to_numpy()) & (y.to_numpy() > 0)
    if both.sum() < 2:
        return math.nan
    return float(np.polyfit(np.log(x.to_numpy()[both]), np.log(y.to_numpy()[both]), 1)[0])
