"""Rows to requests: cut and joined by the limits, in order, a bounded number in flight."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.aws.session import SageMakerSession
from sagespark.codecs import recordio
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.registry import codec
from sagespark.core.errors import InvocationError
from sagespark.data.frame import FrameLayout
from sagespark.data.joining import concatenate
from sagespark.data.requests import Fields, Invoker, InvokeSpec, integers, one_value

RECORDIO = "application/x-recordio-protobuf"
LAYOUT = FrameLayout("vector", ("features",))


def spec(**options: Any) -> InvokeSpec:
    kinds: dict[str, Any] = {"contentType": RECORDIO, "accept": RECORDIO} | options
    return InvokeSpec(SageMakerSession(), "some-endpoint", fields=("x",), layout=LAYOUT, **kinds)


def dense(matrix: Matrix) -> Any:
    if isinstance(matrix, Csr):
        return matrix.to_dense()
    if isinstance(matrix, Mixed):
        out = np.zeros(matrix.shape, np.float32)
        out[matrix.is_sparse], out[~matrix.is_sparse] = matrix.sparse.to_dense(), matrix.dense
        return out
    return matrix


@st.composite
def batches(draw: st.DrawFn) -> list[Matrix]:
    """Return batches of one width, dense, sparse and mixed; every row is told by its first value."""
    made: list[Matrix] = []
    number = 1
    for _ in range(draw(st.integers(0, 5))):
        n = draw(st.integers(0, 6))
        values = np.zeros((n, 3), np.float32)
        values[:, 0] = np.arange(number, number + n)
        number += n
        csr = Csr(np.arange(n + 1), np.zeros(n, np.int64), values[:, 0], 3)
        is_sparse = np.arange(n) % 2 == 0
        k = int(is_sparse.sum())
        half = Csr(np.arange(k + 1), np.zeros(k, np.int64), values[is_sparse, 0], 3)
        made.append(draw(st.sampled_from([values, csr, Mixed(is_sparse, values[~is_sparse], half)])))
    return made


@settings(max_examples=120, deadline=None)
@given(batches(), st.integers(1, 400), st.one_of(st.none(), st.integers(1, 9)))
def test_requests_hold_all_rows_in_order_and_as_many_as_fit(
    given_rows: list[Matrix], limit: int, most: int | None
) -> None:
    sent = list(Invoker(spec(maxPayloadBytes=limit, maxRecordsPerRequest=most)).requests(given_rows))
    expected = [row[0] for batch in given_rows for row in dense(batch)]
    assert [row[0] for rows in sent for row in dense(rows)] == expected
    sizes = [recordio.row_sizes(rows, False) for rows in sent]
    for rows, size in zip(sent, sizes, strict=True):
        assert rows.shape[0] >= 1
        assert len(codec(RECORDIO).encode(rows)) == size.sum()
        assert size.sum() <= limit or rows.shape[0] == 1
        assert most is None or rows.shape[0] <= most
    for size, after in itertools.pairwise(sizes):
        # No request could have taken the first row of the next one.
        assert size.sum() + after[0] > limit or len(size) == most


def test_batches_that_fit_are_joined_and_a_single_one_is_not_copied() -> None:
    one = np.ones((3, 2), np.float32)
    (sent,) = Invoker(spec()).requests([one])
    assert np.shares_memory(sent, one)
    (sent,) = Invoker(spec()).requests([one, one * 2])
    assert sent.tolist() == [[1, 1]] * 3 + [[2, 2]] * 3


@settings(max_examples=60, deadline=None)
@given(batches())
def test_joined_batches_hold_the_rows_of_their_parts(parts: list[Matrix]) -> None:
    if parts:
        made = concatenate(parts)
        assert np.array_equal(dense(made), np.concatenate([dense(part) for part in parts]))


class Counting(Invoker):
    """Answers with the rows' first value; counts how many are at work, and how many rows were read for them."""

    def __init__(self, made: InvokeSpec) -> None:
        super().__init__(made)
        self.read = self.flying = self.most = 0
        self.lock = threading.Lock()
        self.together = threading.Barrier(3, timeout=30)

    def answer(self, rows: Matrix) -> Fields:
        with self.lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        # Three at once, or the test fails by its time-out.
        self.together.wait()
        with self.lock:
            self.flying -= 1
        return {"x": dense(rows)[:, 0]}

    def source(self, count: int) -> Iterator[Matrix]:
        for i in range(count):
            self.read = i + 1
            yield np.full((1, 2), i, np.float32)


def test_answers_come_in_order_with_a_bounded_number_of_requests_ahead() -> None:
    invoker = Counting(spec(maxRecordsPerRequest=1, maxConcurrentRequests=3))
    for i, (count, fields) in enumerate(invoker.answers(invoker.source(30))):
        assert (count, fields["x"].tolist()) == (1, [i])
        # Those in flight, the one that waits for its turn, and the one that is being given out.
        assert invoker.read <= i + 5
    assert invoker.most == 3


def test_nothing_is_sent_for_no_rows() -> None:
    assert list(Invoker(spec()).answers([])) == []
    assert list(Invoker(spec()).answers([np.empty((0, 3), np.float32)])) == []


class Failing(Invoker):
    """Fails on the third request and counts those after it."""

    after = 0

    def answer(self, rows: Matrix) -> Fields:
        number = int(dense(rows)[0, 0])
        if number == 2:
            raise InvocationError("the third one")
        self.after += number > 2
        return {"x": dense(rows)[:, 0]}


def test_an_error_ends_the_sending() -> None:
    invoker = Failing(spec(maxRecordsPerRequest=1, maxConcurrentRequests=2))
    answers = invoker.answers([np.arange(100, dtype=np.float32)[:, None]])
    assert [next(answers)[1]["x"].tolist() for _ in range(2)] == [[0], [1]]
    with pytest.raises(InvocationError, match="the third one"):
        next(answers)
    assert invoker.after <= 2


def test_one_value_and_integers() -> None:
    assert one_value(np.ones((2, 1)), "x", "e").shape == (2,)
    assert integers(np.float32([3, 0]), "x", "e").tolist() == [3, 0]
    for values in (np.float32([0.5]), np.float32([np.nan]), np.float32([1e12])):
        with pytest.raises(InvocationError, match="which must be an integer"):
            integers(values, "x", "e")
    with pytest.raises(InvocationError, match="2 values of x per row"):
        one_value(np.ones((3, 2)), "x", "e")
