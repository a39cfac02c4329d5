"""Comma-separated values (``text/csv``): one row per line, no header, labels first.

An empty cell and ``nan`` are missing values. Whether a line begins with labels is told by the content type's
parameter: ``text/csv; label_size=0`` has none.
Source: Amazon SageMaker developer guide, "Common data formats for training" and "... for inference".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from sagespark.codecs import text
from sagespark.codecs.base import (
    Buffer,
    MalformedError,
    Numbers,
    Rows,
    as_bytes,
    check_labels,
    field_rows,
    reported,
)
from sagespark.codecs.matrix import Matrix, Mixed
from sagespark.core.errors import CodecError

CONTENT_TYPE = "text/csv"
MISSING = ("", "nan", "NaN", "NAN", "null")
"""Cells that are missing values, read as NaN."""
_COMMA, _NEWLINE, _RETURN = b",\n\r"
_BLOCK = 1 << 26


@dataclass(frozen=True)
class Csv:
    """The codec of ``text/csv``.

    Parameters
    ----------
    label_size : int or None
        Leading label columns where the call does not tell; None takes the columns beyond the width, if that is known.
    """

    label_size: int | None = None
    content_type: str = CONTENT_TYPE

    def encode(self, features: Matrix, labels: Numbers | None = None) -> bytes:
        """Return one line per row; NaN is written as ``nan``, since a line of one empty cell would be no line.

        Raises
        ------
        CodecError
            If the rows are sparse: the format has no sparse form, and a wide row is never filled with zeros.
        """
        if not isinstance(features, np.ndarray):
            kind = "rows that mix dense and sparse" if isinstance(features, Mixed) else "sparse rows"
            raise CodecError(
                f"CSV cannot carry {kind}: use application/x-recordio-protobuf, or make them dense",
                contentType=CONTENT_TYPE,
            )
        rows, width = features.shape
        check_labels(labels, rows)
        out = []
        for part in text.chunks(rows, width + 1):
            lines = text.join_rows(_narrow(features[part]))
            if labels is not None:
                lead = text.join_rows(_narrow(labels[part].reshape(part.stop - part.start, -1)))
                lines = pc.binary_join_element_wise(lead, lines, ",") if width else lead
            out.append(text.content(pc.binary_join_element_wise(lines, "\n", "")))
        return b"".join(out)

    def decode(self, body: Buffer, *, width: int | None = None, label_size: int | None = None) -> Rows:
        """Return the rows as float32.

        Parameters
        ----------
        body : bytes-like
            Lines of equal numbers of cells.
        width : int, optional
            The number of features every row must have.
        label_size : int, optional
            The number of leading label columns; the codec's own otherwise.

        Raises
        ------
        CodecError
            If a cell is no number, or the lines differ in their number of cells.
        """
        with reported(CONTENT_TYPE):
            cells = parse(as_bytes(body), np.float32)
            size = self.label_size if label_size is None else label_size
            columns = cells.shape[1]
            if not len(cells):
                return Rows(np.empty((0, width or 0), np.float32), None)
            if size is None:
                size = 1 if width is not None and columns == width + 1 else 0
            if columns < size or (width is not None and columns != size + width):
                wanted = f"{size} labels and {'some' if width is None else width} features"
                raise MalformedError(f"each row must have {wanted}, but has {columns} cells", 0)
        if not size:
            return Rows(cells, None)
        labels = np.ascontiguousarray(cells[:, 0] if size == 1 else cells[:, :size])
        return Rows(np.ascontiguousarray(cells[:, size:]), labels)

    def encode_predictions(self, fields: Mapping[str, Numbers], *, wrapper: str = "predictions") -> bytes:
        """Return one line per row: the fields in their order, joined by commas."""
        rows = field_rows(fields)
        out = []
        for part in text.chunks(rows, sum(v[:1].size for v in fields.values())):
            lines = [t for _, _, t in text.field_texts(fields, part, point=True)]
            out.append(text.content(pc.binary_join_element_wise(pc.binary_join_element_wise(*lines, ","), "\n", "")))
        return b"".join(out)

    def decode_predictions(self, body: Buffer, fields: Sequence[str]) -> dict[str, Numbers]:
        """Return the columns as the fields, float64.

        Raises
        ------
        CodecError
            If there are not as many columns as fields; one field alone takes all the columns.
        """
        with reported(CONTENT_TYPE):
            cells = parse(as_bytes(body), np.float64)
            columns = cells.shape[1]
            if len(fields) == 1:
                return {fields[0]: cells[:, 0] if columns == 1 else cells}
            if columns != len(fields) and len(cells):
                raise MalformedError(f"an answer of the fields {', '.join(fields)} has {columns} columns", 0)
            return {f: np.ascontiguousarray(cells[:, i]) if len(cells) else np.empty(0) for i, f in enumerate(fields)}


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def parse(body: NDArray[np.uint8], kind: Any) -> NDArray[Any]:
    r"""Return the cells of all the lines, shape (n, m).

    Parameters
    ----------
    body : ndarray of uint8
        The lines; ``\n``, ``\r\n`` or ``\r`` ends one, blank lines are passed over where rows have several cells.
    kind : type
        ``numpy.float32`` or ``numpy.float64``.

    Raises
    ------
    MalformedError
        If a cell is no number, or the lines differ in their number of cells.
    """
    if (body == _RETURN).any():
        body = np.frombuffer(body.tobytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n"), np.uint8)
    if not len(body):
        return np.empty((0, 0), kind)
    if body[-1] != _NEWLINE:
        body = np.append(body, np.uint8(_NEWLINE))
    # With every comma made a newline there is one cell per line, which Arrow reads as one column.
    ends = np.flatnonzero((body == _COMMA) | (body == _NEWLINE))
    last = np.flatnonzero(body[ends] == _NEWLINE)
    cells = np.diff(last, prepend=-1)
    width = int(cells.max())
    if width > 1 and (cells == 1).any():
        blank = (cells == 1) & (np.diff(ends[last], prepend=-1) == 1)
        if blank.any():
            keep = np.ones(len(body), bool)
            keep[ends[last[blank]]] = False
            return parse(body[keep], kind)
    uneven = np.flatnonzero(cells != cells[0])
    if len(uneven):
        line = int(uneven[0])
        begin = 0 if line == 0 else int(ends[last[line - 1]]) + 1
        raise MalformedError(f"line {line + 1} has {int(cells[line])} cells, the lines before {int(cells[0])}", begin)
    flat = np.where(body == _COMMA, np.uint8(_NEWLINE), body)
    values = _column(flat, kind, ends, width)
    return values.reshape(-1, width)


def _column(flat: NDArray[np.uint8], kind: Any, ends: NDArray[np.int64], width: int) -> NDArray[Any]:
    try:
        table = pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(flat)),
            read_options=pacsv.ReadOptions(column_names=["cell"], use_threads=False, block_size=_BLOCK),
            parse_options=pacsv.ParseOptions(delimiter="\x01", ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types={"cell": pa.from_numpy_dtype(kind)}, null_values=list(MISSING), strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as problem:
        raise _bad_cell(flat, ends, width, str(problem)) from None
    values: NDArray[Any] = table.column(0).to_numpy()
    if len(values) != len(ends):
        raise MalformedError(f"{len(ends)} cells were read as {len(values)}: a quote is not closed")
    return values


def _bad_cell(flat: NDArray[np.uint8], ends: NDArray[np.int64], width: int, says: str) -> MalformedError:
    """Return the error for the cell that Arrow's message names: its rows are our cells."""
    found = re.search(r"Row #(\d+)", says)
    i = int(found[1]) - 1 if found else -1
    if not 0 <= i < len(ends):
        return MalformedError(f"a cell is no number: {says}")
    begin = int(ends[i - 1]) + 1 if i else 0
    cell = flat[begin : int(ends[i])].tobytes().decode(errors="replace")
    return MalformedError(f"line {i // width + 1}, column {i % width + 1}: {cell[:40]!r} is no number", begin)


CSV = Csv()
"""The codec without parameters."""
