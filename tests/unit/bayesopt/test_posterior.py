"""The Gaussian process: scikit-learn's posterior with the same hyperparameters, and gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from sagespark.bayesopt.evidence import Evidence, Pairs
from sagespark.bayesopt.outputs import FEW, forward, inverse, transform
from sagespark.bayesopt.posterior import BELIEF, condition
from sagespark.bayesopt.priors import RELATED, SAME, Prior

NONE = np.empty((0, 3))


def data(n: int = 25, d: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.random((n, d))
    return X, np.sin(6 * X[:, 0]) + X[:, 1] ** 2 - X[:, -1] + 0.1 * rng.standard_normal(n)


def sklearn(theta: np.ndarray, d: int) -> GaussianProcessRegressor:
    lengths = np.exp(-0.5 * theta[:d])
    kernel = ConstantKernel(np.exp(theta[d])) * Matern(lengths, nu=2.5) + WhiteKernel(np.exp(theta[d + 1]))
    return GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None)


@pytest.mark.parametrize("theta", [[1.0, 0.0, 2.0, 0.3, -4.0, 1.0], [-2.0, 3.0, 0.5, -1.0, -7.0, 1.0]])
def test_the_posterior_is_scikit_learns(theta: list[float]) -> None:
    X, z = data()
    row = np.array(theta)
    ours = condition(X, z[None], NONE, (False,) * 3, row[None])
    # Theirs has no mean of its own: it is taken away before and added after.
    theirs = sklearn(row, 3).fit(X, z - ours.mean[0])
    points = np.random.default_rng(1).random((40, 3))
    mu, sigma = ours.moments(points)
    expected, deviation = theirs.predict(points, return_std=True)
    assert np.max(np.abs(mu[:, 0] - ours.mean[0] - expected)) < 1e-8
    # WhiteKernel counts as part of a new point's variance there.
    assert np.max(np.abs(sigma[:, 0] ** 2 - (deviation**2 - np.exp(row[4])))) < 1e-8


def test_residuals_of_values_left_out_are_scikit_learns() -> None:
    X, z = data()
    row = np.array([1.0, 0.0, 2.0, 0.3, -4.0, 1.0])
    alone = condition(X, z[None], NONE, (False,) * 3, row[None])
    ours = alone.a[0] / np.sqrt(alone.observed_precision[0])
    for i in range(0, 25, 4):
        others = np.arange(25) != i
        theirs = sklearn(row, 3).fit(X[others], z[others] - alone.mean[0])
        expected, deviation = theirs.predict(X[[i]], return_std=True)
        assert ours[i] == pytest.approx((z[i] - alone.mean[0] - expected[0]) / deviation[0], abs=1e-8)
    # Pending points change nothing of it.
    pending = condition(X, z[None], np.random.default_rng(2).random((4, 3)), (False,) * 3, row[None])
    np.testing.assert_allclose(pending.observed_precision, alone.observed_precision, rtol=1e-6)


def test_the_evidence_is_scikit_learns() -> None:
    X, z = data()
    z = (z - z.mean()) / z.std()
    theta = np.array([1.0, 0.0, 2.0, 0.3, -4.0, 1.0])
    flat = lambda t: (0.0, np.zeros_like(t))  # noqa: E731 -- no prior
    pairs = Pairs(X, (False,) * 3, np.zeros(25, dtype=np.int64))
    value, _ = Evidence(pairs, lambda t: transform("raw", t, z), flat)(theta)
    m = condition(X, z[None], NONE, (False,) * 3, theta[None]).mean[0]
    theirs = sklearn(theta, 3).fit(X, z - m).log_marginal_likelihood_value_
    assert -value - 0.5 * 25 * np.log(2 * np.pi) + 0.5 * m * m == pytest.approx(theirs, abs=1e-9)


def test_a_category_is_one_distance() -> None:
    X, z = data()
    X[:, 2] = np.random.default_rng(3).integers(0, 3, 25)
    theta = np.array([1.0, 0.0, 0.7, 0.3, -4.0, 1.0])
    ours = condition(X, z[None], NONE, (False, False, True), theta[None])
    # One-hot columns lie sqrt(2) apart, so a length scale sqrt(2) times as long is the same distance.
    hot = np.concatenate([X[:, :2], np.eye(3)[X[:, 2].astype(int)]], axis=1)
    wide = np.array([1.0, 0.0, *[0.7 - np.log(2.0)] * 3, 0.3, -4.0, 1.0])
    theirs = sklearn(wide, 5).fit(hot, z - ours.mean[0])
    mu, _ = ours.moments(X + np.array([0.05, 0.05, 0.0]))
    assert np.max(np.abs(mu[:, 0] - ours.mean[0] - theirs.predict(hot + np.array([0.05, 0.05, 0, 0, 0])))) < 1e-8


@pytest.mark.parametrize("family", ["raw", "power", "shift"])
@pytest.mark.parametrize("lengthscales", ["short", "long"])
@pytest.mark.parametrize("tasks", [0, 2])
def test_the_gradient_of_the_evidence(family: str, lengthscales: str, tasks: int) -> None:
    X, y = data()
    X[:, 2] = np.random.default_rng(3).integers(0, 3, 25)
    rng = np.random.default_rng(5)
    of = rng.integers(0, tasks + 1, 25)
    categorical = (False, False, True)
    prior = Prior(lengthscales, family, categorical, (SAME, RELATED)[:tasks])
    evidence = Evidence(
        Pairs(X, categorical, of, (0.05, 0.5)[:tasks]), lambda t: transform(family, t, 2 * y, of), prior
    )
    for _ in range(3):
        theta = prior.start + 0.5 * rng.standard_normal(6 + tasks)
        _, gradient = evidence(theta)
        steps = np.eye(len(theta)) * 1e-5
        differences = [(evidence(theta + h)[0] - evidence(theta - h)[0]) / 2e-5 for h in steps]
        assert gradient == pytest.approx(differences, rel=1e-5, abs=1e-5)


def test_the_gradients_of_mean_and_deviation() -> None:
    X, z = data()
    X[:, 2] = np.random.default_rng(3).integers(0, 3, 25)
    thetas = np.array([[1.0, 0.0, 0.7, 0.3, -4.0, 1.0, 0.8], [2.0, -1.0, 0.2, 0.0, -6.0, 1.0, -0.5]])
    tasks = (np.arange(25) % 3 == 0).astype(np.int64)
    model = condition(
        X, np.stack([z, z**2]), X[:2] + np.array([0.3, 0.2, 0.0]), (False, False, True), thetas, tasks, (0.3,)
    )
    points = np.random.default_rng(1).random((6, 3))
    points[:, 2] = [0, 1, 2, 0, 1, 2]
    mu, sigma, dmu, dsigma = model.gradients(points)
    assert np.allclose(np.stack([mu, sigma]), model.moments(points), atol=1e-10)
    for j in range(2):
        h = np.eye(3)[j] * 1e-6
        up, down = model.moments(points + h), model.moments(points - h)
        assert dmu[:, :, j] == pytest.approx((up[0] - down[0]) / 2e-6, rel=1e-5, abs=1e-6)
        assert dsigma[:, :, j] == pytest.approx((up[1] - down[1]) / 2e-6, rel=1e-5, abs=1e-6)
    assert not dmu[:, :, 2].any()
    assert not dsigma[:, :, 2].any()


def test_a_believed_point_leaves_the_mean_and_takes_variance_away() -> None:
    X, z = data()
    theta = np.array([[1.0, 0.0, 2.0, 0.3, -9.0, 1.0]])
    pending = np.array([[0.2, 0.9, 0.4], [0.5, 0.5, 0.5]])
    before = condition(X, z[None], NONE, (False,) * 3, theta)
    after = condition(X, z[None], pending, (False,) * 3, theta)
    points = np.concatenate([pending, np.random.default_rng(2).random((20, 3))])
    (mu, sigma), (mu_after, sigma_after) = before.moments(points), after.moments(points)
    assert np.max(np.abs(mu - mu_after)) < 1e-9
    assert (sigma_after < sigma).all()
    # One believed point: an observation with the noise and BELIEF of the amplitude, so s2' = s2 - s2^2 / (s2 + both).
    one = condition(X, z[None], pending[:1], (False,) * 3, theta).moments(pending[:1])[1][0, 0] ** 2
    s2, both = sigma[0, 0] ** 2, np.exp(-9.0) + BELIEF * np.exp(0.3)
    assert one == pytest.approx(s2 - s2**2 / (s2 + both), abs=1e-9)


def test_equal_points_do_not_break_the_factorisation() -> None:
    X = np.repeat(np.random.default_rng(0).random((4, 3)), 5, axis=0)
    theta = np.array([[-6.0, -6.0, -6.0, 4.0, np.log(1e-6), 1.0]])
    mu, sigma = condition(X, X[:, 0][None], NONE, (False,) * 3, theta).moments(X)
    assert np.isfinite(mu).all()
    assert (sigma >= 0).all()


@pytest.mark.parametrize("family", ["raw", "power", "shift"])
@pytest.mark.parametrize("t", [-1.5, 0.0, 1.0, 2.0, 3.3])
def test_outputs_are_monotone_and_come_back(family: str, t: float) -> None:
    v = np.sort(np.concatenate([np.random.default_rng(0).standard_normal(30), [-3.0, 5.9]]))
    transformed = transform(family, t, v)
    assert (np.diff(transformed.z) > 0).all()
    assert transformed.z.mean() == pytest.approx(0.0, abs=1e-12)
    assert transformed.z.std() == pytest.approx(1.0)
    back = inverse(family, t, transformed.z * transformed.std + transformed.mean, v.min())
    assert back == pytest.approx(v, rel=1e-7, abs=1e-7)
    assert forward(family, t, v, v.min()) == pytest.approx(
        transformed.z * transformed.std + transformed.mean, abs=1e-10
    )


def test_the_power_family_is_scipys() -> None:
    from scipy.stats import yeojohnson

    v = np.random.default_rng(0).standard_normal(30)
    for t in (-0.5, 0.0, 0.7, 2.0):
        theirs = yeojohnson(v, t)
        assert transform("power", t, v).z == pytest.approx((theirs - theirs.mean()) / theirs.std(), abs=1e-10)


def test_groups_are_standardised_apart_unless_they_are_small() -> None:
    rng = np.random.default_rng(0)
    v = np.concatenate([rng.standard_normal(10), 50 + 9 * rng.standard_normal(10), [3.0] * (FEW - 1)])
    groups = np.repeat([0, 1, 2], [10, 10, FEW - 1])
    z = transform("raw", 1.0, v, groups).z
    for g in (0, 1):
        assert z[groups == g].mean() == pytest.approx(0.0, abs=1e-12)
        assert z[groups == g].std() == pytest.approx(1.0)
    assert z[groups == 2] == pytest.approx((3.0 - v.mean()) / v.std())
