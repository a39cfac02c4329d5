"""A linear model as it is kept and served.

The artifact is AWS's: ``model_algo-1`` is a ZIP of an MXNet symbol, ``mx-mod-symbol.json``, and its arrays,
``mx-mod-0000.params``: ``fc0_weight`` of shape (C, feature_dim) and ``fc0_bias`` of shape (C,), for rows as they are
(AWS's "How linear learner works", step 4). AWS's ZIP has ``additional-params.json`` too, whose content it does not
document: here it holds what the weights do not tell, the loss and the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.linear_learner import BINARY, MORE_FILE, MULTICLASS, PARAMS_FILE, REGRESSOR_TYPE, SYMBOL_FILE
from sagespark.codecs import mxmodel
from sagespark.codecs.base import Buffer
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.mxmodel import Node
from sagespark.core.errors import CodecError
from sagespark.local.containers.linear_losses import sigmoid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinearModel:
    """Weights and what their products mean."""

    weights: NDArray[np.float32]
    """Shape (C, d)."""
    bias: NDArray[np.float32]
    """Shape (C,)."""
    predictor: str
    loss: str
    cut: float = 0.0
    """Margin from which a row of two classes is called 1."""

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.weights.shape[1])

    def margins(self, rows: Any) -> Floats:
        """Return the products of the rows, shape (n, C), in float64.

        Parameters
        ----------
        rows : ndarray, SciPy's CSR matrix, Csr or Mixed
            The sums of a sparse row are those of a dense one but for their rounding.
        """
        weights = self.weights.T.astype(np.float64)
        if isinstance(rows, Mixed):
            mixed = np.empty((rows.shape[0], len(self.bias)))
            mixed[~rows.is_sparse] = self.margins(rows.dense)
            mixed[rows.is_sparse] = self.margins(rows.sparse)
            return mixed
        if isinstance(rows, Csr):
            from sagespark.local.containers.scatter import to_float64

            rows = to_float64(rows)
        if isinstance(rows, np.ndarray):
            rows = rows.astype(np.float64)
        out: Floats = rows @ weights + self.bias
        return out

    def answers(self, rows: Matrix) -> dict[str, NDArray[Any]]:
        """Return the response fields: ``score`` and, of classes, ``predicted_label``."""
        margins = self.margins(rows)
        if self.predictor == REGRESSOR_TYPE:
            return {"score": margins[:, 0].astype(np.float32)}
        if self.predictor == BINARY:
            margin = margins[:, 0]
            score = sigmoid(margin) if self.loss == "logistic" else margin
            called = (margin >= self.cut).astype(np.float32)
            return {"score": score.astype(np.float32), "predicted_label": called}
        shares = np.exp(margins - margins.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        called = margins.argmax(axis=1).astype(np.float32)
        return {"score": shares.astype(np.float32), "predicted_label": called}

    def dump(self) -> bytes:
        """Return ``model_algo-1``."""
        classes = len(self.bias)
        size = {"num_hidden": str(classes)}
        nodes = [
            Node("null", "data"),
            Node("null", "fc0_weight", attrs=size),
            Node("null", "fc0_bias", attrs=size),
            Node("FullyConnected", "fc0", ("data", "fc0_weight", "fc0_bias"), size),
        ]
        if self.predictor == MULTICLASS:
            nodes.append(Node("softmax", "out", ("fc0",)))
        elif self.predictor == BINARY and self.loss == "logistic":
            nodes.append(Node("sigmoid", "out", ("fc0",)))
        told = {"predictor_type": self.predictor, "loss": self.loss, "margin_threshold": self.cut}
        arrays = {"fc0_weight": self.weights, "fc0_bias": self.bias}
        manifest = {"symbol": SYMBOL_FILE, "params": PARAMS_FILE, "additional_params": MORE_FILE}
        return mxmodel.dump(
            nodes, arrays, symbol=SYMBOL_FILE, params=PARAMS_FILE, more={MORE_FILE: told, "manifest.json": manifest}
        )

    @classmethod
    def load(cls, body: Buffer) -> LinearModel:
        """Return the model that ``model_algo-1`` holds.

        Where ``additional-params.json`` is another's, the symbol tells what the products mean, and the threshold is 0.

        Raises
        ------
        CodecError
            If it is no such file.
        """
        arrays, nodes, more = mxmodel.load(body, symbol=SYMBOL_FILE, params=PARAMS_FILE, more=(MORE_FILE,))
        weights, bias = arrays.get("fc0_weight"), arrays.get("fc0_bias")
        if weights is None or weights.ndim != 2:
            raise CodecError(
                f"a linear model has an array fc0_weight of two dimensions, but this file has {', '.join(arrays)}",
                contentType=mxmodel.FORMAT,
            )
        bias = np.zeros(len(weights), np.float32) if bias is None else bias.reshape(-1)
        if len(bias) != len(weights):
            raise CodecError(f"{len(weights)} rows of weights have {len(bias)} intercepts", contentType=mxmodel.FORMAT)
        told = more.get(MORE_FILE)
        told = told if isinstance(told, dict) else {}
        ops = {node.op.lower() for node in nodes}
        logistic = bool(ops & {"sigmoid", "logisticregressionoutput", "activation"})
        predictor = MULTICLASS if len(bias) > 1 else BINARY if logistic else REGRESSOR_TYPE
        loss = {MULTICLASS: "softmax_loss", BINARY: "logistic", REGRESSOR_TYPE: "squared_loss"}[predictor]
        return cls(
            weights.astype(np.float32),
            bias.astype(np.float32),
            str(told.get("predictor_type", predictor)),
            str(told.get("loss", loss)),
            float(told.get("margin_threshold", 0.0)),
        )
