"""What the services of plain resources (models, endpoint configs) share: create, describe, list, delete by name."""

from __future__ import annotations

from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.services import paging
from sagespark.local.services.arns import arn
from sagespark.local.services.tags import drop_tags, put_tags
from sagespark.local.store import Conflict, Document, Store
from sagespark.local.wire.context import AwsError, Context


def missing(kind: str, identifier: str) -> AwsError:
    """Return the error of a resource that does not exist, in AWS's words."""
    return AwsError("ValidationException", f'Could not find {WORDS[kind]} "{identifier}".')


WORDS = {"Model": "model", "EndpointConfig": "endpoint configuration", "Endpoint": "endpoint"}
"""What AWS's messages call a kind of the Store."""


class Resources:
    """Documents of one kind, without a life of their own.

    Parameters
    ----------
    store : Store
        Keeps them.
    clock : Clock
        Stamps them.
    kind : str
        Kind of the Store, which is also the prefix of AWS's member names: ``ModelName``, ``ModelArn``.
    """

    def __init__(self, store: Store, clock: Clock, kind: str) -> None:
        self._store = store
        self._clock = clock
        self._kind = kind

    def create(self, ctx: Context, document: Document, tags: list[dict[str, str]]) -> dict[str, Any]:
        """Keep a new document, which has the name already; return its ARN as the operation answers it.

        Raises
        ------
        AwsError
            ``ValidationException`` if the name is taken, or a tag is refused.
        """
        name = document[f"{self._kind}Name"]
        identifier = arn(self._kind, ctx.region, ctx.account, name)
        document |= {f"{self._kind}Arn": identifier, "CreationTime": self._clock.now()}
        with self._store.transaction():
            try:
                self._store.put(self._kind, ctx.region, name, document)
            except Conflict:
                raise AwsError(
                    "ValidationException", f'Cannot create already existing {WORDS[self._kind]} "{identifier}".'
                ) from None
            put_tags(self._store, identifier, tags)
        return {f"{self._kind}Arn": identifier}

    def get(self, ctx: Context, name: str) -> Document:
        """Return a document.

        Raises
        ------
        AwsError
            ``ValidationException`` if there is none.
        """
        document = self._store.get(self._kind, ctx.region, name)
        if document is None:
            raise missing(self._kind, arn(self._kind, ctx.region, ctx.account, name))
        return document

    def page(self, ctx: Context, request: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """Return one page of summaries, newest first by default, and the token of the next."""
        name = f"{self._kind}Name"
        rows = paging.select(self._store.list(self._kind, ctx.region), request, name=name)
        keys = {"Name": name, "CreationTime": "CreationTime"}
        rows, token = paging.page(rows, request, name=name, keys=keys, order="Descending")
        return [{k: row[k] for k in (name, f"{self._kind}Arn", "CreationTime")} for row in rows], token

    def delete(self, ctx: Context, name: str) -> None:
        """Forget a document and its tags.

        Raises
        ------
        AwsError
            ``ValidationException`` if there is none.
        """
        with self._store.transaction():
            document = self.get(ctx, name)
            self._store.delete(self._kind, ctx.region, name)
            drop_tags(self._store, document[f"{self._kind}Arn"])
