"""The serving shell of the built-in algorithms, called as an ASGI application."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sagespark.codecs.matrix import Matrix
from sagespark.codecs.registry import codec
from sagespark.core.errors import ValidationError
from sagespark.local.containers.serving import MAX_PAYLOAD, ServingApp
from support.asgi import ask

RECORDIO, JSON, CSV = "application/x-recordio-protobuf", "application/json", "text/csv"


def sums(rows: Matrix) -> Mapping[str, NDArray[Any]]:
    assert isinstance(rows, np.ndarray)
    if (rows < 0).any():
        raise ValidationError("rows must not be negative")
    if (rows > 99).any():
        raise RuntimeError("a defect")
    return {"sum": rows.sum(axis=1)}


@pytest.fixture
def app() -> ServingApp:
    return ServingApp(sums, 2, threads=2)


def test_ping_and_execution_parameters(app: ServingApp) -> None:
    assert ask(app, "GET", "/ping")[0] == 200
    status, _, body = ask(app, "GET", "/execution-parameters")
    assert status == 200
    assert json.loads(body) == {"MaxConcurrentTransforms": 2, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/other", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)]
)
def test_what_is_not_served(app: ServingApp, method: str, path: str, status: int) -> None:
    assert ask(app, method, path)[0] == status


def test_a_body_in_pieces_small_and_large(app: ServingApp) -> None:
    rows = np.ones((30_000, 2), np.float32)
    for count in (10, 30_000):
        body = bytes(codec(RECORDIO).encode(rows[:count]))
        third = len(body) // 3
        status, kind, answer = ask(
            app, "POST", "/invocations", body[:third], body[third:], content_type=RECORDIO, accept=RECORDIO
        )
        assert (status, kind) == (200, RECORDIO)
        np.testing.assert_array_equal(codec(RECORDIO).decode_predictions(answer, ["sum"])["sum"], [2.0] * count)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("image/png, text/csv;q=0.9", CSV),
        ("Application/JSON; charset=utf-8", JSON),
    ],
)
def test_the_first_content_type_accepted_that_is_known(app: ServingApp, accept: str | None, kind: str) -> None:
    assert ask(app, "POST", "/invocations", b"1,2\n", content_type=CSV, accept=accept)[:2] == (200, kind)


def test_the_default_accept_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
    app = ServingApp(sums, 2, threads=1)
    assert ask(app, "POST", "/invocations", b"1,2\n", content_type=CSV) == (200, CSV, b"3.0\n")


def test_refusals(app: ServingApp) -> None:
    def status(body: bytes, content_type: str | None = CSV, accept: str | None = None) -> tuple[int, bytes]:
        code, _, text = ask(app, "POST", "/invocations", body, content_type=content_type, accept=accept)
        return code, text

    assert status(b"") == (204, b"")
    assert status(b"1,2\n", "text/libsvm")[0] == 415
    assert status(b"1,2\n", CSV, "image/png")[0] == 406
    assert status(b"1,2,3,4\n")[0] == 400
    assert status(b"-1,2\n") == (400, b"rows must not be negative")
    assert status(b"100,2\n") == (500, b"RuntimeError: a defect")
    assert status(b"{}", None)[0] == 400


def test_a_body_above_the_limit_declared_or_not(app: ServingApp) -> None:
    half = bytes(MAX_PAYLOAD // 2)
    assert ask(app, "POST", "/invocations", b"", content_type=CSV, declared=MAX_PAYLOAD + 1)[0] == 413
    assert ask(app, "POST", "/invocations", half, half, b"x", content_type=CSV)[0] == 413
