"""poolscope: how a trained network loses spatial information.

Measures, layer by layer, how a vision model reacts to smooth deformations (D), to noise (G), and their ratio R = D / G.
"""

from typing import TYPE_CHECKING, Any

from poolscope.datasets import Indexed, load_images, open_images
from poolscope.networks import load_model
from poolscope.perturb import (
    Diffeomorphism,
    GaussianNoise,
    MatchedNoise,
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
from poolscope.sensitivity import Comparison, Result, compare, measure, read_result, sweep

if TYPE_CHECKING:
    from poolscope.perturb.transform import RandomDiffeomorphism
    from poolscope.sensitivity.metric import Sensitivity

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Diffeomorphism",
    "GaussianNoise",
    "Indexed",
    "MatchedNoise",
    "RandomDiffeomorphism",
    "ResamplingBlur",
    "Result",
    "Rotation",
    "Scaling",
    "Sensitivity",
    "Shear",
    "SpectrumMatchedNoise",
    "Translation",
    "compare",
    "fold_fraction",
    "least_jacobian",
    "load_images",
    "load_model",
    "measure",
    "open_images",
    "read_result",
    "sweep",
    "temperature_range",
    "warp",
]


def __getattr__(name: str) -> Any:
    # These two subclass torchmetrics' and torchvision's classes, which take a second or more to import.
    if name == "Sensitivity":
        from poolscope.sensitivity.metric import Sensitivity

        return Sensitivity
    if name == "RandomDiffeomorphism":
        from poolscope.perturb.transform import RandomDiffeomorphism

        return RandomDiffeomorphism
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
