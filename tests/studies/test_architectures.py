"""Networks as points: the table, the correlations and their bootstrap, against numpy on made-up runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from poolscope.report import plot_architectures
from poolscope.studies.architectures import Architectures, correlations


@pytest.fixture
def networks() -> pd.DataFrame:
    random = np.random.default_rng(1)
    rows = []
    for number in range(6):
        for seed in range(3):
            error = 0.01 * 1.8**number * np.exp(0.05 * random.standard_normal())
            row = {"model": f"net{number}", "seed": seed, "displacement": 0.9, "cutoff": 0, "error": error}
            rows.append({**row, "D": error**2, "G": 1 / error, "R": np.exp(random.standard_normal())})
    return pd.DataFrame(rows)


def test_correlations_are_of_logarithms_over_networks(networks: pd.DataFrame) -> None:
    table = correlations(networks).set_index("quantity")
    assert table.loc["D", "correlation"] == pytest.approx(1.0)
    assert table.loc["G", "correlation"] == pytest.approx(-1.0)
    means = networks.groupby("model")[["error", "R"]].agg(lambda values: np.log(values).mean())
    assert table.loc["R", "correlation"] == pytest.approx(np.corrcoef(means.to_numpy().T)[0, 1])
    assert table.loc["R", "low"] < table.loc["R", "correlation"] < table.loc["R", "high"]
    assert (table["networks"] == 6).all()


def test_a_network_without_errors_and_few_networks_have_no_correlation(networks: pd.DataFrame) -> None:
    networks.loc[networks["model"] == "net0", "error"] = 0.0
    assert correlations(networks).set_index("quantity").loc["D", "networks"] == 5
    few = correlations(networks[networks["model"].isin(["net1", "net2"])])
    assert few["correlation"].isna().all()
    assert "allow no correlation" in Architectures(networks, few).summary()[0][1][0]


def test_figures_and_page_are_written(networks: pd.DataFrame, tmp_path: Path) -> None:
    found = Architectures(networks, correlations(networks))
    found.save(tmp_path, {"command": "none"})
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "error-R-0.9px.png").is_file()
    ax = plot_architectures(networks, "R")
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {f"net{number}" for number in range(6)}
    with pytest.raises(ValueError, match=r"must be one of D, G, R; got 'Q'"):
        plot_architectures(networks, "Q")
