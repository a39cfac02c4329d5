"""What XGBoost's serving container reads and answers, as AWS's does.

===============================  ==================================================================================
Accept                           answer
===============================  ==================================================================================
``text/csv``, none               predictions on one line, joined by commas; of several numbers each: ``[0.1, 0.9],...``
``application/json``             ``{"predictions": [{"score": 0.4}, ...]}``; of several numbers each, a list
``application/jsonlines``        one such object a line
``application/x-recordio-...``   a record a row, ``score`` in its label
===============================  ==================================================================================

With the variable ``SAGEMAKER_INFERENCE_OUTPUT`` the answer has the fields that it names instead ("selectable
inference"); with ``SAGEMAKER_BATCH``, as batch transform sets it, each prediction is a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xgboost
from numpy.typing import NDArray

from sagespark.codecs import text
from sagespark.codecs.csv import Csv
from sagespark.codecs.libsvm import LIBSVM
from sagespark.codecs.matrix import Csr, Matrix
from sagespark.codecs.registry import codec, parse_content_type
from sagespark.core.errors import CodecError, ValidationError
from sagespark.local.containers.serving import ACCEPTS, ServingApp
from sagespark.local.containers.xgboost_data import reason, to_csr
from sagespark.local.containers.xgboost_rounds import MODEL_FILE

OUTPUT_VARIABLE, BATCH_VARIABLE = "SAGEMAKER_INFERENCE_OUTPUT", "SAGEMAKER_BATCH"
READS = ("text/csv", "text/libsvm", "text/x-libsvm", "application/x-recordio-protobuf")
WRITES = ("text/csv", *(kind for kind in ACCEPTS if kind != "text/csv"))

Scores = NDArray[Any]


def load(folder: Path) -> xgboost.Booster:
    """Return the model of ``xgboost-model``, else of the folder's only file.

    Raises
    ------
    ValueError
        If there is none, or it is not in XGBoost's own format. Pickles are not read: they run what they hold.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    named = [path for path in files if path.name == MODEL_FILE] or files
    if len(named) != 1:
        raise ValueError(f"the artifact must hold a file {MODEL_FILE!r}, but it holds {[path.name for path in files]}")
    try:
        booster = xgboost.Booster(model_file=bytearray(named[0].read_bytes()))
    except xgboost.core.XGBoostError as error:
        raise ValueError(f"{named[0].name!r} is no model in XGBoost's own format: {reason(error)}") from error
    booster.set_param("nthread", "1")
    return booster


class XGBoostApp(ServingApp):
    """ASGI application around a model.

    Parameters
    ----------
    booster : xgboost.Booster
    threads : int
        Predictions at a time.
    """

    def __init__(self, booster: xgboost.Booster, threads: int) -> None:
        config = json.loads(booster.save_config())["learner"]
        self._objective = str(config["objective"]["name"])
        self._classes = max(2, int(config["learner_model_param"]["num_class"]))
        self._linear = config["gradient_booster"]["name"] == "gblinear"
        self._booster = booster
        wanted = os.environ.get(OUTPUT_VARIABLE)
        self._selected = None if wanted is None else wanted.replace(" ", "").lower().split(",")
        self._batch = BATCH_VARIABLE in os.environ
        super().__init__(self.scores, booster.num_features(), threads, WRITES, reads=READS, default="text/csv")

    def scores(self, rows: Matrix) -> dict[str, Scores]:
        """Return what XGBoost predicts, shape (n,) or (n, m)."""
        features = rows if isinstance(rows, np.ndarray) else to_csr(rows, self._width)
        try:
            if self._linear:
                return {"score": self._booster.predict(xgboost.DMatrix(features), validate_features=False)}
            return {"score": self._booster.inplace_predict(features, validate_features=False)}
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise ValidationError(f"Unable to evaluate payload provided: {reason(error)}") from error

    def _decode(self, body: bytes, content_type: str) -> Matrix:
        kind = parse_content_type(content_type)[0]
        if "libsvm" in kind:
            return self._of_libsvm(LIBSVM.decode(body, label_size=0).features)
        if kind == "text/csv":
            return Csv().decode(body, width=self._width, label_size=0).features
        return codec(content_type).decode(body, width=self._width).features

    def _of_libsvm(self, rows: Matrix) -> Matrix:
        """Return rows of the model's width. Where no index is 0 they are counted from 1, as AWS's container has it."""
        assert isinstance(rows, Csr)
        first = int(rows.indices.min()) if len(rows.indices) else 0
        indices = rows.indices - (1 if first >= 1 else 0)
        if len(indices) and int(indices.max()) >= self._width:
            raise CodecError(
                f"the rows have {int(indices.max()) + 1} features, but the model takes {self._width}",
                contentType=LIBSVM.content_type,
            )
        return Csr(rows.indptr, indices, rows.values, self._width)

    def _encode(self, fields: Mapping[str, Scores], accept: str) -> bytes:
        scores = fields["score"]
        if self._selected is not None:
            chosen = selected(scores, self._selected, self._objective, self._classes)
            return _lines(chosen, self._batch) if accept == "text/csv" else super()._encode(chosen, accept)
        if self._batch:
            return text.content(pc.binary_join_element_wise(_texts(scores), "\n", ""))
        if accept == "text/csv":
            every = pa.ListArray.from_arrays(pa.array([0, len(scores)], pa.int32()), _texts(scores))
            return text.content(pc.binary_join(every, ","))
        return super()._encode(fields, accept)


def _texts(values: Scores) -> text.Strings:
    """Return each row as Python writes it: a number, or a list of numbers."""
    if values.ndim == 1:
        return text.strings(values, point=True)
    return pc.binary_join_element_wise(
        "[", pc.replace_substring(text.join_rows(values, point=True), ",", ", "), "]", ""
    )


def _lines(fields: Mapping[str, Scores], ended: bool) -> bytes:
    """Return a line per row: the fields joined by commas, lists in quotes."""
    parts = []
    for values in fields.values():
        texts = _texts(values)
        parts.append(pc.binary_join_element_wise('"', texts, '"', "") if values.ndim == 2 else texts)
    lines = text.content(pc.binary_join_element_wise(pc.binary_join_element_wise(*parts, ","), "\n", ""))
    return lines if ended else lines[:-1]


_BINARY = ("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores")
_LABELS = ("predicted_label", "labels", "raw_score", "raw_scores")
SELECTABLE: Mapping[str, tuple[str, ...]] = {
    "reg:squarederror": ("predicted_score",),
    "reg:logistic": ("predicted_score",),
    "reg:gamma": ("predicted_score",),
    "reg:absoluteerror": ("predicted_score",),
    "reg:tweedie": ("predicted_score",),
    "binary:logistic": _BINARY,
    "binary:logitraw": _LABELS,
    "binary:hinge": _LABELS,
    "multi:softmax": _LABELS,
    "multi:softprob": _BINARY,
}
"""Fields that can be asked for, by objective."""


def selected(scores: Scores, keys: list[str], objective: str, classes: int) -> dict[str, Scores]:
    """Return the fields that are asked for; NaN where the objective does not have one.

    Raises
    ------
    ValidationError
        If the objective has none at all.
    """
    if objective not in SELECTABLE:
        raise ValidationError(
            f"Objective {objective!r} is not supported for selectable inference ({OUTPUT_VARIABLE}); these are: "
            f"{', '.join(SELECTABLE)}"
        )
    n = len(scores)
    several = scores.ndim == 2
    labels = scores.argmax(axis=1) if several else scores
    if objective in ("binary:logistic", "binary:logitraw"):
        labels = (scores > (0.5 if objective == "binary:logistic" else 0)).astype(np.float32)
    both = scores if several else np.column_stack([1 - scores, scores])
    best = scores.max(axis=1) if several else scores
    make: dict[str, Callable[[], Scores]] = {
        "predicted_label": lambda: labels.astype(np.float32),
        "labels": lambda: np.tile(np.arange(classes, dtype=np.float32), (n, 1)),
        "probability": lambda: best,
        "probabilities": lambda: both,
        "raw_score": lambda: best,
        "raw_scores": lambda: both,
        "predicted_score": lambda: scores,
    }
    known = SELECTABLE[objective]
    return {key: make[key]() if key in known else np.full(n, np.nan, np.float32) for key in keys}
