"""Exact finite-size and asymptotic predictions for scale detection (section 4, appendix A): no network is run."""

from poolscope.theory.dilute import dilute
from poolscope.theory.gaussian import gaussian_profile, proposition_1
from poolscope.theory.initial import initial
from poolscope.theory.laws import depths_within, holds_from, laws, ratios_to_laws
from poolscope.theory.predictions import predict
from poolscope.theory.propagation import propagate

__all__ = [
    "depths_within",
    "dilute",
    "gaussian_profile",
    "holds_from",
    "initial",
    "laws",
    "predict",
    "propagate",
    "proposition_1",
    "ratios_to_laws",
]
