"""Models under the same perturbations: differences of log R with paired intervals."""

import copy
import math

import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from helpers import seeded
from poolscope import Diffeomorphism, MatchedNoise, compare, measure
from poolscope.sensitivity.perturbing import Perturber

IMAGES = nn.functional.interpolate(
    torch.randn(64, 3, 5, 5, generator=seeded(7), dtype=torch.float64),
    size=(16, 16),
    mode="bicubic",
    align_corners=True,
)
OPTIONS = {"seed": 3, "precision": "float64", "progress": False}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten()).eval()


def similar(model: nn.Module) -> nn.Module:
    """The same network with every weight changed by a tenth of its size."""
    other = copy.deepcopy(model)
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1 * parameter.abs().mean() * torch.randn_like(parameter)
    return other


def powers(model: nn.Module, layer: str, parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """|f(τx) - f(x)|² and |f(x + η) - f(x)|² of each image, f the network up to a layer."""
    stages = nn.Sequential(*model) if layer == "output" else nn.Sequential(*model)[: int(layer) + 1]
    with torch.no_grad():
        clean, moved, noisy = (stages.double()(part.clone()).flatten(1) for part in parts)
    return (moved - clean).square().sum(dim=1), (noisy - clean).square().sum(dim=1)


def test_differences_and_intervals_by_hand() -> None:
    one, other = network(0), network(1)
    table = compare({"one": one, "other": other}, images=IMAGES, batch_size=9, **OPTIONS).table
    assert table["layer"].tolist() == ["input", "1", "3", "output"]
    parts = Perturber(Diffeomorphism(), MatchedNoise(), 3, 1)(IMAGES, torch.arange(64)).chunk(3)
    for row in table.iloc[1:].itertuples():
        (a1, b1), (a2, b2) = powers(one, row.layer, parts), powers(other, row.layer, parts)
        assert row.R_first == pytest.approx(float(a1.mean() / b1.mean()), rel=1e-10)
        assert row.R_second == pytest.approx(float(a2.mean() / b2.mean()), rel=1e-10)
        assert row.log_ratio == pytest.approx(math.log(row.R_second / row.R_first), rel=1e-10)
        # What each image adds to log R2 - log R1, to first order.
        influence = (a2 / a2.mean() - b2 / b2.mean()) - (a1 / a1.mean() - b1 / b1.mean())
        error = float(influence.std() / 8)
        assert row.log_ratio_se == pytest.approx(error, rel=1e-9)
        reach = stats.t.ppf(0.975, 63) * error
        assert (row.low, row.high) == pytest.approx((row.log_ratio - reach, row.log_ratio + reach), rel=1e-9)
        assert (row.first, row.second, row.note) == ("one", "other", "")


def test_pairing_pays() -> None:
    """Most of R's uncertainty is which images and fields were drawn; two similar models share it."""
    one = network()
    found = compare(one, similar(one), images=IMAGES, **OPTIONS)
    relative = (found.result.table["R_se"] / found.result.table["R"]).to_numpy().reshape(2, -1)
    unpaired = (relative[0] ** 2 + relative[1] ** 2) ** 0.5
    paired = found.table["log_ratio_se"].to_numpy()
    assert (paired[1:] > 0).all()
    assert (paired[1:] < unpaired[1:] / 3).all()


def test_models_are_measured_as_if_alone() -> None:
    one, other = network(0), network(1)
    found = compare({"one": one, "other": other}, images=IMAGES, batch_size=16, **OPTIONS)
    for name, model in (("one", one), ("other", other)):
        alone = measure(model, IMAGES, batch_size=16, name=name, **OPTIONS).table
        together = found.result.table.query("model == @name").reset_index(drop=True)
        pd.testing.assert_frame_equal(together, alone, check_exact=True)
    assert [record["model"] for record in found.record["compared"]] == ["one", "other"]


@pytest.mark.parametrize("bn", ["eval", "batch", "reestimate"])
def test_a_model_against_itself_shows_no_difference(bn: str) -> None:
    """The very same modules, watched twice at once."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten()).eval()
    for other in (model, copy.deepcopy(model)):
        found = compare(model, other, images=IMAGES, batch_size=16, bn=bn, **OPTIONS)
        assert found.table["log_ratio"].to_numpy() == pytest.approx(0, abs=1e-12)
        assert found.table["log_ratio_se"].to_numpy() == pytest.approx(0, abs=1e-8)
        alone = measure(model, IMAGES, batch_size=16, bn=bn, **OPTIONS).table
        for half in (found.result.table.iloc[: len(alone)], found.result.table.iloc[len(alone) :]):
            assert half["D"].to_numpy() == pytest.approx(alone["D"].to_numpy(), rel=1e-12)
    assert found.table["first"].unique().tolist() == ["Sequential"]
    assert found.table["second"].unique().tolist() == ["Sequential (2)"]


def test_three_models_are_compared_with_the_first() -> None:
    found = compare({"a": network(0), "b": network(1), "c": network(2)}, images=IMAGES[:20], **OPTIONS)
    assert found.table["second"].tolist() == ["b"] * 4 + ["c"] * 4
    again = compare({"a": network(0), "c": network(2)}, images=IMAGES[:20], **OPTIONS)
    c = found.table.query("second == 'c'").reset_index(drop=True)
    pd.testing.assert_frame_equal(c, again.table, check_exact=True)


def test_only_layers_of_one_name_are_compared() -> None:
    deeper = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Identity(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten())
    found = compare(network(), deeper, images=IMAGES[:20], **OPTIONS)
    assert found.table["layer"].tolist() == ["input", "1", "output"]


def test_out_of_memory_in_one_model_changes_nothing() -> None:
    class Limited(nn.Module):
        def __init__(self, most: int) -> None:
            super().__init__()
            self.model, self.most = network(1), most

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.most:
                raise torch.OutOfMemoryError("tried to allocate")
            return self.model(x)

    tables = [compare(network(), Limited(most), images=IMAGES, batch_size=32, **OPTIONS).table for most in (1000, 20)]
    for column in ("R_second", "log_ratio", "log_ratio_se"):
        assert tables[1][column].to_numpy() == pytest.approx(tables[0][column].to_numpy(), rel=1e-9, abs=1e-9)


class Blind(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=(2, 3)).round(decimals=-9) + x[:, :, 0, 0]  # the frame does not move, but noise reaches it


def test_what_cannot_be_compared_is_nan_with_a_note() -> None:
    found = compare(
        {"a": nn.Identity(), "b": Blind()}, images=IMAGES, noise=lambda x, moved, *, generator: x + 0.1, **OPTIONS
    )
    row = found.table.set_index("layer").loc["output"]
    assert row["R_second"] == 0
    assert math.isnan(row["log_ratio"])
    assert row["note"] == "R is not defined and positive for both"


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 models are needed for a comparison; got 1"):
        compare(network(), images=IMAGES, **OPTIONS)
    with pytest.raises(TypeError, match="by name or one after the other, not both; got 1 beside a mapping"):
        compare({"a": network(), "b": network()}, network(), images=IMAGES, **OPTIONS)
    with pytest.raises(ValueError, match=r"the model must take images of shape \(2, 3, 16, 16\)"):
        compare(network(), nn.Conv2d(4, 1, 3), images=IMAGES, **OPTIONS)
