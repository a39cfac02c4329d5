"""The handles and S3 against the running service."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.aws import s3
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.errors import is_conflict
from sagespark.aws.handle import Handle
from sagespark.aws.model import Model
from sagespark.aws.multipart import MIN_PART, MultipartWriter
from sagespark.aws.runtime import invoke
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob, artifact, metrics
from sagespark.codecs.registry import codec
from sagespark.core.errors import InvocationError, JobFailedError, ResourceNotFoundError, ServiceError
from support.jobs import RECORDIO, blobs, endless, hosted, trained, training_request

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def endpoint(service: SageMakerSession) -> Iterator[Endpoint]:
    made = hosted(service, "handles", trained(service, "handles"))
    yield made
    made.delete()


def test_a_job_from_create_to_artifact(service: SageMakerSession) -> None:
    job = TrainingJob.create(service, training_request(service, "followed"))
    follower, lines, states = job.follow_logs(), list[str](), list[str]()

    def look(description: dict[str, Any]) -> None:
        states.append(description["SecondaryStatus"])
        lines.extend(line.message for line in follower.read())

    description = job.wait(look, timeout=120)
    assert states[-1] == "Completed"
    uri = artifact(description)
    assert uri is not None
    assert s3.exists(service, uri)
    assert metrics(description)["train:msd"] > 0
    whole = [line.message for line in job.last_log_lines(1000)]
    assert lines + [line.message for line in follower.read()] == whole
    assert job.last_log_lines(1)[0].message == whole[-1]
    assert job.ended()
    # An ended job needs no stopping.
    job.stop()
    with pytest.raises(ServiceError):
        job.stop(missing_ok=False)


def test_a_name_is_taken_once(service: SageMakerSession, endpoint: Endpoint) -> None:
    taken = {
        Model: Model(service, "handles").describe(),
        EndpointConfig: EndpointConfig(service, "handles").describe(),
        Endpoint: endpoint.describe(),
        TrainingJob: training_request(service, "handles"),
    }
    model, config = taken[Model], taken[EndpointConfig]
    requests: dict[type[Handle], dict[str, Any]] = {
        TrainingJob: taken[TrainingJob],
        Model: {k: model[k] for k in ("ModelName", "ExecutionRoleArn", "PrimaryContainer")},
        EndpointConfig: {k: config[k] for k in ("EndpointConfigName", "ProductionVariants")},
        Endpoint: {"EndpointName": "handles", "EndpointConfigName": "handles"},
    }
    for kind, request in requests.items():
        with pytest.raises(ServiceError) as caught:
            kind.create(service, request)
        assert is_conflict(caught.value), kind


@pytest.mark.parametrize("kind", [TrainingJob, Model, EndpointConfig, Endpoint])
def test_every_kind(service: SageMakerSession, endpoint: Endpoint, kind: type[Handle]) -> None:
    handle = kind(service, "handles")
    assert handle.exists()
    assert handle.arn.endswith("/handles")
    assert {"sagespark", "sagespark:creator"} <= set(handle.tags())
    assert "handles" in [summary[f"{kind.kind}Name"] for summary in kind.list(service, NameContains="handles")]
    missing = kind(service, "no-such")
    assert not missing.exists()
    with pytest.raises(ResourceNotFoundError):
        missing.describe()
    if kind is not TrainingJob:
        missing.delete()
        with pytest.raises(ResourceNotFoundError):
            missing.delete(missing_ok=False)


def test_a_stopped_job_without_a_model(service: SageMakerSession) -> None:
    job = TrainingJob.create(service, endless(service, "stopped"))

    def stop(description: dict[str, Any]) -> None:
        if description["SecondaryStatus"] == "Training":
            job.stop()

    with pytest.raises(JobFailedError, match="ended Stopped"):
        job.wait(stop, timeout=120)


def test_an_update_and_the_end_of_an_endpoint(service: SageMakerSession, endpoint: Endpoint) -> None:
    config = EndpointConfig(service, "handles").describe()["ProductionVariants"]
    EndpointConfig.create(service, {"EndpointConfigName": "handles-2", "ProductionVariants": config})
    Endpoint.create(service, {"EndpointName": "brief", "EndpointConfigName": "handles"})
    # Still being created: AWS would refuse, so the end of that is waited for.
    other = Endpoint(service, "brief")
    other.delete_settled(timeout=60)
    other.wait_deleted(timeout=60)
    assert not other.exists()
    endpoint.update("handles-2")
    assert endpoint.wait(timeout=120)["EndpointConfigName"] == "handles-2"
    assert endpoint.config_name() == "handles-2"
    assert EndpointConfig(service, "handles-2").model_names() == ("handles",)


def test_invocations(service: SageMakerSession, endpoint: Endpoint) -> None:
    body = codec(RECORDIO).encode(blobs())
    result = invoke(service, "handles", body, RECORDIO, RECORDIO)
    clusters = codec(result.contentType).decode_predictions(result.body, ["closest_cluster"])["closest_cluster"]
    assert clusters[:30].tolist() == [clusters[0]] * 30
    assert clusters[30:].tolist() == [1 - clusters[0]] * 30
    assert result.variant == "AllTraffic"
    with pytest.raises(InvocationError, match="its container answered 4"):
        invoke(service, "handles", b"1,2\n", "text/csv", RECORDIO)
    with pytest.raises(InvocationError, match="maxPayloadInMB"):
        invoke(service, "handles", bytes(7 << 20), RECORDIO, RECORDIO)
    with pytest.raises(InvocationError, match="not found"):
        invoke(service, "no-such", b"x", RECORDIO, RECORDIO)


def test_a_handle_in_another_process(endpoint: Endpoint) -> None:
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).describe()['EndpointStatus'])"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    data = pickle.dumps(endpoint)
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, env=kept)
    assert done.stdout.strip() in (b"InService", b"Updating")


def test_objects_in_parts(service: SageMakerSession, tmp_path: Path) -> None:
    uri = service.location / "parts" / "a"
    content = os.urandom(2 * MIN_PART + 12345)
    with MultipartWriter(service, uri, MIN_PART) as writer:
        for start in range(0, len(content), 1_000_003):
            writer.write(memoryview(content)[start : start + 1_000_003])
        assert not s3.exists(service, uri)
    assert s3.size(service, uri) == len(content)
    assert s3.read_bytes(service, uri) == content
    s3.download(service, uri, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content


def test_what_is_given_up_leaves_nothing(service: SageMakerSession) -> None:
    prefix = (service.location / "given-up").prefix
    aborted = MultipartWriter(service, prefix / "aborted", MIN_PART)
    aborted.write(bytes(2 * MIN_PART + 1))
    aborted.abort()
    forgotten = MultipartWriter(service, prefix / "forgotten", MIN_PART)
    forgotten.write(bytes(2 * MIN_PART + 1))
    assert list(s3.list_keys(service, prefix)) == []
    assert s3.abort_uploads(service, prefix) == 1
    assert s3.abort_uploads(service, prefix) == 0
    # The writer of the upload finds it gone, and the object does not appear.
    with pytest.raises(ServiceError, match="NoSuchUpload"):
        forgotten.close()
    assert list(s3.list_keys(service, prefix)) == []


def test_many_objects_are_listed_and_deleted(service: SageMakerSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "DELETE_BATCH", 20)
    prefix = (service.location / "many").prefix
    uris = [prefix / f"{number:03}" for number in range(50)]
    for uri in uris:
        s3.upload_bytes(service, uri, b"x")
    s3.upload_bytes(service, service.location / "many-more", b"x")
    assert list(s3.list_keys(service, prefix)) == uris
    assert s3.delete_keys(service, uris) == 50
    assert list(s3.list_keys(service, prefix)) == []
    assert s3.exists(service, service.location / "many-more")
    s3.ensure_bucket(service)
