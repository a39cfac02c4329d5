"""Random projections to fewer features, which nearly keep distances (Johnson and Lindenstrauss).

Notation: ``d`` features are reduced to ``t``; a row ``x`` becomes ``x R``, with ``R`` of shape (d, t).

sign
    Every element of ``R`` is 1 or -1 with equal chances, over the square root of ``t`` (Achlioptas, 2003).
fjlt
    ``R = S H C`` over the square root of ``t``: ``S`` gives each feature a random sign, ``H`` is the Hadamard matrix
    of the next power of two, ``H_ij = (-1)^(number of common bits of i and j)``, and ``C`` takes ``t`` of its columns
    at random (Ailon and Chazelle, 2009, in the subsampled form of Tropp, 2011).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def projection(kind: str, width: int, target: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return ``R``, shape (width, target).

    Parameters
    ----------
    kind : {'sign', 'fjlt'}
    width, target : int
        ``d`` and ``t``, which is less.
    random : numpy.random.Generator
    """
    if kind == "sign":
        signs = random.integers(0, 2, (width, target), np.int8) * np.int8(2) - np.int8(1)
    else:
        size = 1 << (width - 1).bit_length()
        columns = np.sort(random.choice(size, target, replace=False))
        common = np.bitwise_and(np.arange(width)[:, np.newaxis], columns[np.newaxis])
        flips = random.integers(0, 2, width)
        # Whether the number of common bits is odd: the bits of each half are folded onto the other one.
        for half in (32, 16, 8, 4, 2, 1):
            common ^= common >> half
        signs = (1 - 2 * ((common & 1) ^ flips[:, np.newaxis])).astype(np.int8)
    found: NDArray[np.float32] = (signs / np.sqrt(target)).astype(np.float32)
    return found
