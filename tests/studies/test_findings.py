"""Findings come back from their folder as they were, and stand side by side whatever command wrote them."""

import pandas as pd
import pytest
import torch

import poolscope as ps
from poolscope.studies.findings import Findings, read_findings, side_by_side

LAYERS = ["features.2", "output"]


@pytest.fixture(scope="module")
def measured() -> Findings:
    """One amplitude, as ``measure`` gives it: no columns for it."""
    model = ps.load_model("poolscope:minivgg", in_channels=1, seed=0)
    result = ps.measure(model, ps.load_images("digits", count=6), ps.Diffeomorphism(0.7, 2), layers=LAYERS)
    assert "displacement" not in result.table
    return Findings(result.table, result.record, remarks=["Seen."])


@pytest.fixture(scope="module")
def compared() -> Findings:
    models = {name: ps.load_model("poolscope:minivgg", in_channels=1, seed=seed) for seed, name in enumerate("ab")}
    images = ps.load_images("digits", count=6)
    found = ps.compare(models, images=images, deformation=ps.Diffeomorphism(0.7, 2), layers=LAYERS)
    return Findings(found.result.table, found.record, contrasts=found.table)


def test_everything_comes_back(measured, tmp_path):
    measured.samples = tuple(torch.rand(2, 1, 8, 8) for _ in range(3))
    measured.save(tmp_path, "title")
    again = read_findings(tmp_path)
    pd.testing.assert_frame_equal(again.results, measured.results, check_dtype=False)
    assert again.record == measured.record
    assert again.remarks == ["Seen."]
    assert "Seen." in (tmp_path / "report.html").read_text()
    assert all(torch.equal(a, b) for a, b in zip(again.samples, measured.samples, strict=True))


def test_the_amplitude_of_the_record_becomes_columns(measured, compared):
    for table in (measured.results, compared.results, compared.contrasts):
        assert set(table["displacement"]) == {0.7}
        assert set(table["cutoff"]) == {2}


def test_columns_that_are_there_stay(measured):
    table = measured.results.assign(displacement=0.3)
    assert set(Findings(table, measured.record).results["displacement"]) == {0.3}


def test_measured_beside_compared(measured, compared, tmp_path):
    both = side_by_side([measured, compared], ["one", "two"])
    assert both.results["model"].unique().tolist() == ["poolscope:minivgg", "a", "b"]
    both.save(tmp_path, "title")  # one amplitude: one figure each of D, G and R
    (said,) = (line for line in both.summary() if line.startswith("R of "))
    assert said.startswith("R of b at the output is")


def test_compared_models_of_one_name_are_told_apart_in_the_contrasts_too(compared):
    both = side_by_side([compared, compared], ["one", "two"])
    assert both.results["model"].unique().tolist() == ["a (one)", "b (one)", "a (two)", "b (two)"]
    assert both.contrasts["first"].unique().tolist() == ["a (one)", "a (two)"]
    assert both.contrasts["second"].unique().tolist() == ["b (one)", "b (two)"]
    assert compared.results["model"].unique().tolist() == ["a", "b"]
