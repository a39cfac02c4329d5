"""Models that SageMaker hosts.

A model is Params and a :class:`~sagespark.ml.hosting.HostingRecord`, which its copies share. Where ``transform`` finds
no endpoint it creates one, unless ``endpointPolicy`` is 'never'.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pyspark.ml import Model
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.algorithms.spec import Output
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import Resource, ValidationError
from sagespark.data.frame import FrameLayout
from sagespark.data.invoke import InvokeSpec, OutputColumn, PostProcess, with_predictions
from sagespark.ml import placement, requests
from sagespark.ml.attach import from_endpoint, from_model_data, from_training_job
from sagespark.ml.columns import frame_layout, output_columns, with_outputs
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.requests import Hosting, Scope
from sagespark.ml.stage import Stage


class HostedModel(Stage, Model):
    """A model on SageMaker; base of all models."""

    _record: HostingRecord | None = None
    _contentType: ClassVar[str] = ""

    # -- what it stands on ------------------------------------------------------------------------------------------

    def _take(self, record: HostingRecord) -> None:
        """Stand on this record."""
        self._record = record

    def _hosting(self) -> HostingRecord:
        if self._record is None:
            raise ValidationError(
                f"{type(self).__name__}() alone is no model; fit an estimator, load one, or use fromTrainingJob, "
                "fromModelData or fromEndpoint",
                self.uid,
            )
        return self._record

    @property
    def endpointName(self) -> str | None:
        """Name of the endpoint, None while there is none."""
        return None if self._record is None else self._record.endpointName

    @property
    def modelName(self) -> str | None:
        """Name of SageMaker's model, None while there is none."""
        return None if self._record is None else self._record.modelName

    @property
    def modelData(self) -> str | None:
        """S3 URI of the artifact, None where only an endpoint is known."""
        return None if self._record is None else self._record.modelData

    @property
    def trainingJobName(self) -> str | None:
        """Name of the training job, None where the model came another way."""
        return None if self._record is None else self._record.trainingJobName

    @property
    def createdResources(self) -> tuple[Resource, ...]:
        """What this package created for the model and is still there, in order of creation."""
        return () if self._record is None else self._record.created

    def setSagemakerSession(self, value: SageMakerSession | None) -> Self:
        """Reach the model's resources by this session, of the same account and region; for all copies."""
        super().setSagemakerSession(value)
        if value is not None and self._record is not None:
            self._record.use(value)
        return self

    def getSagemakerSession(self) -> SageMakerSession | None:
        """Return the session of the model's resources."""
        return super().getSagemakerSession() if self._record is None else self._record.session

    # -- hosting ----------------------------------------------------------------------------------------------------

    def deploy(self) -> Self:
        """Create the endpoint now, where there is none, and wait until it is in service.

        Calls CreateModel, CreateEndpointConfig, CreateEndpoint, DescribeEndpoint.

        Raises
        ------
        SageSparkError
            If it cannot be created; what was created is deleted again.
        """
        self._hosting().endpoint(self._requests, again=True)
        return self

    def delete(self) -> None:
        """Delete what this package created to host the model: endpoint, endpoint config, model.

        A copy shares them. The training job and the artifact stay; ``deploy()`` hosts the model again. What the package
        did not create, such as the endpoint of a ``fromEndpoint`` model, is left alone.
        """
        self._hosting().delete()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.delete()

    def _requests(self) -> Hosting:
        """Return the requests that host the model."""
        record, values = self._hosting(), self._values()
        if record.imageUri is None or record.modelData is None:
            raise ValidationError(
                "nothing is known of the model but its endpoint; there is nothing to deploy", self.uid
            )
        session = record.session
        self._refuse(session.problems(), "deploy")
        name = session.names.make(session.prefix, "model" if self._spec is None else self._spec.name)
        return requests.hosting(
            Scope(session, name, values),
            name=name,
            image=record.imageUri,
            modelData=record.modelData,
            environment=record.environment,
        )

    def _endpoint(self) -> str:
        """Return the endpoint's name; create it where the policy allows."""
        allowed = self._value("endpointPolicy") != "never"
        return self._hosting().endpoint(lambda: self._requests() if allowed else None)

    # -- transform --------------------------------------------------------------------------------------------------

    def _outputs(self) -> tuple[Output, ...]:
        """Return the response fields that become columns."""
        return () if self._spec is None else self._spec.outputs

    def _formats(self) -> tuple[str, str]:
        """Return the content types of requests and of responses."""
        assert self._spec is not None
        return self._spec.invocation_content_type, self._spec.accept

    def _fields(self, columns: tuple[OutputColumn, ...]) -> tuple[str, ...]:
        """Return the response fields that are asked for; `_postprocess` makes of them what the columns name."""
        return tuple(dict.fromkeys(c.field for c in columns))

    def _postprocess(self) -> PostProcess | None:
        """Return the module-level function that turns response fields into columns, None where they are the same."""
        return None

    def transformSchema(self, schema: StructType) -> StructType:
        """Return the schema that ``transform`` will give.

        Raises
        ------
        ValidationError
            If input columns are missing or of another type, or an output column exists already.
        """
        _, columns = self._columns(schema, "transformSchema")
        return with_outputs(schema, columns)

    def _columns(self, schema: StructType, where: str, more: tuple[str, ...] = ()) -> tuple[FrameLayout, Any]:
        layout, problems = frame_layout(self, schema, self._spec, labels=False)
        columns, taken = output_columns(self, schema, self._outputs())
        problems += taken
        width = self._width()
        if layout is not None and None not in (layout.width, width) and layout.width != width:
            problems.append(f"the model takes {width} features, but the schema's metadata says {layout.width}")
        self._refuse([*more, *problems], where)
        assert layout is not None
        return layout, columns

    def _transform(self, dataset: DataFrame) -> DataFrame:
        record = self._hosting()
        where = placement.problems(record.session, dataset.sparkSession)
        layout, columns = self._columns(dataset.schema, "transform", tuple(where))
        if not columns:
            return dataset
        return with_predictions(dataset, self._invocation(layout, columns), columns)

    def _invocation(self, layout: FrameLayout, columns: tuple[OutputColumn, ...]) -> InvokeSpec:
        content, accept = self._formats()
        megabytes = self._value("maxPayloadInMB")
        options: dict[str, Any] = {} if megabytes is None else {"maxPayloadBytes": int(megabytes * 2**20)}
        return InvokeSpec(
            session=self._hosting().session,
            endpointName=self._endpoint(),
            contentType=content,
            accept=accept,
            fields=self._fields(columns),
            maxRecordsPerRequest=self._value("maxRecordsPerRequest"),
            maxConcurrentRequests=self._value("maxConcurrentRequests"),
            timeoutSeconds=self._value("invocationTimeoutInSeconds"),
            maxRetries=self._value("maxRetries"),
            layout=layout,
            width=self._width(),
            postprocess=self._postprocess(),
            **options,
        )

    def _driver_invocation(self, fields: tuple[str, ...]) -> InvokeSpec:
        """Return how this process asks for some fields of the response."""
        layout = FrameLayout("vector", ("value",), missing="refuse" if self._spec is None else self._spec.missing)
        return self._invocation(layout, tuple(OutputColumn(field, field, "double") for field in fields))

    def _width(self) -> int | None:
        """Return the number of features that the model takes, where the job told."""
        text = self._hosting().hyperparameters.get("feature_dim")
        return int(text) if text and text.isdigit() else None

    # -- other ways to a model --------------------------------------------------------------------------------------

    @classmethod
    def fromEndpoint(cls, name: str, sagemakerSession: SageMakerSession | None = None, **params: Any) -> Self:
        """Return a model of an endpoint that exists. It deletes nothing.

        Calls DescribeEndpoint, DescribeEndpointConfig, DescribeModel.

        Parameters
        ----------
        name : str
            The endpoint; in service, or waited for.
        sagemakerSession : SageMakerSession or None
            None: the active one.
        **params
            Params of the model.

        Raises
        ------
        ResourceNotFoundError
            If there is no such endpoint.
        EndpointFailedError
            If it failed.
        ValidationError
            If it serves another algorithm than this class is for.
        """
        model = cls(sagemakerSession=sagemakerSession, **params)
        model._take(from_endpoint(model._resolved_session(), name, cls._spec))
        return model

    @classmethod
    def fromTrainingJob(
        cls, name: str, wait: bool = True, sagemakerSession: SageMakerSession | None = None, **params: Any
    ) -> Self:
        """Return the model of a training job, following it to its end where it still runs. Creates nothing.

        Calls DescribeTrainingJob.

        Parameters
        ----------
        name : str
            The job.
        wait : bool
            Whether to follow a job that still runs; otherwise that is an error.
        sagemakerSession : SageMakerSession or None
            None: the active one.
        **params
            Params of the model; those that the job's hyperparameters stand for are taken from it.

        Raises
        ------
        JobFailedError
            If it ended without a model.
        ValidationError
            If it runs and is not waited for, or trained another algorithm than this class is for.
        """
        model = cls(sagemakerSession=sagemakerSession, **params)
        session = model._resolved_session()
        listeners = model._all_listeners(session)
        attach = f"{cls.__name__}.fromTrainingJob({name!r}, wait=True)"
        record, values = from_training_job(session, name, wait, cls._spec, listeners, attach)
        model._take(record)
        model._set(**{k: v for k, v in values.items() if model.hasParam(k) and not model.isSet(k)})
        return model

    @classmethod
    def fromModelData(
        cls, s3Uri: str, imageUri: str | None = None, sagemakerSession: SageMakerSession | None = None, **params: Any
    ) -> Self:
        """Return the model of an artifact in S3. Creates nothing; the first transform or ``deploy()`` hosts it.

        Parameters
        ----------
        s3Uri : str
            ``model.tar.gz``.
        imageUri : str or None
            Image that serves it; None: the built-in algorithm's in the session's region.
        sagemakerSession : SageMakerSession or None
            None: the active one.
        **params
            Params of the model.

        Raises
        ------
        ValidationError
            If there is no such object, or no image is given and the class is for any.
        """
        model = cls(sagemakerSession=sagemakerSession, **params)
        model._take(from_model_data(model._resolved_session(), s3Uri, imageUri, cls._spec))
        return model

    # -- persistence ------------------------------------------------------------------------------------------------

    def _saved(self) -> dict[str, Any]:
        return {"hosting": self._hosting().to_json()}

    def _restore(self, saved: dict[str, Any], session: SageMakerSession | None) -> None:
        super()._restore(saved, session)
        self._take(HostingRecord.from_json(saved["hosting"], self._resolved_session()))
