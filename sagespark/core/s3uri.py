"""S3 locations as values."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sagespark.core.errors import ValidationError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, order=True)
class S3Uri:
    """A bucket and a key, or a bucket and a prefix that ends in ``/``.

    Parameters
    ----------
    bucket : str
        3 to 63 lower-case letters, digits, dots and hyphens.
    key : str
        Without a leading ``/`` and without ``//``, which SageMaker refuses.
    """

    bucket: str
    key: str = ""

    def __post_init__(self) -> None:
        """Refuse what S3 or SageMaker would refuse later."""
        problems = []
        if not _BUCKET.fullmatch(self.bucket):
            problems.append(
                f"bucket {self.bucket!r} is not an S3 bucket name: 3 to 63 of a-z, 0-9, '.' and '-', "
                "beginning and ending with a letter or digit"
            )
        if self.key.startswith("/") or "//" in self.key:
            problems.append(f"key {self.key!r} must not begin with '/' or hold '//': SageMaker refuses such keys")
        if problems:
            raise ValidationError(problems, "S3Uri")

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Return the location that ``s3://bucket/key`` names (``s3a`` and ``s3n`` are accepted).

        Raises
        ------
        ValidationError
            If ``text`` is not such a URI.
        """
        match = re.fullmatch(r"s3[an]?://([^/]+)(?:/(.*))?", text, re.DOTALL)
        if match is None:
            raise ValidationError(f"{text!r} is not an S3 URI; it must look like s3://bucket/key", "S3Uri.parse")
        return cls(match[1], match[2] or "")

    def __truediv__(self, part: str) -> S3Uri:
        """Return the location one step below; ``part`` may end in ``/`` to stay a prefix."""
        head = self.key if not self.key or self.key.endswith("/") else self.key + "/"
        return S3Uri(self.bucket, head + part.lstrip("/"))

    @property
    def prefix(self) -> S3Uri:
        """The same location as a prefix: ending in ``/``, so that ``job-1`` never covers ``job-10``."""
        return self if not self.key or self.key.endswith("/") else S3Uri(self.bucket, self.key + "/")

    @property
    def name(self) -> str:
        """The last step of the key."""
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> S3Uri:
        """The prefix that holds this location."""
        head = self.key.rstrip("/").rpartition("/")[0]
        return S3Uri(self.bucket, head + "/" if head else "")

    def __str__(self) -> str:
        """Return ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"
