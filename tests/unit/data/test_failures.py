"""Errors of executors, as Spark hands them to the driver."""

from __future__ import annotations

import traceback

import pytest

from sagespark.core.errors import DataError, InvocationError, SageSparkError
from sagespark.data.failures import unwrapped

FORMS = {
    "3.5": "\n  An exception was thrown from the Python worker. Please see the stack trace below.\n{text}\n",
    "4": "An exception was thrown from the Python worker:\n{text}\n",
    "job": (
        "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent failure: Lost task 0.3\n"
        "org.apache.spark.api.python.PythonException: {text}\n SQLSTATE: 38000\n\tat org.apache.spark.X.y(Z.scala)\n"
    ),
}


def text_of(error: Exception, cause: Exception | None = None) -> str:
    try:
        raise error from cause
    except Exception:
        return traceback.format_exc()


@pytest.mark.parametrize("form", list(FORMS))
def test_our_own_error_comes_out_of_what_spark_raises(form: str) -> None:
    text = text_of(InvocationError("endpoint 'x' failed\nWay out: wait."), ValueError("the cause"))
    found = unwrapped(RuntimeError(FORMS[form].format(text=text)))
    assert type(found) is InvocationError
    assert str(found).splitlines()[:2] == ["endpoint 'x' failed", "Way out: wait."]
    assert "at org.apache" not in str(found)


def test_of_several_the_last_one_counts() -> None:
    text = text_of(DataError("second"), InvocationError("first"))
    assert str(unwrapped(RuntimeError(text))) == "second"


def test_another_error_is_left_as_it_is() -> None:
    for error in (RuntimeError("boom"), ValueError("sagespark.core.errors.Nothing: x"), KeyError("DataError: x")):
        assert unwrapped(error) is error


def test_executors_without_the_package_are_told_in_one_line() -> None:
    text = FORMS["4"].format(
        text="Traceback (most recent call last):\nModuleNotFoundError: No module named 'sagespark'"
    )
    found = unwrapped(RuntimeError(text))
    assert type(found) is SageSparkError
    assert "has no package 'sagespark'" in str(found)
    own = RuntimeError("ModuleNotFoundError: No module named 'mine'")
    assert unwrapped(own) is own
