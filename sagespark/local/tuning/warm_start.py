"""Warm start: what the training jobs of parents tell a new search.

Facts: "Run a Warm Start Hyperparameter Tuning Job" of the developer guide. Parents of parents are not looked at.
"""

from __future__ import annotations

from typing import Any

from sagespark.bayesopt import Strategy
from sagespark.local.store import Document, Store
from sagespark.local.tuning import document as documents
from sagespark.local.tuning.definitions import Definition, Request, definitions
from sagespark.local.tuning.journal import Journal, Launched

MOST_CHANGES = 10
"""Hyperparameters that may turn from tuned to static or back, altogether."""
IDENTICAL = "IdenticalDataAndAlgorithm"


_NAME = "HyperParameterTuningJobName"
_PARENTS = "ParentHyperParameterTuningJobs"


def parents(request: Request) -> list[str]:
    """Return the names of a request's parents, of those that have one."""
    config = request.get("WarmStartConfig", {})
    return [p[_NAME] for p in config.get(_PARENTS, []) if _NAME in p]


def problems(store: Store, region: str, request: Request) -> list[str]:
    """Return everything that keeps a request from being started by its parents, in words."""
    if "WarmStartConfig" not in request:
        return []
    names = parents(request)
    found = [f"Parent hyperparameter tuning job [{n}] occurs twice." for n in sorted(set(names)) if names.count(n) > 1]
    if len(names) < len(request["WarmStartConfig"][_PARENTS]):
        # The service model has the name as optional.
        found.append(f"{_NAME} is required in each of WarmStartConfig.{_PARENTS}.")
    for name in names:
        parent = store.get(documents.KIND, region, name)
        if parent is None:
            found.append(f"Parent hyperparameter tuning job [{name}] could not be found.")
            continue
        status = parent["HyperParameterTuningJobStatus"]
        if status not in documents.ENDED:
            found.append(
                f"Parent hyperparameter tuning job [{name}] is in status {status}: a parent must be Completed, Stopped "
                "or Failed."
            )
        ours, theirs = definitions(request), definitions(parent)
        pairs = _pairs(ours, theirs)
        if ours and not pairs:
            found.append(
                f"Parent hyperparameter tuning job [{name}] has no training job definition of the same name as one of "
                f"the new tuning job: it has {_names(theirs)}, the new one {_names(ours)}."
            )
        for child, other in pairs:
            found += _differences(name, child, other, request["WarmStartConfig"]["WarmStartType"])
    return found


def _pairs(ours: list[Definition], theirs: list[Definition]) -> list[tuple[Definition, Definition]]:
    """Return our definitions with the parent's of the same name; where both have one, with that, however named."""
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])]
    return [(child, parent) for child in ours for parent in theirs if child.name == parent.name]


def _names(found: list[Definition]) -> str:
    return ", ".join(f"[{d.name}]" if d.name else "one without a name" for d in found)


def _differences(name: str, child: Definition, parent: Definition, kind: str) -> list[str]:
    found = []
    if (child.metric, child.direction) != (parent.metric, parent.direction):
        found.append(
            "The objective metric of a warm start tuning job must be that of its parents, but it is "
            f"[{child.metric}, {child.direction}] and that of [{name}] is [{parent.metric}, {parent.direction}]."
        )
    ours, theirs = {*child.tuned, *child.static}, {*parent.tuned, *parent.static}
    if ours != theirs:
        found.append(
            "The set of tunable plus static HyperParameter names is not the same across current and parent tuning "
            "jobs. Please ensure this set is constant when warm starting. Note that previously static HyperParameters "
            f"can be tuned in warm start jobs and vice versa. Only in one of them and [{name}]: "
            f"{', '.join(sorted(ours ^ theirs))}."
        )
    changed = sorted(set(child.tuned) ^ set(parent.tuned))
    if len(changed) > MOST_CHANGES:
        found.append(
            f"At most {MOST_CHANGES} hyperparameters may change between tunable and static, but {len(changed)} differ "
            f"from [{name}]: {', '.join(changed)}."
        )
    if kind == IDENTICAL and child.image.partition(":")[0] != parent.image.partition(":")[0]:
        found.append(
            f"The training image of a warm start of type {kind} must be that of its parents, but it is {child.image} "
            f"and that of [{name}] is {parent.image}."
        )
    return found


def teach(store: Store, region: str, request: Request, ours: list[Definition], strategies: list[Strategy]) -> None:
    """Add the parents' results to the strategies.

    Of parents with identical data and algorithm a result is an observation of the new objective where every static
    hyperparameter has the parent's value; results outside of the new ranges are left out. Otherwise it is one of a
    task of its own, and how much it tells is learned.
    """
    if "WarmStartConfig" not in request:
        return
    same = request["WarmStartConfig"]["WarmStartType"] == IDENTICAL
    for name in parents(request):
        parent = store.get(documents.KIND, region, name)
        if parent is None:
            continue
        journal = Journal(store, region, name)
        journal.load()
        theirs = definitions(parent)
        for child, other in _pairs(ours, theirs):
            strategy = strategies[ours.index(child)]
            for trial in journal.order:
                value = documents.value_of(trial.summary or {})
                if theirs[trial.definition] is not other or value is None:
                    continue
                config = _config(child, strategy, other, trial, same)
                if config is not None:
                    strategy.add(config, value, None if same else name)


def _config(
    child: Definition, strategy: Strategy, parent: Definition, trial: Launched, same: bool
) -> dict[str, Any] | None:
    values = {**parent.static, **trial.tuned}
    if same and any(values.get(name) != value for name, value in child.static.items()):
        return None
    return child.from_wire(strategy.space, values)


def overall_best(store: Store, region: str, document: Document) -> Document | None:
    """Return the best training job of a tuning job and its parents, None where nothing is asked for or found."""
    if document.get("WarmStartConfig", {}).get("WarmStartType") != IDENTICAL:
        return None
    name = document["HyperParameterTuningJobName"]
    found = [document["BestTrainingJob"] | {"TuningJobName": name}] if "BestTrainingJob" in document else []
    for other in parents(document):
        parent = store.get(documents.KIND, region, other)
        if parent is not None and "BestTrainingJob" in parent:
            found.append(parent["BestTrainingJob"] | {"TuningJobName": other})
    return documents.best(found)
