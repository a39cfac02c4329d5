"""Params to ``HyperParameters``: only what is set, or required by the service, is sent.

For each hyperparameter of the spec, in this order:

1. its own Param, where that is set;
2. inferred from the data: from the schema where it tells, else deferred to the staging pass;
3. a group Param that is set and has it as a member;
4. required by the service: the spec's value to send, else the user is asked for it;
5. otherwise it is left out, and the algorithm's default holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.ml.deferred import Deferred, Source, Value


@dataclass(frozen=True)
class Inferred:
    """Where a hyperparameter's value comes from while its Param, if it has one, is not set.

    Parameters
    ----------
    source : {'width', 'rows', 'classes'}
        What the schema tells, or else the staging pass.
    then : callable
        Module-level function from that number to the string that is sent; None: it is left out.
    late : callable or None
        The same where only the staging pass tells, if that makes a difference.
    """

    source: Source
    then: Callable[[Any], str | None] = str
    late: Callable[[Any], str | None] | None = None


INFERRED: Mapping[str, Inferred] = {"feature_dim": Inferred("width")}
"""What every algorithm infers, by wire string; an estimator adds its own."""


def wire_values(
    spec: AlgorithmSpec,
    given: Mapping[str, Any],
    known: Mapping[Source, int | None],
    inferred: Mapping[str, Inferred] = INFERRED,
) -> tuple[dict[str, Value], list[str]]:
    """Return ``HyperParameters`` and what is missing.

    Parameters
    ----------
    spec : AlgorithmSpec
    given : mapping
        Values that were set, by Param name; defaults are not among them.
    known : mapping
        What the schema tells already, such as ``{"width": 784}``.
    inferred : mapping
        Wire strings that are inferred, and how. One that the spec row calls inferred and that is not here is left out.

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
        if h.name in given and not h.inferred:
            values[h.wire] = h.to_wire(given[h.name])
        elif h.wire in inferred:
            rule = inferred[h.wire]
            told = known.get(rule.source)
            value = Deferred(h.wire, rule.source, then=rule.late or rule.then) if told is None else rule.then(told)
            if value is not None:
                values[h.wire] = value
        elif h.inferred:
            continue
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
