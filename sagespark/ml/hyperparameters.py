"""Params to ``HyperParameters``: only what is set, or required by the service, is sent.

For each hyperparameter of the spec, in this order:

1. inferred from the data: from the schema where it tells, else deferred to the staging pass;
2. its own Param, where that is set;
3. a group Param that is set and has it as a member;
4. required by the service: the spec's value to send, else the user is asked for it;
5. otherwise it is left out, and the algorithm's default holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.ml.deferred import Deferred, Source, Value

INFERRED: Mapping[str, Source] = {"feature_dim": "width"}
"""Where an inferred hyperparameter's value comes from, by wire string."""


def wire_values(
    spec: AlgorithmSpec, given: Mapping[str, Any], known: Mapping[Source, int | None]
) -> tuple[dict[str, Value], list[str]]:
    """Return ``HyperParameters`` and what is missing.

    Parameters
    ----------
    spec : AlgorithmSpec
    given : mapping
        Values that were set, by Param name; defaults are not among them.
    known : mapping
        What the schema tells already, such as ``{"width": 784}``.

    Returns
    -------
    values : dict
        Wire string to the string that is sent, or to what staging fills in.
    problems : list of str
        One sentence per hyperparameter that is required and unset.
    """
    values: dict[str, Value] = {}
    problems: list[str] = []
    by_member = {m: given[g.name] for g in spec.groups if g.name in given for m in g.members}
    for h in spec.hyperparameters:
        if h.inferred:
            source = INFERRED[h.wire]
            told = known.get(source)
            values[h.wire] = Deferred(h.wire, source) if told is None else str(told)
        elif h.name in given:
            values[h.wire] = h.to_wire(given[h.name])
        elif h.wire in by_member:
            values[h.wire] = h.to_wire(h.convert(by_member[h.wire]))
        elif h.required and h.send is not None:
            values[h.wire] = h.to_wire(h.send)
        elif h.required:
            problems.append(f"{h.name} is required by SageMaker ({h.wire}) and has no default: set it to {h.rule}")
    return values, problems


def param_values(spec: AlgorithmSpec, hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the Params that a job's ``HyperParameters`` stand for; what the spec does not know is left out.

    Raises
    ------
    ValueError
        If a value is refused by its rule.
    """
    return {h.name: h.from_wire(hyperparameters[h.wire]) for h in spec.params if h.wire in hyperparameters}
