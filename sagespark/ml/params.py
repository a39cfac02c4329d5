"""Params made of rows: accessors, second spellings, keyword setting, copies.

A class that names its rows gets, when it is defined, what MLlib's classes write by hand::

    class KMeansParams(StageParams, HasMaxIter, rows=algorithm_rows(KMEANS)): ...

    KMeansParams.maxIter                the Param, copied to each instance as MLlib does
    KMeansParams.getMaxIter, setMaxIter
    KMeansParams.localLloydMaxIter      second spelling: a property that returns the same Param
    KMeansParams.getLocalLloydMaxIter, setLocalLloydMaxIter

Everything goes through MLlib's own machinery, so ``copy``, ``fit(df, params)``, ``explainParams``, pickle, persistence
and ParamGridBuilder work as they do for MLlib's stages.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from difflib import get_close_matches
from operator import attrgetter
from typing import Any, ClassVar, Self

from pyspark.ml.param import Param, Params

from sagespark.core.errors import ValidationError
from sagespark.data.frame import LabelKind
from sagespark.ml.rows import ParamRow


def accessor(verb: str, name: str) -> str:
    """Return ``getMaxIter`` for ``get`` and ``maxIter``."""
    return verb + name[:1].upper() + name[1:]


class StageParams(Params):
    """Params of a stage, made from rows.

    Parameters
    ----------
    **kwargs : object
        Params by any of their spellings, and the keywords of the class that are no Params.
    """

    _rows: ClassVar[tuple[ParamRow, ...]] = ()
    """Rows of the class and its bases."""
    _labelKind: ClassVar[LabelKind | None] = None
    """What the labels must be: 'class' for a classifier; None: any number."""
    _keywords: ClassVar[tuple[str, ...]] = ()
    """Keywords that are no Params: each has a setter, is kept by ``copy``, and is neither saved nor pickled."""

    def __init_subclass__(cls, rows: tuple[ParamRow, ...] = (), model: bool = False, **kwargs: Any) -> None:
        """Attach Params and accessors for ``rows``; ``model`` leaves out what a Model does not have."""
        super().__init_subclass__(**kwargs)
        rows = tuple(r for r in rows if not model or r.onModel != "no")
        inherited = [r for base in reversed(cls.__mro__[1:]) for r in base.__dict__.get("_rows", ())]
        merged = {r.name: r for r in (*inherited, *rows)}
        cls._rows = tuple(merged.values())
        for row in rows:
            _attach(cls, row, settable=not model or row.onModel == "set")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self._kept: dict[str, Any] = {}
        self._setDefault(**{row.name: row.default for row in self._rows if row.default is not None})
        self.setParams(**kwargs)

    def setParams(self, **kwargs: Any) -> Self:
        """Set Params by keyword, all or none.

        Parameters
        ----------
        **kwargs : object
            Params by MLlib's name or by their camelCase spelling; None unsets. Keywords that are no Params too.

        Raises
        ------
        TypeError
            For a name that is not known (with the nearest that is), or a value of the wrong type.
        ValueError
            For a value against the rule, or a Param given twice with different values.
        """
        values, kept, problems = self._checked(kwargs)
        if problems:
            kinds = {kind for kind, _ in problems}
            texts = [text for _, text in problems]
            if kinds == {TypeError}:
                raise TypeError("; ".join(texts))
            raise ValidationError(texts, type(self).__name__)
        self._set(**values)
        for name, value in kept.items():
            getattr(self, accessor("set", name))(value)
        return self

    def _checked(
        self, kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], list[tuple[type[Exception], str]]]:
        """Return values by Param name, the other keywords, and every problem."""
        values: dict[str, Any] = {}
        kept: dict[str, Any] = {}
        given: dict[str, str] = {}
        problems: list[tuple[type[Exception], str]] = []
        by_spelling = {s: row for row in self._rows for s in row.spellings}
        for spelling, value in kwargs.items():
            row = by_spelling.get(spelling)
            if row is None:
                if spelling in self._keywords:
                    kept[spelling] = value
                else:
                    problems.append((TypeError, self._unknown(spelling)))
                continue
            try:
                converted = None if value is None else row.convert(value)
            except (TypeError, ValueError) as error:
                problems.append((TypeError if isinstance(error, TypeError) else ValueError, str(error)))
                continue
            if row.name in given and values[row.name] != converted:
                text = f"{spelling} and {given[row.name]} are the same Param, but got {value!r} and "
                problems.append((ValueError, text + f"{values[row.name]!r}"))
            values[row.name], given[row.name] = converted, spelling
        return values, kept, problems

    def _unknown(self, name: str) -> str:
        """Say that a keyword is not known, and which one may be meant."""
        known = [s for row in self._rows for s in row.spellings] + list(self._keywords)
        # A wire name is near its camelCase spelling once its underscores are gone.
        lowered = {k.lower(): k for k in known}
        near = get_close_matches(name.replace("_", "").lower(), lowered, n=1)
        hint = f"; did you mean {lowered[near[0]]!r}?" if near else ""
        return f"{type(self).__name__} has no Param {name!r}{hint}"

    def _set(self, **kwargs: Any) -> Self:
        """Set Params as MLlib does; None unsets one."""
        for name in [name for name, value in kwargs.items() if value is None]:
            self._paramMap.pop(getattr(self, name), None)
            del kwargs[name]
        super()._set(**kwargs)
        return self

    def _value(self, name: str) -> Any:
        """Return a Param's value or default, None while it has neither or does not exist here."""
        if not self.hasParam(name):
            return None
        param = self.getParam(name)
        return self.getOrDefault(param) if self.isDefined(param) else None

    def _classes(self) -> int | None:
        """Return the number of classes that the Params ask for, None where the labels tell it."""
        return None

    def _given(self) -> dict[str, Any]:
        """Return the values that were set, by Param name, without defaults."""
        return {param.name: value for param, value in self._paramMap.items()}

    # copy.copy would go through __getstate__ and lose what is kept beside the Params.
    def __copy__(self) -> Self:
        that = type(self).__new__(type(self))
        that.__dict__.update(self.__dict__)
        that._paramMap, that._defaultParamMap = dict(self._paramMap), dict(self._defaultParamMap)
        that._kept = dict(self._kept)
        that._params = None
        return that

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        that = type(self).__new__(type(self))
        that.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        # DataFrames and listeners belong to this process: the same ones, not copies.
        that._kept = dict(self._kept)
        return that

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}, "_params": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _attach(cls: type[StageParams], row: ParamRow, settable: bool) -> None:
    """Give the class the row's Param, second spelling and accessors, but for those it writes itself."""
    own = cls.__dict__
    setattr(cls, row.name, Param(Params._dummy(), row.name, row.doc, typeConverter=row.convert))
    if row.second:
        setattr(cls, row.second, property(attrgetter(row.name), doc=row.doc))
    for spelling in row.spellings:
        if (name := accessor("get", spelling)) not in own:
            setattr(cls, name, _getter(cls, name, row))
        if settable and (name := accessor("set", spelling)) not in own:
            setattr(cls, name, _setter(cls, name, row))


def _getter(cls: type, name: str, row: ParamRow) -> Any:
    def get(self: StageParams) -> Any:
        return self._value(row.name)

    while_unset = "" if row.default is not None else " None while it is unset."
    return _named(get, cls, name, f"Return the value of {row.name}.{while_unset} {row.doc}")


def _setter(cls: type, name: str, row: ParamRow) -> Any:
    def set_(self: StageParams, value: Any) -> StageParams:
        return self._set(**{row.name: value})

    return _named(set_, cls, name, f"Set {row.name}; None unsets it. {row.doc}")


def _named(function: Any, cls: type, name: str, doc: str) -> Any:
    function.__name__ = name
    function.__qualname__ = f"{cls.__qualname__}.{name}"
    function.__module__ = cls.__module__
    function.__doc__ = doc
    return function
