"""The hosting record: one endpoint for all copies, nothing left behind, nothing deleted that is not ours."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from dataclasses import replace
from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import EndpointFailedError, Resource, ResourceNotFoundError, ServiceError, ValidationError
from sagespark.ml import candidates, reaper, requests
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.requests import Hosting, Scope
from support.scripted import Script, error

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
DATA = "s3://bucket/sagespark/job/output/model.tar.gz"
JOB = Resource("TrainingJob", "job")
VALUES = {"instanceType": "ml.m5.xlarge", "endpointInstanceCount": 1, "endpointInstanceType": "ml.c5.large"}
MISSING = error("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:us-east-1:1:endpoint/m".')
NAMES = [Resource("Model", "m"), Resource("EndpointConfig", "m"), Resource("Endpoint", "m")]


def hosting(session: SageMakerSession) -> Hosting:
    return requests.hosting(Scope(session, "run", VALUES), name="m", image=IMAGE, modelData=DATA)


def new_record(aws: SageMakerSession) -> HostingRecord:
    return HostingRecord(aws, imageUri=IMAGE, modelData=DATA, trainingJobName="job", created=[JOB])


@pytest.fixture
def record(aws: SageMakerSession) -> HostingRecord:
    return new_record(aws)


@pytest.fixture
def up(script: Script) -> Script:
    script.always = {
        "CreateModel": {"ModelArn": "arn:m"},
        "CreateEndpointConfig": {"EndpointConfigArn": "arn:c"},
        "CreateEndpoint": {"EndpointArn": "arn:e"},
        "DeleteModel": {},
        "DeleteEndpointConfig": {},
        "DeleteEndpoint": {},
    }
    return script


def in_service(script: Script) -> None:
    script.answers += [{"EndpointStatus": "Creating"}, {"EndpointStatus": "InService"}]


def test_requests_go_out_in_order_with_tags_and_names(record: HostingRecord, up: Script) -> None:
    in_service(up)
    assert record.host(hosting(record.session)) == "m"
    assert up.operations == [
        "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "DescribeEndpoint", "DescribeEndpoint"
    ]  # fmt: skip
    model, config, endpoint = (sent.json for sent in up.sent[:3])
    assert model["PrimaryContainer"] == {"Image": IMAGE, "ModelDataUrl": DATA}
    assert model["ExecutionRoleArn"] == record.session.role
    assert config["ProductionVariants"] == [
        {"VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    ]
    assert endpoint["EndpointConfigName"] == "m"
    for request in (model, config, endpoint):
        tags = {t["Key"]: t["Value"] for t in request["Tags"]}
        assert tags["team"] == "blue"
        assert tags["sagespark:run"] == "run"
    assert record.created == (JOB, *NAMES)
    assert (record.modelName, record.endpointConfigName, record.endpointName) == ("m", "m", "m")


@pytest.mark.parametrize("failing", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_a_step_that_is_refused_leaves_nothing(record: HostingRecord, up: Script, failing: str) -> None:
    up.always[failing] = error("ResourceLimitExceeded", "no more")
    up.always["DescribeEndpoint"] = MISSING
    with pytest.raises(ServiceError, match="no more") as caught:
        record.host(hosting(record.session))
    steps = ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    made = steps[: steps.index(failing)]
    deleted = [o for o in up.operations if o.startswith("Delete")]
    assert deleted == [o.replace("Create", "Delete") for o in reversed(made)]
    assert caught.value.createdResources == (JOB,)
    assert record.endpointName is None


def test_an_endpoint_that_fails_is_deleted(record: HostingRecord, up: Script) -> None:
    up.always["DescribeLogStreams"] = {"logStreams": []}
    up.answers = [{"EndpointStatus": "Failed", "FailureReason": "no ping"}, MISSING]
    with pytest.raises(EndpointFailedError, match="no ping") as caught:
        record.host(hosting(record.session))
    assert up.operations[-4:] == ["DeleteEndpoint", "DescribeEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    assert caught.value.createdResources == (JOB,)
    assert not any(r.billed for r in caught.value.createdResources)


def test_what_cannot_be_cleaned_up_is_named(record: HostingRecord, up: Script) -> None:
    up.always["CreateEndpoint"] = error("ResourceLimitExceeded", "no more")
    up.always["DeleteModel"] = error("AccessDeniedException", "not allowed")
    with pytest.raises(ServiceError, match="no more") as caught:
        record.host(hosting(record.session))
    assert caught.value.createdResources == (JOB, NAMES[0])
    assert any("cleaning up" in note and "not allowed" in note for note in caught.value.__notes__)


def test_an_interrupt_while_waiting_cleans_up_too(record: HostingRecord, up: Script, clock: Any) -> None:
    up.answers = [{"EndpointStatus": "Creating"}, MISSING]

    def interrupt() -> None:
        clock.on_sleep = None
        raise KeyboardInterrupt

    clock.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        record.host(hosting(record.session))
    assert "DeleteEndpoint" in up.operations
    assert record.created == (JOB,)


def test_an_endpoint_being_created_is_waited_for_before_it_is_deleted(record: HostingRecord, up: Script) -> None:
    in_service(up)
    record.host(hosting(record.session))
    refusals: list[Any] = [error("ValidationException", "Cannot update in-progress endpoint"), {}]
    up.always["DeleteEndpoint"] = lambda sent: refusals.pop(0)
    up.answers = [{"EndpointStatus": "Updating"}, {"EndpointStatus": "InService"}, MISSING]
    record.delete()
    assert up.operations[-7:] == [
        "DeleteEndpoint", "DescribeEndpoint", "DescribeEndpoint", "DeleteEndpoint", "DescribeEndpoint",
        "DeleteEndpointConfig", "DeleteModel",
    ]  # fmt: skip
    assert record.created == (JOB,)


def test_delete_is_final_until_deploy(record: HostingRecord, up: Script) -> None:
    in_service(up)
    record.host(hosting(record.session))
    up.answers = [MISSING]
    record.delete()
    assert record.endpointName is None
    with pytest.raises(ValidationError, match=r"deploy\(\) creates another one"):
        record.endpoint(lambda: hosting(record.session))
    in_service(up)
    assert record.endpoint(lambda: hosting(record.session), again=True) == "m"
    up.answers = [MISSING]
    record.delete()
    # A second time is fine, and asks nothing.
    sent = len(up.sent)
    record.delete()
    assert len(up.sent) == sent


def test_the_policy_never_creates_nothing(record: HostingRecord, script: Script) -> None:
    with pytest.raises(ValidationError, match=r"endpointPolicy is 'never'; call deploy\(\)"):
        record.endpoint(lambda: None)
    assert script.sent == []


def test_threads_create_one_endpoint(record: HostingRecord, up: Script) -> None:
    in_service(up)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(record.endpoint(lambda: hosting(record.session))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["m"] * 8
    assert up.operations.count("CreateEndpoint") == 1


def test_what_was_not_created_here_is_not_deleted(aws: SageMakerSession, script: Script) -> None:
    record = HostingRecord(aws, endpointName="theirs", endpointConfigName="c", modelName="m")
    record.delete()
    assert script.sent == []
    assert record.endpointName == "theirs"


def test_an_endpoint_from_elsewhere_is_looked_at_once(aws: SageMakerSession, script: Script) -> None:
    record = HostingRecord(aws, endpointName="theirs")
    script.answers = [{"EndpointStatus": "InService"}]
    assert record.endpoint(lambda: None) == record.endpoint(lambda: None) == "theirs"
    assert script.operations == ["DescribeEndpoint"]
    gone = HostingRecord(aws, endpointName="theirs")
    script.answers = [MISSING]
    with pytest.raises(ResourceNotFoundError):
        gone.endpoint(lambda: None)


def test_a_loaded_models_endpoint_is_made_again_where_it_is_gone(record: HostingRecord, up: Script) -> None:
    in_service(up)
    record.host(hosting(record.session))
    other = pickle.loads(pickle.dumps(record))
    up.answers = [MISSING]
    in_service(up)
    assert other.endpoint(lambda: hosting(other.session)) == "m"
    assert up.operations.count("CreateEndpoint") == 2


def test_pickles_and_deep_copies_are_handles_on_the_same(record: HostingRecord, up: Script) -> None:
    in_service(up)
    record.host(hosting(record.session))
    record.cached("x", lambda: object())
    for other in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
        assert other.created == record.created
        assert other.endpointName == "m"
        assert other._cache == {}
        assert other._lock is not record._lock
    handle = copy.deepcopy(record)
    up.answers = [MISSING]
    handle.delete()
    assert record.created == (JOB, *NAMES)


def test_saved_and_restored(record: HostingRecord, up: Script, script: Script) -> None:
    in_service(up)
    record.host(hosting(record.session))
    script.always["GetCallerIdentity"] = identity("123456789012")
    saved = record.to_json()
    assert saved["endpointName"] == "m"
    assert (saved["region"], saved["account"]) == ("us-east-1", "123456789012")
    other = HostingRecord.from_json(saved, record.session)
    assert other.to_json() == saved
    assert other.created == record.created
    with pytest.raises(ValidationError, match="saved in region eu-west-1, account 123456789012, but the session is of"):
        HostingRecord.from_json({**saved, "region": "eu-west-1"}, record.session)
    with pytest.raises(ValidationError, match="account 999999999999"):
        HostingRecord.from_json({**saved, "account": "999999999999"}, record.session)


def identity(account: str) -> bytes:
    return (
        f'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Account>{account}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    ).encode()


def test_a_dropped_candidate_takes_its_endpoint_along(aws: SageMakerSession, up: Script) -> None:
    # Not the fixture: pytest would hold it.
    record = new_record(aws)
    in_service(up)
    record.host(hosting(record.session))
    handle = copy.deepcopy(record)
    record.delete_when_dropped()
    held = [record]
    del record
    gc.collect()
    reaper.drain()
    assert "DeleteEndpoint" not in up.operations
    held.clear()
    gc.collect()
    reaper.drain()
    assert [o for o in up.operations if o.startswith("Delete")] == [
        "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"
    ]  # fmt: skip
    del handle
    gc.collect()
    reaper.drain()
    assert up.operations.count("DeleteEndpoint") == 1


def test_garbage_collection_deletes_nothing_else(aws: SageMakerSession, up: Script) -> None:
    # Not the fixture: pytest would hold it.
    record = new_record(aws)
    in_service(up)
    record.host(hosting(record.session))
    del record
    gc.collect()
    reaper.drain()
    assert not any(o.startswith("Delete") for o in up.operations)


def test_a_candidate_without_hosting_queues_nothing(aws: SageMakerSession, script: Script) -> None:
    record = HostingRecord(aws, created=[JOB])
    record.delete_when_dropped()
    del record
    gc.collect()
    reaper.drain()
    assert script.sent == []


def test_model_selection_is_seen_in_the_stack() -> None:
    from pyspark.ml import tuning

    assert not candidates.in_model_selection()
    # The very function of pyspark, with an estimator whose fit looks at the stack.
    seen: list[bool] = []

    class Probe:
        def fitMultiple(self, dataset: Any, maps: Any) -> Any:
            def fit() -> Any:
                seen.append(candidates.in_model_selection())
                yield 0, self

            return fit()

        def transform(self, dataset: Any, params: Any) -> Any:
            return dataset

        def evaluate(self, dataset: Any) -> float:
            return 1.0

    probe: Any = Probe()
    tasks = tuning._parallelFitTasks(probe, probe, probe, probe, [{}], False)
    assert tasks[0]()[:2] == (0, 1.0)
    assert seen == [True]


def test_another_session_must_be_of_the_same_place(record: HostingRecord, script: Script) -> None:
    script.always["GetCallerIdentity"] = identity("123456789012")
    other = replace(record.session, region="eu-west-1")
    with pytest.raises(ValidationError, match="the model is in region us-east-1"):
        record.use(other)
