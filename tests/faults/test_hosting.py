"""Endpoints whose processes die, hang or misbehave."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from sagespark.core.clock import SystemClock
from sagespark.local.containers.images import Image
from sagespark.local.containers.orphans import start_time
from sagespark.local.containers.runner import ContainerRuntime
from sagespark.local.hosting import instance as instances
from sagespark.local.hosting.client import ContainerClient, ContainerGoneError
from sagespark.local.hosting.instance import Instance, State
from support.containers import PYTHON, RUN, SERVER, Lines, isolated, opt_ml, wait_gone
from support.endpoints import Hosting, one_centre
from support.local_service import ServiceProcess

CSV, JSON = "text/csv", "application/json"


def serving(data: Path) -> list[int]:
    """Return the launchers of the serving containers of the service on ``data``."""
    return [int(path.stem) for path in (data / "containers").glob("*.container")]


@pytest.fixture
def hosting(tmp_path: Path) -> Iterator[Hosting]:
    with ServiceProcess(tmp_path / "data") as server:
        yield Hosting(server)


def again(hosting: Hosting) -> Hosting:
    """Start the killed service again on its folder."""
    return Hosting(hosting.server.start())


def test_a_serving_process_that_is_killed_is_replaced(hosting: Hosting) -> None:
    clock = SystemClock()
    name = hosting.endpoint(hosting.config({"ModelName": hosting.model(one_centre(4))}))
    assert hosting.distance(name) == 4.0
    (first,) = serving(hosting.server.data)
    os.kill(first, signal.SIGKILL)
    deadline = clock.monotonic() + 30
    while serving(hosting.server.data) in ([first], []):
        assert clock.monotonic() < deadline
        clock.sleep(0.01)
    # A request waits for the container that takes its place.
    assert hosting.distance(name) == 4.0
    assert hosting.sm.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"
    assert "its container ended" in hosting.server.log()


def test_endpoints_come_back_in_service_after_kill_9(hosting: Hosting) -> None:
    model = hosting.model(one_centre(6))
    config = hosting.config({"ModelName": model})
    name = hosting.endpoint(config)
    # What the endpoint was made of may be gone by then.
    hosting.sm.delete_endpoint_config(EndpointConfigName=config)
    hosting.sm.delete_model(ModelName=model)
    url = f"models/{model}/model.tar.gz"
    hosting.s3.delete_object(Bucket="sagemaker-us-east-1-123456789012", Key=url)
    former = serving(hosting.server.data)
    hosting.server.kill()
    hosting = again(hosting)
    assert hosting.sm.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"
    assert hosting.distance(name) == 6.0
    assert [start_time(pid) for pid in former] == [None]
    hosting.sm.delete_endpoint(EndpointName=name)
    hosting.sm.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    assert list((hosting.server.data / "hosting").iterdir()) == []


def test_what_was_under_way_at_kill_9_is_finished(hosting: Hosting) -> None:
    first, second = (hosting.config({"ModelName": hosting.model(one_centre(i))}) for i in (1, 2))
    updated = hosting.endpoint(first)
    deleted = hosting.endpoint(first)
    hosting.sm.create_endpoint(EndpointName="created", EndpointConfigName=second)
    hosting.sm.update_endpoint(EndpointName=updated, EndpointConfigName=second)
    hosting.sm.delete_endpoint(EndpointName=deleted)
    hosting.server.kill()
    hosting = again(hosting)
    for name in ("created", updated):
        assert hosting.settled(name)["EndpointStatus"] == "InService"
        assert hosting.distance(name) == 2.0
    assert hosting.sm.describe_endpoint(EndpointName=updated)["EndpointConfigName"] == second
    with pytest.raises(botocore.exceptions.ClientError, match="Could not find endpoint"):
        hosting.sm.describe_endpoint(EndpointName=deleted)
    code = hosting.server.stop()
    assert code == 0
    assert serving(hosting.server.data) == []
    hosting.server.start()


# Containers of all kinds, as users bring them.


class Programs(ContainerRuntime):
    """Real containers; an image's URI is the program that it serves with."""

    def resolve(self, image: str) -> Image:
        return Image(uri=image, train=(), serve=(PYTHON, "-c", image), environment={})


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., tuple[Instance, Lines]]]:
    """Start an instance of a program."""
    runtime = Programs(tmp_path / "containers", isolated=isolated())
    made: list[Instance] = []

    def start(program: str, startup_seconds: float = 20.0) -> tuple[Instance, Lines]:
        from sagespark.local.containers.runner import ContainerSpec

        lines = Lines()
        ml = opt_ml(tmp_path / f"ml{len(made)}")
        spec = ContainerSpec("test", (PYTHON, "-c", program), ml, {"PYTHONUNBUFFERED": "1"}, port=8080)
        instance = Instance("test", lambda: runtime.run(spec, lines), startup_seconds, SystemClock())
        instance.start()
        made.append(instance)
        return instance, lines

    yield start
    for instance in made:
        instance.kill()


def post(instance: Instance, *bodies: bytes, timeout: float = 20.0) -> list[Any]:
    """Send requests one after the other on one client; return answers and errors."""
    import asyncio

    async def send() -> list[Any]:
        client: ContainerClient | None = instance.client
        if client is None:
            return [ContainerGoneError("no container is ready", sent=False)]
        found: list[Any] = []
        for body in bodies:
            try:
                async with asyncio.timeout(timeout):
                    found.append(await client.post("/invocations", {"content-type": CSV}, body))
            except (ContainerGoneError, TimeoutError) as error:
                found.append(error)
        client.close()
        return found

    return asyncio.run(send())


def test_an_answer_of_any_framing_is_read(launch: Callable[..., tuple[Instance, Lines]]) -> None:
    program = SERVER + textwrap.dedent("""
        def invoke(self, body):
            kind = body[:5]
            self.send_response(200)
            if kind == b"chunk":
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for part in (b"one ", b"two"):
                    self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))
                self.wfile.write(b"0\\r\\n\\r\\n")
            elif kind == b"close":
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(b"until the end")
                self.close_connection = True
            else:
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        Handler.invoke = invoke
    """)
    instance, lines = launch(program + RUN)
    assert instance.wait(20) is State.READY, lines.lines
    large = bytes(range(256)) * 20_000
    answers = post(instance, b"plain", b"chunk", b"close", large, b"again")
    assert [a.status for a in answers] == [200] * 5
    assert [a.body for a in answers] == [b"plain", b"one two", b"until the end", large, b"again"]


def test_a_connection_closed_while_idle_is_replaced(launch: Callable[..., tuple[Instance, Lines]]) -> None:
    # The server announces nothing, and closes after each answer, as one with a short keep-alive does.
    program = SERVER + textwrap.dedent("""
        def invoke(self, body):
            self.answer(body)
            self.close_connection = True
        Handler.invoke = invoke
    """)
    instance, lines = launch(program + RUN)
    assert instance.wait(20) is State.READY, lines.lines
    answers = post(instance, *[str(i).encode() for i in range(30)])
    assert [a.body for a in answers] == [str(i).encode() for i in range(30)]


def test_a_container_that_dies_under_a_request(launch: Callable[..., tuple[Instance, Lines]]) -> None:
    program = SERVER + textwrap.dedent("""
        def invoke(self, body):
            if body == b"die":
                os._exit(9)
            self.answer(body)
        Handler.invoke = invoke
    """)
    instance, lines = launch(program + RUN)
    assert instance.wait(20) is State.READY, lines.lines
    fine, died = post(instance, b"1", b"die")
    assert fine.body == b"1"
    assert isinstance(died, ContainerGoneError)
    clock = SystemClock()
    deadline = clock.monotonic() + 20
    while isinstance(answer := post(instance, b"2")[0], ContainerGoneError):
        assert clock.monotonic() < deadline
        clock.sleep(0.01)
    assert answer.body == b"2"


def test_one_that_never_answers_fails_in_time(launch: Callable[..., tuple[Instance, Lines]]) -> None:
    instance, _ = launch("import time; time.sleep(300)", startup_seconds=0.5)
    assert instance.wait(20) is State.FAILED


def test_one_that_ends_at_once_fails_after_three_tries(launch: Callable[..., tuple[Instance, Lines]]) -> None:
    instance, lines = launch("print('no model')")
    assert instance.wait(20) is State.FAILED
    assert lines.lines == ["no model"] * 3


def test_one_that_hangs_is_replaced(
    launch: Callable[..., tuple[Instance, Lines]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "_PING_EVERY", 0.05)
    monkeypatch.setattr(instances, "PING_SECONDS", 0.2)
    monkeypatch.setattr(instances, "_PINGS_MISSED", 2)
    program = SERVER + textwrap.dedent("""
        import threading, time
        def get(self):
            if hang.is_set():
                time.sleep(300)
            self.answer(b"")
        def invoke(self, body):
            hang.set()
            self.answer(body)
        hang = threading.Event()
        print("started")
        Handler.do_GET, Handler.invoke = get, invoke
    """)
    instance, lines = launch(program + RUN)
    assert instance.wait(20) is State.READY
    assert post(instance, b"hang")[0].status == 200
    clock = SystemClock()
    deadline = clock.monotonic() + 20
    while lines.lines.count("started") < 2:
        assert clock.monotonic() < deadline
        clock.sleep(0.02)


def test_stop_lets_requests_end_and_then_the_program(launch: Callable[..., tuple[Instance, Lines]]) -> None:
    program = SERVER + textwrap.dedent("""
        import signal, time
        def invoke(self, body):
            print("asked")
            time.sleep(0.5)
            self.answer(b"late")
        def leave(*_):
            print("leaving")
            os._exit(0)
        Handler.invoke = invoke
        signal.signal(signal.SIGTERM, leave)
    """)
    instance, lines = launch(program + RUN)
    assert instance.wait(20) is State.READY
    answers: list[Any] = []

    def ask() -> None:
        instance.in_flight += 1
        answers.extend(post(instance, b"x"))
        instance.in_flight -= 1

    thread = threading.Thread(target=ask)
    thread.start()
    lines.wait_for("asked")
    instance.stop(drain_seconds=20)
    thread.join()
    assert [a.body for a in answers] == [b"late"]
    assert lines.lines == ["asked", "leaving"]
    assert instance.state is State.STOPPED


def test_headers_pass_and_what_goes_wrong_is_a_model_error(tmp_path: Path) -> None:
    import asyncio

    from sagespark.local.hosting.deployments import Deployments
    from sagespark.local.hosting.fleet import VariantPlan
    from sagespark.local.logs import LogStore
    from sagespark.local.objects.store import ObjectStore
    from sagespark.local.services.runtime import Runtime
    from sagespark.local.store import Store
    from sagespark.local.wire.context import AwsError, Context

    store = Store(tmp_path / "store")
    clock = SystemClock()
    deployments = Deployments(
        store,
        LogStore(tmp_path / "logs"),
        ObjectStore(tmp_path / "objects"),
        Programs(tmp_path / "containers", isolated=isolated()),
        tmp_path / "hosting",
        clock,
    )
    program = SERVER + textwrap.dedent("""
        import time
        def invoke(self, body):
            if body == b"slow":
                time.sleep(300)
            if body == b"die":
                os._exit(1)
            if body == b"headers":
                self.send_response(200)
                self.send_header("content-type", "text/odd")
                self.send_header("x-amzn-sagemaker-custom-attributes", "b=2")
                names = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")
                body = "|".join(self.headers[name] for name in names).encode()
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.answer(b"own words", 503 if body == b"503" else 200)
        Handler.invoke = invoke
    """)
    now = clock.now()
    store.put(
        "Endpoint",
        "us-east-1",
        "e",
        {"EndpointArn": "arn", "EndpointStatus": "Creating", "CreationTime": now, "LastModifiedTime": now},
    )
    deployments.create(("us-east-1", "e"), [VariantPlan("v", program + RUN, None, {}, 1, 1.0)], "c")()
    deadline = clock.monotonic() + 30
    while deployments.fleet("us-east-1", "e") is None:
        assert clock.monotonic() < deadline, store.get("Endpoint", "us-east-1", "e")
        clock.sleep(0.02)
    context = Context("sagemaker-runtime", "InvokeEndpoint", "us-east-1", "123456789012", "", "", "")
    runtime = Runtime(deployments, timeout=0.5)

    # One event loop, as in the service: connections are kept.
    loop = asyncio.Runner()

    def invoke(body: bytes, **members: str) -> Any:
        return loop.run(runtime.InvokeEndpoint(context, {"EndpointName": "e", "Body": body, **members}))

    try:
        assert invoke(b"fine")["Body"] == b"own words"
        answer = invoke(b"headers", ContentType="text/csv", Accept="text/odd", CustomAttributes="a=1")
        assert answer == {
            "Body": b"text/csv|text/odd|a=1",
            "ContentType": "text/odd",
            "InvokedProductionVariant": "v",
            "CustomAttributes": "b=2",
        }
        for body, status, text in (
            (b"slow", 0, "Your invocation timed out while waiting for a response from container primary."),
            (b"503", 503, "own words"),
            (b"die", 0, "An error occurred while handling request as the model process exited."),
        ):
            with pytest.raises(AwsError) as error:
                invoke(body)
            assert error.value.code == "ModelError"
            assert error.value.members["OriginalStatusCode"] == status
            assert error.value.members["OriginalMessage"].startswith(text)
            assert error.value.message.startswith(f'Received server error ({status}) from primary with message "{text}')
        # The request after that waits for the container that takes its place.
        assert invoke(b"fine")["Body"] == b"own words"
    finally:
        deployments.stop()
        loop.close()
    wait_gone("own words")
