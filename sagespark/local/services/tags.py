"""Tags of every SageMaker resource: AddTags, ListTags, DeleteTags, and the helpers that other services share.

Tags are kept beside the resources under the ARN, so that a resource's service need not know them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from sagespark.local.services import arns, paging
from sagespark.local.store import Missing, Store
from sagespark.local.wire.context import AwsError, Context

KIND = "Tags"
"""Kind of the Store under which the tags of a resource are kept; the name is the ARN."""
LIMIT = 50
"""Most tags of a resource."""

Tag = dict[str, str]


def problems(tags: Sequence[Tag]) -> list[str]:
    """Return what is wrong with the tags of a request, in AWS's words."""
    found = []
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        found.append("Duplicate tag keys found. Please note that each tag key must be unique.")
    if any(key.lower().startswith("aws:") for key in keys):
        found.append("aws: prefixed tag key names are not allowed for external use.")
    if len(keys) > LIMIT:
        found.append(f"A resource can have at most {LIMIT} tags, but got {len(keys)}.")
    return found


def put_tags(store: Store, arn: str, tags: Iterable[Tag]) -> None:
    """Add tags to a resource; one with the same key is replaced.

    Raises
    ------
    AwsError
        ``ValidationException`` if a key is refused or the resource would have too many.
    """
    new = list(tags)
    if not new:
        return
    region = _region(arn)
    with store.transaction():
        kept = {tag["Key"]: tag["Value"] for tag in get_tags(store, arn)} | {t["Key"]: t["Value"] for t in new}
        wrong = problems(new)
        if len(kept) > LIMIT and not wrong:
            wrong = [f"A resource can have at most {LIMIT} tags, but {arn} would have {len(kept)}."]
        if wrong:
            raise AwsError("ValidationException", " ".join(wrong))
        rows = [{"Key": key, "Value": value} for key, value in kept.items()]
        store.put(KIND, region, arn, {"Tags": rows}, unique=False)


def get_tags(store: Store, arn: str) -> list[Tag]:
    """Return the tags of a resource, oldest first."""
    document = store.get(KIND, _region(arn), arn)
    tags: list[Tag] = document["Tags"] if document else []
    return tags


def drop_tags(store: Store, arn: str) -> None:
    """Forget the tags of a resource that is deleted."""
    store.delete(KIND, _region(arn), arn)


def _region(arn: str) -> str:
    parsed = arns.parse(arn)
    return parsed.region if parsed else ""


class Tags:
    """The operations on tags.

    Parameters
    ----------
    store : Store
        Keeps the tags and the resources that they belong to.
    """

    service = "sagemaker"

    def __init__(self, store: Store) -> None:
        self._store = store

    def AddTags(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Add tags to a resource, or overwrite those with the same key."""
        with self._store.transaction():
            self._check(ctx, request["ResourceArn"])
            put_tags(self._store, request["ResourceArn"], request["Tags"])
            return {"Tags": get_tags(self._store, request["ResourceArn"])}

    def ListTags(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List the tags of a resource, page by page."""
        self._check(ctx, request["ResourceArn"])
        tags = get_tags(self._store, request["ResourceArn"])
        rows, token = paging.cut(tags, lambda tag: tag["Key"], request, default=LIMIT)
        return {"Tags": rows, "NextToken": token}

    def DeleteTags(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Remove tags by key; a key that the resource does not have is no error."""
        gone = set(request["TagKeys"])

        def remove(document: dict[str, Any]) -> None:
            document["Tags"] = [tag for tag in document["Tags"] if tag["Key"] not in gone]

        arn = request["ResourceArn"]
        with self._store.transaction():
            self._check(ctx, arn)
            with contextlib.suppress(Missing):
                self._store.update(KIND, _region(arn), arn, remove)
        return {}

    def _check(self, ctx: Context, arn: str) -> None:
        """Refuse an ARN that names no resource of this account."""
        parsed = arns.parse(arn)
        if parsed is None:
            raise AwsError("ValidationException", f'"{arn}" is not the ARN of a SageMaker resource.')
        known = parsed.kind is not None and parsed.account == ctx.account and parsed.region == ctx.region
        if not known or self._store.get(str(parsed.kind), parsed.region, parsed.name) is None:
            raise AwsError("ValidationException", f'Could not find resource "{arn}".')
