"""AWS's own SageMaker SDK, 2.x and 3.x, against the embedded service: a built-in algorithm, a script, attach.

Each gets nothing but ``AWS_ENDPOINT_URL``, credentials, role and bucket. Their environments, and that of
the newest scikit-learn that they know, are built once and kept.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from sagespark.core.clock import SystemClock
from sagespark.local.config import ServiceInfo
from sagespark.local.environments.build import Environments
from sagespark.local.environments.pins import Pin
from support.local_service import ServiceProcess

# An environment is downloaded and built the first time.
pytestmark = [pytest.mark.wire, pytest.mark.slow, pytest.mark.timeout(1500)]

SDK_2 = Pin("sagemaker-sdk", "2.257.7", ("sagemaker==2.257.7",), "sagemaker")
# pip looks for minutes for the s3fs that goes with the rest.
SDK_3 = Pin("sagemaker-sdk", "3.27.0", ("sagemaker==3.27.0", "s3fs==0.4.2"), "sagemaker.train")
SCRIPT = """
import argparse, os, pathlib, pickle
import numpy as np
from sklearn.linear_model import LinearRegression

def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.pkl"), "rb") as file:
        return pickle.load(file)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float)
    scale = parser.parse_args().scale
    rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "rows.csv"), delimiter=",")
    model = LinearRegression().fit(rows[:, 1:], scale * rows[:, 0])
    print(f"score={model.score(rows[:, 1:], scale * rows[:, 0])};")
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pkl"), "wb") as file:
        pickle.dump(model, file)
"""
CONFIG = """
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""
CLIENT_2 = """
import json, os
import boto3, numpy as np
from sagemaker import KMeans, Session
from sagemaker.sklearn import SKLearn

role, bucket = os.environ["SAGESPARK_ROLE"], os.environ["SAGESPARK_BUCKET"]
session = Session(boto3.Session(region_name="us-east-1"), default_bucket=bucket)
common = {"role": role, "instance_count": 1, "instance_type": "ml.m5.large", "sagemaker_session": session}
rng = np.random.default_rng(0)
found = {}

x = np.concatenate([rng.normal(size=(50, 2)) + centre for centre in (0, 50)]).astype("float32")
kmeans = KMeans(k=2, data_location=f"s3://{bucket}/kmeans", output_path=f"s3://{bucket}/out", **common)
kmeans.fit(kmeans.record_set(x), logs=False)
predictor = kmeans.deploy(initial_instance_count=1, instance_type="ml.m5.large")
labels = [int(row.label["closest_cluster"].float32_tensor.values[0]) for row in predictor.predict(x)]
found["clusters"] = [sorted(set(labels[:50])), sorted(set(labels[50:]))]
predictor.delete_endpoint()

x = rng.normal(size=(60, 3))
y = x @ [1, 2, 3]
np.savetxt("rows.csv", np.column_stack([y, x]), delimiter=",")
script = SKLearn(
    entry_point="train.py", source_dir="src", framework_version="1.4-2", py_version="py3",
    hyperparameters={"scale": 2.0}, metric_definitions=[{"Name": "score", "Regex": "score=(.*?);"}], **common
)
script.fit({"train": session.upload_data("rows.csv", bucket, "rows")}, logs=False)
description = script.latest_training_job.describe()
found["score"] = description["FinalMetricDataList"][0]["Value"]
attached = SKLearn.attach(script.latest_training_job.name, sagemaker_session=session)
found["attached"] = [attached.entry_point, attached.hyperparameters()["scale"]]
predictor = attached.deploy(initial_instance_count=1, instance_type="ml.m5.large")
found["error"] = float(np.abs(predictor.predict(x[:5]) - 2 * y[:5]).max())
predictor.delete_endpoint()
print("FOUND " + json.dumps(found))
"""

CLIENT_3 = """
import json, os, tarfile
import boto3, numpy as np
from sagemaker.core.helper.session_helper import Session
from sagemaker.core import image_uris
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import ContainerDefinition, MetricDefinition, ProductionVariant
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer

role, bucket = os.environ["SAGESPARK_ROLE"], os.environ["SAGESPARK_BUCKET"]
session = Session(boto3.Session(region_name="us-east-1"), default_bucket=bucket)
compute = Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5)
rng = np.random.default_rng(0)
found = {}


def trained(trainer, name, rows):
    np.savetxt(name, rows, delimiter=",")
    uri = session.upload_data(name, bucket, "rows/" + name)
    trainer.train([InputData(channel_name="train", data_source=uri, content_type="text/csv;label_size=0")], logs=False)
    # Attach to the finished job by its name alone.
    return TrainingJob.get(trainer._latest_training_job.training_job_name)


def answers(name, image, job, rows, environment):
    artifact = job.model_artifacts.s3_model_artifacts
    container = ContainerDefinition(image=image, model_data_url=artifact, environment=environment)
    Model.create(model_name=name, primary_container=container, execution_role_arn=role)
    variant = ProductionVariant(
        variant_name="all", model_name=name, initial_instance_count=1, instance_type="ml.m5.large"
    )
    EndpointConfig.create(endpoint_config_name=name, production_variants=[variant])
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
    endpoint.wait_for_status("InService", poll=1)
    body = "\\n".join(",".join(map(str, row)) for row in rows)
    answer = endpoint.invoke(body=body, content_type="text/csv", accept="application/json")
    endpoint.delete()
    return json.loads(answer.body.read())


x = np.concatenate([rng.normal(size=(50, 2)) + centre for centre in (0, 50)])
image = image_uris.retrieve("kmeans", "us-east-1")
trainer = ModelTrainer(
    training_image=image,
    compute=compute,
    hyperparameters={"k": 2, "feature_dim": 2},
    role=role,
    sagemaker_session=session,
)
job = trained(trainer, "clusters.csv", x)
labels = [int(p["closest_cluster"]) for p in answers("clusters", image, job, x, {})["predictions"]]
found["clusters"] = [sorted(set(labels[:50])), sorted(set(labels[50:]))]

x = rng.normal(size=(60, 3))
y = x @ [1, 2, 3]
image = image_uris.retrieve("sklearn", "us-east-1", version="1.4-2", py_version="py3", instance_type="ml.m5.large")
trainer = ModelTrainer(
    training_image=image,
    source_code=SourceCode(source_dir="src", entry_script="train.py"),
    compute=compute,
    hyperparameters={"scale": 2.0},
    role=role,
    sagemaker_session=session,
).with_metric_definitions([MetricDefinition(name="score", regex="score=(.*?);")])
job = trained(trainer, "rows.csv", np.column_stack([y, x]))
found["score"] = job.final_metric_data_list[0].value
found["attached"] = [json.loads(trainer.source_code.model_dump_json())["entry_script"], job.hyper_parameters["scale"]]
with tarfile.open("sourcedir.tar.gz", "w:gz") as tar:
    tar.add("src/train.py", "train.py")
submitted = session.upload_data("sourcedir.tar.gz", bucket, "code")
told = {"SAGEMAKER_PROGRAM": "train.py", "SAGEMAKER_SUBMIT_DIRECTORY": submitted}
found["error"] = float(np.abs(np.ravel(answers("line", image, job, x[:5], told)) - 2 * y[:5]).max())
print("FOUND " + json.dumps(found))
"""


@pytest.mark.parametrize(("sdk", "program"), [(SDK_2, CLIENT_2), (SDK_3, CLIENT_3)], ids=["2.x", "3.x"])
def test_the_sdk_trains_deploys_predicts_and_attaches(tmp_path: Path, sdk: Pin, program: str) -> None:
    python = Environments(SystemClock()).build(sdk, print, lambda: None)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(SCRIPT)
    (tmp_path / "client.py").write_text(program)
    (tmp_path / ".config" / "sagemaker").mkdir(parents=True)
    (tmp_path / ".config" / "sagemaker" / "config.yaml").write_text(CONFIG)
    service = ServiceProcess(tmp_path / "data").start()
    try:
        quiet = {"SAGEMAKER_SUPPRESS_V2_WARNING": "1", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        client = subprocess.run(
            [str(python), "client.py"],
            cwd=tmp_path,
            env=quiet | ServiceInfo(service.url).environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
        )
    finally:
        service.stop()
    assert client.returncode == 0, client.stdout[-3000:]
    found = json.loads(client.stdout.rpartition("FOUND ")[2])
    first, second = found["clusters"]
    assert len(first) == len(second) == 1
    assert first != second
    assert found["score"] == pytest.approx(1.0)
    assert found["attached"] == ["train.py", "2.0"]
    assert found["error"] < 1e-6
