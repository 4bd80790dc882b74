"""Logarithmic axes with ticks that can be read: 0.2, 0.5, 1, 2 and not powers of ten alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axis import Axis

_STEPS: tuple[tuple[float, ...], ...] = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))


def log_ticks(low: float, high: float) -> list[float]:
    """Return three to eight round numbers between ``low`` and ``high``, both positive; fewer where there are none."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    stride = max(1, (last - first) // 7)
    decades = 10.0 ** np.arange(first, last + 1, stride)
    for steps in _STEPS:
        ticks = [float(f"{step * decade:.3g}") for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            return inside
    return [float(f"{tick:.6g}") for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def read_as_numbers(axis: Axis) -> None:
    """Give a logarithmic axis ticks at round numbers, written as such."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    class Readable(LogLocator):
        def __call__(self) -> Sequence[float]:
            low, high = sorted(self.axis.get_view_interval())  # type: ignore[union-attr]
            return self.tick_values(low, high)

        def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
            return log_ticks(vmin, vmax) if 0 < vmin < vmax else []

    axis.set_major_locator(Readable())
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
