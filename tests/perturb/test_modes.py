"""Sums of sine modes against their definition in a slow loop, and full precision whatever the caller set."""

import math

import pytest
import torch

from helpers import seeded
from poolscope.perturb.modes import Modes, check_cutoff, exact_products, field_from_coefficients, grid_from_coefficients
from poolscope.perturb.warping import sampling_grid

SIZES = [  # height, width, cutoff
    (3, 3, 1),
    (8, 8, 1),
    (9, 9, 7),  # the highest mode 9 pixels resolve
    (5, 4, 2),
    (7, 12, 4),
    (13, 6, 4),
    (32, 32, 15),
]


def defined_modes(cutoff: int) -> set[tuple[int, int]]:
    return {(i, j) for i in range(1, 99) for j in range(1, 99) if i * i + j * j <= (cutoff + 0.5) ** 2}


def slow_sum(weights: dict[tuple[int, int], float], height: int, width: int) -> torch.Tensor:
    """Return sum of A_ij sin(iπx) sin(jπy), x and y from 0 to 1 on the outermost pixels."""
    rows = []
    for row in range(height):
        y = row / (height - 1)
        line = []
        for column in range(width):
            x = column / (width - 1)
            terms = [a * math.sin(i * math.pi * x) * math.sin(j * math.pi * y) for (i, j), a in weights.items()]
            line.append(math.fsum(terms))
        rows.append(line)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("cutoff", [1, 2, 3, 4, 5, 10, 15])
def test_modes_are_those_inside_the_quarter_circle(cutoff: int):
    i, j = Modes(32, 40, cutoff).numbers
    pairs = list(zip(i.tolist(), j.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == defined_modes(cutoff)


def test_number_of_modes_by_hand():
    assert defined_modes(1) == {(1, 1)}  # 2 <= 2.25
    assert len(Modes(32, 32, 3).numbers[0]) == 6  # (1,1) (1,2) (2,1) (2,2) (1,3) (3,1)
    # S = 1/2 + 2/5 + 1/8 + 2/10 of those six
    assert Modes(32, 32, 3).amplitudes.square().sum().item() == pytest.approx(1.225, rel=1e-14)


@pytest.mark.parametrize(("height", "width", "cutoff"), SIZES)
def test_field_is_the_sum_of_its_definition(height: int, width: int, cutoff: int):
    modes = Modes(height, width, cutoff)
    i, j = (numbers.tolist() for numbers in modes.numbers)
    coefficients = torch.randn(2, 2, len(i), generator=seeded(0), dtype=torch.float64)
    field = field_from_coefficients(coefficients, modes)
    assert field.shape == (2, 2, height, width)
    for image in range(2):
        for component in range(2):
            weights = dict(zip(zip(i, j, strict=True), coefficients[image, component].tolist(), strict=True))
            # At most 173 terms of size 1, each right to an ulp or two of the largest: 173 * 4e-16.
            torch.testing.assert_close(field[image, component], slow_sum(weights, height, width), rtol=0, atol=7e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width", "cutoff"), SIZES)
def test_field_is_exactly_zero_on_the_frame_only(height: int, width: int, cutoff: int, dtype: torch.dtype):
    modes = Modes(height, width, cutoff)
    coefficients = torch.randn(3, 2, len(modes.numbers[0]), generator=seeded(1)).to(dtype)
    field = field_from_coefficients(coefficients, modes)
    assert field.dtype == dtype
    frame = torch.ones(height, width, dtype=torch.bool)
    frame[1:-1, 1:-1] = False
    assert torch.equal(field[..., frame], torch.zeros_like(field[..., frame]))
    assert (field[..., ~frame] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width", "cutoff"), SIZES)
def test_grid_is_that_of_the_field(height: int, width: int, cutoff: int, dtype: torch.dtype):
    modes = Modes(height, width, cutoff)
    coefficients = torch.randn(3, 2, len(modes.numbers[0]), generator=seeded(2)).to(dtype)
    grid = grid_from_coefficients(coefficients, modes)
    expected = sampling_grid(field_from_coefficients(coefficients, modes))
    assert grid.shape == (3, height, width, 2)
    # Sums of at most 175 terms, together below 1 + the field's sum of absolutes in grid units.
    size = 1 + 2 * coefficients.abs().sum(dim=-1).max().item() / min(height, width)
    torch.testing.assert_close(grid, expected, rtol=0, atol=8 * torch.finfo(dtype).eps * size)
    corner = torch.tensor([1 / width - 1, 1 / height - 1], dtype=dtype)  # the frame does not move, to the last bit
    assert torch.equal(grid[:, 0, 0], corner.expand(3, 2))


@pytest.mark.parametrize(("height", "width", "cutoff"), [*SIZES, (224, 100, 10)])
def test_unit_rms_is_the_pixel_mean_of_the_modes(height: int, width: int, cutoff: int):
    total = 0.0
    for i, j in defined_modes(cutoff):
        along_x = math.fsum(math.sin(i * math.pi * k / (width - 1)) ** 2 for k in range(width)) / width
        along_y = math.fsum(math.sin(j * math.pi * k / (height - 1)) ** 2 for k in range(height)) / height
        total += 2 * along_x * along_y / (i * i + j * j)
    assert Modes(height, width, cutoff).unit_rms == pytest.approx(math.sqrt(total), rel=1e-13)


@pytest.mark.parametrize(
    ("cutoff", "height", "width", "message"),
    [
        (0, 8, 8, r"1 \.\. min\(H, W\) - 2 = 6.*got 0"),
        (7, 8, 8, r"1 \.\. min\(H, W\) - 2 = 6, the modes 8x8 pixels resolve; got 7"),
        (7, 20, 8, r"20x8 pixels resolve; got 7"),
        (1, 2, 9, r"= 0.*got 1"),
    ],
)
def test_cutoffs_the_pixels_do_not_resolve_are_refused(cutoff: int, height: int, width: int, message: str):
    with pytest.raises(ValueError, match=message):
        check_cutoff(cutoff, height, width)


def test_the_next_mode_would_vanish_on_every_pixel():
    # Why n - 2 is the highest cutoff: mode n - 1 is zero, to rounding, on all n pixels.
    vanishing = slow_sum({(7, 1): 1.0}, 8, 8)
    assert vanishing.abs().max() < 1e-14
    check_cutoff(6, 8, 8)


def coefficients_and_modes() -> tuple[torch.Tensor, Modes]:
    modes = Modes(16, 20, 3)
    return torch.randn(4, 2, len(modes.numbers[0]), generator=seeded(3)), modes


@pytest.mark.parametrize("build", [field_from_coefficients, grid_from_coefficients])
def test_autocast_does_not_round_a_field(build):
    coefficients, modes = coefficients_and_modes()
    expected = build(coefficients, modes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (torch.eye(2) @ torch.ones(2, 2)).dtype == torch.bfloat16  # or this would show nothing
        inside = build(coefficients, modes)
        assert torch.is_autocast_enabled("cpu")
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)


@pytest.mark.parametrize("build", [field_from_coefficients, grid_from_coefficients])
def test_products_are_full_precision_and_the_setting_comes_back(build, monkeypatch: pytest.MonkeyPatch):
    # Whether a CPU has a bfloat16 product is not ours to choose, so look at the setting at the moment of the product.
    seen = []

    def spy(*operands: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return bmm(*operands)

    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", spy)
    coefficients, modes = coefficients_and_modes()
    expected = build(coefficients, modes)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        switches = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]
        lowered = [getattr(switch, "fp32_precision", None) for switch in switches]
        with exact_products(torch.device("cpu")):
            inside = [getattr(switch, "fp32_precision", "ieee") for switch in switches]
        assert set(inside) == {"ieee"}
        assert torch.equal(build(coefficients, modes), expected)
        assert torch.get_float32_matmul_precision() == "medium"
        assert [getattr(switch, "fp32_precision", None) for switch in switches] == lowered
    finally:
        torch.set_float32_matmul_precision(before)
    assert len(seen) == 2


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="torch has no switch for each backend")
def test_a_precision_lowered_by_the_newer_switch_is_understood():
    # Since torch 2.9, asking for the older setting after this is a RuntimeError.
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    coefficients, modes = coefficients_and_modes()
    expected = field_from_coefficients(coefficients, modes)
    try:
        switch.fp32_precision = "bf16"
        with exact_products(torch.device("cpu")):
            assert switch.fp32_precision == "ieee"
        assert torch.equal(field_from_coefficients(coefficients, modes), expected)
        assert switch.fp32_precision == "bf16"
        with pytest.raises(KeyError), exact_products(torch.device("cpu")):
            raise KeyError
        assert switch.fp32_precision == "bf16"
    finally:
        switch.fp32_precision = before
