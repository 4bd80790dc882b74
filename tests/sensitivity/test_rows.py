"""Rows of pixels [N, C, L] in `measure`: equation 1 in slow loops, all pairs of a finite task, what is refused."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from helpers import seeded
from poolscope import Diffeomorphism, GaussianNoise, Indexed, MatchedNoise, measure
from poolscope.networks.simple import SimpleCNN
from poolscope.perturb import PixelShift, SpectrumMatchedNoise, Translation
from poolscope.perturb.randomness import KeyedRandomness, Purpose
from poolscope.tasks import ScaleDetection

TASK = ScaleDetection(length=12, scale=4)
ROWS = TASK.images(TASK.pairs, dtype=torch.float64)
NUMBERS = ["D", "D_se", "G", "G_se", "R", "R_se", "deformation_power", "noise_power", "spread"]


def network(channels: int = 1, dim: int = 1) -> SimpleCNN:
    torch.manual_seed(5)
    return SimpleCNN(dim=dim, in_channels=channels, channels=4, depth=3)


def table_of(*args: Any, **kwargs: Any) -> pd.DataFrame:
    return measure(*args, **{"precision": "float64", "progress": False, **kwargs}).table


def outputs_of(model: SimpleCNN, rows: Tensor) -> dict[str, Tensor]:
    """Input, layers and output, float64 ``[N, features]``, without any hook."""
    model, rows = model.double().eval(), rows.double()
    found = {"input": rows}
    with torch.no_grad():
        for number, layer in enumerate(model.layers):
            rows = layer(rows)
            found[f"layers.{number}"] = rows
        found["output"] = model(found["input"])
    return {name: each.flatten(1) for name, each in found.items()}


def equation_1(model: SimpleCNN, rows: Tensor, shift: PixelShift, noise: Any, draws: int, seed: int) -> pd.DataFrame:
    """D and G with the pairs i != j, and with all pairs, in slow loops over images, draws and pairs."""
    changes: dict[str, dict[str, list[float]]] = {}
    clean = outputs_of(model, rows)
    for draw in range(draws):
        indices = torch.arange(len(rows))
        moved = shift.move(rows, KeyedRandomness(seed, indices, draw, Purpose.DEFORMATION))
        noisy = rows + noise.draw(rows, moved, KeyedRandomness(seed, indices, draw, Purpose.NOISE))
        for what, images in (("D", moved), ("G", noisy)):
            for name, f in outputs_of(model, images).items():
                for one, other in zip(f, clean[name], strict=True):
                    changes.setdefault(name, {}).setdefault(what, []).append(float((one - other).square().sum()))
    table = []
    for name, f in clean.items():
        pairs = [float((one - other).square().sum()) for one, other in itertools.permutations(f, 2)]
        spread = {"distinct": np.mean(pairs), "all": np.sum(pairs) / len(f) ** 2}
        row: dict[str, Any] = {"layer": name}
        for what, way in itertools.product("DG", spread):
            row[f"{what} {way}"] = np.mean(changes[name][what]) / spread[way]
        table.append(row)
    return pd.DataFrame(table)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [MatchedNoise(), MatchedNoise(rectified=True), GaussianNoise(2.0, rectified=True)])
def test_rows_are_measured_as_equation_1_has_it(channels: int, noise: Any) -> None:
    rows = ROWS[:20].repeat(1, channels, 1) * torch.tensor([1.0, -2.0, 0.5])[:channels, None]
    model, shift = network(channels), PixelShift("neighbour-or-stay")
    expected = equation_1(model, rows, shift, noise, draws=2, seed=9)
    for pairs in ("distinct", "all"):
        found = table_of(model, rows, shift, noise, layers=model.representations, draws=2, seed=9, pairs=pairs)
        kept = expected[expected["layer"].isin(found["layer"])]
        assert found["layer"].tolist() == kept["layer"].tolist()
        for what in ("D", "G"):
            # float64 sums of some thousands of numbers of one sign, in other orders
            np.testing.assert_allclose(found[what], kept[f"{what} {pairs}"], rtol=1e-11)


def test_pairs_of_all_images_lower_the_spread_alone() -> None:
    """A whole finite task's spread counts i = j: D and G are larger by N / (N - 1), R is the same."""
    model = network()
    distinct, every = (table_of(model, ROWS, PixelShift(), pairs=pairs) for pairs in ("distinct", "all"))
    count = len(ROWS)
    for column in ("D", "G"):
        np.testing.assert_allclose(every[column], distinct[column] * count / (count - 1), rtol=1e-12)
    np.testing.assert_allclose(every["R"], distinct["R"], rtol=1e-12)
    spread = 2 * (ROWS - ROWS.mean(0)).square().sum((1, 2)).mean().item()
    assert every["spread"][0] == pytest.approx(spread, rel=1e-12)
    assert measure(model, ROWS, PixelShift(), pairs="all", progress=False).record["identical_pairs"] is True
    with pytest.raises(ValueError, match="pairs must be one of distinct, all; got 'some'"):
        unchecked_measure(model, ROWS, PixelShift(), pairs="some")


def unchecked_measure(*args: Any, **kwargs: Any) -> Any:
    """As a user calls it, without the tests' checks of annotations."""
    import jaxtyping

    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        return measure(*args, **kwargs, progress=False)
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def test_all_moves_in_turn_leave_nothing_to_chance() -> None:
    """draws = combinations: neither the seed nor the order of the images matters, and D is the average of all four."""
    model, shift = network(), PixelShift(every=True)
    settings: dict[str, Any] = {"draws": shift.combinations(), "pairs": "all", "layers": model.representations}
    found = table_of(model, ROWS, shift, **settings)
    for other in (
        table_of(model, ROWS, shift, seed=8, **settings),
        table_of(model, ROWS.flip(0), shift, **settings),
    ):
        np.testing.assert_allclose(other["D"], found["D"], rtol=1e-12)
    powers: dict[str, list[Tensor]] = {}
    clean = outputs_of(model, ROWS)
    for steps in itertools.product((-1, 1), repeat=2):
        moved = torch.zeros_like(ROWS)
        for image, pair in zip(moved, TASK.pairs[:, :, 0].tolist(), strict=True):
            for place, step in zip(pair, steps, strict=True):
                image[0, (place + step) % 12] += TASK.value
        for name, f in outputs_of(model, moved).items():
            powers.setdefault(name, []).append((f - clean[name]).square().sum(1))
    for _, row in found.iterrows():
        assert row["deformation_power"] == pytest.approx(torch.stack(powers[row["layer"]]).mean().item(), rel=1e-11)
        spread = 2 * (clean[row["layer"]] - clean[row["layer"]].mean(0)).square().sum(1).mean().item()
        assert row["D"] * spread == pytest.approx(row["deformation_power"], rel=1e-11)


@pytest.mark.parametrize("shift", [PixelShift("neighbour-or-stay"), PixelShift(every=True)], ids=["random", "every"])
def test_neither_the_size_of_batches_nor_the_order_matters(shift: PixelShift) -> None:
    model = network()
    settings: dict[str, Any] = {"draws": 3, "seed": 4, "layers": model.representations}
    state = torch.get_rng_state()
    expected = table_of(model, ROWS, shift, **settings)
    for size in (1, 7, len(ROWS)):
        found = table_of(model, ROWS, shift, batch_size=size, **settings)
        # The input has R = 1 for every image; what rounding leaves of its variance, 0, has a square root of 1e-8.
        np.testing.assert_allclose(found[NUMBERS], expected[NUMBERS], rtol=1e-9, atol=1e-7)
    loader = DataLoader(
        Indexed(TensorDataset(ROWS, TASK.labels_of(TASK.pairs))), batch_size=5, shuffle=True, generator=seeded(2)
    )
    found = table_of(model, loader, shift, **settings)
    columns = ["D", "G", "R", "deformation_power", "noise_power", "spread"]
    np.testing.assert_allclose(found[columns], expected[columns], rtol=1e-9)
    assert torch.equal(torch.get_rng_state(), state)
    other = table_of(model, ROWS, PixelShift("neighbour-or-stay"), **{**settings, "seed": 5})
    assert not np.allclose(other["D"], expected["D"], rtol=1e-3)  # it can fail


def test_data_sets_and_plain_loaders_of_rows() -> None:
    model = network()
    expected = table_of(model, ROWS, PixelShift())
    for images in (TensorDataset(ROWS), DataLoader(TensorDataset(ROWS), batch_size=8)):
        np.testing.assert_allclose(table_of(model, images, PixelShift())["R"], expected["R"], rtol=1e-9)


def test_functions_of_ones_own_see_one_row_at_a_time() -> None:
    shapes = set()

    def shift(rows: Tensor, *, generator: torch.Generator) -> Tensor:
        shapes.add(tuple(rows.shape))
        return rows.roll(1, -1)

    model = network()
    found = table_of(model, ROWS, shift, GaussianNoise(1.0))
    assert shapes == {(1, 1, 12)}
    # A ring: moved images have moved representations, and the average over pixels does not change at all.
    assert found["deformation_power"].iloc[-1] < 1e-20
    assert found["D"][0] > 0.1


def test_the_record_names_the_moves_and_the_length() -> None:
    record = measure(network(), ROWS.float(), PixelShift("neighbour-or-stay"), progress=False).record
    assert record["size"] == [1, 12]
    assert record["deformation"] == PixelShift("neighbour-or-stay").describe((1, 12))
    assert record["deformation"]["displacement"] == pytest.approx((2 / 3) ** 0.5)


@pytest.mark.parametrize("deformation", [None, Diffeomorphism(1.0, 3), Translation(1.0)])
def test_smooth_deformations_of_rows_are_refused(deformation: Any) -> None:
    message = (
        r"^images must be .* for a smooth deformation \(PixelShift .* for rows .*\); got shape \(16, 1, 12\) and \w+\("
    )
    with pytest.raises(ValueError, match=message):
        measure(network(), ROWS, deformation, progress=False)


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (ROWS[:, :, :2], {}, r"rows must be at least 3 pixels long; got shape \(54, 1, 2\)"),
    (ROWS.repeat(1, 3, 1)[:, :, :2], {}, r"rows must be at least 3 pixels long; got shape \(54, 3, 2\)"),
    (ROWS[:, 0], {}, r"images must have axes \[\.\.\., C, H, W\]; got shape \(54, 12\)"),
    (ROWS[:, :, None, None], {}, r"images must be \[N, C, H, W\], or rows \[N, C, L\]; got shape \(54, 1, 1, 1, 12\)"),
    (ROWS[:, :, None], {}, r"images must be at least 3 pixels high and wide, .*; got 1x12"),
    (ROWS[:0], {}, r"images must not be empty; got shape \(0, 1, 1, 12\)"),
    (ROWS[:1], {}, "at least 2 images are needed, the spread is over pairs of them; got 1"),
    (ROWS[:1].repeat(5, 1, 1), {}, "images must differ, .*; the first 5 are identical"),
    (torch.ones(5, 1, 12) * torch.arange(5)[:, None, None], {}, "images must have .*; the first 5 are constant"),
    (ROWS.repeat(1, 2, 1), {}, r"the model must take images of shape \(2, 2, 12\).*images must be \[N, 1, L\]"),
    (ROWS, {"deformation": PixelShift("rounded-direction")}, "moves must be left-right or neighbour-or-stay on rows"),
    (ROWS, {"deformation": PixelShift(margin=6)}, r"margin must leave .*; got margin=6 on images of \(12,\)"),
    (ROWS, {"noise": SpectrumMatchedNoise()}, r"images must have axes \[N, C, H, W\].*got \(\d+, 1, 12\)"),
    (ROWS, {"memory_format": "channels_last"}, r"memory_format must be contiguous .*; got shape \(16, 1, 12\)"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "options", "message"), BAD)
def test_what_cannot_be_measured_is_refused(rows: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        measure(network(), rows, **{"deformation": PixelShift(), "progress": False, **options})
    assert "\n" not in str(caught.value)


def test_bytes_and_lists_are_refused() -> None:
    with pytest.raises(TypeError, match=r"images must be floating point.*got torch\.uint8"):
        measure(network(), ROWS.byte(), PixelShift(), progress=False)
    with pytest.raises(TypeError, match=r"images must be .*; got list"):
        measure(network(), ROWS.tolist(), PixelShift(), progress=False)


def test_images_are_moved_pixel_by_pixel_too() -> None:
    """In two dimensions, and beside a smooth deformation, which has other images."""
    task = ScaleDetection(dim=2, length=5, scale=2)
    pairs = task.pairs[::10]
    images = task.images(pairs, dtype=torch.float64)
    model, shift = network(dim=2), PixelShift("rounded-direction", every=True)
    found = table_of(model, images, shift, draws=144, pairs="all", layers=model.representations[:1])
    # By hand, of the input: two pixels of variance v at rest, and each of the 144 combinations of moves.
    power = 0.0
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0)] * 2 + list(itertools.product((-1, 1), repeat=2))
    for one, other in itertools.product(steps, repeat=2):
        moved = torch.zeros_like(images)
        for pixel, step in zip(pairs.unbind(1), (one, other), strict=True):
            end = (pixel + torch.tensor(step)).remainder(5)
            moved[torch.arange(len(images)), 0, end[:, 0], end[:, 1]] += task.value
        power += (moved - images).square().sum((1, 2, 3)).mean().item() / 144
    assert found["deformation_power"][0] == pytest.approx(power, rel=1e-12)
    assert measure(model, images[:20].float(), Diffeomorphism(0.2, 2), progress=False).table["D"].gt(0).all()
