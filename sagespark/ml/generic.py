"""Estimator and model of any image: the SDK's names, MLlib's ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.algorithms.registry import algorithm_of
from sagespark.algorithms.spec import AlgorithmSpec, Output
from sagespark.aws.session import SageMakerSession
from sagespark.ml import inputs
from sagespark.ml.columns import output_columns
from sagespark.ml.deferred import Deferred, Value
from sagespark.ml.estimator import TrainingEstimator
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import INFERRED
from sagespark.ml.inputs import TrainingInput, data_of, is_frame
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import Channel, FrameChannel, Plan, Training
from sagespark.ml.stage import Stage
from sagespark.ml.stage_params import SageMakerModelParams, SageMakerParams

DEFAULT_FORMAT = "text/csv"
"""Content type where neither the user nor a built-in algorithm says one."""
TRAIN = "train"
"""Channel of the DataFrame that ``fit`` gets."""


class SageMakerModel(SageMakerModelParams, HostedModel):
    """A model that any image serves.

    Where the image is a built-in algorithm's, requests, responses and columns are that algorithm's. Otherwise
    ``serializer`` and ``deserializer`` are the content types and ``responseFields`` the fields of a response.
    """

    # Saved files and pickles name the class by the path that users import.
    __module__ = "sagespark.ml"

    def _outputs(self) -> tuple[Output, ...]:
        return outputs(self, self._algorithm())

    def _formats(self) -> tuple[str, str]:
        spec = self._algorithm()
        request, response = (DEFAULT_FORMAT,) * 2 if spec is None else (spec.invocation_content_type, spec.accept)
        return self._value("serializer") or request, self._value("deserializer") or response

    def _algorithm(self) -> AlgorithmSpec | None:
        image = self._hosting().imageUri
        return algorithm_of(image) if image else None

    def _take(self, record: HostingRecord) -> None:
        super()._take(record)
        if record.imageUri is not None and not self.isSet("imageUri"):
            self._set(imageUri=record.imageUri)


class SageMakerEstimator(SageMakerParams, TrainingEstimator[SageMakerModel]):
    """Train any image.

    Parameters
    ----------
    channels : dict of str to DataFrame, str or TrainingInput
        Data by channel: DataFrames are staged, S3 URIs (objects or prefixes) are passed on; a `TrainingInput` says how
        a channel differs from the others. The DataFrame given to ``fit`` is the channel ``train``; ``fit()`` without
        one takes the channels alone. No Param: not saved.
    sagemakerSession, listeners
        As for every stage.
    **params
        ``explainParams()`` lists them.

    Examples
    --------
    >>> SageMakerEstimator(imageUri=image, hyperparameters={"k": 3}, labelCol="y").fit(df)       # doctest: +SKIP
    """

    __module__ = "sagespark.ml"
    _model_class: ClassVar[type[HostedModel]] = SageMakerModel
    _keywords: ClassVar[tuple[str, ...]] = (*Stage._keywords, "channels")

    def setChannels(self, value: Mapping[str, DataFrame | str | TrainingInput] | None) -> Self:
        """Set the data by channel."""
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(
                f"channels must be a dict of names to DataFrames, S3 URIs or TrainingInputs, but got {value!r}"
            )
        self._kept["channels"] = dict(value or {})
        return self

    def getChannels(self) -> dict[str, DataFrame | str | TrainingInput]:
        """Return the data by channel."""
        return dict(self._kept.get("channels", {}))

    def fit(self, dataset: Any = None, params: Any = None) -> Any:
        """Train, as every MLlib estimator's ``fit``.

        Parameters
        ----------
        dataset : DataFrame or None
            The channel ``train``; None where ``channels`` has all the data.
        params : dict, list of dict or None
            As in MLlib.

        Raises
        ------
        ValidationError
            If Params, channels, schema and session do not go together; nothing was created.
        """
        if dataset is not None:
            return super().fit(dataset, params)
        # pyspark's fit only passes the dataset on; here it stands for "the channels alone".
        return super().fit(_Channels(self.getChannels()), params)  # type: ignore[call-overload]  # see above

    def plan(self, schema: Any = None) -> Plan:
        """Return every request that ``fit`` will send, as every estimator's ``plan``; None: for ``fit()``."""
        return super().plan(_NoSchema() if schema is None else schema)

    def _frames(self, dataset: DataFrame | _Channels) -> dict[str, DataFrame]:
        given = {name: data_of(data) for name, data in self.getChannels().items()}
        frames: dict[str, Any] = {name: data for name, data in given.items() if is_frame(data)}
        return frames if isinstance(dataset, _Channels) else {TRAIN: dataset, **frames}

    def _outputs(self) -> tuple[Output, ...]:
        return outputs(self, self._algorithm(self._value("imageUri")))

    def _image(self, session: SageMakerSession) -> tuple[str, list[str]]:
        """Return the image that trains, and what keeps it from being known."""
        image = self._value("imageUri")
        return image or "", [] if image else ["imageUri must be set to the image that trains and serves"]

    def _algorithm(self, image: str | None) -> AlgorithmSpec | None:
        """Return the built-in algorithm of an image, None where it runs the user's own program."""
        return algorithm_of(image) if image else None

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        values = self._values()
        image, problems = self._image(session)
        spec = self._algorithm(image)
        channels, more = self._channels(schema, spec)
        problems += more
        _, more = output_columns(self, schema, self._outputs())
        problems += more
        hyperparameters: dict[str, Value] = dict(values["hyperparameters"])
        frames = {c.name: c.layout.width for c in channels if isinstance(c, FrameChannel)}
        for h in spec.hyperparameters if spec is not None and TRAIN in frames else ():
            if h.wire in INFERRED and h.wire not in hyperparameters:
                width = frames[TRAIN]
                hyperparameters[h.wire] = Deferred(h.wire, INFERRED[h.wire].source) if width is None else str(width)
        if problems:
            return None, problems
        return (
            Training(
                kind="job" if spec is None else spec.name,
                image=image,
                hyperparameters=hyperparameters,
                channels=channels,
                environment=values["environment"],
                metricDefinitions=values["metricDefinitions"],
                inputMode=values["inputMode"],
            ),
            [],
        )

    def _channels(self, schema: StructType, spec: AlgorithmSpec | None) -> tuple[list[Channel], list[str]]:
        """Return the channels in order, and every problem in words."""
        staged = DEFAULT_FORMAT if spec is None else spec.training_content_type
        given: list[tuple[str, Any]] = list(self.getChannels().items())
        problems: list[str] = []
        if not isinstance(schema, _NoSchema):
            if TRAIN in dict(given):
                problems.append("channel 'train' is given twice, to fit and in channels; leave one of them out")
            given.insert(0, (TRAIN, schema))
        if not given:
            problems.append("there is no data; give fit a DataFrame, or set channels")
        channels: list[Channel] = []
        for name, data in given:
            where = "" if data is schema else f"channel {name!r}: "
            made, more = inputs.channel(self, name, data, spec, staged)
            problems += [where + text for text in more]
            if made is not None:
                channels.append(made)
        return channels, problems


def outputs(stage: Stage, spec: AlgorithmSpec | None) -> tuple[Output, ...]:
    """Return the response fields of a stage of any image: set ones, else the built-in algorithm's, else one number."""
    fields = stage._value("responseFields")
    if fields is None and spec is not None:
        return spec.outputs
    kinds = fields or {"prediction": "double"}
    return tuple(
        Output(field, "predictionCol" if i == 0 else "", field, kind) for i, (field, kind) in enumerate(kinds.items())
    )


class _NoSchema(StructType):
    """The schema of no DataFrame."""


class _Channels:
    """What ``fit()`` passes in place of a DataFrame."""

    def __init__(self, channels: Mapping[str, DataFrame | str | TrainingInput]) -> None:
        frames: list[Any] = [data for data in map(data_of, channels.values()) if is_frame(data)]
        self.schema = _NoSchema()
        self.sparkSession = frames[0].sparkSession if frames else None
