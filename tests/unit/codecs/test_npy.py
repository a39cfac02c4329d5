"""NumPy's array files: NumPy itself is the oracle."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from sagespark.codecs.json import JSON
from sagespark.codecs.npy import NPY
from sagespark.core.errors import CodecError
from support.batches import random_csr


def saved(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), allow_pickle=True)
    return out.getvalue()


def test_numpy_reads_what_is_written_and_the_other_way_round() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert np.array_equal(np.load(io.BytesIO(NPY.encode(x))), x.astype(np.float32))
    y = np.arange(5.0)
    both = np.load(io.BytesIO(NPY.encode(x, y)))
    assert np.array_equal(both[:, 0], y)
    rows = NPY.decode(saved(np.column_stack([y, x])), width=3, label_size=1)
    assert rows.labels is not None
    assert np.array_equal(rows.labels, y)
    assert np.array_equal(rows.features, x.astype(np.float32))
    # Fortran order and other number types, as scripts write them.
    assert np.array_equal(NPY.decode(saved(np.asfortranarray(x))).features, x.astype(np.float32))
    assert NPY.decode(saved(np.eye(2, dtype=int))).features.dtype == np.float32


@pytest.mark.parametrize(
    ("array", "fields", "shape"),
    [
        (np.arange(4), ["p"], (4,)),
        (np.ones((4, 1)), ["p"], (4,)),
        (np.ones((4, 3)), ["p"], (4, 3)),
        (np.ones((4, 2)), ["a", "b"], (4,)),
        (np.float32(2.5), ["p"], (1,)),
    ],
)
def test_answers_of_scripts(array: object, fields: list[str], shape: tuple[int, ...]) -> None:
    found = NPY.decode_predictions(saved(array), fields)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(fields, shape)
    assert all(values.dtype == np.float64 for values in found.values())


def test_answers_are_written_as_columns() -> None:
    body = NPY.encode_predictions({"a": np.arange(3), "b": np.ones((3, 2))})
    assert np.load(io.BytesIO(body)).shape == (3, 3)
    assert NPY.decode_predictions(NPY.encode_predictions({"p": np.ones((2, 2))}), ["p"])["p"].shape == (2, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"1,2", "no array file"),
        (pickle.dumps([1]), "no array file"),
        (saved(np.array([{"a": 1}], dtype=object)), "no array file"),
        (saved(np.array(["a"])), "of numbers, but is of <U1"),
        (saved(np.ones(3)), r"a row per record, but has the shape \(3,\)"),
        (saved(np.ones((2, 4))), "0 labels and 3 features, but has 4 cells"),
        (saved(np.ones((2, 3)))[:-8], "no array file"),
    ],
)
def test_what_is_none_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        NPY.decode(body, width=3)


def test_sparse_rows_and_missing_columns_are_refused() -> None:
    with pytest.raises(CodecError, match="cannot carry sparse rows: set vectorFormat to 'dense'"):
        NPY.encode(random_csr(np.random.default_rng(0), [2, 1, 0], 4))
    with pytest.raises(CodecError, match="of the fields a, b has 3 columns"):
        NPY.decode_predictions(saved(np.ones((2, 3))), ["a", "b"])


def test_json_answers_of_scripts_and_of_tensorflow_serving() -> None:
    one = ["prediction"]
    assert JSON.decode_predictions(b"[1.5, 2]", one)["prediction"].tolist() == [1.5, 2.0]
    assert JSON.decode_predictions(b'{"predictions": [[0.25, 0.75], [1, 0]]}', one)["prediction"].shape == (2, 2)
    assert JSON.decode_predictions(b'{"predictions": [[0.25], [1]]}', one)["prediction"].tolist() == [0.25, 1.0]
    with pytest.raises(CodecError, match="different lengths"):
        JSON.decode_predictions(b"[[1, 2], [3]]", one)
    with pytest.raises(CodecError, match="has no field 'a'"):
        JSON.decode_predictions(b"[1, 2]", ["a", "b"])
