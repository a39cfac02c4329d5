"""The ZIP of an MXNet symbol and its arrays. A slow test opens it with MXNet itself."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from sagespark.codecs import mxmodel, ndarray
from sagespark.codecs.mxmodel import Node
from sagespark.core.errors import CodecError

NODES = [
    Node("null", "data"),
    Node("null", "fc0_weight", attrs={"num_hidden": "2"}),
    Node("null", "fc0_bias"),
    Node("FullyConnected", "fc0", ("data", "fc0_weight", "fc0_bias"), {"num_hidden": "2"}),
    Node("softmax", "out", ("fc0",)),
]
ARRAYS = {"fc0_weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc0_bias": np.zeros(2, np.float32)}
NAMES = {"symbol": "s.json", "params": "p.params"}


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


def test_what_is_written_is_read() -> None:
    body = mxmodel.dump(NODES, ARRAYS, **NAMES, more={"more.json": {"a": 1}})
    arrays, nodes, more = mxmodel.load(body, **NAMES, more=("more.json", "absent.json"))
    assert nodes == NODES
    assert more == {"more.json": {"a": 1}}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert mxmodel.dump(NODES, ARRAYS, **NAMES, more={"more.json": {"a": 1}}) == body


def test_the_symbol_is_mxnets_json() -> None:
    """As MXNet 1.9.1 writes this graph with tojson()."""
    found = json.loads(mxmodel.symbol_json(NODES))
    assert found["arg_nodes"] == [0, 1, 2]
    assert found["heads"] == [[4, 0, 0]]
    assert found["node_row_ptr"] == [0, 1, 2, 3, 4, 5]
    assert found["attrs"] == {"mxnet_version": ["int", 10901]}
    assert found["nodes"][3] == {
        "op": "FullyConnected",
        "name": "fc0",
        "attrs": {"num_hidden": "2"},
        "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]],
    }
    assert found["nodes"][0] == {"op": "null", "name": "data", "inputs": []}


def test_arrays_carry_mxnets_prefix() -> None:
    with zipfile.ZipFile(io.BytesIO(mxmodel.dump(NODES, ARRAYS, **NAMES))) as archive:
        found = ndarray.load(archive.read("p.params"))
    assert set(found) == {"arg:fc0_weight", "arg:fc0_bias"}


GOOD_SYMBOL = mxmodel.symbol_json(NODES).encode()
GOOD_PARAMS = ndarray.dump_dict({"arg:w": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"no zip at all", "must be a ZIP of s.json and p.params"),
        (b"", "must be a ZIP"),
        (zipped(s__json=GOOD_SYMBOL), "the ZIP has no p.params; it has s.json"),
        (zipped(s__json=b"{", p__params=GOOD_PARAMS), "is no JSON"),
        (zipped(s__json=b"[]", p__params=GOOD_PARAMS), "the symbol is no graph of MXNet"),
        (zipped(s__json=b'{"nodes": [{"op": "null"}]}', p__params=GOOD_PARAMS), "the symbol is no graph of MXNet"),
        (zipped(s__json=GOOD_SYMBOL, p__params=b"123"), "bytes are needed"),
        (
            zipped(s__json=GOOD_SYMBOL, p__params=ndarray.dump_list([np.zeros(1, np.float32)])),
            "the arrays of p.params must have names",
        ),
    ],
)
def test_what_is_no_such_file(body: bytes, text: str) -> None:
    with pytest.raises(CodecError, match=text):
        mxmodel.load(body, **NAMES)


def test_a_cut_zip_is_refused_wherever_it_is_cut() -> None:
    body = mxmodel.dump(NODES, ARRAYS, **NAMES)
    for end in range(0, len(body), 7):
        with pytest.raises(CodecError):
            mxmodel.load(body[:end], **NAMES)
