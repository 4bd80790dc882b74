"""Tables as measurements leave them, small and made up, for every test of pages and pictures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch


def result_table(R: list[float], *, error: float = 0.05, **columns: Any) -> pd.DataFrame:
    """A result's table with these R from the input to the output, standard errors of ``error`` times R, D = R / 10."""
    count = len(R)
    names = ["input", *(f"relu{number}" for number in range(1, count - 1)), "output"]
    values = np.array(R, dtype=float)
    table = pd.DataFrame(
        {
            "layer": names, "kind": ["input", *["activation"] * (count - 2), "output"], "position": range(count),
            "depth": np.arange(count) / (count - 1), "features": 10, "images": 100, "draws": 1,
            "D": 0.1 * values, "D_se": 0.1 * values * error, "G": 0.1, "G_se": 0.1 * error,
            "R": values, "R_se": values * error, "R_low": values * math.exp(-2 * error),
            "R_high": values * math.exp(2 * error), "deformation_power": 1.0, "noise_power": 1.0, "spread": 2.0,
            "model": "net", "variant": "given", "draw": 0, "note": "",
        }
    )
    return table.assign(**columns)


def share_table(shares: list[tuple[float, float, float]], **columns: Any) -> pd.DataFrame:
    """A table of spatial shares (estimate, low, high) of layers relu1 .. output, after a row for the input."""
    rows = [(math.nan, math.nan, math.nan), *shares]
    count = len(rows)
    table = pd.DataFrame(rows, columns=["spatial_share", "spatial_share_low", "spatial_share_high"])
    table["spatial_share_se"] = (table["spatial_share_high"] - table["spatial_share_low"]) / 4
    table["layer"] = ["input", *(f"relu{number}" for number in range(1, count - 1)), "output"]
    table["kind"] = ["input", *["activation"] * (count - 2), "output"]
    table["position"] = range(count)
    table["depth"] = table["position"] / (count - 1)
    table = table.assign(R=0.5, R_low=0.4, R_high=0.6, R_shuffled=0.7, R_shuffled_low=0.6, R_shuffled_high=0.8, draws=8)
    table["note"] = np.where(table["spatial_share"].isna(), "R at this layer cannot be told from 1", "")
    return table.assign(model="net", **columns)


def spectrum_table(layers: dict[str, str | list[float]], *, error: float = 0.01, **columns: Any) -> pd.DataFrame:
    """Filter spectra of 3x3 kernels: shares of the six levels by layer, or "white"; "1x1" for a kernel without."""
    eigenvalues, multiplicities = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0], [1, 2, 1, 2, 2, 1]
    white = np.array(multiplicities) / 9
    rows: list[dict[str, Any]] = []
    for position, (layer, shares) in enumerate(layers.items()):
        common = {"layer": layer, "position": position, "filters": 64, "total_power": 1.0, "model": "net"}
        if isinstance(shares, str) and shares == "1x1":
            nothing = dict.fromkeys(("share", "share_se", "white_share", "init_share"), math.nan)
            one = {"kernel": "1x1", "level": 0, "eigenvalue": 0.0, "multiplicity": 1, "power": 1.0, "note": "one tap"}
            rows.append({**common, **one, **nothing})
            continue
        values = white if isinstance(shares, str) else np.array(shares, dtype=float)
        for level, share in enumerate(values):
            numbers = {"eigenvalue": eigenvalues[level], "multiplicity": multiplicities[level], "power": share}
            shared = {"share": share, "share_se": error, "white_share": white[level], "init_share": white[level]}
            rows.append({**common, "kernel": "3x3", "level": level, **numbers, **shared, "note": ""})
    return pd.DataFrame(rows).assign(**columns)


def contrast_table(
    ratios: dict[float, tuple[float, float, float]], first: str = "initial", second: str = "trained"
) -> pd.DataFrame:
    """Contrasts at the output by displacement: log ratio with its interval; relu1 is always the same in both."""
    rows = []
    for displacement, (ratio, low, high) in ratios.items():
        for layer, numbers in (("relu1", (0.0, -0.1, 0.1)), ("output", (ratio, low, high))):
            rows.append(
                {
                    "layer": layer, "first": first, "second": second, "R_first": 1.0, "R_second": math.exp(numbers[0]),
                    "log_ratio": numbers[0], "log_ratio_se": 0.05, "low": numbers[1], "high": numbers[2],
                    "note": "" if numbers[0] == numbers[0] else "R is not defined", "displacement": displacement,
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two images, moved by a pixel, and with noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 8, 8, generator=generator)
    return images, images.roll(1, dims=-1), images + 0.1 * torch.randn(images.shape, generator=generator)


@pytest.fixture(scope="session")
def full_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    """A page with everything a page can hold, and the tables it was made of."""
    from poolscope.report import write_report

    nothing = math.nan
    rows = [
        result_table([1.0, 0.9, 0.7, 0.30000000000000004], variant="trained"),
        result_table([1.0, 12.5, 2.0, 0.00002], variant="initial"),  # sorted as text, 12.5 would stand before 2
        *(result_table([1.0, 0.95, 0.8, 0.6 + 0.01 * draw], variant="shuffled", draw=draw) for draw in range(3)),
        result_table([1.0, 0.9, nothing, 0.2], variant="mean_channel", note="spread below rounding"),
    ]
    results = pd.concat(
        [pd.concat(rows).assign(displacement=size, cutoff=3) for size in (0.3, 1.5)], ignore_index=True
    )
    tables = {
        "results": results,
        "shares": share_table([(nothing, nothing, nothing), (0.4, 0.2, 0.6), (-0.2, -0.4, -0.1)], displacement=0.3),
        "contrasts": contrast_table({0.3: (-0.5, -0.7, -0.3), 1.5: (0.2, 0.1, 0.3)}),
        "spectrum": spectrum_table({"conv1": [0.3, 0.3, 0.1, 0.1, 0.1, 0.1], "conv2": "1x1", "conv3": "white"}),
    }
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 8, 8, generator=generator)
    path = write_report(
        tmp_path_factory.mktemp("report") / "report.html",
        title="A <b>bold</b> title & </script><script>document.title = 'broken'</script>",
        record={"model": "</script><script>document.title = 'broken'</script>", "size": [8, 8], "seed": 0},
        samples=(images, images.roll(1, dims=-1), images + 0.1),
        remarks=["<script>document.title = 'broken'</script>"],
        **tables,
    )
    return path, tables
