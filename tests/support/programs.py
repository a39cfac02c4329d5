"""Training programs of built-in algorithms under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Csr, Matrix
from sagespark.codecs.registry import codec

RECORDIO = "application/x-recordio-protobuf"
SEED = 11


class Program:
    """A training program with a folder that stands for ``/opt/ml``."""

    def __init__(self, train: Callable[[], None], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.train = train
        self.folder = folder
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.setenv(name, "1")
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(folder))
        monkeypatch.setenv("SAGESPARK_SEED", str(SEED))
        monkeypatch.setenv("SAGESPARK_THREADS", "1")

    def run(
        self,
        hyperparameters: dict[str, Any],
        train: dict[str, bytes],
        test: bytes | None = None,
        *,
        content_type: str | None = RECORDIO,
        order: list[str] | None = None,
    ) -> list[NDArray[Any]] | dict[str, NDArray[Any]]:
        """Run a job and return the arrays of its model; numbers are float32 and positions int32."""
        channels = {"train": train} | ({} if test is None else {"test": {"part": test}})
        self.launch(hyperparameters, channels, content_type=content_type, order=order)
        assert [path.name for path in (self.folder / "model").iterdir()] == ["model_algo-1"]
        arrays = ndarray.load((self.folder / "model" / "model_algo-1").read_bytes())
        for array in arrays.values() if isinstance(arrays, dict) else arrays:
            assert array.dtype in (np.float32, np.int32)
        return arrays

    def launch(
        self,
        hyperparameters: dict[str, Any],
        channels: dict[str, dict[str, bytes]],
        *,
        content_type: str | None = RECORDIO,
        order: list[str] | None = None,
    ) -> None:
        """Run a job on these channels of files, and leave its model where it is."""
        config: dict[str, Any] = {}
        for name, files in channels.items():
            config[name] = {"TrainingInputMode": "File"} | ({"ContentType": content_type} if content_type else {})
            folder = self.folder / "input" / "data" / name
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        if order is not None:
            rows = [{"prefix": "s3://b/"}, *order]
            (self.folder / "input" / "data" / "train-manifest").write_text(json.dumps(rows))
        (self.folder / "input" / "config").mkdir(parents=True, exist_ok=True)
        strings = {key: str(value) for key, value in hyperparameters.items()}
        (self.folder / "input" / "config" / "hyperparameters.json").write_text(json.dumps(strings))
        (self.folder / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(config))
        self.train()

    def run_channels(self, hyperparameters: dict[str, Any], content_type: str = RECORDIO, **channels: bytes) -> bytes:
        """Run a job with one file per channel and return its ``model_algo-1``."""
        config = {}
        for name, body in channels.items():
            folder = self.folder / "input" / "data" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "part").write_bytes(body)
            config[name] = {"TrainingInputMode": "File", "ContentType": content_type}
        (self.folder / "input" / "config").mkdir(parents=True, exist_ok=True)
        strings = {key: str(value) for key, value in hyperparameters.items()}
        (self.folder / "input" / "config" / "hyperparameters.json").write_text(json.dumps(strings))
        (self.folder / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(config))
        self.train()
        assert [path.name for path in (self.folder / "model").iterdir()] == ["model_algo-1"]
        return (self.folder / "model" / "model_algo-1").read_bytes()


def encode(rows: Matrix) -> bytes:
    """Return rows as RecordIO-protobuf."""
    return bytes(codec(RECORDIO).encode(rows))


def as_csr(dense: NDArray[np.float32]) -> Csr:
    """Return dense rows as sparse ones."""
    matrix = sparse.csr_matrix(dense)
    return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, dense.shape[1])


def metrics(spec: AlgorithmSpec, text: str) -> dict[str, float]:
    """Return the last value of each metric in a log."""
    found = {}
    for metric in spec.metrics:
        if matches := re.findall(metric.regex, text):
            found[metric.name] = float(matches[-1])
    return found
