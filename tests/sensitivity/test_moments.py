"""The streaming sums against their definitions: any split, large offsets, block and chunk boundaries, half types."""

import copy
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from helpers import seeded
from poolscope.sensitivity.moments import _BLOCK, _SCRATCH, Covariance, Offset, Scratch, contribution

UNIT = 2.0**-24  # half a spacing of float32 at 1, the largest relative error of one operation

# Relative error of |a - b|² with the difference taken in float32: the difference, its square and the block's norm have
# a few UNIT each; a running sum of 4096 rounded squares takes a random walk of √4096 UNIT. Blocks are added in float64,
# so that this does not grow with the number of features.
FLOAT32_POWER = 64 * UNIT
FLOAT64_POWER = 64 * 2.0**-53


def vectors(images: int = 12) -> Tensor:
    """[layers = 2, p = 3, images], correlated, multiples of 2^-20: exact in float64 beside an offset of 1e6."""
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.7], [2.0, 0.0, 0.1]], dtype=torch.float64)
    rows = mixing @ torch.randn(2, 3, images, generator=seeded(0), dtype=torch.float64)
    return (rows * 2**20).round() / 2**20


def numpy_covariance(rows: Tensor) -> Tensor:
    return torch.stack([torch.from_numpy(np.cov(layer.numpy())) for layer in rows])


@given(cuts=st.lists(st.integers(0, 12)), offset=st.sampled_from([0.0, 1e6]))
def test_covariance_is_that_of_all_vectors_however_they_are_split(cuts: list[int], offset: float) -> None:
    rows = vectors()
    moments = Covariance(2, 3)
    for batch in (rows + offset).tensor_split(sorted(cuts), dim=-1):  # some of them empty
        moments.update(batch)
    assert moments.count == 12
    # A mean near 1e6 is rounded by 1e6 · 2^-53 = 1e-10, and enters times deviations of order 1. With E[x²] - E[x]² the
    # error would be 1e12 · 2^-53 = 1e-4.
    tolerance = 1e-9 if offset else 1e-13
    torch.testing.assert_close(moments.mean, rows.mean(dim=-1) + offset, rtol=0, atol=tolerance)
    torch.testing.assert_close(moments.covariance, numpy_covariance(rows), rtol=tolerance, atol=tolerance)


@given(order=st.permutations(range(4)), tree=st.booleans())
def test_states_merge_in_any_order(order: list[int], tree: bool) -> None:
    rows = vectors()
    parts = []
    for batch in rows.tensor_split([1, 4, 9], dim=-1):
        parts.append(Covariance(2, 3))
        parts[-1].update(batch + 1000)
    a, b, c, d = (parts[number] for number in order)
    pairs = [(a, b), (c, d), (a, c)] if tree else [(a, b), (a, c), (a, d)]
    for into, other in pairs:
        into.merge_sums(other.count, other.mean, other.scatter)
    assert a.count == 12
    # three merges, each rounding a mean near 1000 by 1000 · 2^-53 = 1e-13
    torch.testing.assert_close(a.covariance, numpy_covariance(rows), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(a.mean, rows.mean(dim=-1) + 1000, rtol=1e-14, atol=0)


def test_covariance_of_fewer_than_two_vectors_is_not_defined() -> None:
    moments = Covariance(3)
    assert torch.isnan(moments.covariance).all()
    moments.update(torch.ones(3, 0))
    moments.merge_sums(0, torch.full((3,), 7.0), torch.full((3, 3), 7.0))
    assert moments.count == 0
    assert not moments.mean.any()
    moments.update(torch.tensor([[1.0], [2.0], [3.0]]))
    assert moments.mean.tolist() == [1, 2, 3]
    assert torch.isnan(moments.covariance).all()


def case(
    images: int, features: int, draws: int, dtype: torch.dtype, *, mean: float = 3.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f(x), f(τx), f(x + η) and a reference near the mean."""
    clean = mean + torch.randn(images, features, generator=seeded(0), dtype=torch.float64)
    moved = clean + 0.1 * torch.randn(draws, images, features, generator=seeded(1), dtype=torch.float64)
    noisy = clean + 0.2 * torch.randn(draws, images, features, generator=seeded(2), dtype=torch.float64)
    working = torch.float64 if dtype == torch.float64 else torch.float32
    return clean.to(dtype), moved.to(dtype), noisy.to(dtype), clean[:2].mean(dim=0).to(working)


def assert_as_defined(clean: Tensor, moved: Tensor, noisy: Tensor, centre: Tensor, tolerance: float) -> None:
    """Compare ``contribution`` with the definition in float64, from the very numbers it is given."""
    part = contribution(clean, moved, noisy, centre, Scratch())
    f, f_moved, f_noisy, c = (tensor.double() for tensor in (clean, moved, noisy, centre))
    for found, expected in (
        (part.deformation, (f_moved - f).square().sum(dim=-1).mean(dim=0)),
        (part.noise, (f_noisy - f).square().sum(dim=-1).mean(dim=0)),
        (part.distance, 2 * (f - c).square().sum(dim=-1)),
    ):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)
    # Each difference is rounded once, and a running sum of n of them n - 1 times: n u Σ |f_i - c| is the worst case.
    unit = 2.0**-53 if centre.dtype == torch.float64 else UNIT
    error = (part.offset.double() - (f - c).sum(dim=0)).abs()
    assert (error <= len(f) * unit * (f - c).abs().sum(dim=0)).all()


@pytest.mark.parametrize("features", [1, 7, 4095, 4096, 4097, 10_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_powers_are_as_defined_around_the_block_boundary(features: int, dtype: torch.dtype) -> None:
    tolerance = FLOAT64_POWER if dtype == torch.float64 else FLOAT32_POWER
    assert_as_defined(*case(5, features, 2, dtype), tolerance)


@pytest.mark.parametrize(
    ("images", "features"),
    [
        (1, _SCRATCH),
        (1, _SCRATCH + 1),
        (3, _SCRATCH + 5),
        (5, _SCRATCH // 5),
        (5, _SCRATCH // 5 // _BLOCK * _BLOCK + 1),
        (7, _SCRATCH // 2 + 3),
        (600, 3 * _BLOCK + 5),
    ],
)
def test_chunks_cover_every_image_and_every_feature_once(images: int, features: int) -> None:
    # Small whole numbers, unlike from row to row and from column to column: a lost or doubled part shows at once.
    row = 1 + torch.arange(images)[:, None] % 7
    column = 1 + torch.arange(features) % 3
    clean = (row * column).float()
    part = contribution(clean, (2 * clean)[None], (4 * clean)[None], torch.zeros(features), Scratch())
    expected = (row[:, 0].square() * column.square().sum()).double()
    # Sums of squares in a block are exact, their roots are rounded to float32 once.
    torch.testing.assert_close(part.deformation, expected, rtol=4 * UNIT, atol=0)
    torch.testing.assert_close(part.noise, 9 * expected, rtol=4 * UNIT, atol=0)
    torch.testing.assert_close(part.distance, 2 * expected, rtol=4 * UNIT, atol=0)
    assert torch.equal(part.offset.long(), row.sum() * column)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_sum_may_go_where_the_caller_wants_it(dtype: torch.dtype) -> None:
    given_ = case(4, 5000, 2, dtype)
    place = torch.full_like(given_[3], torch.nan)
    part = contribution(*given_, Scratch(), place)
    assert part.offset is place
    assert torch.equal(place, contribution(*given_, Scratch()).offset)


def test_rounding_does_not_grow_with_the_number_of_features() -> None:
    assert_as_defined(*case(2, 1_000_000, 1, torch.float32), FLOAT32_POWER)


@pytest.mark.parametrize("draws", [1, 3])
def test_powers_are_averaged_over_draws(draws: int) -> None:
    assert_as_defined(*case(4, 33, draws, torch.float64), FLOAT64_POWER)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strided_rows(dtype: torch.dtype) -> None:
    clean, moved, noisy, centre = case(6, 8198, 2, dtype)
    every_second = (clean[::2, ::2], moved[:, ::2, ::2], noisy[:, ::2, ::2], centre[::2])
    assert not every_second[0].is_contiguous()
    assert_as_defined(*every_second, FLOAT32_POWER)
    transposed = tuple(tensor.mT.contiguous().mT for tensor in (clean, moved, noisy))
    assert transposed[0].stride() == (1, 6)
    assert_as_defined(*transposed, centre, FLOAT32_POWER)


def test_half_types_are_subtracted_in_float32() -> None:
    # 1 + 2^-7 in bfloat16, and a reference of 1 + 2^-9 which bfloat16 cannot hold: the distance is 3 · 2^-9.
    clean = torch.full((1, 1), 1 + 2**-7, dtype=torch.bfloat16)
    part = contribution(clean, clean[None], clean[None], torch.tensor([1 + 2**-9]), Scratch())
    assert float(part.distance) == 2 * (3 * 2**-9) ** 2
    assert float(part.deformation) == 0


def test_a_scratch_that_was_used_before_leaves_no_trace() -> None:
    scratch = Scratch()
    large, small = case(9, 50, 1, torch.float32), case(3, 20, 1, torch.float32)
    contribution(*large, scratch)
    again = contribution(*small, scratch)
    fresh = contribution(*small, Scratch())
    for name in ("deformation", "noise", "distance", "offset"):
        assert torch.equal(getattr(again, name), getattr(fresh, name))


def test_inputs_are_left_as_they_were() -> None:
    given_ = case(4, 5000, 2, torch.float32)
    before = [tensor.clone() for tensor in given_]
    contribution(*given_, Scratch())
    assert all(torch.equal(now, then) for now, then in zip(given_, before, strict=True))


def test_copies_of_a_scratch_are_empty() -> None:
    scratch = Scratch()
    scratch.rows(3, 4, torch.float32, torch.device("cpu"))
    assert len(pickle.dumps(scratch)) < 200
    assert not copy.deepcopy(scratch)._buffers


@given(cuts=st.sets(st.integers(1, 9)), mean=st.sampled_from([0.0, 1e6]))
def test_the_offset_takes_the_reference_out_again(cuts: set[int], mean: float) -> None:
    rows = (torch.randn(10, 6, generator=seeded(3), dtype=torch.float64) * 2**20).round() / 2**20
    centre = rows[:3].mean(dim=0) + mean
    offset, scratch, distances = Offset(centre), Scratch(), []
    for batch in (rows + mean).tensor_split(sorted(cuts)):
        part = contribution(batch, batch[None], batch[None], centre, scratch)
        offset.add(part.offset)
        distances.append(part.distance)
    scatter = torch.cat(distances).sum() / 2 - 10 * offset.mean_square(10)
    exact = (rows - rows.mean(dim=0)).square().sum()
    # f - c is exact but for the rounding of c, which is the same for all; without c: 1e12 · 2^-53 = 1e-4
    assert float(scatter) == pytest.approx(float(exact), rel=1e-12)
    assert offset.mean_power(10) == pytest.approx(float((rows + mean).mean(dim=0).square().sum()), rel=1e-12)


@pytest.mark.gpu
def test_powers_are_as_defined_on_a_gpu() -> None:
    cuda = [tensor.cuda() for tensor in case(5, 10_000, 2, torch.float32)]
    part = contribution(*cuda, Scratch())
    clean, moved = cuda[0].double(), cuda[1].double()
    expected = (moved - clean).square().sum(dim=-1).mean(dim=0)
    torch.testing.assert_close(part.deformation, expected, rtol=FLOAT32_POWER, atol=0)
