"""Closed-form moments against quadrature in two dimensions, and against exact cases."""

import math

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import multivariate_normal, norm

from poolscope.theory.rectified import both_below, change_mean, change_product, rectified_product

SIGNALS = [-4.0, -1.3, 0.0, 0.2, 1.0, 6.0]
CORRELATIONS = [-0.7, 0.0, 1 / 3, 0.5, 0.95]


def rectified_mean(mean: float, deviation: float) -> float:
    """E[max(0, Z)] of a Gaussian Z."""
    return mean * norm.cdf(mean / deviation) + deviation * norm.pdf(mean / deviation)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize(("h", "k"), [(-1.3, 0.2), (0.0, 0.0), (0.0, 1.0), (1.0, -4.0), (6.0, 1.0), (0.2, 0.2)])
def test_products_by_quadrature(h, k, correlation):
    """Y given X is Gaussian; over X adaptively, from its kink on."""
    root = math.sqrt(1 - correlation**2)
    density = lambda x: (h + x) * norm.pdf(x) * rectified_mean(k + correlation * x, root)    # noqa: E731
    expected, error = integrate.quad(density, -h, 12, epsabs=1e-13, epsrel=1e-13, limit=200)
    assert error < 1e-11
    one = np.ones(1)
    assert rectified_product(one * h, one * k, one * correlation)[0] == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_change_products_follow_from_rectified_products():
    h, k, correlation = np.meshgrid(SIGNALS, SIGNALS, [*CORRELATIONS, 1.0])
    mean = lambda x: x * norm.cdf(x) + norm.pdf(x)    # noqa: E731
    expected = rectified_product(h, k, correlation) - h * mean(k) - k * mean(h) + h * k
    # The difference on the right loses up to |h k| = 36 times eps.
    np.testing.assert_allclose(change_product(h, k, correlation), expected, rtol=0, atol=1e-14 * 36)
    np.testing.assert_allclose(change_mean(np.array(SIGNALS)), mean(np.array(SIGNALS)) - SIGNALS, atol=1e-15 * 6)


def test_signals_far_above_the_noise_keep_their_noise():
    """max(0, h + X) - h = X: nothing of 1e4² may cancel."""
    h = np.array([1e4])
    assert change_product(h, h, np.array([0.3]))[0] == pytest.approx(0.3, rel=1e-14)
    assert change_mean(h)[0] == 0


def test_probabilities_are_scipys():
    for h in SIGNALS:
        for k in SIGNALS:
            for correlation in CORRELATIONS:
                expected = multivariate_normal.cdf([h, k], cov=[[1, correlation], [correlation, 1]], abseps=1e-12)
                found = both_below(np.array([h]), np.array([k]), np.array([correlation]))[0]
                assert found == pytest.approx(expected, abs=2e-8), (h, k, correlation)    # scipy's own accuracy


def test_exact_cases():
    one = np.ones(1)
    # Independent variables: the product of means; equal ones: the second moment; none below zero: h k + correlation.
    mean = 0.7 * norm.cdf(0.7) + norm.pdf(0.7)
    other = -0.4 * norm.cdf(-0.4) + norm.pdf(-0.4)
    assert rectified_product(0.7 * one, -0.4 * one, 0 * one)[0] == pytest.approx(mean * other, rel=1e-14)
    second = (0.7**2 + 1) * norm.cdf(0.7) + 0.7 * norm.pdf(0.7)
    assert rectified_product(0.7 * one, 0.7 * one, one)[0] == pytest.approx(second, rel=1e-14)
    assert rectified_product(30 * one, 40 * one, 0.2 * one)[0] == pytest.approx(1200.2, rel=1e-14)
    assert rectified_product(0 * one, 0 * one, one)[0] == pytest.approx(0.5, rel=1e-14)
    # Towards correlation 1, where one formula ends and the other begins.
    close = rectified_product(0.7 * one, 0.1 * one, (1 - 1e-12) * one)[0]
    assert rectified_product(0.7 * one, 0.1 * one, one)[0] == pytest.approx(close, abs=1e-6)
    # At zero mean, the arc-cosine kernel.
    angle = math.acos(0.4)
    kernel = (math.sin(angle) + (math.pi - angle) * 0.4) / (2 * math.pi)
    assert rectified_product(0 * one, 0 * one, 0.4 * one)[0] == pytest.approx(kernel, rel=1e-14)
