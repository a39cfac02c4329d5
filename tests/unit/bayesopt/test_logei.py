"""log EI against fifty digits, and its gradients against differences."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest

from sagespark.bayesopt.ascent import ascend
from sagespark.bayesopt.logei import log_ei, log_h

PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214"
)


def exact_log_h(z: float) -> Decimal:
    """``log(phi(z) + z Phi(z))`` with decimals: a Taylor series near 0, a continued fraction in the tail."""
    getcontext().prec = 120
    x = Decimal(z)
    density = (-x * x / 2).exp() / (2 * PI).sqrt()
    if z < -3:
        # Mills' ratio: Phi(-u) / phi(u) = 1 / (u + 1 / (u + 2 / (u + 3 / ...))).
        u = -x
        tail = u
        for k in range(4000, 0, -1):
            tail = u + Decimal(k) / tail
        return -x * x / 2 - (2 * PI).sqrt().ln() + (1 - u / tail).ln()
    # Phi(x) = 1/2 + phi(x) (x + x^3 / 3 + x^5 / 15 + ...).
    term, total, n = x, x, 1
    while abs(term) > Decimal(10) ** -100:
        n += 2
        term = term * x * x / n
        total += term
    return (density + x * (Decimal("0.5") + density * total)).ln()


@pytest.mark.parametrize(
    "z", [-1e6, -3e3, -150.0, -100.001, -99.999, -38.5, -12.0, -5.0, -3.001, -1.0001, -0.9999, -0.3, 0.0, 0.7, 2.0, 6.0]
)
def test_log_h_is_right_to_the_last_digits(z: float) -> None:
    value, _ = log_h(np.array([z]))
    assert float(value[0]) == pytest.approx(float(exact_log_h(z)), rel=1e-11, abs=1e-13)


def test_far_below_ei_underflows_and_its_logarithm_does_not() -> None:
    z = np.array([-1e8, -1e3, -40.0])
    assert np.isfinite(log_h(z)[0]).all()
    assert math.exp(log_h(z)[0][-1]) == 0.0 or log_h(z)[0][-1] < -700


def test_the_gradients() -> None:
    rng = np.random.default_rng(0)
    mu, sigma = 5 * rng.standard_normal(200), np.exp(rng.uniform(-4, 1, 200))
    value, by_mu, by_sigma = log_ei(mu, sigma, 0.3)
    h = 1e-6 * sigma
    scale = 1 + np.abs(value)
    up, down = log_ei(mu + h, sigma, 0.3)[0], log_ei(mu - h, sigma, 0.3)[0]
    assert np.max(np.abs(by_mu * sigma - (up - down) / 2e-6) / scale) < 1e-4
    up, down = log_ei(mu, sigma + h, 0.3)[0], log_ei(mu, sigma - h, 0.3)[0]
    assert np.max(np.abs(by_sigma * sigma - (up - down) / 2e-6) / scale) < 1e-4


def test_the_tail_joins_smoothly() -> None:
    for joint in (-100.0, -1.0):
        below, above = np.nextafter(joint, -np.inf), np.nextafter(joint, np.inf)
        (a, b), (da, db) = log_h(np.array([below, above]))
        assert a == pytest.approx(b, rel=1e-12)
        assert da == pytest.approx(db, rel=1e-10)


def test_the_ascent_finds_maxima_inside_and_on_the_boundary() -> None:
    centre = np.array([0.3, 1.4, 0.6])  # the second lies outside: the maximum over the cube is on its face
    A = np.array([[9.0, 2.0, 0.0], [2.0, 4.0, 1.0], [0.0, 1.0, 6.0]])

    def function(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = x - centre
        return -0.5 * np.einsum("si,ij,sj->s", away, A, away), -away @ A

    starts = np.random.default_rng(0).random((5, 3))
    x, f = ascend(function, starts, np.array([True, True, True]), 60)
    # On the face x_1 = 1 the rest solves a smaller linear system.
    rest = np.linalg.solve(A[np.ix_([0, 2], [0, 2])], A[np.ix_([0, 2], [1])] * 0.4).ravel() + centre[[0, 2]]
    assert x == pytest.approx(np.tile([rest[0], 1.0, rest[1]], (5, 1)), abs=1e-4)
    assert f == pytest.approx(function(x)[0])
    fixed, _ = ascend(function, starts, np.array([True, False, True]), 60)
    assert np.array_equal(fixed[:, 1], starts[:, 1])
