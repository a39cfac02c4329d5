"""Train the linear learner: the program ``train`` of the built-in image ``linear-learner``.

Run as ``python -m sagespark.local.containers.linear_learner_train`` inside a container.

1. The train channel is read once: labels are checked, rows counted and kept in memory where they fit.
2. All models are trained side by side (:mod:`sagespark.local.containers.linear_fit`).
3. The best one is chosen on the validation channel, else on the train channel; for two classes by the model selection
   criterion, with the threshold that suits it (:mod:`sagespark.local.containers.linear_quality`).
4. It is written (:mod:`sagespark.local.containers.linear_model`), and scored on every channel.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.linear_data import Rows
    from sagespark.local.containers.linear_fit import Fitted
    from sagespark.local.containers.linear_model import LinearModel

_log = logging.getLogger("linear-learner")


def resolve(values: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with 'auto' of the loss resolved.

    Raises
    ------
    ClientError
        If they contradict each other; all problems at once.
    """
    from sagespark.algorithms.linear_learner import LOSSES, MULTICLASS

    kind, loss = values["predictor_type"], values["loss"]
    problems = []
    if loss == "auto":
        loss = LOSSES[kind][0]
    if loss not in LOSSES[kind]:
        problems.append(f"loss must be 'auto' or one of {', '.join(LOSSES[kind])} for a {kind}, but is {loss!r}")
    if kind == MULTICLASS and values["num_classes"] is None:
        problems.append("num_classes is required for a multiclass_classifier: an integer from 3 to 1000000")
    if problems:
        raise contract.ClientError("; ".join(problems))
    return values | {"loss": loss}


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.linear_learner import LINEAR_LEARNER
    from sagespark.algorithms.spec import TUNING_OBJECTIVE

    clock = SystemClock()
    task = job.begin(LINEAR_LEARNER)
    values = resolve(task.values)
    # Products of a mini-batch are small: further threads of BLAS would wait for each other most of the time.
    contract.limit_threads(1)
    # numpy is imported from here on: its threads are limited now.
    import numpy as np

    from sagespark.local.containers.channels import labelled
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.linear_data import Rows
    from sagespark.local.containers.linear_fit import class_counts, fit
    from sagespark.local.containers.linear_losses import OBJECTIVES

    if _given(TUNING_OBJECTIVE):
        # AWS's page on tuning the algorithm: its own search is turned off then.
        values["num_models"] = 1
    started = clock.monotonic()

    def rows_of(name: str) -> Rows:
        def read() -> Iterable[tuple[Matrix, NDArray[np.float32]]]:
            return labelled(task.channels[name], None if width == "auto" else width)

        return Rows(read, contract.available_memory() // 2)

    with Collective.from_config(contract.resources()) as group:
        seed = int(group.broadcast(np.array([task.seed]))[0])
        width = values["feature_dim"]
        rows = {name: rows_of(name) for name in ("train", "validation", "test") if name in task.channels}
        if width == "auto":
            width = values["feature_dim"] = int(group.allreduce(np.array([_width(rows["train"])]), "max")[0])
            if not width:
                raise contract.ClientError("the train channel holds no row")
            rows = {name: rows_of(name) for name in rows}
        for name in rows:
            if name != "train":
                class_counts(rows[name], values, group, name)
        objective = OBJECTIVES[values["loss"]]

        def on_epoch(epoch: int, channel: str, value: float) -> None:
            if group.leads:
                job.quality(task.host, f"epoch={epoch}, {channel} {objective}_objective <loss>={value!r}")
                if channel == "train":
                    job.progress(task.host, 100 * (epoch + 1) / values["epochs"])

        found = fit(
            rows["train"],
            rows.get("validation"),
            values,
            seed,
            group,
            on_epoch,
            by_criterion=_given("binary_classifier_model_selection_criteria"),
        )
        seconds = clock.monotonic() - started
        best, model = _choose(found, rows.get("validation", rows["train"]), values, group)
        if group.leads:
            chosen = {"optimizer": values["optimizer"], **found.models.describe(best)}
            _log.info("Best model found for hyperparameters: %s", json.dumps(chosen))
        for name, channel in rows.items():
            _score(task.host, name, model, channel, values, found, group)
        if group.leads:
            job.throughput(task.host, found.rows, seconds)
            job.write_model(model.dump())


def _given(wire: str) -> bool:
    """Tell whether the job's request has a hyperparameter, as against its default."""
    path = contract.base() / "input" / "config" / "hyperparameters.json"
    return wire in json.loads(path.read_text())


def _width(rows: Rows) -> int:
    return next((int(block.shape[1]) for block, _ in rows.blocks()), 0)


def _choose(found: Fitted, rows: Rows, values: dict[str, Any], group: Collective) -> tuple[int, LinearModel]:
    """Return the number of the best model, and the model."""
    import numpy as np

    from sagespark.algorithms.linear_learner import BINARY
    from sagespark.local.containers.linear_model import LinearModel
    from sagespark.local.containers.linear_quality import calibration_rows, threshold

    criterion = values["binary_classifier_model_selection_criteria"]
    folded = [found.of(number) for number in range(len(found.models))]
    cuts = np.zeros(len(folded))
    if values["predictor_type"] != BINARY or criterion == "loss_function":
        quality = -_losses(found, rows, group)
    else:
        margins, labels = _margins(folded, rows, calibration_rows(values), group)
        pairs = [
            threshold(column, labels, values) if np.isfinite(column).all() else (0.0, -np.inf) for column in margins
        ]
        cuts, quality = (np.array(column) for column in zip(*pairs, strict=True))
    quality = np.where(np.isfinite(quality), quality, -np.inf)
    # Of models that are equally good by a coarse criterion, the one of the lowest loss.
    tied = np.flatnonzero(quality >= quality.max() - 1e-12)
    best = int(tied[0] if len(tied) == 1 else tied[_losses(found, rows, group)[tied].argmin()])
    weights, bias = folded[best]
    model = LinearModel(
        weights.T.astype(np.float32),
        bias.astype(np.float32),
        values["predictor_type"],
        values["loss"],
        float(cuts[best]),
    )
    return best, model


def _losses(found: Fitted, rows: Rows, group: Collective) -> NDArray[np.float64]:
    """Return the mean loss of every model, not weighted, shape (M,); infinite where it diverged."""
    import numpy as np

    from sagespark.local.containers.linear_data import forward

    sums = np.zeros(len(found.models) + 1)
    for block, labels in rows.pieces():
        _, predicted = forward(block, found.scaling, found.weights)
        if found.outputs > 1:
            predicted = predicted.reshape(len(predicted), found.outputs, -1)
        with np.errstate(over="ignore", invalid="ignore"):
            sums[:-1] += found.loss(predicted, found.scaling.labels(labels))[0].sum(axis=0)
        sums[-1] += len(labels)
    sums = group.allreduce(sums)
    losses = sums[:-1] / max(sums[-1], 1.0)
    return np.where(np.isfinite(losses), losses, np.inf)


def _margins(
    folded: list[tuple[NDArray[np.float64], NDArray[np.float64]]], rows: Rows, most: int, group: Collective
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the margins of every model, shape (M, n), and the labels (n,), of at most ``most`` rows of all hosts."""
    import numpy as np

    weights = np.column_stack([weights for weights, _ in folded])
    bias = np.concatenate([bias for _, bias in folded])
    parts, left = [np.zeros((0, len(bias) + 1), np.float32)], -(-most // group.size)
    for block, labels in rows.pieces():
        block, labels = block[:left], labels[:left]
        left -= len(labels)
        parts.append(np.column_stack([block.astype(np.float64) @ weights + bias, labels]).astype(np.float32))
        if not left:
            break
    together = np.concatenate(group.gather(np.concatenate(parts))).astype(np.float64)
    return together[:, :-1].T, together[:, -1]


def _score(
    host: str, name: str, model: LinearModel, rows: Rows, values: dict[str, Any], found: Fitted, group: Collective
) -> None:
    """Log the final model's metrics on a channel."""
    import numpy as np

    from sagespark.algorithms.linear_learner import BINARY, MULTICLASS
    from sagespark.local.containers import linear_quality as quality
    from sagespark.local.containers.linear_losses import OBJECTIVES

    parts = [np.zeros((0, len(model.bias) + 1))]
    parts += [np.column_stack([model.margins(block), labels]) for block, labels in rows.pieces()]
    together = np.concatenate(group.gather(np.concatenate(parts)))
    if not len(together):
        raise contract.ClientError(f"the {name} channel holds no row")
    if not group.leads:
        return
    margins, labels = together[:, :-1], together[:, -1]
    if values["predictor_type"] == MULTICLASS:
        shaped = margins[:, :, np.newaxis]
        found_metrics = quality.multiclass_metrics(margins, labels, values["accuracy_top_k"], values["f_beta"])
    elif values["predictor_type"] == BINARY:
        shaped = margins
        found_metrics = quality.binary_metrics(margins[:, 0], labels, model.cut, values["f_beta"])
    else:
        shaped = found.scaling.labels(margins)
        found_metrics = quality.regression_metrics(margins[:, 0], labels)
    loss = float(found.loss(shaped, found.scaling.labels(labels))[0].mean())
    job.quality(host, f"{name} {OBJECTIVES[values['loss']]}_objective <loss>={loss!r}")
    for metric, value in found_metrics.items():
        job.quality(host, f"{name} {metric}={value!r}")


if __name__ == "__main__":
    contract.run(train)
