"""The ZIP in which AWS's linear learner and factorization machines keep their models: an MXNet symbol and its arrays.

A symbol is MXNet's JSON of a graph, here a list of :class:`Node` in order, inputs before what uses them; the last one
is the output. The arrays are an NDArray dictionary with ``arg:`` before every name. Source of both: apache/mxnet
``python/mxnet/model.py`` (``save_checkpoint``, ``load_params``) and ``src/nnvm/legacy_json_util.cc``. Member names are
AWS's: ``mx-mod-symbol.json`` and ``mx-mod-0000.params`` of the linear learner, ``symbol.json`` and ``params`` of
factorization machines.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from sagespark.codecs import ndarray
from sagespark.codecs.base import Buffer
from sagespark.core.errors import CodecError

FORMAT = "MXNet model ZIP"
MXNET_VERSION = 10901
"""Version of MXNet that the symbols are written for: 1.9.1."""
MAX_BYTES = 1 << 32
"""Most bytes that a member may unpack to."""
_PREFIX = "arg:"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Node:
    """One node of a symbol.

    Parameters
    ----------
    op : str
        MXNet's operator; ``null`` for data and arrays.
    name : str
    inputs : tuple of str
        Names of nodes before this one.
    attrs : mapping of str to str
        Parameters of the operator.
    """

    op: str
    name: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, str] = field(default_factory=dict)


def symbol_json(nodes: Sequence[Node]) -> str:
    """Return a symbol as MXNet 1.9 writes it."""
    at = {node.name: i for i, node in enumerate(nodes)}
    rows = []
    for node in nodes:
        row: dict[str, Any] = {"op": node.op, "name": node.name}
        if node.attrs:
            row["attrs"] = dict(node.attrs)
        row["inputs"] = [[at[name], 0, 0] for name in node.inputs]
        rows.append(row)
    return json.dumps(
        {
            "nodes": rows,
            "arg_nodes": [i for i, node in enumerate(nodes) if node.op == "null"],
            "node_row_ptr": list(range(len(nodes) + 1)),
            "heads": [[len(nodes) - 1, 0, 0]],
            "attrs": {"mxnet_version": ["int", MXNET_VERSION]},
        },
        indent=2,
    )


def dump(
    nodes: Sequence[Node],
    arrays: Mapping[str, NDArray[Any]],
    *,
    symbol: str,
    params: str,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the ZIP, the same bytes for the same model.

    Parameters
    ----------
    nodes : sequence of Node
        The symbol.
    arrays : mapping of str to ndarray
        By the names of nodes.
    symbol, params : str
        Names of the two members.
    more : mapping of str to object
        Further members by name, written as JSON.

    Raises
    ------
    CodecError
        If MXNet has no such type of array.
    """
    body = ndarray.dump_dict({_PREFIX + name: array for name, array in arrays.items()})
    members: dict[str, str | bytes] = {symbol: symbol_json(nodes), params: body}
    members |= {name: json.dumps(value, indent=2) for name, value in (more or {}).items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def load(
    body: Buffer, *, symbol: str, params: str, more: Sequence[str] = ()
) -> tuple[dict[str, NDArray[Any]], list[Node], dict[str, Any]]:
    """Return arrays by name, the nodes of the symbol, and further members that are there.

    Raises
    ------
    CodecError
        If it is no such ZIP, a member is missing, or what it holds is no symbol or no arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(body))) as archive:
            names = archive.namelist()
            missing = [name for name in (symbol, params) if name not in names]
            if missing:
                raise CodecError(
                    f"the ZIP has no {missing[0]}; it has {', '.join(names) or 'nothing'}", contentType=FORMAT
                )
            arrays = ndarray.load(_member(archive, params))
            graph = json.loads(_member(archive, symbol))
            found = {name: json.loads(_member(archive, name)) for name in more if name in names}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise CodecError(
            f"the model file must be a ZIP of {symbol} and {params}: {error}", contentType=FORMAT
        ) from error
    except ValueError as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"a member of the ZIP is no JSON: {error}", contentType=FORMAT) from error
    if not isinstance(arrays, dict):
        raise CodecError(f"the arrays of {params} must have names", contentType=FORMAT)
    return {name.removeprefix(_PREFIX): array for name, array in arrays.items()}, _nodes(graph), found


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > MAX_BYTES:
        raise CodecError(f"{name} unpacks to {size} bytes; at most {MAX_BYTES} are read", contentType=FORMAT)
    return archive.read(name)


def _nodes(graph: Any) -> list[Node]:
    try:
        names = [str(row["name"]) for row in graph["nodes"]]
        return [
            Node(
                str(row["op"]),
                str(row["name"]),
                tuple(names[source[0]] for source in row["inputs"]),
                # Earlier versions of MXNet called it "attr" or "param".
                dict(row.get("attrs") or row.get("attr") or row.get("param") or {}),
            )
            for row in graph["nodes"]
        ]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CodecError(f"the symbol is no graph of MXNet: {error!r}", contentType=FORMAT) from error
