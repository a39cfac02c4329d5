"""A factorization machine as it is kept and served.

Notation: rows ``x`` of ``d`` features, intercept ``b``, linear weights ``w`` (d,), factors ``V`` (d, k). In float64,
and by the same formula for dense and sparse rows (Rendle, "Factorization Machines", 2010, lemma 3.1):

    p = b + x w + (1 / 2) sum over f of ((x V_f)^2 - x^2 V_f^2)                                                     (1)

The artifact is AWS's: ``model_algo-1`` is a ZIP of an MXNet symbol, ``symbol.json``, its arrays, ``params``:
``w0_weight`` of shape (1, 1), ``w1_weight`` of shape (d, 1) and ``v`` of shape (d, k), and ``meta.json``, which tells
the width, as code reads it that serves AWS's models; what else AWS's holds is not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.factorization_machines import (
    BINARY,
    META_FILE,
    PARAMS_FILE,
    REGRESSOR_TYPE,
    SYMBOL_FILE,
)
from sagespark.algorithms.fm_arrays import parameters
from sagespark.codecs import mxmodel
from sagespark.codecs.base import Buffer
from sagespark.codecs.matrix import Matrix
from sagespark.codecs.mxmodel import Node
from sagespark.local.containers.channels import to_csr
from sagespark.local.containers.linear_losses import sigmoid

Floats = NDArray[np.float64]


def entries(rows: Matrix) -> Any:
    """Return rows as SciPy's CSR matrix without zeros: a row's kind changes nothing."""
    matrix = to_csr(rows)
    matrix.eliminate_zeros()
    return matrix


def products(x: Any, bias: float, linear: Floats, factors: Floats) -> tuple[Floats, Floats]:
    """Return equation (1), shape (n,), and ``x V``, shape (n, k).

    Parameters
    ----------
    x : CSR matrix of float64, shape (n, d)
    bias : float
    linear, factors : ndarray of shape (d,) and (d, k)
    """
    projected: Floats = x @ factors
    squares: Floats = x.multiply(x) @ (factors * factors)
    return bias + x @ linear + 0.5 * (projected * projected - squares).sum(axis=1), projected


@dataclass(frozen=True)
class FactorizationMachine:
    """Weights and what their products mean."""

    bias: float
    linear: NDArray[np.float32]
    """Shape (d,)."""
    factors: NDArray[np.float32]
    """Shape (d, k)."""
    predictor: str

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.linear)

    def margins(self, x: Any) -> Floats:
        """Return equation (1) for SciPy's CSR rows, shape (n,)."""
        return products(x.astype(np.float64), self.bias, self.linear.astype(np.float64), self.factors.astype(float))[0]

    def answers(self, rows: Matrix) -> dict[str, NDArray[Any]]:
        """Return the response fields: ``score`` and, of classes, ``predicted_label``."""
        margins = self.margins(entries(rows))
        if self.predictor == REGRESSOR_TYPE:
            return {"score": margins.astype(np.float32)}
        return {
            "score": sigmoid(margins).astype(np.float32),
            "predicted_label": (margins >= 0).astype(np.float32),
        }

    def dump(self) -> bytes:
        """Return ``model_algo-1``."""
        arrays = {
            "w0_weight": np.full((1, 1), self.bias, np.float32),
            "w1_weight": self.linear.reshape(-1, 1),
            "v": self.factors,
        }
        nodes = [
            Node("null", "data"),
            # MXNet infers no shape of what "dot" multiplies.
            *(Node("null", name, attrs={"__shape__": str(array.shape)}) for name, array in arrays.items()),
            Node("dot", "linear", ("data", "w1_weight")),
            Node("dot", "projected", ("data", "v")),
            Node("square", "projected_squares", ("projected",)),
            Node("sum", "square_of_sum", ("projected_squares",), {"axis": "1", "keepdims": "True"}),
            Node("square", "data_squares", ("data",)),
            Node("square", "v_squares", ("v",)),
            Node("dot", "products_of_squares", ("data_squares", "v_squares")),
            Node("sum", "sum_of_squares", ("products_of_squares",), {"axis": "1", "keepdims": "True"}),
            Node("elemwise_sub", "pairs_twice", ("square_of_sum", "sum_of_squares")),
            Node("_mul_scalar", "pairs", ("pairs_twice",), {"scalar": "0.5"}),
            Node("broadcast_add", "affine", ("linear", "w0_weight")),
            Node("elemwise_add", "margin", ("affine", "pairs")),
        ]
        if self.predictor == BINARY:
            nodes.append(Node("sigmoid", "out", ("margin",)))
        features, k = self.factors.shape
        told = {"training_parameters": {"feature_dim": features, "num_factors": k, "predictor_type": self.predictor}}
        return mxmodel.dump(nodes, arrays, symbol=SYMBOL_FILE, params=PARAMS_FILE, more={META_FILE: told})

    @classmethod
    def load(cls, body: Buffer) -> FactorizationMachine:
        """Return the model that ``model_algo-1`` holds; the symbol tells whether it is a classifier.

        Raises
        ------
        CodecError
            If it is no such file.
        """
        arrays, nodes, _ = mxmodel.load(body, symbol=SYMBOL_FILE, params=PARAMS_FILE)
        bias, linear, factors = parameters(arrays)
        ops = {node.op.lower() for node in nodes}
        binary = bool(ops & {"sigmoid", "logisticregressionoutput", "activation"})
        predictor = BINARY if binary else REGRESSOR_TYPE
        return cls(bias, linear.astype(np.float32), factors.astype(np.float32), predictor)
