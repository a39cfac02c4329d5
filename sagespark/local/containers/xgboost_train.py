"""Train XGBoost: the program ``train`` of the built-in image ``sagemaker-xgboost``.

Run as ``python -m sagespark.local.containers.xgboost_train`` inside a container. XGBoost gets what the job gives and
nothing else, so that the model is the one that ``xgboost.train`` makes of the same rows and parameters. Several hosts
train together by XGBoost's own collective; the first one leads and writes the model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.xgboost_data import Data

_log = logging.getLogger("xgboost")
_CONTAINER_ONLY = (
    "num_round",
    "early_stopping_rounds",
    "csv_weights",
    "save_model_on_termination",
    "prob_buffer_row",
    "use_dask_gpu_training",
    "eval_metric",
)
"""Hyperparameters that XGBoost's own parameters do not have."""
_PROBABILITIES = ("binary:", "multi:")


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.spec import TUNING_OBJECTIVE
    from sagespark.algorithms.xgboost import XGBOOST
    from sagespark.algorithms.xgboost_checks import contradictions, retired

    given = _given()
    if problems := retired(given):
        raise contract.ClientError("; ".join(problems))
    task = job.begin(XGBOOST)
    named = {XGBOOST.aliases.get(wire, wire) for wire in given}
    values = {wire: value for wire, value in task.values.items() if wire in named}
    if problems := contradictions(values):
        raise contract.ClientError("; ".join(problems))
    if values.get("use_dask_gpu_training") == "true":
        raise contract.ClientError("use_dask_gpu_training needs a GPU instance, which the embedded service has not")
    with _hosts(task) as hosts:
        _train(task, values, given.get(TUNING_OBJECTIVE), hosts)


def _given() -> dict[str, str]:
    """Return ``HyperParameters`` as they were sent."""
    path = contract.base() / "input" / "config" / "hyperparameters.json"
    found: dict[str, str] = json.loads(path.read_text())
    return found


@contextmanager
def _hosts(task: job.Job) -> Iterator[Collective]:
    """Join the hosts of the job."""
    from sagespark.local.containers.collective import Collective

    config = {"hosts": list(task.hosts), "current_host": task.host}
    with Collective.from_config(config) as hosts:
        yield hosts


def _train(task: job.Job, values: dict[str, Any], tuned: str | None, hosts: Collective) -> None:
    # numpy is imported from here on: its threads are limited now.
    import xgboost

    from sagespark.local.containers import xgboost_data, xgboost_hosts, xgboost_rounds

    found = {name: xgboost_data.read(c, values.get("csv_weights") == 1) for name, c in task.channels.items()}
    width = xgboost_hosts.agree(found, hosts)
    objective = values.get("objective", "reg:squarederror")
    _check_labels(found["train"], objective, values.get("num_class"), hosts)
    threads = values.get("nthread", task.threads)
    matrices = {
        name: xgboost_data.matrix(data or xgboost_hosts.nothing(width), width, threads, objective == "survival:aft")
        for name, data in found.items()
    }
    # XGBoost keeps its own copy.
    found.clear()
    _log.info("Train matrix has %d rows and %d columns", matrices["train"].num_row(), width)
    if "validation" in matrices:
        _log.info("Validation matrix has %d rows", matrices["validation"].num_row())
    params = {wire: value for wire, value in values.items() if wire not in _CONTAINER_ONLY}
    params["nthread"] = threads
    if "updater" in params:
        params["updater"] = ",".join(params["updater"])
    metrics = _metrics(values.get("eval_metric"), tuned)
    own, custom = _split(metrics, objective, values.get("num_class", 2), hosts)
    if own:
        params["eval_metric"] = own
    elif custom is not None:
        params["disable_default_eval_metric"] = 1
    folder = contract.base() / "checkpoints"
    done, rounds = xgboost_hosts.same_checkpoint(xgboost_rounds.resumed(folder), hosts)
    if rounds:
        _log.info("Resuming from round %d, by a checkpoint", rounds)
    left = values["num_round"] - rounds
    model = contract.base() / "model" / xgboost_rounds.MODEL_FILE
    callbacks: list[Any] = [xgboost_rounds.log_rounds()]
    if hosts.leads and folder.is_dir():
        callbacks.append(xgboost_rounds.Checkpoints(folder))
    if hosts.leads and values.get("save_model_on_termination") == "true":
        callbacks.append(xgboost_rounds.SaveEachRound(model))
    if (patience := values.get("early_stopping_rounds")) and "validation" in matrices:
        callbacks.append(_early_stopping(patience, _stopping_metric(values.get("eval_metric"), tuned), values))
    try:
        with xgboost_hosts.joined(task, hosts):
            booster = xgboost.train(
                params,
                matrices["train"],
                num_boost_round=max(0, left),
                evals=[(matrix, name) for name, matrix in matrices.items()],
                custom_metric=custom,
                callbacks=callbacks,
                xgb_model=done,
                verbose_eval=False,
            )
    except xgboost.core.XGBoostError as error:
        raise _refusal(error, hosts) from error
    if hosts.leads:
        if booster.attr("best_iteration") is not None:
            _log.info("Best round: %s, score %s", booster.attr("best_iteration"), booster.attr("best_score"))
        xgboost_rounds.save(booster, model)


def _check_labels(data: Data | None, objective: str, classes: int | None, hosts: Collective) -> None:
    """Refuse labels that the objective does not take, and a classifier's of one class only."""
    import numpy as np

    from sagespark.algorithms.xgboost_checks import LABELS
    from sagespark.local.containers.xgboost_hosts import extremes

    labels = np.empty(0, np.float32) if data is None else data.labels
    low, high = extremes(labels, hosts)
    if objective.startswith("multi:"):
        assert classes is not None
        wrong = (labels < 0) | (labels >= classes) | (labels != np.rint(labels))
        rule = f"one of 0 to {classes - 1} (num_class is {classes})"
    else:
        smallest, largest, closed = LABELS.get(objective, (-np.inf, np.inf, True))
        wrong = (labels < smallest) | (labels > largest) | ((labels == smallest) & (not closed))
        rule = f"in {'[' if closed else '('}{smallest:g}, {largest:g}{']' if largest < np.inf else ')'}"
    if wrong.any():
        i = int(wrong.argmax())
        raise contract.ClientError(
            f"the label of row {i} of the train channel is {labels[i]:g}, but for {objective} it must be {rule}"
        )
    if low == high and objective.startswith(_PROBABILITIES):
        raise contract.ClientError(
            f"every label of the train channel is {low:g}; {objective} needs rows of two classes"
        )


def _metrics(given: list[str] | None, tuned: str | None) -> list[str]:
    """Return the metrics to compute: those given, and the one that tuning asks for, in one order on all hosts."""
    wanted = list(given or ())
    if tuned is not None:
        # "validation:auc": what follows the channel.
        wanted = sorted({*wanted, *tuned.split(":")[1].split(",")}) if ":" in tuned else wanted
    return wanted


def _stopping_metric(given: list[str] | None, tuned: str | None) -> str | None:
    """Return the metric by which training stops: tuning's, else the last one given, else None, the objective's own."""
    if tuned is not None and ":" in tuned:
        return tuned.split(":")[1].split(",")[-1]
    return given[-1] if given else None


def _early_stopping(patience: int, metric: str | None, values: dict[str, Any]) -> Any:
    import xgboost

    from sagespark.algorithms.xgboost_hyperparameters import MAXIMIZED

    return xgboost.callback.EarlyStopping(
        rounds=patience,
        data_name="validation",
        metric_name=metric,
        maximize=None if metric is None else metric.split("@")[0] in MAXIMIZED,
        # A linear model has no rounds to cut off.
        save_best=values.get("booster") != "gblinear",
    )


def _split(metrics: list[str], objective: str, classes: int, hosts: Collective) -> tuple[list[str], Any]:
    """Return XGBoost's own metrics, and the function that computes the container's, None where there is none."""
    from sagespark.local.containers import xgboost_metrics as own

    custom = [name for name in metrics if name in own.CUSTOM]
    if classifies := [name for name in custom if name in own.OF_TABLES]:
        if not objective.startswith(_PROBABILITIES):
            raise contract.ClientError(f"eval_metric {classifies[0]!r} is for classes, but objective is {objective!r}")
        binary = [name for name in classifies if name in own.BINARY_ONLY]
        if binary and classes > 2:
            raise contract.ClientError(f"eval_metric {binary[0]!r} is for two classes, but num_class is {classes}")
    rest = [name for name in metrics if name not in own.CUSTOM]
    return rest, own.evaluator(custom, objective, classes, hosts.allreduce) if custom else None


def _refusal(error: Exception, hosts: Collective) -> Exception:
    """Return what an error of XGBoost's means: the user's data or parameters, or another host that has ended."""
    from sagespark.local.containers.xgboost_data import reason
    from sagespark.local.containers.xgboost_hosts import is_network

    if hosts.size > 1 and is_network(error):
        return contract.PeerError(f"another host of the job ended: {reason(error)}")
    return contract.ClientError(f"XGBoost refused: {reason(error)}")


if __name__ == "__main__":
    # XGBoost imports scikit-learn for its own estimators, which takes longer than all the rest of a small job.
    with contract.without("sklearn"):
        contract.run(train)
