"""The settings of buckets that AWS's clients read: those of a bucket where nobody has set any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.wire


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_the_account_alone_has_rights(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for acl in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        (grant,) = acl["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert (grant["Grantee"]["ID"], grant["Grantee"]["Type"]) == (acl["Owner"]["ID"], "CanonicalUser")
    assert refused(s3.get_object_acl, Bucket=bucket, Key="none") == ("NoSuchKey", 404)


def test_a_bucket_that_does_not_exist_has_no_acl(server: Any, s3: Any) -> None:
    # So AWS's SDK for Java 1.x tells whether a bucket exists.
    assert refused(s3.get_bucket_acl, Bucket="none-such") == ("NoSuchBucket", 404)
    with urlopen(f"{server.url}/sagemaker-us-west-2-123456789012/?acl", timeout=20) as answer:
        assert ElementTree.fromstring(answer.read()).tag.endswith("}AccessControlPolicy")


def test_defaults_of_a_new_bucket(s3: Any, bucket: str) -> None:
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert (len(block), all(block.values())) == (4, True)
    (rule,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
    ],
)
def test_what_a_bucket_does_not_have(s3: Any, bucket: str, method: str, code: str) -> None:
    assert refused(getattr(s3, method), Bucket=bucket) == (code, 404)
    assert refused(getattr(s3, method), Bucket="none-such") == ("NoSuchBucket", 404)
