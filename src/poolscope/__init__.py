"""poolscope: how a trained network loses spatial information.

Measures, layer by layer, how a vision model reacts to smooth deformations (D), to noise (G), and their ratio R = D / G.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolscope import tasks, theory
    from poolscope.datasets import Indexed, load_images, open_images
    from poolscope.networks import load_model
    from poolscope.perturb import (
        Diffeomorphism,
        GaussianNoise,
        MatchedNoise,
        PixelShift,
        ResamplingBlur,
        Rotation,
        Scaling,
        Shear,
        SpectrumMatchedNoise,
        Translation,
        fold_fraction,
        least_jacobian,
        temperature_range,
        warp,
    )
    from poolscope.perturb.transform import RandomDiffeomorphism
    from poolscope.pooling import (
        PoolingAnalysis,
        filter_spectrum,
        frequency_content,
        gaussian_filters,
        mean_channel,
        noise_pileup,
        pooling_analysis,
        pooling_share,
        shuffle_channels,
    )
    from poolscope.sensitivity import Comparison, Result, Sensitivity, compare, measure, read_result, sweep
    from poolscope.training import Run, SensitivityMonitor, fit, read_run, train

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Diffeomorphism",
    "GaussianNoise",
    "Indexed",
    "MatchedNoise",
    "PixelShift",
    "PoolingAnalysis",
    "RandomDiffeomorphism",
    "ResamplingBlur",
    "Result",
    "Rotation",
    "Run",
    "Scaling",
    "Sensitivity",
    "SensitivityMonitor",
    "Shear",
    "SpectrumMatchedNoise",
    "Translation",
    "compare",
    "filter_spectrum",
    "fit",
    "fold_fraction",
    "frequency_content",
    "gaussian_filters",
    "least_jacobian",
    "load_images",
    "load_model",
    "mean_channel",
    "measure",
    "noise_pileup",
    "open_images",
    "pooling_analysis",
    "pooling_share",
    "read_result",
    "read_run",
    "shuffle_channels",
    "sweep",
    "tasks",
    "temperature_range",
    "theory",
    "train",
    "warp",
]

# Every public name loads its part of the package on first use: `import poolscope` takes a few milliseconds.
_HOMES = {
    **dict.fromkeys(["Indexed", "load_images", "open_images"], "poolscope.datasets"),
    **dict.fromkeys(["load_model"], "poolscope.networks"),
    **dict.fromkeys(
        [
            "PoolingAnalysis",
            "filter_spectrum",
            "frequency_content",
            "gaussian_filters",
            "mean_channel",
            "noise_pileup",
            "pooling_analysis",
            "pooling_share",
            "shuffle_channels",
        ],
        "poolscope.pooling",
    ),
    **dict.fromkeys(["RandomDiffeomorphism"], "poolscope.perturb.transform"),  # torchvision takes seconds
    **dict.fromkeys(
        ["Comparison", "Result", "Sensitivity", "compare", "measure", "read_result", "sweep"], "poolscope.sensitivity"
    ),
    **dict.fromkeys(["Run", "SensitivityMonitor", "fit", "read_run", "train"], "poolscope.training"),
}


_PARTS = ("tasks", "theory")  # used by their own names: ps.theory.predict


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"poolscope.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "poolscope.perturb")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})
