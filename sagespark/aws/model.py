"""Models: Create, Describe, List and Delete Model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sagespark.aws.handle import Handle


@dataclass(frozen=True)
class Model(Handle):
    """Name one model of an account and region; see `Handle` for the verbs."""

    kind: ClassVar[str] = "Model"
