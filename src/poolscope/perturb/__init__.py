"""What is done to an image: deformations, noise and controls, each drawn from an explicit source of randomness."""

from poolscope.perturb.affine import Rotation, Scaling, Shear, Translation
from poolscope.perturb.blur import ResamplingBlur
from poolscope.perturb.deformation import Deformation
from poolscope.perturb.diffeomorphism import Diffeomorphism
from poolscope.perturb.folding import fold_fraction, least_jacobian, temperature_range
from poolscope.perturb.mover import Mover
from poolscope.perturb.noise import GaussianNoise, MatchedNoise, Noise, SpectrumMatchedNoise
from poolscope.perturb.pixel_shift import PixelShift
from poolscope.perturb.residual import AffineResidual
from poolscope.perturb.warping import warp

__all__ = [
    "AffineResidual",
    "Deformation",
    "Diffeomorphism",
    "GaussianNoise",
    "MatchedNoise",
    "Mover",
    "Noise",
    "PixelShift",
    "ResamplingBlur",
    "Rotation",
    "Scaling",
    "Shear",
    "SpectrumMatchedNoise",
    "Translation",
    "fold_fraction",
    "least_jacobian",
    "temperature_range",
    "warp",
]
