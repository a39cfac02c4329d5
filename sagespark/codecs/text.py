"""Numbers as text, many at a time, by Arrow: the shortest digits that read back as the same number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sagespark.codecs.base import Numbers

CHUNK = 1 << 20
"""Numbers formatted at a time: Arrow's strings hold at most 2 GiB."""

Strings = Any
"""A pyarrow StringArray."""


def chunks(rows: int, width: int) -> Iterator[slice]:
    """Yield slices of rows of about :data:`CHUNK` numbers."""
    step = max(1, CHUNK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def strings(values: NDArray[Any], *, point: bool = False, missing: str | None = None) -> Strings:
    """Return each number as text.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Any integer or floating type.
    point : bool
        Write integral floats as ``1.0``, as the built-in algorithms answer.
    missing : str, optional
        What stands for NaN; Arrow's own ``nan`` otherwise.
    """
    out = pc.cast(pa.array(np.ascontiguousarray(values)), pa.string())
    if values.dtype.kind != "f":
        return out
    if point:
        # Every other spelling has a point, an exponent or letters.
        integral = pc.match_substring_regex(out, "^-?[0-9]+$")
        if pc.any(integral).as_py():
            out = pc.if_else(integral, pc.binary_join_element_wise(out, ".0", ""), out)
    negative = (values == 0) & np.signbit(values)
    if negative.any():
        # Arrow writes -0, which a JSON reader takes for the integer 0.
        out = pc.if_else(pa.array(negative), "-0.0", out)
    if missing is not None and np.isnan(values).any():
        out = pc.if_else(pa.array(np.isnan(values)), missing, out)
    return out


def join(parts: Strings, indptr: NDArray[np.int64]) -> Strings:
    """Return the texts ``indptr[i]`` to ``indptr[i + 1]`` of ``parts`` joined by commas, for each row."""
    lists = pa.ListArray.from_arrays(pa.array(indptr.astype(np.int32)), parts)
    return pc.binary_join(lists, ",")


def join_rows(values: NDArray[Any], **how: Any) -> Strings:
    """Return each row of an (n, m) array as text, joined by commas; ``how`` as for :func:`strings`."""
    rows, width = values.shape
    return join(strings(values.reshape(-1), **how), np.arange(rows + 1) * width)


def content(texts: Strings) -> bytes:
    """Return all the texts, one behind the other, as UTF-8."""
    if not len(texts):
        return b""
    _, bounds, data = texts.buffers()
    ends = np.frombuffer(bounds, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return b"" if data is None else bytes(memoryview(data)[int(ends[0]) : int(ends[-1])])


def field_texts(fields: Mapping[str, Numbers], rows: slice, **how: Any) -> list[tuple[str, bool, Strings]]:
    """Return, for each response field, its name, whether it has several values per row, and its text per row."""
    out = []
    for name, values in fields.items():
        part = values[rows]
        several = part.ndim == 2
        flat = part.astype(np.float32) if part.dtype.kind in "iub" else part
        out.append((name, several, join_rows(flat, **how) if several else strings(flat, **how)))
    return out
