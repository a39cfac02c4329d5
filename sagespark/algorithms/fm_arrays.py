"""The arrays of a factorization machine's artifact, under both sets of names that AWS's container gives them.

Trained on sparse rows (and by the embedded service): ``w0_weight`` of one number, ``w1_weight`` (d, 1), ``v`` (d, k).
Trained on dense rows: ``Linear_Plus_Bias_bias`` of one number, ``Linear_Plus_Bias_weight`` (1, d), ``v`` (k, d). AWS's
blog "Extending Amazon SageMaker factorization machines algorithm to predict top x recommendations" reads the first;
public code that serves models of AWS's reads whichever there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from sagespark.codecs.mxmodel import FORMAT
from sagespark.core.errors import CodecError

_SPARSE = ("w0_weight", "w1_weight", "v")
_DENSE = ("Linear_Plus_Bias_bias", "Linear_Plus_Bias_weight", "v")


def parameters(arrays: Mapping[str, NDArray[Any]]) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Return the intercept, the linear weights (d,) and the factors (d, k).

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of ``params``, by name.

    Raises
    ------
    CodecError
        If there are not these arrays, or their shapes do not go together.
    """
    dense = _DENSE[1] in arrays
    names = _DENSE if dense else _SPARSE
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CodecError(
            f"a factorization machine has an array {missing[0]}, but this file has {', '.join(arrays)}",
            contentType=FORMAT,
        )
    bias, linear, factors = (arrays[name] for name in names)
    factors = factors.T if dense else factors
    if factors.ndim != 2 or len(factors) != linear.size or bias.size != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise CodecError(f"the arrays do not go together: {shapes}", contentType=FORMAT)
    return float(bias.reshape(-1)[0]), linear.reshape(-1), factors
