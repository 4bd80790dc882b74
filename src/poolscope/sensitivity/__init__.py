"""Sensitivities D, G and R: streaming estimators, the measuring loop, the result table."""

from typing import TYPE_CHECKING, Any

from poolscope.sensitivity.comparing import Comparison, compare
from poolscope.sensitivity.estimate import Estimate
from poolscope.sensitivity.measuring import measure
from poolscope.sensitivity.result import COLUMNS, Result, read_result
from poolscope.sensitivity.sweeping import sweep

if TYPE_CHECKING:
    from poolscope.sensitivity.metric import Sensitivity

__all__ = [
    "COLUMNS",
    "Comparison",
    "Estimate",
    "Result",
    "Sensitivity",
    "compare",
    "measure",
    "read_result",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "Sensitivity":  # needs torchmetrics, which is slow to import
        from poolscope.sensitivity.metric import Sensitivity

        return Sensitivity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
