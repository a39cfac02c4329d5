"""A script's functions put together: ``model_fn``, ``input_fn``, ``predict_fn``, ``output_fn`` or ``transform_fn``."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagespark.local.scripts import formats
from sagespark.local.scripts.defaults import DEFAULTS, Defaults

Answer = tuple[str | bytes, str]
"""Body and content type."""


class Handler:
    """One model behind a script's functions, each of which has a default.

    Parameters
    ----------
    module : module or None
        The user's.
    defaults : Defaults
        The framework's.
    folder : Path
        The model's files.
    """

    def __init__(self, module: Any, defaults: Defaults, folder: Path) -> None:
        def function(name: str) -> Callable[..., Any]:
            own = getattr(module, name, None)
            return own if own is not None else getattr(defaults, name)  # type: ignore[no-any-return]  # a user's own

        self._transform = getattr(module, "transform_fn", None)
        parts = [name for name in ("input_fn", "predict_fn", "output_fn") if getattr(module, name, None) is not None]
        if self._transform is not None and parts:
            raise ValueError(
                "Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn "
                f"implementation, but the script has {', '.join(parts)}"
            )
        self._input, self._predict, self._output = map(function, ("input_fn", "predict_fn", "output_fn"))
        self._default = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", formats.JSON)
        self._model = _call(function("model_fn"), str(folder))

    def __call__(self, body: bytes, kind: str, accept: str) -> Answer:
        """Return the answer to a request."""
        kind = kind.partition(";")[0].strip().lower() or formats.JSON
        accept = accept.partition(",")[0].partition(";")[0].strip().lower()
        if accept in formats.ANY:
            accept = self._default
        data: str | bytes = body.decode("utf-8") if kind in formats.TEXT else body
        if self._transform is not None:
            answer = _call(self._transform, self._model, data, kind, accept)
        else:
            answer = _call(self._output, _call(self._predict, _call(self._input, data, kind), self._model), accept)
        return response(answer, accept)


def response(answer: Any, accept: str) -> Answer:
    """Return body and content type of what an ``output_fn`` or ``transform_fn`` gave: a body, a pair, or a response."""
    if isinstance(answer, tuple) and len(answer) == 2:
        body, accept = answer
    elif hasattr(answer, "mimetype"):
        # AWS's older containers let scripts return a response of Flask's.
        body = answer.response if hasattr(answer, "response") else answer.get_data()
        accept = str(answer.mimetype)
        body = b"".join(p if isinstance(p, bytes) else p.encode() for p in body) if isinstance(body, list) else body
    else:
        body = answer
    if not isinstance(body, str | bytes):
        kind = type(body).__name__
        raise TypeError(f"output_fn must return a string, bytes, or a pair of one and its content type, but got {kind}")
    return body, accept


def _call(function: Callable[..., Any], *values: Any) -> Any:
    """Call a function with as many values as it takes; AWS's images offer a context as one more."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return function(*values)
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # The context tells the model's folder and the request's properties where there are GPUs; here it is empty.
    return function(*values, *([None] if len(needed) == len(values) + 1 else []))


def load(code: Path | None, program: str | None, framework: str, folder: Path) -> Handler:
    """Return the handler of a model.

    Parameters
    ----------
    code : Path or None
        Folder of the script's files.
    program : str or None
        The script's name.
    framework : str
        Tells the defaults.
    folder : Path
        The model's files.
    """
    module = None
    if code is not None and program is not None:
        module = module_of(code, program)
    return Handler(module, DEFAULTS.get(framework, Defaults)(), folder)


def module_of(code: Path, program: str) -> Any:
    """Import a script, whose folder becomes the first place of imports."""
    sys.path.insert(0, str(code))
    spec = importlib.util.spec_from_file_location(Path(program).stem, code / program)
    if spec is None or spec.loader is None:
        raise ImportError(f"{program} is no Python module")
    module = importlib.util.module_from_spec(spec)
    # What the script pickled as its own module's is found again by that name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
