"""TensorFlow, MXNet and PyTorch for real: each trains and serves a small model in an environment of its own.

The environments are built once and kept in the user's cache. One that cannot be built fails its test: the job's
FailureReason, and so the error here, has pip's reason.
"""

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
from sagespark.ml.frameworks import MXNet, PyTorch, TensorFlow

# An environment is downloaded and built the first time.
pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.timeout(1500)]

READ = """
import os, pathlib
import numpy as np

def rows():
    files = [path for path in sorted(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).rglob("*")) if path.is_file()]
    found = np.concatenate([np.loadtxt(f, delimiter=",", ndmin=2) for f in files]).astype("float32")
    return found[:, 1:], found[:, :1]
"""
TENSORFLOW = """
import os
import numpy as np
import tensorflow as tf
from read import rows

x, y = rows()
tf.keras.utils.set_random_seed(0)
model = tf.keras.Sequential([tf.keras.Input((x.shape[1],)), tf.keras.layers.Dense(1)])
model.compile(tf.keras.optimizers.Adam(0.1), "mse")
model.fit(x, y, epochs=int(os.environ["SM_HP_EPOCHS"]), batch_size=32, verbose=0)
print(f"tensorflow={tf.__version__} loss={model.evaluate(x, y, verbose=0)}")
model.export(os.path.join(os.environ["SM_MODEL_DIR"], "1"))
"""
MXNET = """
import os
import mxnet as mx
from mxnet import autograd, gluon

def network():
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(1))
    return net

def model_fn(model_dir):
    net = network()
    net.load_parameters(os.path.join(model_dir, "net.params"))
    return net

if __name__ == "__main__":
    from read import rows
    x, y = map(mx.nd.array, rows())
    mx.random.seed(0)
    net = network()
    net.initialize(mx.init.Xavier())
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.1})
    for _ in range(int(os.environ["SM_HP_EPOCHS"])):
        with autograd.record():
            loss = gluon.loss.L2Loss()(net(x), y)
        loss.backward()
        trainer.step(len(x))
    print(f"mxnet={mx.__version__} loss={loss.mean().asscalar()}")
    net.save_parameters(os.path.join(os.environ["SM_MODEL_DIR"], "net.params"))
"""
TORCH = """
import os
import torch
import torch.distributed as dist
from read import rows

if __name__ == "__main__":
    distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if distributed:
        dist.init_process_group("gloo")
    x, y = map(torch.from_numpy, rows())
    torch.manual_seed(0)
    model = torch.nn.Linear(x.shape[1], 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(int(os.environ["SM_HP_EPOCHS"])):
        optimizer.zero_grad()
        # Each host sums over its own rows; together that is the gradient over all.
        torch.nn.functional.mse_loss(model(x), y, reduction="sum").backward()
        count = torch.tensor(float(len(x)))
        if distributed:
            dist.all_reduce(count)
        for parameter in model.parameters():
            if distributed:
                dist.all_reduce(parameter.grad)
            parameter.grad /= count
        optimizer.step()
    print(f"torch={torch.__version__} hosts={os.environ['SM_HOSTS']} rows={len(x)} of {int(count)}")
    if os.environ["SM_CURRENT_HOST"] == "algo-1":
        torch.jit.script(model).save(os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
"""


@pytest.fixture(scope="module")
def session() -> Iterator[SageMakerSession]:
    with LocalSageMaker() as session:
        yield session


@pytest.fixture(scope="module")
def df(spark: SparkSession) -> DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ [1.0, -2.0, 0.5] + 3
    data = [(Vectors.dense(row.tolist()), float(label)) for row, label in zip(x, y, strict=True)]
    return spark.createDataFrame(data, ["features", "label"]).repartition(4).cache()


def write(folder: Path, text: str) -> str:
    (folder / "train.py").write_text(textwrap.dedent(text))
    (folder / "read.py").write_text(READ)
    return str(folder)


def check(estimator: Any, df: DataFrame) -> Any:
    """Train, serve, compare with the line that the rows lie on; return the log's text."""
    with estimator.setLabelCol("label").fit(df) as model:
        found = model.transform(df).select("prediction", "label").collect()
        events = model.getSagemakerSession().client("logs")
        group = "/aws/sagemaker/TrainingJobs"
        streams = events.describe_log_streams(logGroupName=group, logStreamNamePrefix=model.trainingJobName)
        lines = [
            event["message"]
            for stream in streams["logStreams"]
            for event in events.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        ]
    np.testing.assert_allclose([row.prediction for row in found], [row.label for row in found], atol=0.05)
    return "\n".join(lines)


def test_tensorflow(session: SageMakerSession, df: DataFrame, tmp_path: Path) -> None:
    source = write(tmp_path, TENSORFLOW)
    estimator = TensorFlow(
        entryPoint="train.py", sourceDir=source, frameworkVersion="2.19", hyperparameters={"epochs": 40}
    )
    assert "tensorflow=2.19" in check(estimator, df)


def test_mxnet(session: SageMakerSession, df: DataFrame, tmp_path: Path) -> None:
    source = write(tmp_path, MXNET)
    estimator = MXNet(entryPoint="train.py", sourceDir=source, frameworkVersion="1.9", hyperparameters={"epochs": 300})
    log = check(estimator, df)
    assert "mxnet=1.9.1" in log
    assert "MXNet 1.9.1, the last release, stands for 1.9.0" in log


def test_pytorch_on_two_hosts(session: SageMakerSession, df: DataFrame, tmp_path: Path) -> None:
    source = write(tmp_path, TORCH)
    log = check(
        PyTorch(
            entryPoint="train.py",
            sourceDir=source,
            frameworkVersion="2.6",
            instanceCount=2,
            distribution="ShardedByS3Key",
            hyperparameters={"epochs": 300, "sagemaker_torch_distributed_enabled": True},
        ),
        df,
    )
    assert log.count('hosts=["algo-1", "algo-2"]') == 2
    assert log.count("of 400") == 2
    assert "rows=400 " not in log
