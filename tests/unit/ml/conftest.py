from __future__ import annotations

import pytest

from sagespark.aws.session import SageMakerSession
from support.scripted_aws import _alone, clock, script, session

__all__ = ["_alone", "aws", "clock", "script", "session"]


@pytest.fixture
def aws(session: SageMakerSession) -> SageMakerSession:
    """A session whose every setting is given; nothing listens at its endpoint."""
    return session
