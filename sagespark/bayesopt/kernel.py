"""The covariance function: Matern-5/2 with one length scale per dimension.

Notation, with ``x``, ``x'`` points of the encoded cube::

    r2 = sum_j w_j delta_j(x, x'),   w_j = 1 / lengthscale_j ** 2
    delta_j = (x_j - x'_j) ** 2      where dimension j is a number
    delta_j = 1 if x_j != x'_j       where it is a category: every pair of categories is equally far apart
    k  = (1 + s + s ** 2 / 3) exp(-s),   s = sqrt(5 r2)                                     (1)
    k' = dk / dr2 = -(5 / 6) (1 + s) exp(-s)                                                (2)

(1) is eq. 4.17 of Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, with ``r`` scaled per
dimension (their eq. 5.2). (2) has no pole at 0, which is why everything here is written in ``r2``.
"""

from __future__ import annotations

import numpy as np

from sagespark.bayesopt.scaling import Floats


def matern52(r2: Floats) -> tuple[Floats, Floats]:
    """Return ``k`` and ``k'`` of eqs. 1 and 2 for squared distances of any shape."""
    s = np.sqrt(5.0 * r2)
    e = np.exp(-s)
    p = 1.0 + s
    return (p + s * s * (1.0 / 3.0)) * e, (-5.0 / 6.0) * p * e


def deltas(a: Floats, b: Floats, categorical: tuple[bool, ...]) -> Floats:
    """Return ``delta_j`` of points that broadcast against each other, dimensions last."""
    return squares(a - b, categorical)


def squares(difference: Floats, categorical: tuple[bool, ...]) -> Floats:
    """Return ``delta_j`` of differences of points, dimensions last."""
    out = difference * difference
    for j, is_category in enumerate(categorical):
        if is_category:
            out[..., j] = difference[..., j] != 0.0
    return np.asarray(out)
