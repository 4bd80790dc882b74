"""Arrays of float64 with any number of axes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

Array = Float64[np.ndarray, "..."]
