"""Endpoints over the wire, driven by boto3: every content type, states, errors, variants, updates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans

from sagespark.algorithms.registry import image_uri
from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Csr
from sagespark.codecs.registry import codec
from sagespark.local.config import default_role
from support.endpoints import ARN, BUCKET, REGION, Hosting, archive, one_centre, refused, unique
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

RECORDIO = "application/x-recordio-protobuf"
JSON = "application/json"
LINES = "application/jsonlines"
CSV = "text/csv"
FIELDS = ("closest_cluster", "distance_to_cluster")


@pytest.fixture(scope="module")
def hosting(server: ServiceProcess) -> Hosting:
    return Hosting(server)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(5).random((300, 12), dtype=np.float32)


@pytest.fixture(scope="module")
def kmeans(rows: NDArray[np.float32]) -> KMeans:
    return KMeans(7, n_init=1, random_state=0).fit(rows)


@pytest.fixture(scope="module")
def endpoint(hosting: Hosting, kmeans: KMeans) -> Iterator[str]:
    name = hosting.endpoint(hosting.config({"ModelName": hosting.model(kmeans.cluster_centers_)}))
    yield name
    hosting.sm.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize("accept", [RECORDIO, JSON, LINES, CSV])
@pytest.mark.parametrize("content_type", [RECORDIO, JSON, LINES, CSV])
def test_every_content_type_gives_scikit_learns_labels(
    hosting: Hosting, endpoint: str, rows: NDArray[np.float32], kmeans: KMeans, content_type: str, accept: str
) -> None:
    body = bytes(codec(content_type).encode(rows))
    answer = hosting.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type, Accept=accept)
    assert answer["ContentType"] == accept
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    found = codec(accept).decode_predictions(answer["Body"].read(), FIELDS)
    np.testing.assert_array_equal(found["closest_cluster"], kmeans.predict(rows))
    np.testing.assert_allclose(found["distance_to_cluster"], kmeans.transform(rows).min(axis=1), rtol=1e-5)


@pytest.mark.parametrize("content_type", [RECORDIO, JSON, LINES])
def test_sparse_rows_are_answered_as_dense_ones(
    hosting: Hosting, endpoint: str, rows: NDArray[np.float32], content_type: str
) -> None:
    dense = rows * (np.random.default_rng(0).random(rows.shape) < 0.3)
    matrix = sparse.csr_matrix(dense)
    csr = Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, 12)
    answers = [
        hosting.invoke(endpoint, bytes(codec(content_type).encode(features)), content_type, RECORDIO)
        for features in (dense.astype(np.float32), csr)
    ]
    assert answers[0] == answers[1]


def test_json_is_as_aws_writes_it(hosting: Hosting, endpoint: str, kmeans: KMeans) -> None:
    request = json.dumps({"instances": [{"features": [0.5] * 12}]}).encode()
    answer = json.loads(hosting.invoke(endpoint, request, JSON, JSON))
    assert list(answer) == ["predictions"]
    assert list(answer["predictions"][0]) == ["closest_cluster", "distance_to_cluster"]
    assert answer["predictions"][0]["closest_cluster"] == float(kmeans.predict(np.full((1, 12), 0.5, np.float32))[0])


def test_without_accept_it_answers_json(hosting: Hosting, endpoint: str) -> None:
    answer = hosting.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"0," * 11 + b"0", ContentType=CSV)
    assert answer["ContentType"] == JSON


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "text"),
    [
        (b"<x/>", "application/xml", JSON, 415, "Content type 'application/xml' is not supported"),
        (b"1,2\n", CSV, "image/png", 406, "Accept 'image/png' is not supported"),
        (b"1,2\n", CSV, JSON, 400, "12 features"),
        (b"1,x\n", CSV, JSON, 400, "is no number"),
        (b"{", JSON, JSON, 400, "application/json"),
        (b"garbage!", RECORDIO, JSON, 400, "magic number"),
    ],
)
def test_what_the_container_refuses_is_a_model_error(
    hosting: Hosting, endpoint: str, body: bytes, content_type: str, accept: str, status: int, text: str
) -> None:
    with pytest.raises(hosting.runtime.exceptions.ModelError) as error:
        hosting.invoke(endpoint, body, content_type, accept)
    response = error.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert text in response["OriginalMessage"]
    assert response["Error"]["Message"].startswith(f'Received client error ({status}) from primary with message "')
    assert f"group=/aws/sagemaker/Endpoints/{endpoint} in account 123456789012" in response["Error"]["Message"]
    assert response["LogStreamArn"].startswith(
        f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/{endpoint}:log-stream:AllTraffic/"
    )


def test_an_empty_body_is_answered_by_an_empty_body(hosting: Hosting, endpoint: str) -> None:
    assert hosting.invoke(endpoint, b"", CSV, JSON) == b""


def test_the_payload_limit(hosting: Hosting, endpoint: str) -> None:
    limit = 6 * 1024 * 1024
    row = b"0,0,0,0,0,0,0,0,0,0,0,0\n"
    full = row * (limit // len(row))
    answer = hosting.invoke(endpoint, full, CSV, CSV)
    assert answer.count(b"\n") == limit // len(row)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.invoke(endpoint, full + row, CSV, CSV)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_describe_and_list(hosting: Hosting, endpoint: str) -> None:
    description = hosting.sm.describe_endpoint(EndpointName=endpoint)
    assert description["EndpointArn"] == f"{ARN}:endpoint/{endpoint}"
    assert description["CreationTime"] <= description["LastModifiedTime"]
    (variant,) = description["ProductionVariants"]
    assert variant["VariantName"] == "AllTraffic"
    assert (variant["CurrentWeight"], variant["DesiredWeight"]) == (1.0, 1.0)
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert variant["DeployedImages"][0]["SpecifiedImage"].endswith("/kmeans:1")
    assert not {"FailureReason", "PendingDeploymentSummary"} & description.keys()
    found = hosting.sm.list_endpoints(NameContains=endpoint, StatusEquals="InService")["Endpoints"]
    assert [row["EndpointName"] for row in found] == [endpoint]
    assert hosting.sm.list_endpoints(NameContains=endpoint, StatusEquals="Failed")["Endpoints"] == []


def test_the_life_of_an_endpoint_with_boto3s_waiters(hosting: Hosting) -> None:
    config = hosting.config({"ModelName": hosting.model(one_centre(3))})
    name = unique("life")
    tags = [{"Key": "team", "Value": "a"}]
    arn = hosting.sm.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=tags)["EndpointArn"]
    description = hosting.sm.describe_endpoint(EndpointName=name)
    assert description["EndpointStatus"] == "Creating"
    assert "ProductionVariants" not in description
    summary = description["PendingDeploymentSummary"]
    assert summary["EndpointConfigName"] == config
    assert [v["VariantName"] for v in summary["ProductionVariants"]] == ["AllTraffic"]
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.invoke(name, b"0\n", CSV, JSON)
    assert refused(error) == ("ValidationError", f"Endpoint {name} of account 123456789012 not found.")
    for operation in (
        lambda: hosting.sm.delete_endpoint(EndpointName=name),
        lambda: hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=config),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            operation()
        assert refused(error) == ("ValidationException", f'Cannot update in-progress endpoint "{arn}".')
    quick = {"Delay": 1, "MaxAttempts": 60}
    hosting.sm.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=quick)
    assert hosting.sm.list_tags(ResourceArn=arn)["Tags"] == tags
    assert hosting.distance(name) == 3.0
    assert "Serving on port" in hosting.log(name)
    hosting.sm.delete_endpoint(EndpointName=name)
    hosting.sm.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=quick)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.sm.describe_endpoint(EndpointName=name)
    assert refused(error) == ("ValidationException", f'Could not find endpoint "{arn}".')
    # The name is free again, and its tags are gone.
    hosting.sm.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert hosting.sm.list_tags(ResourceArn=arn)["Tags"] == []
    hosting.settled(name)
    hosting.sm.delete_endpoint(EndpointName=name)


def test_what_create_refuses(hosting: Hosting, endpoint: str) -> None:
    config = hosting.sm.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.sm.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    assert refused(error) == (
        "ValidationException",
        f'Cannot create already existing endpoint "{ARN}:endpoint/{endpoint}".',
    )
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.sm.create_endpoint(EndpointName="new", EndpointConfigName="none")
    assert refused(error) == (
        "ValidationException",
        f'Could not find endpoint configuration "{ARN}:endpoint-config/none".',
    )
    model = hosting.model(one_centre(1))
    config = hosting.config({"ModelName": model})
    hosting.sm.delete_model(ModelName=model)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.sm.create_endpoint(EndpointName="new", EndpointConfigName=config)
    assert refused(error) == ("ValidationException", f'Could not find model "{ARN}:model/{model}".')


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("describe_endpoint", {}),
        ("delete_endpoint", {}),
        ("update_endpoint", {"EndpointConfigName": "c"}),
        ("update_endpoint_weights_and_capacities", {"DesiredWeightsAndCapacities": [{"VariantName": "v"}]}),
    ],
)
def test_a_missing_endpoint(hosting: Hosting, operation: str, more: dict[str, Any]) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as error:
        getattr(hosting.sm, operation)(EndpointName="none", **more)
    assert refused(error) == ("ValidationException", f'Could not find endpoint "{ARN}:endpoint/none".')


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            archive({"something": b"else"}),
            "The primary container for production variant AllTraffic did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint.",
        ),
        (b"no archive", 'Failed to extract model data archive for container "container_1" from URL: "s3://'),
        (archive({"../../escape": b"x"}), "Failed to extract model data archive"),
    ],
    ids=["no-model", "no-archive", "escape"],
)
def test_an_endpoint_that_fails_can_only_be_deleted(hosting: Hosting, endpoint: str, data: bytes, reason: str) -> None:
    config = hosting.config({"ModelName": hosting.model(data)})
    name = hosting.endpoint(config, "Failed")
    assert hosting.sm.describe_endpoint(EndpointName=name)["FailureReason"].startswith(reason)
    with pytest.raises(botocore.exceptions.ClientError, match="can only be deleted"):
        hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=config)
    hosting.sm.delete_endpoint(EndpointName=name)
    quick = {"Delay": 1, "MaxAttempts": 60}
    hosting.sm.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=quick)


def test_a_model_data_that_was_deleted_meanwhile(hosting: Hosting) -> None:
    model = hosting.model(one_centre(1))
    url = hosting.sm.describe_model(ModelName=model)["PrimaryContainer"]["ModelDataUrl"]
    bucket, _, key = url.removeprefix("s3://").partition("/")
    hosting.s3.delete_object(Bucket=bucket, Key=key)
    name = hosting.endpoint(hosting.config({"ModelName": model}), "Failed")
    assert hosting.sm.describe_endpoint(EndpointName=name)["FailureReason"].startswith(
        f'Failed to download model data for container "container_1" from URL: "{url}".'
    )
    hosting.sm.delete_endpoint(EndpointName=name)


def test_model_files_without_an_archive(hosting: Hosting) -> None:
    prefix = "models/plain"
    hosting.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/model_algo-1", Body=ndarray.dump_list([one_centre(9)]))
    hosting.s3.put_object(Bucket=BUCKET, Key=f"{prefix}-other/model_algo-1", Body=b"not this one")
    source = {"S3Uri": f"s3://{BUCKET}/{prefix}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    hosting.sm.create_model(
        ModelName="plain",
        ExecutionRoleArn=default_role(),
        PrimaryContainer={
            "Image": image_uri("kmeans", REGION),
            "ModelDataSource": {"S3DataSource": source},
        },
    )
    name = hosting.endpoint(hosting.config({"ModelName": "plain"}))
    assert hosting.distance(name) == 9.0
    hosting.sm.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("variant", "members", "word"),
    [
        ({"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}, {}, "ServerlessConfig"),
        ({}, {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}}, "AsyncInferenceConfig"),
    ],
)
def test_what_is_not_built_is_refused(
    hosting: Hosting, variant: dict[str, Any], members: dict[str, Any], word: str
) -> None:
    name = unique("config")
    full = {"VariantName": "v", "ModelName": hosting.model(one_centre(1))} | variant
    if not variant:
        full |= {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    hosting.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[full], **members)
    with pytest.raises(botocore.exceptions.ClientError, match=f"asks for {word}, which the embedded service does not"):
        hosting.sm.create_endpoint(EndpointName="new", EndpointConfigName=name)
