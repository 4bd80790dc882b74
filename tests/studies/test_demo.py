"""The demonstration from start to finish, with one epoch; what it says follows from its numbers."""

import pandas as pd
import pytest

import poolscope as ps
from poolscope.sensitivity import Comparison, Result
from poolscope.studies.demo import run, summary


@pytest.mark.filterwarnings("ignore:about .* of the deformations fold")
def test_demo_writes_everything(tmp_path):
    said = []
    found = run(tmp_path, epochs=2, say=said.append)
    assert found.accuracy > 0.5  # ten classes
    names = {path.name for path in tmp_path.iterdir()}
    figures = ("sensitivities", "amplitudes", "perturbed")
    assert names == {
        "initial.safetensors",
        "trained.safetensors",
        "measurement.parquet",
        "report.html",
        *(f"{stem}.{kind}" for stem in figures for kind in ("png", "pdf")),
    }
    table = ps.read_result(tmp_path / "measurement.parquet").table
    assert table["variant"].unique().tolist() == ["initial", "trained"]
    assert table[table["layer"] == "input"]["R"].tolist() == pytest.approx([1, 1], abs=1e-5)
    trained = ps.load_model("poolscope:minivgg", in_channels=1, weights=tmp_path / "trained.safetensors")
    images = ps.load_images("digits", split="test")
    again = ps.measure(trained, images, ps.Diffeomorphism(1.0, 3), draws=4, progress=False).table
    assert again["R"].tolist() == pytest.approx(table[table["variant"] == "trained"]["R"].tolist(), rel=1e-4)


def comparison(before: dict[str, float], after: dict[str, float], low: float, high: float) -> Comparison:
    rows = [
        {"layer": "output", "variant": variant, "images": 360, "D_se": 0.01, "G_se": 0.01, **values}
        for variant, values in (("initial", before), ("trained", after))
    ]
    paired = {
        "layer": "output",
        "R_first": 1.0,
        "R_second": 0.5,
        "log_ratio": (low + high) / 2,
        "low": low,
        "high": high,
    }
    return Comparison(pd.DataFrame([paired]), Result(pd.DataFrame(rows)))


def test_the_summary_follows_from_the_intervals():
    text = " ".join(summary(0.97, comparison({"D": 0.5, "G": 0.1}, {"D": 0.1, "G": 0.3}, -2.0, -1.0)))
    assert "97.0%" in text
    assert "less sensitive to deformations" in text
    assert "more sensitive to noise" in text
    assert "R at the output fell" in text
    text = " ".join(summary(0.97, comparison({"D": 0.1, "G": 0.1}, {"D": 0.11, "G": 0.11}, -1.0, 1.0)))
    assert text.count("did not change measurably") == 3
    assert "rose" in " ".join(summary(0.97, comparison({"D": 1, "G": 1}, {"D": 1, "G": 1}, 0.1, 1.0)))
