"""What each framework's image does where a script has no function of its own.

Sources: AWS's ``sagemaker-{scikit-learn,xgboost,pytorch-inference,mxnet-inference,huggingface-inference}`` containers
and toolkits, ``default_model_fn`` and so on.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
from pathlib import Path
from typing import Any

from sagespark.local.scripts import formats


class Defaults:
    """Default functions of a framework; those here are scikit-learn's."""

    def model_fn(self, folder: str) -> Any:
        """Load the model."""
        raise NotImplementedError(
            "Please provide a model_fn implementation: model_fn(model_dir) returns the model that the artifact holds"
        )

    def input_fn(self, body: Any, kind: str) -> Any:
        """Return what ``predict_fn`` takes."""
        array = formats.decode(body, kind)
        return array.astype("float32") if kind in formats.TEXT and array.dtype.kind in "fiub" else array

    def predict_fn(self, data: Any, model: Any) -> Any:
        """Return predictions."""
        return model.predict(data)

    def output_fn(self, prediction: Any, accept: str) -> Any:
        """Return the response's body."""
        return formats.encode(prediction, accept)


class XGBoostDefaults(Defaults):
    """Of XGBoost: a Booster and a DMatrix."""

    def model_fn(self, folder: str) -> Any:
        """Load the one file of the artifact that XGBoost wrote."""
        xgboost = importlib.import_module("xgboost")
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        named = [path for path in files if path.stem in ("xgboost-model", "model")] or files
        if len(named) != 1:
            return super().model_fn(folder)
        booster = xgboost.Booster()
        booster.load_model(str(named[0]))
        return booster

    def input_fn(self, body: Any, kind: str) -> Any:
        """Return a DMatrix."""
        xgboost = importlib.import_module("xgboost")
        if kind in ("text/libsvm", "text/x-libsvm", "application/x-recordio-protobuf"):
            return xgboost.DMatrix(_sparse(body, kind))
        array = formats.decode(body, kind)
        return xgboost.DMatrix(array.reshape(1, -1) if array.ndim == 1 else array)

    def predict_fn(self, data: Any, model: Any) -> Any:
        """Return predictions; a model of XGBoost's scikit-learn interface is asked for its Booster."""
        booster = model.get_booster() if hasattr(model, "get_booster") else model
        return booster.predict(data, validate_features=False)


def _sparse(body: bytes, kind: str) -> Any:
    """Return the rows of LibSVM or RecordIO-protobuf as a CSR matrix.

    An environment of another version of XGBoost has no codecs for them; a script's own input_fn has to do it there.
    """
    try:
        codec = importlib.import_module("sagespark.codecs.registry").codec
        to_csr = importlib.import_module("sagespark.local.containers.xgboost_data").to_csr
    except ImportError as error:
        raise formats.FormatError(kind, "input_fn") from error
    features = codec(kind).decode(body).features
    return to_csr(features, features.shape[1])


class PyTorchDefaults(Defaults):
    """Of PyTorch: tensors and a TorchScript model."""

    def model_fn(self, folder: str) -> Any:
        """Load the one ``.pt`` or ``.pth`` of the artifact, if it is TorchScript."""
        torch = importlib.import_module("torch")
        files = [path for path in sorted(Path(folder).iterdir()) if path.suffix in (".pt", ".pth")]
        if len(files) != 1:
            return super().model_fn(folder)
        try:
            return torch.jit.load(str(files[0]), map_location="cpu")
        except RuntimeError as error:
            raise NotImplementedError(
                f"{files[0].name} is no TorchScript model, and nothing says which class it is of: please provide a "
                "model_fn implementation"
            ) from error

    def input_fn(self, body: Any, kind: str) -> Any:
        """Return a tensor."""
        torch = importlib.import_module("torch")
        array = formats.decode(body, kind)
        return torch.tensor(array.astype("float32") if array.dtype.kind == "f" else array)

    def predict_fn(self, data: Any, model: Any) -> Any:
        """Return the model's answer, without gradients."""
        torch = importlib.import_module("torch")
        if hasattr(model, "eval"):
            model.eval()
        with torch.no_grad():
            return model(data)

    def output_fn(self, prediction: Any, accept: str) -> Any:
        """Return the response's body."""
        if hasattr(prediction, "detach"):
            prediction = prediction.detach().cpu().numpy()
        return formats.encode(prediction, accept)


class MXNetDefaults(Defaults):
    """Of MXNet: a Module from symbol and parameters, or a Gluon block."""

    def model_fn(self, folder: str) -> Any:
        """Load ``model-symbol.json`` and ``model-0000.params`` as a Gluon block."""
        mxnet = importlib.import_module("mxnet")
        symbol, shapes = Path(folder) / "model-symbol.json", Path(folder) / "model-shapes.json"
        if not symbol.exists():
            return super().model_fn(folder)
        names = ["data"]
        if shapes.exists():
            names = [entry["name"] for entry in json.loads(shapes.read_text())]
        parameters = sorted(Path(folder).glob("model-*.params"))[-1]
        return mxnet.gluon.nn.SymbolBlock.imports(str(symbol), names, str(parameters))

    def input_fn(self, body: Any, kind: str) -> Any:
        """Return an NDArray."""
        mxnet = importlib.import_module("mxnet")
        return mxnet.nd.array(formats.decode(body, kind))

    def predict_fn(self, data: Any, model: Any) -> Any:
        """Return the model's answer."""
        if hasattr(model, "forward") and hasattr(model, "get_outputs"):
            mxnet = importlib.import_module("mxnet")
            model.forward(mxnet.io.DataBatch([data]), is_train=False)
            return model.get_outputs()[0]
        return model(data)

    def output_fn(self, prediction: Any, accept: str) -> Any:
        """Return the response's body."""
        if hasattr(prediction, "asnumpy"):
            prediction = prediction.asnumpy()
        return formats.encode(prediction, accept)


class HuggingFaceDefaults(Defaults):
    """Of Hugging Face's transformers: a pipeline and its JSON."""

    def model_fn(self, folder: str) -> Any:
        """Load a pipeline from the artifact; its task is ``HF_TASK``, else told by the model's architecture."""
        transformers = importlib.import_module("transformers")
        task = os.environ.get("HF_TASK") or _task(Path(folder))
        return transformers.pipeline(task, model=folder, tokenizer=folder, device=-1)

    def input_fn(self, body: Any, kind: str) -> Any:
        """Return the request as JSON has it; lines of CSV are inputs."""
        if kind == formats.JSON:
            return json.loads(body)
        if kind == formats.CSV:
            return {"inputs": [line for line in body.splitlines()[1:] if line]}
        raise formats.FormatError(kind, "input_fn")

    def predict_fn(self, data: Any, model: Any) -> Any:
        """Return the pipeline's answer."""
        inputs = data.pop("inputs", data) if isinstance(data, dict) else data
        parameters = data.pop("parameters", None) if isinstance(data, dict) else None
        return model(inputs, **(parameters or {}))


_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
}


def _task(folder: Path) -> str:
    architectures: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        architectures = json.loads((folder / "config.json").read_text()).get("architectures", [])
    for architecture in architectures:
        for ending, task in _TASKS.items():
            if architecture.endswith(ending):
                return task
    raise NotImplementedError(
        f"the task of the model cannot be told from its architecture {architectures}: set HF_TASK in the model's "
        "environment, or provide a model_fn implementation"
    )


DEFAULTS: dict[str, type[Defaults]] = {
    "xgboost": XGBoostDefaults,
    "pytorch": PyTorchDefaults,
    "mxnet": MXNetDefaults,
    "huggingface": HuggingFaceDefaults,
}
"""Default functions by framework; scikit-learn's for others."""
