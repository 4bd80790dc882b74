"""The exact table against `measure` on a homogeneous network: D by all moves of all pairs, G by Monte Carlo."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from poolscope import GaussianNoise, MatchedNoise, measure
from poolscope.networks.simple import SimpleCNN
from poolscope.perturb import PixelShift
from poolscope.tasks import ScaleDetection
from poolscope.theory import predict

# Arguments of the table; sections 4.1 and 4.2.
TASK_1: dict[str, Any] = {"task": 1, "length": 32, "scale": 11, "gap": 4.0, "filter_size": 3, "stride": 1, "depth": 12}
TASK_2: dict[str, Any] = {"task": 2, "length": 128, "scale": 32, "filter_size": 2, "stride": 2, "depth": 6}


def task_of(setting: dict[str, Any]) -> ScaleDetection:
    return ScaleDetection(**{key: setting[key] for key in ("task", "length", "scale", "gap") if key in setting})


def homogeneous(setting: dict[str, Any], *, activation: str = "relu", channels: int = 1) -> SimpleCNN:
    """All weights 1: an average over windows, but for a factor that no D or G knows of."""
    model = SimpleCNN(
        depth=setting["depth"], channels=channels, filter_size=setting["filter_size"], stride=setting["stride"],
        activation=activation, bias=False,
    )  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    return model


def measured(setting: dict[str, Any], model: SimpleCNN, column: str, **options: Any) -> np.ndarray:
    """D or G at the layers 1, 2, ..., of all images of the task and over all pairs of them."""
    task = task_of(setting)
    images = task.images(task.pairs, dtype=torch.float64)
    options = {"batch_size": 1024, "pairs": "all", **options}
    table = measure(
        model, images, layers=model.representations, precision="float64", progress=False, **options
    ).table.set_index("layer")  # fmt: skip
    assert (table["images"] == len(task.pairs)).all()
    return table.loc[model.representations, column].to_numpy(dtype=float)


@pytest.mark.parametrize("moves", ["left-right", "neighbour-or-stay"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shifts_of_task_1(channels: int, moves: Any) -> None:
    model, shift = homogeneous(TASK_1, channels=channels), PixelShift(moves, every=True)
    count = len(task_of(TASK_1).pairs)
    assert count == 256 + 80
    options: dict[str, Any] = {"deformation": shift, "draws": shift.combinations()}
    expected = predict(**TASK_1, moves=moves)["D"]
    # Both sides are sums of numbers of one sign, but for the spread, a difference of means some ten times as large.
    np.testing.assert_allclose(measured(TASK_1, model, "D", **options), expected, rtol=1e-9)
    sample = measured(TASK_1, model, "D", pairs="distinct", **options)  # it can fail
    np.testing.assert_allclose(sample, expected * (count - 1) / count, rtol=1e-9)


def test_shifts_of_task_2() -> None:
    expected = predict(**TASK_2)["D"]
    found = measured(TASK_2, homogeneous(TASK_2), "D", deformation=PixelShift(every=True), draws=4)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    n = 2.0 ** np.arange(1, 7)
    np.testing.assert_allclose(found, 128 * 253 / (2 * n * 126 * (128 - n)), rtol=1e-9)


def test_of_the_only_pixel_left_nothing_can_be_said() -> None:
    """Where F^k = L, the average over the image is the same for all: 0 / 0."""
    setting = {**TASK_2, "length": 16, "scale": 4, "depth": 4}
    found = measured(setting, homogeneous(setting), "D", deformation=PixelShift(every=True), draws=4)
    np.testing.assert_allclose(found, predict(**setting)["D"], rtol=1e-9)
    assert np.isnan(found).tolist() == [False, False, False, True]


def shift_power(task: ScaleDetection) -> float:
    """E|τx - x|², L σ², by moving both pixels of every pair in all four ways."""
    images, rows, total = task.images(task.pairs, dtype=torch.float64), torch.arange(len(task.pairs)), 0.0
    for steps in itertools.product((-1, 1), repeat=2):
        moved = torch.zeros_like(images)
        for place, step in zip(task.pairs[:, :, 0].unbind(1), steps, strict=True):
            moved[rows, 0, (place + step) % task.length] += task.value
        total += (moved - images).square().sum((1, 2)).mean().item() / 4
    return total


#: Measurements of one noise draw an image (or more), with seeds of their own; their scatter gives the errors.
SEEDS = 10


@pytest.mark.parametrize("column", ["G_rectified", "G_relu", "G_linear"])
@pytest.mark.parametrize(
    ("setting", "draws"),
    [pytest.param(TASK_1, 8, id="task 1"), pytest.param(TASK_2, 1, id="task 2", marks=pytest.mark.slow)],
)
def test_noise_by_monte_carlo(setting: dict[str, Any], draws: int, column: str) -> None:
    model = homogeneous(setting, activation="linear" if column == "G_linear" else "relu")
    noise: Any = MatchedNoise(rectified=column == "G_rectified")
    if column == "G_relu":
        # What ReLU makes of it is not quadratic in the noise, which must then be that of the table: Gaussian, and of
        # one power for all images. In the other two only the average power counts.
        noise = GaussianNoise(shift_power(task_of(setting)) ** 0.5)
    expected = predict(**setting)[column].to_numpy()
    found = np.array(
        [
            measured(setting, model, "G", deformation=PixelShift(), noise=noise, draws=draws, seed=seed)
            for seed in range(SEEDS)
        ]
    )
    error = found.std(0, ddof=1) / SEEDS**0.5
    assert (error < 0.01 * expected).all(), f"standard errors {error} are too coarse to judge {expected}"
    assert (np.abs(found.mean(0) - expected) < 4 * error).all(), f"{found.mean(0)} ± {error}, expected {expected}"
    for other in {"G_rectified", "G_relu", "G_linear"} - {column}:  # it can fail: the three are not alike
        assert (np.abs(found.mean(0) - predict(**setting)[other].to_numpy()) > 4 * error).any()
