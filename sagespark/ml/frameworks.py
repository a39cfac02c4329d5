"""Scripts of one's own in the images of AWS's frameworks (script mode), with the names of SageMaker's SDK.

The script, with what belongs to it, is packed, uploaded and named to the image by the hyperparameters and environment
variables of AWS's toolkits; a DataFrame is a channel, and the script's answers become columns. The files of a
DataFrame's channel, and nothing else, lie in its folder (``SM_CHANNEL_TRAIN``): ``part-00000-0000.csv`` and so on.

Source: ``sagemaker.estimator.Framework`` and ``sagemaker.model.FrameworkModel`` of AWS's SDK 2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from pyspark.sql.types import StructType

from sagespark.algorithms import frameworks
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import SageSparkError, ValidationError
from sagespark.ml import act, attach, script, source
from sagespark.ml.generic import SageMakerEstimator, SageMakerModel
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import Plan, Training, UriChannel
from sagespark.ml.requests import Hosting
from sagespark.ml.stage_params import (
    FrameworkModelParams,
    FrameworkParams,
    HuggingFaceModelParams,
    HuggingFaceParams,
)

__all__ = [
    "HuggingFace",
    "HuggingFaceModel",
    "MXNet",
    "MXNetModel",
    "PyTorch",
    "PyTorchModel",
    "SKLearn",
    "SKLearnModel",
    "TensorFlow",
    "TensorFlowModel",
    "XGBoost",
    "XGBoostModel",
]


class FrameworkModel(FrameworkModelParams, SageMakerModel):
    """A model that a script serves; base of the frameworks' models."""

    __module__ = "sagespark.ml.frameworks"
    _kind: ClassVar[script.Kind]

    def _algorithm(self) -> AlgorithmSpec | None:
        # XGBoost's image is the built-in algorithm's too; with a script it speaks as the script does.
        return None

    def _formats(self) -> tuple[str, str]:
        kind = self._kind
        return self._value("serializer") or kind.serializer, self._value("deserializer") or kind.deserializer

    def _take(self, record: HostingRecord) -> None:
        found = frameworks.image_of(record.imageUri or "")
        if found is not None and found.framework != self._kind.framework:
            raise ValidationError(
                f"the image {record.imageUri} is of {found.framework}, but {type(self).__name__} is for "
                f"{self._kind.framework}",
                "from",
            )
        HostedModel._take(self, record)
        if script.of_job(self._kind, record) and not record.environment:
            record.environment = script.of_job(self._kind, record)

    def _requests(self) -> Hosting:
        record, values = self._hosting(), self._values()
        if values.get("entryPoint") and not record.environment:
            self._refuse(source.problems(values), "deploy")
            if (written := script.upload(record.session, values)) is not None:
                record.note(written)
            record.environment = script.environment(self._kind, record.session, values)
        found = frameworks.image_of(record.imageUri or "")
        if found is not None and record.trainingJobName is not None and not values.get("imageUri"):
            # The job's image trains; the one that serves has the same version.
            asked = {"frameworkVersion": found.version, "pytorchVersion": found.base or None}
            record.imageUri = script.inference_image(self._kind, record.session, {**values, **asked})
        script.ready(self._kind, record, isolated=values["enableNetworkIsolation"])
        return super()._requests()

    @classmethod
    def fromModelData(
        cls, s3Uri: str, imageUri: str | None = None, sagemakerSession: SageMakerSession | None = None, **params: Any
    ) -> Self:
        """Return the model of an artifact in S3, to be served by a script. Creates nothing yet.

        Parameters
        ----------
        s3Uri : str
            ``model.tar.gz``.
        imageUri : str or None
            Image that serves it; None: the framework's, by ``frameworkVersion``.
        sagemakerSession : SageMakerSession or None
            None: the active one.
        **params
            Params of the model: ``entryPoint``, ``sourceDir``, ``frameworkVersion`` and so on.

        Raises
        ------
        ValidationError
            If there is no such object, script or image; all problems but the first are in one error.
        """
        model = cls(sagemakerSession=sagemakerSession, **params)
        session, values = model._resolved_session(), model._values()
        problems = source.problems(values) if values.get("entryPoint") or not cls._kind.serves_alone else []
        try:
            image = imageUri or script.inference_image(cls._kind, session, values)
        except ValidationError as error:
            problems += error.problems
        model._refuse(problems, "fromModelData")
        model._take(attach.from_model_data(session, s3Uri, image, None))
        return model


class FrameworkEstimator(FrameworkParams, SageMakerEstimator):
    """Train by a script; base of the frameworks' estimators."""

    __module__ = "sagespark.ml.frameworks"
    _kind: ClassVar[script.Kind]
    _meant: ClassVar[str] = ""
    """The estimator of the built-in algorithm of the same name, for those who look for it here."""

    def _unknown(self, name: str) -> str:
        text = super()._unknown(name)
        if not self._meant:
            return text
        return (
            f"{text}. {type(self).__name__} runs your own script (entryPoint) and gives it hyperparameters={{...}}; "
            f"the built-in algorithm, with Params such as maxDepth, is sagespark.ml.classification.{self._meant}"
        )

    def _algorithm(self, image: str | None) -> AlgorithmSpec | None:
        return None

    def _image(self, session: SageMakerSession) -> tuple[str, list[str]]:
        try:
            return script.training_image(self._kind, session, self._values()), []
        except ValidationError as error:
            return "", list(error.problems)

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        kind, values = self._kind, self._values()
        problems = source.problems(values)
        training, more = super()._training(session, schema)
        problems += more
        hosted, image = values["endpointPolicy"] == "createOnFit", None
        if hosted:
            try:
                image = script.inference_image(kind, session, values)
            except ValidationError as error:
                problems += [f"{text} (endpointPolicy='never' trains without hosting)" for text in error.problems]
            if (
                not kind.serves_alone
                and values.get("entryPoint")
                and not source.serving_program(values).endswith(".py")
            ):
                problems.append(
                    f"entryPoint {values['entryPoint']!r} is no Python and cannot serve: set inferenceEntryPoint to a "
                    "script with model_fn, or endpointPolicy='never'"
                )
        own = values.get("inferenceEntryPoint")
        if kind.serves_alone and own and source.serving_program(values) != "inference.py":
            problems.append(f"inferenceEntryPoint must be 'inference.py' for {kind.framework}, but got {own!r}")
        if problems or training is None:
            return None, problems
        archive = str(script.location(session, values))
        channels = list(training.channels)
        if values["enableNetworkIsolation"]:
            channels.append(UriChannel(script.CODE_CHANNEL, script.location(session, values), None, "FullyReplicated"))
            archive = f"/opt/ml/input/data/{script.CODE_CHANNEL}/{source.ARCHIVE}"
        return (
            replace(
                training,
                kind=kind.framework,
                hyperparameters=script.hyperparameters(session, values, archive),
                channels=channels,
                hostingImage=image,
                hostingEnvironment=script.environment(kind, session, values),
            ),
            [],
        )

    def _plan(self, session: SageMakerSession, schema: StructType, more: Sequence[str] = ()) -> Plan:
        plan = super()._plan(session, schema, more)
        plan.trainingJob["HyperParameters"]["sagemaker_job_name"] = json.dumps(plan.name)
        if plan.hosting is None:
            return plan
        container = plan.hosting.model["PrimaryContainer"]
        data, variables = script.packed(
            self._kind,
            session,
            container["ModelDataUrl"],
            container.get("Environment", {}),
            isolated=self._value("enableNetworkIsolation"),
        )
        more_of = {"Environment": variables} if variables else {}
        return replace(plan, hosting=plan.hosting.with_container({**container, "ModelDataUrl": data, **more_of}))

    def _train(self, session: SageMakerSession, plan: Plan, reports: act.Reports) -> HostingRecord:
        values = self._values()
        try:
            written = script.upload(session, values)
        except SageSparkError:
            act.discard(session, reports)
            raise
        record = super()._train(session, replace(plan, hosting=None), reports)
        if written is not None:
            record.note(written)
        record.environment = script.environment(self._kind, session, values)
        if plan.hosting is None:
            return record
        record.imageUri = plan.hosting.model["PrimaryContainer"]["Image"]
        try:
            script.ready(self._kind, record, isolated=values["enableNetworkIsolation"])
        except SageSparkError as error:
            error.createdResources += record.created
            raise
        return act.host(record, plan)


class SKLearnModel(FrameworkModel):
    """A model of scikit-learn that a script serves."""

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["sklearn"]


class SKLearn(FrameworkEstimator):
    """Train by a script in AWS's image of scikit-learn.

    Parameters
    ----------
    **params
        ``explainParams()`` lists them; ``entryPoint`` is the script.
    """

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["sklearn"]
    _model_class: ClassVar[type[HostedModel]] = SKLearnModel


class XGBoostModel(FrameworkModel):
    """A model of XGBoost that a script serves."""

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["xgboost"]


class XGBoost(FrameworkEstimator):
    """Train by a script in AWS's image of XGBoost.

    Parameters
    ----------
    **params
        ``explainParams()`` lists them; ``entryPoint`` is the script.
    """

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["xgboost"]
    _model_class: ClassVar[type[HostedModel]] = XGBoostModel
    _meant = "XGBoostClassifier"


class PyTorchModel(FrameworkModel):
    """A model of PyTorch that a script serves."""

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["pytorch"]


class PyTorch(FrameworkEstimator):
    """Train by a script in AWS's image of PyTorch.

    Parameters
    ----------
    **params
        ``explainParams()`` lists them; ``entryPoint`` is the script.
    """

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["pytorch"]
    _model_class: ClassVar[type[HostedModel]] = PyTorchModel


class TensorFlowModel(FrameworkModel):
    """A model of TensorFlow that a script serves."""

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["tensorflow"]


class TensorFlow(FrameworkEstimator):
    """Train by a script in AWS's image of TensorFlow.

    Parameters
    ----------
    **params
        ``explainParams()`` lists them; ``entryPoint`` is the script.
    """

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["tensorflow"]
    _model_class: ClassVar[type[HostedModel]] = TensorFlowModel


class MXNetModel(FrameworkModel):
    """A model of Apache MXNet that a script serves."""

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["mxnet"]


class MXNet(FrameworkEstimator):
    """Train by a script in AWS's image of Apache MXNet.

    Parameters
    ----------
    **params
        ``explainParams()`` lists them; ``entryPoint`` is the script.
    """

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["mxnet"]
    _model_class: ClassVar[type[HostedModel]] = MXNetModel


class HuggingFaceModel(HuggingFaceModelParams, FrameworkModel):
    """A model of Hugging Face's transformers that a script serves."""

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["huggingface"]


class HuggingFace(HuggingFaceParams, FrameworkEstimator):
    """Train by a script in AWS's image of Hugging Face's transformers.

    Parameters
    ----------
    **params
        ``explainParams()`` lists them; ``entryPoint`` is the script.
    """

    __module__ = "sagespark.ml.frameworks"
    _kind = script.KINDS["huggingface"]
    _model_class: ClassVar[type[HostedModel]] = HuggingFaceModel
