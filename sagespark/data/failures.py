"""Errors on their way from an executor to the driver."""

from __future__ import annotations

import re

from sagespark.core import errors
from sagespark.core.errors import SageSparkError

_RAISED = re.compile(r"^sagespark\.core\.errors\.(\w+): (.*)$", re.MULTILINE)
_NO_PACKAGE = re.compile(r"^ModuleNotFoundError: No module named '(sagespark|boto3|botocore|numpy|pyarrow)\b.*'$", re.M)
_END = re.compile(r"^(\s*$|\s+at |Traceback |During handling |The above exception )")


def unwrapped(error: Exception) -> Exception:
    """Return the package's own error inside what Spark raised for a failed task; any other error as it is.

    Spark carries a Python worker's error as text: the traceback, and last the exception's type and message.

    Parameters
    ----------
    error : Exception
        What an action of Spark raised.
    """
    text = str(error)
    raised = list(_RAISED.finditer(text))
    for found in reversed(raised):
        cls = getattr(errors, found[1], None)
        if isinstance(cls, type) and issubclass(cls, SageSparkError):
            lines = [found[2]]
            for line in text[found.end() :].split("\n")[1:]:
                if _END.match(line):
                    break
                lines.append(line)
            return cls("\n".join(lines))
    missing = _NO_PACKAGE.search(text)
    if missing:
        return SageSparkError(
            f"the executors' Python has no package {missing[1]!r}; install sagespark there too, or point "
            "spark.pyspark.python (PYSPARK_PYTHON) at an environment that has it. `sagespark doctor` checks it"
        )
    return error
