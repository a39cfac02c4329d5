"""Test and validation channels: rows that are evaluated and not trained on.

They come from the dataset itself, by a boolean indicator column, or from a DataFrame of their own, given as a keyword.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pyspark.sql import DataFrame, functions
from pyspark.sql.types import BooleanType, StructType

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.data.frame import FrameLayout, quoted
from sagespark.ml.columns import frame_layout
from sagespark.ml.plan import FrameChannel
from sagespark.ml.stage import Stage


class HeldOut(Stage):
    """The optional channels of an algorithm's estimator."""

    _spec: ClassVar[AlgorithmSpec]

    def _channel(self, name: str, layout: FrameLayout, distribution: str) -> FrameChannel:
        """Return a channel of rows of this layout."""
        return FrameChannel(name, layout, self._spec.training_content_type, distribution)

    def _labelled(self, channel: str) -> bool:
        """Return whether the label column travels to a channel, where the algorithm has one."""
        return True

    def _held_out(self) -> list[str]:
        """Return the optional channels that are asked for, in the spec's order."""
        optional = [c.name for c in self._spec.channels if not c.required]
        return [c for c in optional if self._value(f"{c}IndicatorCol") or self._kept.get(f"{c}Dataset") is not None]

    def _held_out_channels(self, schema: StructType) -> tuple[list[FrameChannel], list[str]]:
        """Return these channels on such a dataset, and every problem in words."""
        channels: list[FrameChannel] = []
        problems: list[str] = []
        for name in self._held_out():
            column, frame = self._value(f"{name}IndicatorCol"), self._kept.get(f"{name}Dataset")
            if column and frame is not None:
                problems.append(f"{name}IndicatorCol and {name}Dataset exclude each other; give one of them")
            if column and column not in schema.names:
                problems.append(f"{name}IndicatorCol: there is no column {column!r}")
            elif column and not isinstance(schema[column].dataType, BooleanType):
                kind = schema[column].dataType.simpleString()
                problems.append(f"{name}IndicatorCol: column {column!r} must be boolean, but is {kind}")
            layout, more = frame_layout(
                self, schema if frame is None else frame.schema, self._spec, labels=self._labelled(name)
            )
            if frame is not None:
                problems += [f"{name}Dataset: {text}" for text in more]
            if layout is not None:
                # Every instance evaluates on all rows: AWS's documentation of the test channel asks for it.
                channels.append(self._channel(name, layout, "FullyReplicated"))
        return channels, problems

    def _split(self, dataset: DataFrame) -> dict[str, DataFrame]:
        """Return the DataFrame of each channel."""
        frames: dict[str, DataFrame] = {}
        rest = dataset
        for name in self._held_out():
            if (column := self._value(f"{name}IndicatorCol")) is not None:
                # A row whose indicator is null is a training row: no row may be lost.
                held = functions.coalesce(functions.col(quoted(column)), functions.lit(False))
                frames[name], rest = rest.filter(held), rest.filter(~held)
            else:
                frames[name] = self._kept[f"{name}Dataset"]
        return {"train": rest, **frames}


class HasValidationDataset(HeldOut):
    """An estimator whose algorithm has a validation channel."""

    _keywords: ClassVar[tuple[str, ...]] = (*Stage._keywords, "validationDataset")

    def setValidationDataset(self, value: DataFrame | None) -> Self:
        """Evaluate the model on this DataFrame while it is trained. Kept by ``copy``, not saved."""
        self._kept["validationDataset"] = value
        return self

    def getValidationDataset(self) -> DataFrame | None:
        """Return the DataFrame of the validation channel, None where there is none."""
        return self._kept.get("validationDataset")


class HasTestDataset(HeldOut):
    """An estimator whose algorithm has a test channel."""

    _keywords: ClassVar[tuple[str, ...]] = (*Stage._keywords, "testDataset")

    def setTestDataset(self, value: DataFrame | None) -> Self:
        """Evaluate the model on this DataFrame, which is not trained on. Kept by ``copy``, not saved."""
        self._kept["testDataset"] = value
        return self

    def getTestDataset(self) -> DataFrame | None:
        """Return the DataFrame of the test channel, None where there is none."""
        return self._kept.get("testDataset")
