"""Modes, levels and powers against a Laplacian built tap by tap, and against exact arithmetic."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import seeded
from poolscope.pooling.laplacian import grid_levels, level_powers, path_modes

KERNELS = [(3, 3), (5, 5), (7, 7), (3,), (1, 7), (2, 4), (11, 11), (16, 16), (3, 3, 3), (2, 3, 4), (2,), (1,), (1, 1)]


@functools.cache
def laplacian(kernel: tuple[int, ...]) -> np.ndarray:
    """Degree minus adjacency; taps are neighbours if they are one step apart along one axis."""
    taps = list(itertools.product(*map(range, kernel)))
    matrix = np.zeros((len(taps), len(taps)))
    for i, one in enumerate(taps):
        for j, other in enumerate(taps):
            if sum(abs(a - b) for a, b in zip(one, other, strict=True)) == 1:
                matrix[i, j] -= 1
                matrix[i, i] += 1
    return matrix


def dense_levels(kernel: tuple[int, ...]) -> list[tuple[float, np.ndarray]]:
    """Eigenvalues, each once, with their eigenvectors as columns."""
    values, vectors = np.linalg.eigh(laplacian(kernel))
    starts = [0, *(np.flatnonzero(np.diff(values) > 1e-6) + 1), len(values)]
    return [(values[a:b].mean(), vectors[:, a:b]) for a, b in itertools.pairwise(starts)]


def random_filters(count: int, kernel: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *kernel, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
def test_levels_are_those_of_the_dense_laplacian(kernel: tuple[int, ...]):
    levels = grid_levels(kernel)
    dense = dense_levels(kernel)
    assert levels.multiplicity.tolist() == [vectors.shape[1] for _, vectors in dense]
    # eigh is right to about taps * eps * |L| = 256 * 2e-16 * 12.
    np.testing.assert_allclose(levels.eigenvalue, [value for value, _ in dense], rtol=0, atol=1e-12)
    assert torch.equal(levels.level.bincount(), levels.multiplicity)


@pytest.mark.parametrize("kernel", KERNELS)
def test_powers_are_squared_projections_on_dense_eigenvectors(kernel: tuple[int, ...]):
    filters = random_filters(20, kernel)
    powers = level_powers(filters)
    expected = [np.square(filters.flatten(1).numpy() @ vectors).sum(axis=1) for _, vectors in dense_levels(kernel)]
    # Of powers about 1; eigenvectors of eigenvalues 1e-2 apart (16x16) are right to 1e-12 / 1e-2 in their squares.
    np.testing.assert_allclose(powers, np.stack(expected, axis=1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 7), (2, 4), (3, 3, 3)])
def test_levels_do_not_depend_on_the_eigensolvers_basis_but_single_vectors_do(kernel: tuple[int, ...]):
    filters = random_filters(5, kernel)
    flat = filters.flatten(1).numpy()
    generator = np.random.default_rng(0)
    powers = level_powers(filters).numpy()
    largest_change = 0.0
    for number, (_, vectors) in enumerate(dense_levels(kernel)):
        rotation, _ = np.linalg.qr(generator.standard_normal((vectors.shape[1], vectors.shape[1])))
        single, rotated = np.square(flat @ vectors), np.square(flat @ vectors @ rotation)
        np.testing.assert_allclose(rotated.sum(axis=1), powers[:, number], rtol=1e-11)
        largest_change = max(largest_change, np.abs(rotated - single).max())
    assert largest_change > 0.5  # the single projections are another matter: powers are about 1


def test_levels_of_3x3_by_hand():
    levels = grid_levels((3, 3))
    torch.testing.assert_close(levels.eigenvalue, torch.tensor([0, 1, 2, 3, 4, 6]).double(), rtol=0, atol=1e-14)
    assert levels.multiplicity.tolist() == [1, 2, 1, 2, 2, 1]


@pytest.mark.parametrize("side", [2, 3, 4, 5, 7, 11, 16, 31])
def test_modes_p_and_side_minus_p_share_eigenvalue_4(side: int):
    levels = grid_levels((side, side))
    at_four = (levels.eigenvalue - 4).abs().argmin()
    assert levels.eigenvalue[at_four].item() == pytest.approx(4, abs=1e-14)
    assert levels.multiplicity[at_four] == side - 1


# What decides whether two eigenvalues are equal is exact arithmetic: 2 cos(π i / F) = z^a + z^-a with z a primitive
# 2M-th root of unity, M the least common multiple of the sides, and integer combinations of powers of z are equal if
# and only if they are the same polynomial modulo the cyclotomic one.


@functools.cache
def cyclotomic(order: int) -> np.ndarray:
    """Coefficients, lowest power first."""
    polynomial = np.zeros(order + 1, dtype=np.int64)
    polynomial[[0, -1]] = -1, 1
    for divisor in range(1, order):
        if order % divisor == 0:
            polynomial = divided(polynomial, cyclotomic(divisor))
    return polynomial


def divided(polynomial: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    rest, quotient = polynomial.copy(), np.zeros(len(polynomial) - len(divisor) + 1, dtype=np.int64)
    for power in reversed(range(len(quotient))):
        quotient[power] = rest[power + len(divisor) - 1]
        rest[power : power + len(divisor)] -= quotient[power] * divisor
    assert not rest.any()
    return quotient


def exact_levels(kernel: tuple[int, ...]) -> np.ndarray:
    order = 2 * math.lcm(*kernel)
    modulus = cyclotomic(order)
    powers = np.zeros((order, len(modulus) - 1), dtype=np.int64)  # of z, as polynomials
    powers[0, 0] = 1
    for power in range(1, order):
        powers[power, 1:] = powers[power - 1, :-1]
        powers[power] -= powers[power - 1, -1] * modulus[:-1]
    sums = np.zeros((1, len(modulus) - 1), dtype=np.int64)
    for taps in kernel:
        steps = order // 2 // taps * np.arange(taps)
        sums = (sums[:, None] + powers[steps] + powers[-steps]).reshape(-1, len(modulus) - 1)
    return np.unique(sums, axis=0, return_inverse=True)[1]


@pytest.mark.parametrize(
    "kernel",
    [
        *((side, side) for side in (2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24, 28, 30, 31, 32, 50, 64)),
        *((12, 30), (15, 6), (31, 5), (1024,), (5, 5, 5), (15, 15, 15), (6, 10, 15)),
    ],
)
def test_levels_group_exactly_the_equal_eigenvalues(kernel: tuple[int, ...]):
    found, exact = grid_levels(kernel).level.numpy(), exact_levels(kernel)
    pairs = set(zip(found.tolist(), exact.tolist(), strict=True))
    assert len(pairs) == len(set(found.tolist())) == len(set(exact.tolist()))


@pytest.mark.parametrize("taps", [1, 2, 3, 7, 16, 101])
def test_modes_along_an_axis_are_orthonormal_eigenvectors(taps: int):
    modes = path_modes(taps)
    exact = 1e-14  # sums of products which are together about 1, each right to a few 1e-16
    torch.testing.assert_close(modes @ modes.T, torch.eye(taps).double(), rtol=0, atol=exact)
    eigenvalues = torch.tensor([2 - 2 * math.cos(math.pi * i / taps) for i in range(taps)], dtype=torch.float64)
    applied = modes @ torch.from_numpy(laplacian((taps,)))
    torch.testing.assert_close(applied, eigenvalues[:, None] * modes, rtol=0, atol=exact)
    # A tap on which a mode is zero counts as positive: it lies between taps of different signs.
    sign_changes = [(row[1:] * row[:-1] < 0).sum().item() for row in torch.where(modes.abs() < 1e-12, 1e-13, modes)]
    assert sign_changes == list(range(taps))


@given(kernel=st.lists(st.integers(1, 6), min_size=1, max_size=3), seed=st.integers(0, 2**31))
def test_powers_add_up_to_the_square_and_weigh_up_to_the_quadratic_form(kernel: list[int], seed: int):
    shape = tuple(kernel)
    filters = random_filters(4, shape, seed)
    powers, flat = level_powers(filters), filters.flatten(1)
    torch.testing.assert_close(powers.sum(dim=1), flat.square().sum(dim=1), rtol=1e-13, atol=0)
    # w · Lw = half the sum over ordered neighbours of (w_i - w_j)²: rounding is 216 terms * eps of |L| |w|².
    quadratic = torch.einsum("fi,ij,fj->f", flat, torch.from_numpy(laplacian(shape)), flat)
    error = 1e-13 * 12 * flat.square().sum().item()
    torch.testing.assert_close(powers @ grid_levels(shape).eigenvalue, quadratic, rtol=0, atol=error)


@given(kernel=st.lists(st.integers(1, 5), min_size=2, max_size=3), seed=st.integers(0, 2**31))
def test_mirrored_and_transposed_filters_have_the_same_powers(kernel: list[int], seed: int):
    filters = random_filters(3, tuple(kernel), seed)
    powers = level_powers(filters)
    torch.testing.assert_close(level_powers(filters.flip(1)), powers, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(level_powers(filters.flip(-1)), powers, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(level_powers(filters.transpose(1, 2)), powers, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kernel", [(3, 3), (4, 4), (5,), (2, 3, 4)])
def test_a_constant_filter_is_all_at_level_0(kernel: tuple[int, ...]):
    powers = level_powers(torch.full((1, *kernel), 3.0, dtype=torch.float64))[0]
    assert powers[0].item() == pytest.approx(9 * math.prod(kernel), rel=1e-14)
    assert powers[1:].max() < 1e-28  # (eps * 3)² per tap


def test_the_roughest_filters_are_at_the_highest_level():
    two = torch.tensor([[[1, -1], [-1, 1]]]).double()
    torch.testing.assert_close(level_powers(two)[0], torch.tensor([0, 0, 4]).double(), rtol=0, atol=1e-14)
    side = torch.tensor([1, -2, 1]).double()
    three = torch.outer(side, side)[None]
    assert level_powers(three)[0, -1].item() == pytest.approx(36, rel=1e-14)
    assert level_powers(three)[0, :-1].max() < 1e-27
    # The 4x4 checkerboard is not itself a mode. (1, -1, 1, -1) / 2 on mode 3 is (cos 3π/8 + cos π/8) / √2 = cos π/8.
    signs = torch.tensor([1, -1, 1, -1]).double()
    powers = level_powers(torch.outer(signs, signs)[None])[0]
    assert powers[-1].item() / 16 == pytest.approx(math.cos(math.pi / 8) ** 4, rel=1e-13)
    assert powers.argmax() == len(powers) - 1


@pytest.mark.parametrize("kernel", [(3, 3), (5,), (16, 16), (2, 3, 4)])
def test_single_taps_everywhere_together_are_white(kernel: tuple[int, ...]):
    taps = math.prod(kernel)
    deltas = torch.eye(taps, dtype=torch.float64).view(taps, *kernel)
    # Σ_x Ψ_l(x)² = 1 for each of a level's eigenvectors.
    multiplicity = grid_levels(kernel).multiplicity.double()
    torch.testing.assert_close(level_powers(deltas).sum(dim=0), multiplicity, rtol=1e-13, atol=0)


@pytest.mark.parametrize("kernel", [(), (3, 0)])
def test_a_kernel_without_taps_is_refused(kernel: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"at least 1 tap; got \("):
        grid_levels(kernel)
