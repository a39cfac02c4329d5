"""The HTTP front itself, over raw sockets: what it lets in, what it refuses, how it lives."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyarrow.fs import S3FileSystem

from sagespark.local.config import ServiceInfo
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire


def raw(server: ServiceProcess, data: bytes, *, end: bool = True) -> bytes:
    """Send bytes as they are, and where ``end`` nothing more; return what comes back until the connection ends."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def ask(
    server: ServiceProcess, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_health(server: ServiceProcess) -> None:
    code, headers, body = ask(server, "GET", "/_sagespark/health")
    assert (code, headers["content-type"], json.loads(body)["status"]) == (200, "application/json", "ok")
    assert ask(server, "POST", "/_sagespark/health")[0] == 405


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.9.8.7:1",
        "localhost",
        "LOCALHOST:80",
        "[::1]",
        "[::1]:9",
        "b.s3.localhost:4",
        "x.localhost",
        "localhost.",
    ],
)
def test_hosts_of_this_machine_are_let_in(server: ServiceProcess, host: str) -> None:
    assert status(raw(server, f"GET /_sagespark/health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())) == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "notlocalhost",
        "evil@127.0.0.1",
        "128.0.0.1",
        "0.0.0.0",
        "[::2]",
        "10.0.0.1:80",
        "",
        "127.0.0.1:80:80",
        "127.0.0.1, example.com",
        "169.254.169.254",
        "127.1",
        "2130706433",
    ],
)
def test_other_hosts_are_refused(server: ServiceProcess, host: str) -> None:
    for path in ("/_sagespark/health", "/", "/bucket/key"):
        assert status(raw(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())) == 403


def test_requests_with_no_host_or_two_are_refused(server: ServiceProcess) -> None:
    assert status(raw(server, b"GET / HTTP/1.0\r\n\r\n")) == 403
    two = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: example.com\r\n\r\n"
    assert status(raw(server, two)) == 403
    # The name in an absolute target is not what decides.
    assert status(raw(server, b"GET http://localhost/ HTTP/1.1\r\nHost: example.com\r\n\r\n")) == 403


def test_web_pages_of_other_origins_are_refused(server: ServiceProcess) -> None:
    assert ask(server, "POST", "/bucket?delete", b"<Delete/>", Origin="https://example.com")[0] == 403
    assert ask(server, "GET", "/_sagespark/health", Origin="null")[0] == 403
    assert ask(server, "GET", "/_sagespark/health", Origin="http://localhost:8888")[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b" folded: x\r\n",
        b"X: a\x00b\r\n",
    ],
)
def test_requests_that_two_servers_could_read_differently_are_refused(
    server: ServiceProcess, s3: Any, head: bytes
) -> None:
    bucket = "sagemaker-us-east-1-123456789012"
    body = b"5\r\nhello\r\n0\r\n\r\nDELETE /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % bucket.encode()
    answer = raw(server, b"PUT /%s/smuggled HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s" % (bucket.encode(), head, body))
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert "smuggled" not in keys


def test_large_headers_are_refused(server: ServiceProcess) -> None:
    assert ask(server, "GET", "/", X="a" * 70_000)[0] == 431


def test_large_bodies_are_refused_where_they_are_no_content(server: ServiceProcess) -> None:
    target = {"X-Amz-Target": "SageMaker.ListModels"}
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request("POST", "/", b"x" * (16 * 1024 * 1024 + 1), target)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["__type"] == "RequestEntityTooLargeException"
    # The connection goes on.
    connection.request("GET", "/_sagespark/health")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_payload_above_the_endpoints_limit_is_413(server: ServiceProcess) -> None:
    body = b"x" * (6 * 1024 * 1024 + 1)
    code, headers, _ = ask(server, "POST", "/endpoints/e/invocations", body)
    assert code == 413
    assert headers["x-amzn-requestid"]


def test_unknown_operations_name_themselves(server: ServiceProcess) -> None:
    code, headers, body = ask(server, "POST", "/", b"{}", X_Amz_Target="SageMaker.CreateHumanTaskUi")
    assert code == 400
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-errortype"] == "UnknownOperationException"
    assert "CreateHumanTaskUi" in json.loads(body)["message"]


# ------------------------------------------------------------------------------------------------- four forms of bodies


def put_forms() -> list[tuple[str, dict[str, str], bytes]]:
    content = b"some content" * 10_000
    plain = {"Content-Length": str(len(content))}
    forms = [("plain", plain, content)]
    cut = [content[i : i + 50_000] for i in range(0, len(content), 50_000)]
    te = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in cut) + b"0\r\n\r\n"
    forms.append(("transfer-encoding", {"Transfer-Encoding": "chunked"}, te))
    crc = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    trailer = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in cut) + f"0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()
    coded = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "X-Amz-Decoded-Content-Length": str(len(content)),
    }
    forms.append(("aws-chunked trailer", coded | {"Content-Length": str(len(trailer))}, trailer))
    chunks = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(c), b"0" * 64, c) for c in (*cut, b""))
    java = {
        "X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "X-Amz-Decoded-Content-Length": str(len(content)),
        "Content-Length": str(len(chunks)),
    }
    forms.append(("signed chunks", java, chunks))
    return forms


@pytest.mark.parametrize(("name", "headers", "body"), put_forms(), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("expect", [False, True], ids=["", "100-continue"])
def test_four_forms_of_bodies(
    server: ServiceProcess, s3: Any, bucket: str, name: str, headers: dict[str, str], body: bytes, expect: bool
) -> None:
    lines = [f"PUT /{bucket}/k HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{k}: {v}" for k, v in headers.items()] + (["Expect: 100-continue"] if expect else [])
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        if expect:
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    content = b"some content" * 10_000
    assert status(answer) == 200, answer
    assert f'etag: "{hashlib.md5(content).hexdigest()}"'.encode() in answer
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == content
    assert "ContentEncoding" not in got


def test_a_refused_upload_is_not_asked_for(server: ServiceProcess) -> None:
    head = b"PUT /none-such/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    answer = raw(server, head, end=False)
    assert status(answer) == 404
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer


def test_an_upload_that_breaks_off_leaves_nothing(server: ServiceProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n".encode()
    assert raw(server, head + b"x" * 3_000_000) == b""
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    leftovers = server.data / "objects" / "tmp"
    tries = 200
    while any(leftovers.iterdir()) and tries:
        tries -= 1
        s3.head_bucket(Bucket=bucket)
    assert list(leftovers.iterdir()) == []


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls(server: ServiceProcess, bucket: str, version: str) -> None:
    s3 = server.client("s3", signature_version=version)
    parameters = {"Bucket": bucket, "Key": "a b/ü+%"}
    put = urlsplit(s3.generate_presigned_url("put_object", Params=parameters | {"ContentType": "text/x"}))
    assert ask(server, "PUT", f"{put.path}?{put.query}", b"body", Content_Type="text/x")[0] == 200
    get = urlsplit(s3.generate_presigned_url("get_object", Params=parameters))
    code, headers, body = ask(server, "GET", f"{get.path}?{get.query}")
    assert (code, headers["content-type"], body) == (200, "text/x", b"body")
    late = get.query.replace("X-Amz-Date=20", "X-Amz-Date=19").replace("Expires=1", "Expires=0")
    assert late != get.query
    code, _, body = ask(server, "GET", f"{get.path}?{late}")
    assert code == 403
    assert b"Request has expired" in body


def test_buckets_in_the_host(server: ServiceProcess, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in (f"{bucket}.s3.localhost", f"{bucket}.localhost:4599", f"{bucket}.s3.us-east-1.localhost"):
        assert ask(server, "PUT", "/in%20host", host.encode(), Host=host)[0] == 200
        assert s3.get_object(Bucket=bucket, Key="in host")["Body"].read() == host.encode()
        code, _, body = ask(server, "GET", "/?list-type=2&prefix=in", Host=host)
        assert code == 200
        assert b"<Key>in host</Key>" in body
    # Not every machine resolves names under .localhost; those that do give the loopback address.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: resolve("127.0.0.1", *a, **k))
    url = server.url.replace("127.0.0.1", "localhost")
    virtual = server.client("s3", s3={"addressing_style": "virtual"}, endpoint_url=url)
    virtual.put_object(Bucket=bucket, Key="virtual", Body=b"v")
    assert virtual.get_object(Bucket=bucket, Key="virtual")["Body"].read() == b"v"


def test_errors_of_s3_are_xml(server: ServiceProcess) -> None:
    code, headers, body = ask(server, "GET", "/none-such/k")
    assert (code, headers["content-type"]) == (404, "application/xml")
    assert b"<Code>NoSuchBucket</Code>" in body
    assert headers["x-amz-request-id"].encode() in body
    code, _, body = ask(server, "HEAD", "/none-such/k")
    assert (code, body) == (404, b"")
    assert ask(server, "PATCH", "/b/k")[0] == 405
    assert ask(server, "GET", "/b/%ff%fe")[0] == 400
    code, _, body = ask(server, "GET", "/sagemaker-us-east-1-123456789012?list-type=2&max-keys=many")
    assert (code, b"<Code>InvalidArgument</Code>" in body) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete><Object>",
        b"no xml",
        b'<!DOCTYPE d [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b"<Delete></Delete>",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        b"",
    ],
)
def test_bodies_that_are_no_deletion_are_refused(server: ServiceProcess, body: bytes) -> None:
    code, _, answer = ask(server, "POST", "/sagemaker-us-east-1-123456789012?delete", body)
    assert code == 400
    assert b"<Code>MalformedXML</Code>" in answer


# ---------------------------------------------------------------------------------------------------------- signatures


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("strict"), "--require-signature") as process:
        yield process


def test_signatures_where_they_are_asked_for(strict: ServiceProcess, tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    good = {"access_key": "any/key"}
    s3 = strict.client("s3", **good)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="a b/ü+", Body=b"x" * 100_000)
    assert s3.get_object(Bucket="bucket", Key="a b/ü+")["Body"].read() == b"x" * 100_000
    assert s3.list_objects_v2(Bucket="bucket", Prefix="a b/")["KeyCount"] == 1
    s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "a b/ü+"}]})
    file = tmp_path / "file"
    file.write_bytes(b"y" * 12_000_000)
    s3.upload_file(str(file), "bucket", "big")
    sts = strict.client("sts", **good)
    assert sts.get_caller_identity()["Account"] == "123456789012"
    role = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="ss")["Credentials"]
    again = strict.client("s3", access_key=role["AccessKeyId"], secret_key=role["SecretAccessKey"])
    assert again.head_object(Bucket="bucket", Key="big")["ContentLength"] == 12_000_000
    assert strict.client("sagemaker", **good).list_training_jobs()["TrainingJobSummaries"] == []
    assert strict.client("iam", **good).get_role(RoleName="r")["Role"]["RoleName"] == "r"
    calls = [
        ("s3", "list_buckets", "SignatureDoesNotMatch"),
        ("sts", "get_caller_identity", "SignatureDoesNotMatch"),
        ("sagemaker", "list_training_jobs", "InvalidSignatureException"),
    ]
    for service, method, code in calls:
        with pytest.raises(ClientError) as caught:
            getattr(strict.client(service, secret_key="wrong"), method)()
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    for version in ("s3", "s3v4"):
        presigned = strict.client("s3", signature_version=version).generate_presigned_url
        parameters = {"Bucket": "bucket", "Key": "big", "ResponseContentType": "a/b c"}
        url = urlsplit(presigned("get_object", Params=parameters))
        assert ask(strict, "GET", f"{url.path}?{url.query}", Range="bytes=0-1")[2] == b"yy"
        assert ask(strict, "GET", f"{url.path}?{url.query.replace('b%20c', 'b%20d')}")[0] == 403
        assert ask(strict, "GET", url.path.replace("big", "bug") + f"?{url.query}")[0] == 403
        assert ask(strict, "GET", url.path)[0] == 403
    assert ask(strict, "POST", "/", b"{}", X_Amz_Target="SageMaker.ListModels")[0] == 403
    assert ask(strict, "GET", "/_sagespark/health")[0] == 200


def test_uploads_whose_content_is_not_signed(strict: ServiceProcess) -> None:
    # Arrow's client signs the headers alone and tells a checksum behind the content.
    key, secret = ServiceInfo("").access_key, ServiceInfo("").secret_key
    address = urlsplit(strict.url).netloc
    arrow = S3FileSystem(
        access_key=key, secret_key=secret, region="us-east-1", scheme="http", endpoint_override=address
    )
    strict.client("s3").create_bucket(Bucket="arrow")
    data = os.urandom(11_000_000)
    with arrow.open_output_stream("arrow/big") as stream:
        stream.write(data)
    with arrow.open_input_stream("arrow/big") as stream:
        assert stream.read() == data
    wrong = S3FileSystem(access_key=key, secret_key="no", region="us-east-1", scheme="http", endpoint_override=address)
    with pytest.raises(OSError, match="SIGNATURE_DOES_NOT_MATCH"):
        wrong.open_output_stream("arrow/other").close()


# --------------------------------------------------------------------------------------------------------------- living


def test_objects_are_there_again_after_kill_9(data: Path) -> None:
    process = ServiceProcess(data).start()
    s3 = process.client("s3")
    s3.create_bucket(Bucket="bucket")
    for i in range(20):
        s3.put_object(Bucket="bucket", Key=f"k{i}", Body=f"{i}".encode() * 1000, Metadata={"n": str(i)})
    s3.put_object(Bucket="bucket", Key="k0", Body=b"new")
    s3.delete_object(Bucket="bucket", Key="k1")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket="bucket", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = urlsplit(process.url)
    with socket.create_connection((parts.hostname, parts.port)) as half:
        half.sendall(
            b"PUT /bucket/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 4_000_000
        )
        deadline = 200
        while not any((data / "objects" / "tmp").iterdir()) and deadline:
            deadline -= 1
            s3.head_bucket(Bucket="bucket")
        process.kill()
    assert list((data / "objects" / "tmp").iterdir()), "the half upload was not caught in the act"
    with ServiceProcess(data) as process:
        s3 = process.client("s3")
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket="bucket")["Contents"]]
        assert keys == sorted(f"k{i}" for i in range(20) if i != 1)
        assert s3.get_object(Bucket="bucket", Key="k0")["Body"].read() == b"new"
        got = s3.get_object(Bucket="bucket", Key="k7")
        assert (got["Body"].read(), got["Metadata"]) == (b"7" * 1000, {"n": "7"})
        chosen = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        s3.complete_multipart_upload(Bucket="bucket", Key="parts", UploadId=upload, MultipartUpload=chosen)
        assert s3.get_object(Bucket="bucket", Key="parts")["Body"].read() == b"part"
        assert list((data / "objects" / "tmp").iterdir()) == []
        bodies = [p for p in (data / "objects" / "bodies").rglob("*") if p.is_file()]
        assert len(bodies) == 20
        assert process.stop() == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sagespark.local", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_one_folder_one_service(server: ServiceProcess) -> None:
    second = run("--port", "0", "--data", str(server.data))
    assert second.returncode == 1
    assert second.stdout == ""
    line = second.stderr.strip().splitlines()[-1]
    assert server.process is not None
    assert f"in use by another embedded service (process {server.process.pid})" in line
    assert "--data" in line


def test_a_port_that_is_taken(server: ServiceProcess, data: Path) -> None:
    port = str(urlsplit(server.url).port)
    taken = run("--port", port, "--data", str(data))
    assert (taken.returncode, taken.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1 port {port}" in taken.stderr
    assert not data.exists()


@pytest.mark.parametrize(
    ("statement", "line"),
    [
        ("PRAGMA user_version=99", "has version 99, this package knows version 1"),
        ("", "cannot be read: file is not a database"),
    ],
)
def test_a_folder_that_cannot_be_read_is_told_in_one_line(data: Path, statement: str, line: str) -> None:
    (data / "objects").mkdir(parents=True)
    file = data / "objects" / "index.sqlite"
    if statement:
        with sqlite3.connect(file) as db:
            db.execute(statement)
        db.close()
    else:
        file.write_bytes(b"no database" * 100)
    done = run("--port", "0", "--data", str(data))
    assert (done.returncode, done.stdout) == (1, "")
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_a_call_that_is_stuck_does_not_keep_the_process() -> None:
    program = (
        "import threading; from sagespark.local import __main__ as m; m.LEAVE_SECONDS = 0.05;"
        "threading.Thread(target=threading.Event().wait, name='stuck-call').start(); m.leave(3)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "stuck-call" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_0_after_the_requests_in_flight(data: Path, number: int) -> None:
    process = ServiceProcess(data).start()
    assert process.process is not None
    parts = urlsplit(process.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        head = b"PUT /sagemaker-us-east-1-123456789012/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        os.kill(process.process.pid, number)
        while True:
            try:
                socket.create_connection((parts.hostname, parts.port), timeout=5).close()
            except OSError:
                break
        connection.sendall(b"0123456789")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert process.process.wait(30) == 0
    assert process.process.stdout is not None
    assert process.process.stdout.read() == ""
    process.process.stdout.close()
    with ServiceProcess(data) as again:
        bucket = "sagemaker-us-east-1-123456789012"
        assert again.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"0123456789"


def test_the_cli_copies_folders(server: ServiceProcess, bucket: str, tmp_path: Path) -> None:
    aws = str(Path(sys.executable).with_name("aws"))

    def cli(*arguments: str) -> None:
        done = subprocess.run(
            [aws, *arguments], env=server.environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr

    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a b.txt").write_text("A")
    (folder / "sub" / "ü.bin").write_bytes(bytes(range(256)) * 40_000)
    cli("s3", "cp", "--quiet", "--recursive", str(folder), f"s3://{bucket}/up/")
    cli("s3", "sync", "--quiet", f"s3://{bucket}/up/", str(tmp_path / "down"))
    for name in ("a b.txt", "sub/ü.bin"):
        assert (tmp_path / "down" / name).read_bytes() == (folder / name).read_bytes()


def test_a_client_that_leaves_early_stops_the_sending(server: ServiceProcess, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(40_000_000))
    parts = urlsplit(server.url)
    before = server.log()
    for _ in range(3):
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
            connection.sendall(f"GET /{bucket}/k HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-1")["Body"].read() == b"\0\0"
    assert server.process is not None
    # The body's file is closed again, not kept until all of it would have been sent.
    folder = Path(f"/proc/{server.process.pid}/fd")
    tries = 100
    while tries and any("/bodies/" in os.readlink(p) for p in folder.iterdir() if p.is_symlink()):
        tries -= 1
        s3.head_bucket(Bucket=bucket)
    assert tries
    assert server.log() == before


def test_it_listens_on_loopback_only(server: ServiceProcess) -> None:
    import psutil

    assert server.process is not None
    kinds = psutil.Process(server.process.pid).net_connections("tcp")
    listening = {c.laddr.ip for c in kinds if c.status == psutil.CONN_LISTEN}
    assert "127.0.0.1" in listening
    assert listening <= {"127.0.0.1", "::1"}
