from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sagespark.aws import cleanup, tags
from sagespark.aws.session import SageMakerSession
from support.account import Account
from support.clocks import FakeClock
from support.scripted import Script


@pytest.fixture
def account(script: Script) -> Account:
    return Account(script)


def test_only_what_carries_the_tag_is_found(session: SageMakerSession, account: Account) -> None:
    account.hosting("ours")
    account.hosting("theirs", {"team": "red"})
    account.add("TrainingJob", "running", TrainingJobStatus="InProgress")
    account.add("TrainingJob", "done", TrainingJobStatus="Completed")
    found = cleanup.find(session)
    assert [str(f.resource) for f in found] == [
        "TrainingJob running",
        "Endpoint ours",
        "EndpointConfig ours",
        "Model ours",
    ]
    assert (found[1].status, found[1].run, found[1].creator) == ("InService", "run-1", tags.creator())


def test_all_of_it_goes_in_order_and_nothing_else(session: SageMakerSession, script: Script, account: Account) -> None:
    account.hosting("ours")
    account.hosting("theirs", {"team": "red"})
    account.add("TrainingJob", "running", TrainingJobStatus="InProgress")
    told: list[str] = []
    outcomes = cleanup.delete(session, cleanup.find(session), onOutcome=lambda o: told.append(str(o.found.resource)))
    assert [o.kept for o in outcomes] == ["", "", "", ""]
    assert told == ["TrainingJob running", "Endpoint ours", "EndpointConfig ours", "Model ours"]
    assert account.left == {"TrainingJob running", "Endpoint theirs", "EndpointConfig theirs", "Model theirs"}
    assert account.rows["TrainingJob", "running"]["TrainingJobStatus"] == "Stopping"
    changes = [o for o in script.operations if o.startswith(("Delete", "Stop"))]
    assert changes == ["StopTrainingJob", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]


def test_a_tuning_job_is_stopped_before_its_training_jobs(
    session: SageMakerSession, script: Script, account: Account
) -> None:
    account.add("TrainingJob", "tune-001-a", TrainingJobStatus="InProgress")
    account.add("HyperParameterTuningJob", "tune", HyperParameterTuningJobStatus="InProgress")
    account.add("HyperParameterTuningJob", "done", HyperParameterTuningJobStatus="Completed")
    outcomes = cleanup.delete(session, cleanup.find(session))
    assert [o.kept for o in outcomes] == ["", ""]
    changes = [o for o in script.operations if o.startswith(("Delete", "Stop"))]
    assert changes == ["StopHyperParameterTuningJob", "StopTrainingJob"]


def test_what_others_use_is_kept(session: SageMakerSession, account: Account) -> None:
    account.hosting("ours")
    del account.rows["Endpoint", "ours"]
    account.add("Endpoint", "foreign", 0.0, {}, EndpointStatus="InService", EndpointConfigName="ours")
    outcomes = cleanup.delete(session, cleanup.find(session))
    assert [(str(o.found.resource), o.kept) for o in outcomes] == [
        ("EndpointConfig ours", "endpoint 'foreign' uses it"),
        ("Model ours", "endpoint config 'ours' uses it"),
    ]
    assert account.left == {"Endpoint foreign", "EndpointConfig ours", "Model ours"}


def test_one_that_fails_does_not_keep_the_others(session: SageMakerSession, account: Account) -> None:
    account.hosting("a")
    account.hosting("b")
    account.rows["Endpoint", "a"]["refuse"] = "not authorized"
    outcomes = {str(o.found.resource): o.kept for o in cleanup.delete(session, cleanup.find(session))}
    assert "AccessDenied" in outcomes["Endpoint a"]
    assert outcomes["EndpointConfig a"] == "endpoint 'a' uses it"
    assert account.left == {"Endpoint a", "EndpointConfig a", "Model a"}


def test_a_tag_taken_off_since_keeps_it(session: SageMakerSession, account: Account) -> None:
    account.add("Model", "m")
    found = cleanup.find(session)
    account.rows["Model", "m"]["tags"] = {}
    (outcome,) = cleanup.delete(session, found)
    assert "no tag 'sagespark'" in outcome.kept
    assert account.left == {"Model m"}


def test_filters(session: SageMakerSession, account: Account, clock: FakeClock) -> None:
    now = clock.now().timestamp()
    account.add("Model", "old", now - 7200)
    account.add("Model", "new", now - 60)
    account.add("Model", "other", now - 7200, {"sagespark": "1", "sagespark:run": "r2", "sagespark:creator": "bo@x"})

    def names(**filters: Any) -> set[str]:
        return {f.resource.name for f in cleanup.find(session, **filters)}

    assert names() == {"old", "new", "other"}
    assert names(olderThan=timedelta(hours=1)) == {"old", "other"}
    assert names(run="run-1") == {"old", "new"}
    assert names(creator="bo") == {"other"} == names(creator="bo@x")
    assert names(creator="b") == set() == names(creator="bo@y")
