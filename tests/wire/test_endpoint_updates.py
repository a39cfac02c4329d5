"""Variants and updates of endpoints over the wire: weights, capacities, blue/green under load, failures."""

from __future__ import annotations

import json
import threading
from collections import Counter

import botocore.exceptions
import pytest

from sagespark.core.clock import SystemClock
from support.endpoints import ARN, Hosting, archive, one_centre, refused
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

JSON, CSV = "application/json", "text/csv"


@pytest.fixture(scope="module")
def hosting(server: ServiceProcess) -> Hosting:
    return Hosting(server)


def test_variants_by_weight_by_name_and_scaled(hosting: Hosting) -> None:
    variants = [
        {"VariantName": f"v{i}", "ModelName": hosting.model(one_centre(i)), "InitialVariantWeight": float(i)}
        for i in (1, 3)
    ]
    name = hosting.endpoint(hosting.config(*variants))
    for i in (1, 3):
        answer = hosting.runtime.invoke_endpoint(
            EndpointName=name, Body=b"0\n", ContentType=CSV, Accept=JSON, TargetVariant=f"v{i}"
        )
        assert answer["InvokedProductionVariant"] == f"v{i}"
        assert json.loads(answer["Body"].read())["predictions"][0]["distance_to_cluster"] == i
    drawn = Counter(hosting.distance(name) for _ in range(200))
    assert 110 < drawn[3.0] < 185
    with pytest.raises(botocore.exceptions.ClientError, match="Variant v2 of endpoint"):
        hosting.distance(name, TargetVariant="v2")
    with pytest.raises(botocore.exceptions.ClientError, match="not present within endpoint"):
        hosting.sm.update_endpoint_weights_and_capacities(
            EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "v2", "DesiredWeight": 1}]
        )
    hosting.sm.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "v1", "DesiredWeight": 0},
            {"VariantName": "v3", "DesiredInstanceCount": 2},
        ],
    )
    description = hosting.settled(name)
    found = {
        v["VariantName"]: (v["CurrentWeight"], v["CurrentInstanceCount"]) for v in description["ProductionVariants"]
    }
    assert found == {"v1": (0.0, 1), "v3": (3.0, 2)}
    assert {hosting.distance(name) for _ in range(20)} == {3.0}
    assert {line for line in hosting.log(name).splitlines() if "Serving" in line}
    streams = hosting.logs.describe_log_streams(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["logStreams"]
    assert [s["logStreamName"] for s in streams] == ["v1/i-00001", "v3/i-00001", "v3/i-00002"]
    hosting.sm.delete_endpoint(EndpointName=name)


def test_an_update_under_load_loses_no_request(hosting: Hosting) -> None:
    configs = [hosting.config({"ModelName": hosting.model(one_centre(i))}) for i in (1, 2)]
    name = hosting.endpoint(configs[0])
    stop = threading.Event()
    seen: list[float] = []
    failures: list[Exception] = []

    def load() -> None:
        while not stop.is_set():
            try:
                seen.append(hosting.distance(name))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=configs[1])
        assert hosting.sm.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating"
        assert hosting.sm.describe_endpoint(EndpointName=name)["EndpointConfigName"] == configs[0]
        description = hosting.settled(name)
        assert description["EndpointConfigName"] == configs[1]
        clock = SystemClock()
        clock.sleep(0.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert set(seen) == {1.0, 2.0}
    assert hosting.distance(name) == 2.0
    hosting.sm.delete_endpoint(EndpointName=name)


def test_a_failed_update_keeps_the_former_fleet(hosting: Hosting) -> None:
    good = hosting.config({"ModelName": hosting.model(one_centre(1))})
    bad = hosting.config({"ModelName": hosting.model(archive({"x": b"y"}))})
    name = hosting.endpoint(good)
    hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=bad)
    description = hosting.settled(name)
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", good)
    assert "did not pass the ping health check" in description["FailureReason"]
    assert hosting.distance(name) == 1.0
    # A later one that works clears the reason.
    other = hosting.config({"ModelName": hosting.model(one_centre(5)), "InitialInstanceCount": 2})
    hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=other, RetainAllVariantProperties=True)
    description = hosting.settled(name)
    assert (description["EndpointConfigName"], "FailureReason" in description) == (other, False)
    assert description["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert hosting.distance(name) == 5.0
    hosting.sm.delete_endpoint(EndpointName=name)


def test_an_update_needs_the_config_in_use_and_says_what_it_cannot_do(hosting: Hosting) -> None:
    configs = [hosting.config({"ModelName": hosting.model(one_centre(i))}) for i in (1, 2)]
    name = hosting.endpoint(configs[0])
    canary = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "WaitIntervalInSeconds": 1,
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
            }
        }
    }
    with pytest.raises(botocore.exceptions.ClientError, match="CANARY"):
        hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=configs[1], DeploymentConfig=canary)
    hosting.sm.delete_endpoint_config(EndpointConfigName=configs[0])
    with pytest.raises(botocore.exceptions.ClientError) as error:
        hosting.sm.update_endpoint(EndpointName=name, EndpointConfigName=configs[1])
    assert refused(error)[1] == f'Could not find endpoint configuration "{ARN}:endpoint-config/{configs[0]}".'
    assert hosting.distance(name) == 1.0
    hosting.sm.delete_endpoint(EndpointName=name)
