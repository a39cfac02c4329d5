"""Programs of one's own behind the wire: trained, served, and which of them reach the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from sagespark.local.containers.own_images import FILE_NAME, OwnImages
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

ROLE = "arn:aws:iam::123456789012:role/sagespark"
BUCKET = "sagemaker-us-east-1-123456789012"
TRAIN = """\
#!/bin/sh
echo "train $TRAINING_JOB_NAME" > "${SAGEMAKER_BASE_DIR:-/opt/ml}/model/words"
"""
SERVE = f"""\
#!/usr/bin/env python3
import http.server, os, urllib.request
def reached():
    url = os.environ.get("AWS_ENDPOINT_URL")
    if url is None:
        return b"no endpoint"
    try:
        with urllib.request.urlopen(url + "/{BUCKET}/hello", timeout=20) as answer:
            return answer.read()
    except OSError as error:
        return str(error).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        with open(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml") + "/model/words", "rb") as file:
            self.wfile.write(file.read() + reached())
    def log_message(self, *arguments):
        pass
port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("own")
    for name, text in (("train", TRAIN), ("serve", SERVE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "half").mkdir()
    (folder / "half" / "serve").write_text(SERVE)
    (folder / "half" / "serve").chmod(0o755)
    with ServiceProcess(folder / "data") as service:
        images = OwnImages(folder / "data" / FILE_NAME)
        images.add("words", folder=folder)
        images.add("half", folder=folder / "half")
        yield service


def job(image: str, name: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def test_an_own_image_trains_and_serves_with_and_without_network(service: ServiceProcess) -> None:
    sagemaker, s3 = service.client("sagemaker"), service.client("s3")
    s3.put_object(Bucket=BUCKET, Key="hello", Body=b"hello from S3")
    sagemaker.create_training_job(**job("words:1", "words"))
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="words", WaiterConfig={"Delay": 0.2, "MaxAttempts": 300}
    )
    answers = {}

    def serve(alone: bool) -> None:
        name = f"words-{alone}".lower()
        container = {"Image": "words:1", "ModelDataUrl": f"s3://{BUCKET}/out/words/output/model.tar.gz"}
        sagemaker.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE, EnableNetworkIsolation=alone
        )
        variant = {"VariantName": "a", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300}
        )
        runtime = service.client("sagemaker-runtime")
        # Several connections at a time come through.
        bodies = [runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read() for _ in range(3)]
        assert len(set(bodies)) == 1
        answers[alone] = bodies[0].decode()
        sagemaker.delete_endpoint(EndpointName=name)

    threads = [threading.Thread(target=serve, args=(alone,)) for alone in (False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {False: "train words\nhello from S3", True: "train words\nno endpoint"}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("half:1", "Image half:1 has no program `train`"),
        ("none:1", "Requested image none:1 not found: .* `sagespark local images add NAME FOLDER` has bound"),
        (
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.11.0-cpu-py39",
            "no environment for tensorflow 2.11.0",
        ),
    ],
)
def test_what_cannot_train_is_refused(service: ServiceProcess, image: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        service.client("sagemaker").create_training_job(**job(image, "refused"))


def test_a_framework_without_a_script_says_what_is_missing(service: ServiceProcess) -> None:
    from sagespark.local.environments.pins import _installed

    major, minor = _installed("scikit-learn")
    image = f"683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:{major}.{minor}-0-cpu-py3"
    sagemaker = service.client("sagemaker")
    sagemaker.create_training_job(**job(image, "scriptless"))
    with pytest.raises(WaiterError):
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName="scriptless", WaiterConfig={"Delay": 0.2, "MaxAttempts": 300}
        )
    found = sagemaker.describe_training_job(TrainingJobName="scriptless")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: the hyperparameter sagemaker_program is missing")
