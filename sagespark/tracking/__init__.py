"""MLflow: each training job becomes a run. Nothing is logged before ``autolog()`` is called."""

from __future__ import annotations

from sagespark.core.errors import ValidationError
from sagespark.ml import listeners
from sagespark.tracking.mlflow_listener import MlflowListener

__all__ = ["MlflowListener", "autolog"]


def autolog(
    *, trackingUri: str | None = None, experimentName: str | None = None, logOutput: bool = False, disable: bool = False
) -> MlflowListener | None:
    """Log every training job of this process to MLflow, as a run with params, metrics, status and the job's ARN.

    A tuner's run has its trials inside it. A job that is started inside ``with mlflow.start_run():`` becomes a child of
    that run. A job that is attached to (``fromTrainingJob(name, wait=True)``) goes on in the run that it had.

    Parameters
    ----------
    trackingUri : str or None
        Where MLflow keeps its runs; None: as MLflow finds it (``mlflow.set_tracking_uri``, ``MLFLOW_TRACKING_URI``).
    experimentName : str or None
        The experiment, made where it is missing; None: as MLflow finds it.
    logOutput : bool
        Whether the job's log becomes the artifact ``training.log`` of the run, at its end.
    disable : bool
        Whether logging ends: jobs that start from now on are not logged.

    Returns
    -------
    MlflowListener or None
        The listener that logs; a second call replaces the first one's. None where logging was disabled.

    Raises
    ------
    ValidationError
        If mlflow is not installed.
    """
    for listener in listeners.everywhere():
        if isinstance(listener, MlflowListener):
            listeners.remove_everywhere(listener)
    if disable:
        return None
    try:
        import mlflow  # noqa: F401  # tells now what the first job would tell too late
    except ImportError as error:
        raise ValidationError("mlflow is not installed; pip install 'sagespark[mlflow]'", "autolog") from error
    made = MlflowListener(trackingUri=trackingUri, experimentName=experimentName, logOutput=logOutput)
    listeners.add_everywhere(made)
    return made
