"""Rows of the stages that run a script: the SDK's arguments of its framework estimators, in camelCase."""

from __future__ import annotations

from sagespark.algorithms.hyperparameter import Range
from sagespark.ml import converters as to
from sagespark.ml.rows import ParamRow

SCRIPT: tuple[ParamRow, ...] = (
    ParamRow(
        "entryPoint",
        "Script that trains: a .py or .sh file, relative to sourceDir where that is set.",
        to.Text("entryPoint"),
        "str",
    ),
    ParamRow(
        "sourceDir",
        "Folder of the script and what belongs to it, or s3://.../sourcedir.tar.gz.",
        to.Text("sourceDir"),
        "str",
    ),
    ParamRow(
        "dependencies",
        "Further files and folders that the script imports; each lies beside it in the container.",
        to.Strings("dependencies"),
        "list[str]",
        [],
    ),
    ParamRow(
        "requirements",
        "What pip installs before the script runs: a requirements file, or a list of its lines.",
        to.Requirements("requirements"),
        "str | list[str]",
    ),
    ParamRow(
        "inferenceEntryPoint",
        "Script with model_fn and so on for serving, in the same place; unset: entryPoint (TensorFlow needs none).",
        to.Text("inferenceEntryPoint"),
        "str",
    ),
    ParamRow(
        "frameworkVersion",
        "Version of the framework, such as '2.6' or '2.6.0'; unset: the newest that AWS trains and serves.",
        to.Text("frameworkVersion"),
        "str",
    ),
    ParamRow(
        "pyVersion",
        "Python of the image, such as 'py312'; unset: the newest that the version has.",
        to.Text("pyVersion", r"py\d+", "a Python version such as 'py312'"),
        "str",
    ),
    ParamRow(
        "containerLogLevel",
        "Log level of the container, as Python's logging numbers it (sagemaker_container_log_level).",
        to.Number("containerLogLevel", Range(0, 50), whole=True),
        "int",
        20,
    ),
    ParamRow(
        "hyperparameters",
        "Arguments of the script by name; the script gets --name value, and SM_HPS as JSON. Values are JSON's.",
        to.ScriptHyperparameters("hyperparameters"),
        "dict[str, Any]",
        {},
        onModel="no",
    ),
)
"""Params of scripts; ``hyperparameters`` replaces the generic estimator's: scripts get JSON."""

PYTORCH_VERSION = ParamRow(
    "pytorchVersion",
    "Version of PyTorch below transformers, such as '2.6.0'; unset: the newest that the version has.",
    to.Text("pytorchVersion"),
    "str",
)
"""Of Hugging Face's images, whose ``frameworkVersion`` is that of transformers."""
