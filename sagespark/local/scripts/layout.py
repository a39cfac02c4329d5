"""Where things are in the container, and what its environment says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FRAMEWORK_VARIABLE = "SAGESPARK_FRAMEWORK"
"""Environment variable with the framework of the image, such as ``pytorch``."""
NOTE_VARIABLE = "SAGESPARK_NOTE"
"""Environment variable with a line for the log about the environment, such as another version than was asked for."""


def base() -> Path:
    """Return ``/opt/ml``, or the folder that stands for it where containers are not isolated."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def framework() -> str:
    """Return the framework of the image."""
    return os.environ.get(FRAMEWORK_VARIABLE, "")


def config(name: str) -> dict[str, Any]:
    """Return a file of ``/opt/ml/input/config``, empty where there is none."""
    path = base() / "input" / "config" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def decoded(text: str) -> Any:
    """Return the value of a hyperparameter: scripts get theirs as JSON; what is none is taken as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
