"""D, G and R over amplitudes: exponents, the quadratic range, the rounding floor."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers import seeded
from poolscope import Diffeomorphism, Result, measure, read_result, sweep
from poolscope.sensitivity.sweeping import rounding_floor

IMAGES = nn.functional.interpolate(
    torch.randn(12, 3, 5, 5, generator=seeded(7), dtype=torch.float64),
    size=(16, 16),
    mode="bicubic",
    align_corners=True,
)
OPTIONS = {"seed": 3, "precision": "float64", "progress": False}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(1176, 5)).eval()


def column(result: Result, layer: str, name: str) -> list[float]:
    return result.table.query("layer == @layer")[name].tolist()


@pytest.fixture(scope="module")
def swept() -> Result:
    return sweep(network(), IMAGES, displacement=[0.4, 0.1, 0.2, 0.1], cutoff=[3, 2], layers="all", **OPTIONS)


def test_every_displacement_and_cutoff_is_measured_once(swept: Result) -> None:
    pairs = swept.table.query("layer == 'input'")[["cutoff", "displacement"]].to_numpy().tolist()
    assert pairs == [[2, 0.1], [2, 0.2], [2, 0.4], [3, 0.1], [3, 0.2], [3, 0.4]]
    alone = measure(network(), IMAGES, Diffeomorphism(0.2, 2), layers="all", **OPTIONS).table
    rows = swept.table.query("cutoff == 2 and displacement == 0.2").reset_index(drop=True)
    for name in ("layer", "D", "G", "R", "D_se"):
        assert rows[name].tolist() == alone[name].tolist()
    assert swept.record["displacement"] == [0.1, 0.2, 0.4]
    assert swept.record["cutoff"] == [2, 3]
    assert len(swept.record["deformation"]) == 6


def test_exponents_by_hand(swept: Result) -> None:
    rows = swept.table.query("cutoff == 3 and layer == 'output'")
    for quantity in ("D", "G"):
        small, middle, large = rows[quantity].tolist()
        expected = [math.log(middle / small, 2), math.log(large / small, 4), math.log(large / middle, 2)]
        assert rows[f"{quantity}_exponent"].tolist() == pytest.approx(expected, rel=1e-12)
    close = ((rows["D_exponent"] - 2).abs() < 0.1) & ((rows["G_exponent"] - 2).abs() < 0.1)
    assert rows["quadratic"].tolist() == close.tolist()


@pytest.mark.filterwarnings("ignore:about .* fold the image")
def test_a_linear_map_is_quadratic_at_small_amplitudes_and_not_at_large_ones() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(768, 6))
    found = sweep(linear, IMAGES, displacement=[0.005, 0.01, 0.02], **OPTIONS)
    assert found.table["quadratic"].all()
    assert column(found, "output", "D_exponent") == pytest.approx([2, 2, 2], abs=0.03)
    # Far beyond the images' own scale of detail D saturates.
    far = sweep(linear, IMAGES, displacement=[2.0, 4.0], cutoff=[8], **OPTIONS)
    assert not far.table["quadratic"].any()


def test_the_fields_are_the_same_but_for_their_size() -> None:
    """With fields of their own, 12 images would spread D by a tenth; the same fields scaled give 4 to a percent."""
    found = sweep(nn.Identity(), IMAGES, displacement=[0.001, 0.002], **OPTIONS)
    for quantity in ("D", "G"):
        small, large = column(found, "output", quantity)
        assert large / small == pytest.approx(4, rel=0.01)
    other = sweep(nn.Identity(), IMAGES, displacement=[0.001], **{**OPTIONS, "seed": 4})
    assert abs(column(other, "output", "D")[0] / column(found, "output", "D")[0] - 1) > 0.02


def test_one_displacement_has_no_slope() -> None:
    found = sweep(nn.Identity(), IMAGES, displacement=[0.1], **OPTIONS)
    assert found.table[["D_exponent", "G_exponent"]].isna().all(axis=None)
    assert not found.table["quadratic"].any()


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_the_floor_is_what_rounding_does_to_the_representation(memory_format: str) -> None:
    options = {"layers": "all", "progress": False, "memory_format": memory_format}
    floors = rounding_floor(network(), IMAGES, **options)
    model = network()
    with torch.no_grad():
        single = model[0](IMAGES.float()).double().flatten(1)
        exact = model.double()[0](IMAGES.float().double()).flatten(1)
    by_hand = 2 * (single - exact).square().sum(dim=1).mean() / (2 * exact.var(dim=0).sum())
    # Another kernel rounds otherwise: the size is what counts. A wrong order of features would be of order 1.
    assert floors["0"] == pytest.approx(float(by_hand), rel=3)
    assert 1e-16 < floors["0"] < 1e-12
    assert set(floors) == {"input", "0", "1", "2", "3", "output"}


def test_the_floor_of_a_float64_sweep_is_zero(swept: Result) -> None:
    assert (swept.table["floor"] == 0).all()


def test_values_near_the_floor_are_marked() -> None:
    found = sweep(network(), IMAGES.float(), displacement=[1e-7, 0.1], seed=3, progress=False)
    below, above = (found.table.query("layer == 'output' and displacement == @d").iloc[0] for d in (1e-7, 0.1))
    assert below["floor"] > 0
    assert "near rounding" in below["note"]
    assert above["note"] == ""


def test_results_of_a_sweep_survive_the_disk(swept: Result, tmp_path: Path) -> None:
    again = read_result(swept.save(tmp_path / "sweep.parquet"))
    assert again.table.equals(swept.table)
    assert again.record == swept.record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"displacement": []}, "at least one displacement and cutoff are needed"),
        ({"displacement": [0.1], "cutoff": []}, "at least one displacement and cutoff are needed"),
        ({"displacement": [0.1, 0.0]}, "displacements must be positive, slopes are taken on a log scale; got 0.0"),
        ({"displacement": [0.1, -1.0]}, "displacements must be positive.*got -1.0"),
        ({"displacement": [0.1, math.nan]}, "displacement must be finite"),
        (
            {"displacement": [0.1], "precision": "bf16-mixed"},
            "must be float32 or float64 in a sweep: .* got 'bf16-mixed'",
        ),
        ({"displacement": [0.1], "deformation": Diffeomorphism()}, "a sweep makes its own deformations"),
        ({"displacement": [0.1], "cutoff": [40]}, "cutoff must be in .*got 40"),
    ],
)
def test_what_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(network(), IMAGES, progress=False, **options)
