"""What the embedded service can be told to do, beyond AWS's operations: below ``/_sagespark/``.

``POST /_sagespark/training-jobs/NAME/interrupt?region=R&seconds=S``
    The job's spot instances go; there are others after S seconds, 0 unless given.
``POST /_sagespark/training-jobs/NAME/lose-host?region=R``
    An instance of the job breaks: an InternalServerError, which RetryStrategy retries.

The answer is a JSON object with ``message``; its status is 200, or 404 or 409 where nothing could be done.
"""

from __future__ import annotations

import json
import math
import re
from urllib.parse import parse_qs

from sagespark.core.errors import ValidationError
from sagespark.core.settings import DEFAULT_REGION
from sagespark.local.lifecycle.supervisor import Supervisor
from sagespark.local.wire.context import HttpResponse

PREFIX = "/_sagespark/"
"""What the paths begin with."""
_JOB = re.compile(r"/_sagespark/training-jobs/([A-Za-z0-9-]{1,63})/(interrupt|lose-host)")


class Admin:
    """Answer requests below ``/_sagespark/``.

    Parameters
    ----------
    training : Supervisor
        Runs the training jobs.
    """

    def __init__(self, training: Supervisor) -> None:
        self._training = training

    def answer(self, method: str, path: str, query: str) -> HttpResponse:
        """Do what a request asks for."""
        match = _JOB.fullmatch(path)
        if match is None:
            return _said(404, f"There is nothing at {path}.")
        if method != "POST":
            return _said(405, f"{path} takes POST.")
        name, verb = match.groups()
        values = {key: found[-1] for key, found in parse_qs(query).items()}
        region = values.get("region", DEFAULT_REGION)
        try:
            seconds = float(values.get("seconds", "0"))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            return _said(400, f"seconds must be a number, 0 or more, but got {values['seconds']!r}.")
        try:
            if verb == "interrupt":
                self._training.interrupt(region, name, seconds)
            else:
                self._training.lose_host(region, name)
        except ValidationError as error:
            return _said(409, "; ".join(error.problems))
        return _said(200, f"Training job {name} was told.")


def _said(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, [("content-type", "application/json")], json.dumps({"message": text}).encode())
