"""A SavedModel behind the REST requests of TensorFlow Serving, which AWS's inference image for TensorFlow speaks.

Source: TensorFlow Serving's REST API (``:predict``), and ``input_handler``/``output_handler`` of AWS's
``sagemaker-tensorflow-serving-container``.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sagespark.local.scripts import formats
from sagespark.local.scripts.handler import Answer, response


class TensorFlowHandler:
    """A SavedModel.

    Parameters
    ----------
    module : module or None
        The user's ``inference.py``; its ``input_handler`` and ``output_handler`` come around the model.
    folder : Path
        The artifact: ``N/saved_model.pb``, the highest N is served.

    Raises
    ------
    ValueError
        If it has no SavedModel.
    """

    def __init__(self, module: Any, folder: Path) -> None:
        self._tf = importlib.import_module("tensorflow")
        found = sorted(folder.glob("**/saved_model.pb"), key=_version)
        if not found:
            there = ", ".join(sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())[:10])
            raise ValueError(
                "the artifact has no SavedModel: TensorFlow Serving takes NUMBER/saved_model.pb, as model.export("
                f"os.path.join(model_dir, '1')) writes it, but it has {there or 'no file'}"
            )
        self._loaded = self._tf.saved_model.load(str(found[-1].parent))
        name = os.environ.get("SAGEMAKER_TFS_DEFAULT_SIGNATURE", "serving_default")
        signatures = self._loaded.signatures
        if name not in signatures:
            raise ValueError(f"the SavedModel has no signature {name!r}; it has {', '.join(signatures) or 'none'}")
        self._signature = signatures[name]
        self._inputs = self._signature.structured_input_signature[1]
        self._input, self._output = getattr(module, "input_handler", None), getattr(module, "output_handler", None)

    def __call__(self, body: bytes, kind: str, accept: str) -> Answer:
        """Return the answer to a request."""
        kind = kind.partition(";")[0].strip().lower() or formats.JSON
        accept = accept.partition(",")[0].strip()
        context = SimpleNamespace(
            request_content_type=kind,
            accept_header=formats.JSON if accept in formats.ANY else accept,
            content_length=len(body),
            custom_attributes="",
            method="predict",
            model_name="model",
            model_version="1",
        )
        if self._input is not None:
            request = self._input(SimpleNamespace(read=lambda: body, getvalue=lambda: body), context)
        else:
            request = as_request(body, kind)
        answer = json.dumps(self._predict(json.loads(request))).encode()
        if self._output is None:
            return answer, formats.JSON
        data = SimpleNamespace(content=answer, status_code=200, text=answer.decode(), json=lambda: json.loads(answer))
        return response(self._output(data, context), formats.JSON)

    def _predict(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, Mapping) or not {"instances", "inputs"} & set(request):
            raise ValueError("Missing 'inputs' or 'instances' key")
        row = "instances" in request
        given = request["instances"] if row else request["inputs"]
        names = list(self._inputs)
        if row and given and isinstance(given[0], Mapping) and set(given[0]) <= set(names):
            values = {name: [instance[name] for instance in given] for name in given[0]}
        elif not row and isinstance(given, Mapping):
            values = dict(given)
        else:
            values = {names[0]: given}
        tensors = {name: self._tf.constant(value, dtype=self._inputs[name].dtype) for name, value in values.items()}
        outputs = {name: tensor.numpy().tolist() for name, tensor in self._signature(**tensors).items()}
        if not row:
            return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        rows = zip(*outputs.values(), strict=True)
        return {"predictions": [dict(zip(outputs, values, strict=True)) for values in rows]}


def as_request(body: bytes, kind: str) -> str:
    """Return a request of TensorFlow Serving's for a body of another content type, as AWS's image makes it."""
    text = body.decode("utf-8")
    if kind == formats.JSON:
        parsed = json.loads(text)
        return text if isinstance(parsed, dict) else json.dumps({"instances": parsed})
    if kind in ("application/jsonlines", "application/jsons"):
        return json.dumps({"instances": [json.loads(line) for line in text.splitlines() if line]})
    if kind == formats.CSV:
        return json.dumps({"instances": [[_cell(cell) for cell in line.split(",")] for line in text.splitlines()]})
    raise formats.FormatError(kind, "input_handler")


def _cell(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _version(path: Path) -> tuple[int, str]:
    name = path.parent.name
    return (int(name) if name.isdigit() else 0, str(path))
