"""Scripts of one's own, and programs in other languages, train and serve from Spark."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession

from sagespark import LocalSageMaker, SageMakerSession
from sagespark.core.errors import JobFailedError
from sagespark.local.containers.own_images import FILE_NAME, OwnImages
from sagespark.ml import SageMakerEstimator
from sagespark.ml.frameworks import SKLearn, SKLearnModel, XGBoost

pytestmark = pytest.mark.spark

SKLEARN = """
    import argparse, json, os, pathlib, pickle
    import numpy as np
    from sklearn.linear_model import Ridge
    from helper import scale

    def model_fn(model_dir):
        with open(os.path.join(model_dir, "model.pkl"), "rb") as file:
            return pickle.load(file)

    def predict_fn(data, model):
        return scale(model.predict(data))

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        parser.add_argument("--alpha", type=float)
        parser.add_argument("--fit_intercept", type=lambda text: text == "True")
        arguments, _ = parser.parse_known_args()
        assert json.loads(os.environ["SM_HPS"])["names"] == ["a", "b"]
        # As most scripts do: every name in the channel's folder is a file.
        folder = os.environ["SM_CHANNEL_TRAIN"]
        names = sorted(os.listdir(folder))
        rows = np.concatenate([np.loadtxt(os.path.join(folder, name), delimiter=",", ndmin=2) for name in names])
        print(f"rows={len(rows)};")
        if arguments.alpha < 0:
            raise ValueError(f"alpha must not be negative, but is {arguments.alpha}")
        model = Ridge(alpha=arguments.alpha, fit_intercept=arguments.fit_intercept).fit(rows[:, 1:], rows[:, 0])
        with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pkl"), "wb") as file:
            pickle.dump(model, file)
"""
XGBOOST = """
    import os, pathlib
    import numpy as np
    import xgboost

    if __name__ == "__main__":
        files = [path for path in sorted(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).rglob("*")) if path.is_file()]
        rows = np.concatenate([np.loadtxt(f, delimiter=",", ndmin=2) for f in files])
        parameters = {"max_depth": int(os.environ["SM_HP_MAX_DEPTH"])}
        booster = xgboost.train(parameters, xgboost.DMatrix(rows[:, 1:], rows[:, 0]), 5)
        booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "xgboost-model.json"))
"""
AWK_TRAIN = """\
#!/bin/sh
# The mean of the labels, by awk.
cd /opt/ml
find input/data/train -type f -exec cat {} + | awk -F, '{ sum += $1 } END { print sum / NR }' > model/mean
"""
PYTHON_SERVE = """\
#!/usr/bin/env python3
import http.server, os, urllib.request
with open("/opt/ml/model/mean") as file:
    mean = float(file.read())
# The service answers inside the container's own network.
with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/_sagespark/health") as answer:
    reached = answer.status
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        rows = self.rfile.read(int(self.headers["content-length"])).splitlines()
        self.answer(b"".join(b"%r\\n" % (mean + reached) for _ in rows))
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/csv")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_py", ".py")).write_text(textwrap.dedent(text))
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SageMakerSession, Path]]:
    data = tmp_path_factory.mktemp("service")
    with LocalSageMaker(data=data) as session:
        yield session, data


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    return x, (x @ [1.0, -2.0, 0.5] + 3).astype(np.float32)


@pytest.fixture(scope="module")
def df(spark: SparkSession, rows: tuple[Any, Any]) -> DataFrame:
    data = [(Vectors.dense(x.tolist()), float(y)) for x, y in zip(*rows, strict=True)]
    return spark.createDataFrame(data, ["features", "label"]).repartition(3).cache()


def predictions(frame: DataFrame) -> tuple[Any, Any]:
    found = frame.select("features", "prediction").collect()
    return np.array([row.features.toArray() for row in found]), np.array([row.prediction for row in found])


@pytest.fixture(scope="module")
def sklearn_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    helper = "def scale(values):\n    return values * 2\n"
    return write(tmp_path_factory.mktemp("sklearn"), train_py=SKLEARN, helper_py=helper)


def sklearn(folder: Path, **params: Any) -> SKLearn:
    values = {"fit_intercept": True, "names": ["a", "b"], "alpha": 1e-6}
    return SKLearn(
        entryPoint="train.py",
        sourceDir=str(folder),
        hyperparameters=values | params.pop("hyperparameters", {}),
        labelCol="label",
        **params,
    )


def test_a_script_of_scikit_learn(local: Any, df: DataFrame, rows: Any, sklearn_script: Path, tmp_path: Path) -> None:
    metric = [{"Name": "rows", "Regex": r"rows=(\d+);"}]
    with sklearn(sklearn_script, metricDefinitions=metric).fit(df) as model:
        x, found = predictions(model.transform(df))
        np.testing.assert_allclose(found, 2 * (x @ [1.0, -2.0, 0.5] + 3), atol=1e-3)
        assert isinstance(model, SKLearnModel)
        kinds = [resource.kind for resource in model.createdResources]
        assert {"TrainingJob", "S3Object", "Model", "EndpointConfig", "Endpoint"} <= set(kinds)
        # Saved, loaded, and from the job alone: the same script serves.
        model.write().overwrite().save(str(tmp_path / "model"))
        assert predictions(SKLearnModel.load(str(tmp_path / "model")).transform(df.limit(5)))[1].shape == (5,)
        name = model.trainingJobName
    with SKLearnModel.fromTrainingJob(name) as again:
        again.setPredictionCol("prediction")
        x, found = predictions(again.transform(df))
        np.testing.assert_allclose(found, 2 * (x @ [1.0, -2.0, 0.5] + 3), atol=1e-3)


def test_a_script_that_raises_fails_the_job_with_its_exception(local: Any, df: DataFrame, sklearn_script: Path) -> None:
    with pytest.raises(JobFailedError) as caught:
        sklearn(sklearn_script, hyperparameters={"alpha": -1.0}, endpointPolicy="never").fit(df)
    reason = caught.value.failureReason
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage ")
    assert "ValueError: alpha must not be negative, but is -1.0" in reason
    assert "train.py --alpha -1.0 --fit_intercept True" in reason


def test_a_script_of_xgboost_needs_no_functions(local: Any, df: DataFrame, rows: Any, tmp_path: Path) -> None:
    import xgboost

    script = write(tmp_path, train_py=XGBOOST) / "train.py"
    estimator = XGBoost(entryPoint=str(script), hyperparameters={"max_depth": 3}, labelCol="label")
    with estimator.fit(df) as model:
        x, found = predictions(model.transform(df))
    booster = xgboost.train({"max_depth": 3}, xgboost.DMatrix(*rows), 5)
    np.testing.assert_allclose(found, booster.predict(xgboost.DMatrix(x)), atol=1e-4)


def test_programs_in_any_language(local: Any, df: DataFrame, rows: Any, tmp_path: Path) -> None:
    session, data = local
    for name, text in (("train", AWK_TRAIN), ("serve", PYTHON_SERVE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    OwnImages(data / FILE_NAME).add("mean", folder=tmp_path)
    uri = f"{session.account}.dkr.ecr.{session.region}.amazonaws.com/mean:latest"
    with SageMakerEstimator(imageUri=uri, labelCol="label").fit(df) as model:
        found = predictions(model.transform(df))[1]
    # 200 is the status that the program got from the service.
    np.testing.assert_allclose(found, rows[1].mean() + 200, rtol=1e-4)
