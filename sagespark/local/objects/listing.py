"""Pages of a listing: keys, and common prefixes up to a delimiter."""

from __future__ import annotations

from dataclasses import dataclass, field

from sagespark.local.objects.index import successor
from sagespark.local.objects.model import ObjectInfo
from sagespark.local.objects.store import ObjectStore


@dataclass
class Page:
    """One page."""

    objects: list[ObjectInfo] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    """Common prefixes, each ending with the delimiter."""
    truncated: bool = False
    last: str = ""
    """The last key or common prefix of the page: where the next one goes on."""

    @property
    def count(self) -> int:
        """Keys and common prefixes together, which is what S3 limits."""
        return len(self.objects) + len(self.prefixes)


def page(store: ObjectStore, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """Return the page that follows ``after``.

    Parameters
    ----------
    prefix, delimiter : str
        As S3 has them; empty for none.
    after : str
        A key, or a common prefix, whose keys are then all skipped; empty to begin.
    limit : int
        Most keys and common prefixes together; 0 gives an empty page that is not truncated.
    """
    result = Page()
    if limit == 0:
        return result
    start, inclusive = after.encode(), not after
    head, cut = prefix.encode(), delimiter.encode()
    if cut and after.endswith(delimiter) and after.startswith(prefix) and _common(start, head, cut) == start:
        beyond = successor(start)
        if beyond is None:
            return result
        start, inclusive = beyond, True
    while True:
        # A few more than asked for: keys under one common prefix are passed over.
        rows = store.rows(bucket, start, head, min(limit - result.count + 1, 1000), inclusive=inclusive)
        common = b""
        for row in rows:
            key = row[0]
            if common and key.startswith(common):
                continue
            if result.count == limit:
                result.truncated = True
                return result
            common = _common(key, head, cut)
            if common:
                result.prefixes.append(common.decode())
                result.last = result.prefixes[-1]
            else:
                result.objects.append(store.info(bucket, row))
                result.last = result.objects[-1].key
        if not rows:
            return result
        if common:
            beyond = successor(common)
            if beyond is None:
                return result
            start, inclusive = beyond, True
        else:
            start, inclusive = rows[-1][0], False


def _common(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Return the common prefix that ``key`` falls under, or nothing."""
    if not delimiter:
        return b""
    at = key.find(delimiter, len(prefix))
    return key[: at + len(delimiter)] if at >= 0 else b""
