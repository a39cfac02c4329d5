from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sagespark.aws import clients, lookup
from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import SystemClock
from sagespark.core.errors import SessionError
from sagespark.core.names import Names
from sagespark.core.s3uri import S3Uri
from support.scripted import Script

# Every test here has it replaced; see conftest.py.
REAL_SPARK_SESSION = lookup.spark_session
ROLE = "arn:aws:iam::123456789012:role/sagespark"


class Conf:
    def __init__(self, **values: str) -> None:
        self.values = {f"spark.sagespark.{name}": value for name, value in values.items()}
        self.conf = self

    def get(self, key: str, default: str | None) -> str | None:
        return self.values.get(key, default)


def spark_conf(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    monkeypatch.setattr(lookup, "spark_session", lambda: Conf(**values))


def caller(account: str) -> bytes:
    return (
        "<GetCallerIdentityResponse><GetCallerIdentityResult>"
        f"<Account>{account}</Account><Arn>arn:aws:iam::{account}:user/u</Arn><UserId>u</UserId>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    ).encode()


def test_the_constructor_is_as_documented() -> None:
    names = " ".join(field.name for field in dataclasses.fields(SageMakerSession))
    assert names == (
        "role bucket prefix region endpointUrl accessKeyId secretAccessKey tags kmsKey subnets securityGroupIds "
        "listeners clock names"
    )
    session = SageMakerSession()
    assert session.prefix == "sagespark"
    assert (session.tags, session.subnets, session.listeners) == ({}, (), ())
    assert session.clock == SystemClock()
    assert session.names == Names()
    assert all(getattr(session, n) is None for n in ("role", "bucket", "region", "endpointUrl", "kmsKey"))


def test_it_is_frozen_and_hashable(session: SageMakerSession) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.role = "x"  # type: ignore[misc]
    assert {session: 1}[dataclasses.replace(session)] == 1
    assert dataclasses.replace(session, region="eu-west-1") != session


def test_conf_wins_over_environment_and_both_lose_to_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGESPARK_ROLE", "environment")
    monkeypatch.setenv("SAGESPARK_BUCKET", "environment")
    monkeypatch.setenv("SAGESPARK_PREFIX", "environment")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    spark_conf(monkeypatch, role="conf", bucket="conf")
    session = SageMakerSession(role="argument").lookup()
    assert (session.role, session.bucket, session.prefix) == ("argument", "conf", "environment")
    assert session.region == "eu-west-1"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert SageMakerSession().lookup().region == "eu-west-2"


def test_the_region_of_a_profile_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    file = tmp_path / "config"
    file.write_text("[profile work]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert SageMakerSession().lookup().region == "ap-south-1"


def test_spark_conf_is_read_from_the_session_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classic or Connect, and in a thread that has no active session of its own; nothing is imported for it."""

    class Classic:
        active: Any = None
        _instantiatedSession: Any = None

        @classmethod
        def getActiveSession(cls) -> Any:
            return cls.active

    class Connect:
        _default_session: Any = None

    monkeypatch.setattr(lookup, "spark_session", REAL_SPARK_SESSION)
    for name in ("pyspark.sql", "pyspark.sql.connect.session"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert lookup.spark_conf("role") is None
    monkeypatch.setitem(sys.modules, "pyspark.sql", types.SimpleNamespace(SparkSession=Classic))
    assert lookup.spark_conf("role") is None
    Classic._instantiatedSession = Conf(role="classic")
    assert lookup.spark_conf("role") == "classic"
    monkeypatch.setitem(sys.modules, "pyspark.sql.connect.session", types.SimpleNamespace(SparkSession=Connect))
    assert lookup.spark_conf("role") == "classic"
    Connect._default_session = Conf(role="connect")
    assert lookup.spark_conf("role") == "connect"
    Classic.active = Conf(role="active", bucket="")
    assert lookup.spark_conf("role") == "active"
    assert lookup.spark_conf("bucket") is None


@pytest.mark.parametrize(
    "url", [None, "http://127.0.0.1:4599", "http://localhost:1", "http://s.localhost", "http://[::1]:2"]
)
def test_keys_go_with_loopback(url: str | None) -> None:
    SageMakerSession(endpointUrl=url, accessKeyId="a", secretAccessKey="b")


@pytest.mark.parametrize(
    "url", ["https://sagemaker.example.com", "http://10.0.0.1:4599", "http://localhost.example.com"]
)
def test_keys_are_refused_for_another_endpoint(url: str) -> None:
    with pytest.raises(SessionError, match="loopback"):
        SageMakerSession(endpointUrl=url, accessKeyId="a", secretAccessKey="b")


def test_keys_are_refused_where_the_endpoint_turns_out_to_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SageMakerSession(region="us-east-1", accessKeyId="a", secretAccessKey="b")
    with pytest.raises(SessionError, match="no endpointUrl"):
        session.client("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://sagemaker.example.com")
    with pytest.raises(SessionError, match="loopback"):
        session.client("s3")


def test_one_key_alone_is_refused() -> None:
    with pytest.raises(SessionError, match="go together"):
        SageMakerSession(endpointUrl="http://127.0.0.1:1", accessKeyId="a")


def test_the_secret_is_not_shown(session: SageMakerSession) -> None:
    assert "secret" not in repr(session)


def test_problems_name_the_three_places() -> None:
    (role, region, bucket) = SageMakerSession().problems()
    for place in ("SageMakerSession(role=", "spark.sagespark.role", "SAGESPARK_ROLE"):
        assert place in role
    assert "AWS_REGION or AWS_DEFAULT_REGION" in region
    assert "SAGESPARK_BUCKET" in bucket
    assert SageMakerSession(role=ROLE, region="us-east-1", bucket="b-1").problems() == ()


@pytest.mark.parametrize("role", ["MyRole", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x", ROLE + " "])
def test_a_role_that_is_no_arn_is_a_problem(role: str) -> None:
    (problem,) = SageMakerSession(role=role, region="us-east-1", bucket="b-1").problems()
    assert repr(role) in problem


@pytest.mark.parametrize("role", ["arn:aws-cn:iam::123456789012:role/x", "arn:aws:iam::123456789012:role/path/to/x"])
def test_a_role_with_partition_or_path_is_none(role: str) -> None:
    assert SageMakerSession(role=role, region="us-east-1", bucket="b-1").problems() == ()


def test_require_says_where_to_give_it() -> None:
    with pytest.raises(SessionError, match="AWS_REGION"):
        SageMakerSession().require("region")
    assert SageMakerSession(region="eu-west-1").require("region") == "eu-west-1"


def test_no_region_is_an_error_before_any_call() -> None:
    with pytest.raises(SessionError, match="no region"):
        SageMakerSession().client("s3")


def test_get_or_create_asks_the_account_once(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    script.answers = [caller("210987654321")]
    session = SageMakerSession.getOrCreate()
    assert session.bucket == "sagemaker-eu-central-1-210987654321"
    assert SageMakerSession.getOrCreate() is session
    assert SageMakerSession.getActiveSession() is session
    assert script.operations == ["GetCallerIdentity"]
    assert "sagespark/" in script.sent[0].headers["User-Agent"]


def test_a_given_bucket_needs_no_call(session: SageMakerSession, script: Script) -> None:
    assert session.resolve() == session
    assert session.location == S3Uri("bucket", "sagespark/")
    assert script.sent == []


def test_no_credentials_name_the_way_out(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SessionError, match="AWS_ACCESS_KEY_ID"):
        SageMakerSession(region="us-east-1").resolve()


def test_a_pickle_has_no_listeners_and_what_was_found(
    monkeypatch: pytest.MonkeyPatch, session: SageMakerSession
) -> None:
    assert pickle.loads(pickle.dumps(dataclasses.replace(session, clock=None, names=None))) == dataclasses.replace(
        session, clock=None, names=None
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4599")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    data = pickle.dumps(SageMakerSession(listeners=[threading.Lock()]))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_REGION")
    there = pickle.loads(data)
    assert there.listeners == ()
    assert (there.endpointUrl, there.region) == ("http://127.0.0.1:4599", "eu-west-1")


def test_a_pickle_never_carries_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREALKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "realsecret")
    session = SageMakerSession(region="us-east-1")
    session.client("s3")
    data = pickle.dumps(session)
    assert b"AKIAREALKEY" not in data
    assert b"realsecret" not in data


def test_a_copy_is_the_session_itself() -> None:
    session = SageMakerSession(listeners=[object()])
    assert copy.copy(session) is session
    assert copy.deepcopy([session])[0] is session


def test_the_active_session_is_seen_in_threads_and_restored(session: SageMakerSession) -> None:
    other = dataclasses.replace(session, prefix="other")
    with session.activated() as outer:
        assert outer is session
        with other.activated(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(SageMakerSession.getOrCreate).result() is other
        assert SageMakerSession.getActiveSession() is session
    assert SageMakerSession.getActiveSession() is None


def test_it_is_restored_after_an_error_and_after_activate_inside(session: SageMakerSession) -> None:
    other = dataclasses.replace(session, prefix="other")
    session.activate()

    def fail() -> None:
        with other.activated():
            session.activate()
            assert SageMakerSession.getActiveSession() is session
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert SageMakerSession.getActiveSession() is session


def test_blocks_that_overlap_do_not_restore_each_others_session(session: SageMakerSession) -> None:
    first, second = (dataclasses.replace(session, prefix=p) for p in ("first", "second"))
    one, two = first.activated(), second.activated()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert SageMakerSession.getActiveSession() is second
    two.__exit__(None, None, None)
    assert SageMakerSession.getActiveSession() is None


def test_one_client_per_connection(session: SageMakerSession, script: Script) -> None:
    assert session.client("sagemaker") is dataclasses.replace(session, tags={}).client("sagemaker")
    assert session.client("sagemaker") is not session.client("sagemaker", attempts=1)
    assert session.client("sagemaker") is not dataclasses.replace(session, region="eu-west-1").client("sagemaker")


def test_another_profile_gets_another_client(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    session = SageMakerSession(region="us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "one")
    first = session.client("sts")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "two")
    script.answers = [caller("123456789012")]
    assert session.client("sts") is not first
    session.account
    assert "Credential=two/" in script.sent[0].headers["Authorization"]


def test_threads_share_one_client(session: SageMakerSession, script: Script) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: session.client("logs"), range(32)))
    assert len({id(client) for client in found}) == 1


def test_a_forked_child_makes_its_own_clients(session: SageMakerSession) -> None:
    ours = session.client("s3")
    reader, writer = os.pipe()
    held = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with clients._cache.lock:
            held.set()
            release.wait(30)

    # The lock is held by a thread that the child does not have.
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        fresh = session.client("s3")
        os.write(writer, b"1" if fresh is not ours and SageMakerSession.getActiveSession() is None else b"0")
        os._exit(0)
    release.set()
    thread.join()
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
    assert session.client("s3") is ours


def test_buckets_on_loopback_are_in_the_path(session: SageMakerSession, script: Script) -> None:
    from sagespark.aws import s3

    script.answers = [b""]
    s3.exists(session, S3Uri("bucket", "a/b"))
    assert script.sent[0].path == "/bucket/a/b"
