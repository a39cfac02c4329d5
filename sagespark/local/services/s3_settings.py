"""S3's settings of buckets and objects, as they are where nobody has set any: read, never changed.

Facts: AWS's SDK for Java 1.x asks for a bucket's ACL to tell whether the bucket exists (``doesBucketExistV2``); tools
that look a bucket over read the rest. Defaults of a new bucket: the S3 user guide's "Default settings for new buckets".
"""

from __future__ import annotations

from typing import Any, NoReturn

from sagespark.local.services.s3 import S3Base, no_such_key, owner
from sagespark.local.wire.context import AwsError, Context


class S3Settings(S3Base):
    """Read operations on ACLs, encryption, public access and what a bucket does not have."""

    def GetBucketAcl(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell that the account has every right, and nobody else has any."""
        self._bucket(request)
        return _acl(ctx.account)

    def GetObjectAcl(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell the same of an object."""
        if self._store.head(self._bucket(request), request["Key"]) is None:
            raise no_such_key(request["Key"])
        return _acl(ctx.account)

    def GetBucketEncryption(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell S3's default, under which a client sees no difference."""
        self._bucket(request)
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
        return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}

    def GetPublicAccessBlock(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell that nothing is public."""
        self._bucket(request)
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        return {"PublicAccessBlockConfiguration": dict.fromkeys(names, True)}

    def GetBucketOwnershipControls(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell that ACLs are off."""
        self._bucket(request)
        return {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}}

    def GetBucketPolicy(self, ctx: Context, request: dict[str, Any]) -> NoReturn:
        """Refuse: there is none."""
        self._none(request, "NoSuchBucketPolicy", "The bucket policy does not exist")

    def GetBucketTagging(self, ctx: Context, request: dict[str, Any]) -> NoReturn:
        """Refuse: there is none."""
        self._none(request, "NoSuchTagSet", "The TagSet does not exist")

    def GetBucketLifecycleConfiguration(self, ctx: Context, request: dict[str, Any]) -> NoReturn:
        """Refuse: there is none."""
        self._none(request, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")

    def GetBucketCors(self, ctx: Context, request: dict[str, Any]) -> NoReturn:
        """Refuse: there is none."""
        self._none(request, "NoSuchCORSConfiguration", "The CORS configuration does not exist")

    def _none(self, request: dict[str, Any], code: str, message: str) -> NoReturn:
        raise AwsError(code, message, status=404, BucketName=self._bucket(request))


def _acl(account: str) -> dict[str, Any]:
    who = owner(account)
    return {"Owner": who, "Grants": [{"Grantee": who | {"Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}]}
