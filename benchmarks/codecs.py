"""RecordIO codec: rate of the payload beside numpy.copyto, and rows per second of sparse rows. One thread.

Run it as ``python benchmarks/codecs.py``. Each figure is the median of paired runs: the codec and the copy take turns,
so that what else the machine does weighs on both. Buffers of both are touched before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from sagespark.codecs import recordio
from sagespark.codecs.csv import CSV
from sagespark.codecs.json import JSON, JSON_LINES
from sagespark.codecs.matrix import Csr, Matrix, Mixed

GOAL_RATIO = 1 / 3
"""Least share of numpy.copyto's rate for dense rows."""
GOAL_ROWS = 700_000
"""Least sparse rows per second."""


def seconds(call: Callable[[], object]) -> float:
    begin = time.thread_time()
    call()
    return time.thread_time() - begin


def dense(rows: int, width: int, runs: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, width), dtype=np.float32)
    labels = rng.random(rows, dtype=np.float32)
    body = recordio.encode(features, labels)
    decoded = recordio.decode(body)
    assert decoded.labels is not None
    assert np.array_equal(decoded.features, features)
    assert np.array_equal(decoded.labels, labels)
    copy = np.empty_like(features)
    copy[:] = 0
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: recordio.encode(features, labels, out=body),
        "decode": lambda: recordio.decode(body, out=decoded),
        "encode, new memory": lambda: recordio.encode(features, labels),
        "decode, new memory": lambda: recordio.decode(body),
    }
    payload = features.nbytes + labels.nbytes
    for name, call in calls.items():
        call()
        pairs = [
            (seconds(lambda: np.copyto(copy, features)) / features.nbytes, seconds(call) / payload) for _ in range(runs)
        ]
        ratio = statistics.median(a / b for a, b in pairs)
        rate = 1e-9 / statistics.median(b for _, b in pairs)
        goal = "" if "new" in name else "  goal 0.33 " + ("met" if ratio >= GOAL_RATIO else "MISSED")
        print(f"{rows:>9,} x {width:<6,} {name:<20} {rate:6.2f} GB/s  {ratio:5.2f} of copyto{goal}")


def sparse_rows(rows: int, width: int, least: int, most: int) -> Csr:
    """Return rows whose entries are at random places, ``least`` to ``most`` of them."""
    rng = np.random.default_rng(1)
    counts = rng.integers(least, most + 1, rows)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    row = np.repeat(np.arange(rows), counts)
    places = rng.integers(0, width - most, indptr[-1])
    places = places[np.lexsort((places, row))] + np.arange(indptr[-1]) - indptr[row]
    return Csr(indptr, places, rng.standard_normal(indptr[-1]).astype(np.float32), width)


def by_rows(name: str, features: Matrix, runs: int, goal: bool) -> None:
    rows = features.shape[0]
    labels = np.random.default_rng(2).random(rows, dtype=np.float32)
    body = recordio.encode(features, labels)
    decoded = recordio.decode(body)
    assert decoded.labels is not None
    assert np.array_equal(decoded.labels, labels)
    for what, call in (
        ("encode", lambda: recordio.encode(features, labels, out=body)),
        ("decode", lambda: recordio.decode(body, out=decoded)),
    ):
        call()
        rate = rows / statistics.median(seconds(call) for _ in range(runs))
        verdict = ("  goal 700,000 " + ("met" if rate >= GOAL_ROWS else "MISSED")) if goal else ""
        print(f"{name:<32} {what:<8} {rate:>12,.0f} rows/s  {rate * len(body) / rows * 1e-6:7.0f} MB/s{verdict}")


def text(runs: int) -> None:
    features = np.random.default_rng(3).standard_normal((20_000, 50), dtype=np.float32)
    for one in (CSV, JSON, JSON_LINES):
        body = one.encode(features)
        for what, call in (("encode", lambda: one.encode(features)), ("decode", lambda: one.decode(body))):  # noqa: B023
            call()
            rate = len(features) / statistics.median(seconds(call) for _ in range(runs))
            print(f"{one.content_type:<32} {what:<8} {rate:>12,.0f} rows/s of 50 features")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="paired runs of each figure")
    runs = parser.parse_args().runs
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"one thread, medians of {runs} paired runs")
    dense(1_000_000, 50, runs)
    dense(100_000, 784, runs)
    uniform = sparse_rows(200_000, 10_000, 50, 50)
    by_rows("200,000 x 10,000, 50 each", uniform, runs, goal=True)
    by_rows("200,000 x 10,000, 0 to 100", sparse_rows(200_000, 10_000, 0, 100), runs, goal=False)
    kinds = np.arange(100_000) % 2 == 0
    rng = np.random.default_rng(4)
    mixed = Mixed(kinds, rng.standard_normal((50_000, 500), dtype=np.float32), sparse_rows(50_000, 500, 20, 60))
    by_rows("100,000 x 500, dense and sparse", mixed, runs, goal=False)
    text(max(3, runs // 3))


if __name__ == "__main__":
    main()
