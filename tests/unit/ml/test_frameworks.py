"""Scripts in AWS's images: the requests that go out, the files that go with them, and what is refused before."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import DoubleType, StructField, StructType

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import frameworks, source
from sagespark.ml.frameworks import HuggingFace, MXNet, PyTorch, SKLearn, SKLearnModel, TensorFlow, XGBoost
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.repack import repack

MODEL = botocore.session.get_session().get_service_model("sagemaker")
SCHEMA = StructType([StructField("features", VectorUDT()), StructField("label", DoubleType())])
ALL = [SKLearn, XGBoost, PyTorch, TensorFlow, MXNet, HuggingFace]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "package").mkdir(parents=True)
    (root / "__pycache__").mkdir()
    for name in ("train.py", "inference.py", "run.sh", "package/part.py", "__pycache__/train.pyc"):
        (root / name).write_text(f"# {name}\n")
    (root / "run.sh").chmod(0o755)
    return root


def members(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]  # all are files


def values(**given: Any) -> dict[str, Any]:
    return {"dependencies": [], **given}


@pytest.mark.parametrize("cls", ALL)
def test_requests_are_the_sdks(cls: Any, aws: SageMakerSession, folder: Path) -> None:
    estimator = cls(
        entryPoint="train.py",
        sourceDir=str(folder),
        hyperparameters={"epochs": 3, "name": "a", "on": True, "sizes": [1, 2]},
        labelCol="label",
        instanceType="ml.g5.xlarge" if cls is HuggingFace else "ml.m5.xlarge",
        sagemakerSession=aws,
    )
    plan = estimator.plan(SCHEMA)
    job = plan.trainingJob
    sent = job["HyperParameters"]
    assert {name: json.loads(text) for name, text in sent.items() if not name.startswith("sagemaker_")} == {
        "epochs": 3, "name": "a", "on": True, "sizes": [1, 2]
    }  # fmt: skip
    location = json.loads(sent["sagemaker_submit_directory"])
    assert location.startswith("s3://bucket/sagespark/source/")
    assert location.endswith("/sourcedir.tar.gz")
    assert sent["sagemaker_program"] == '"train.py"'
    assert sent["sagemaker_region"] == '"us-east-1"'
    assert sent["sagemaker_container_log_level"] == "20"
    assert json.loads(sent["sagemaker_job_name"]) == plan.name
    kind = cls._kind
    trains, container = job["AlgorithmSpecification"]["TrainingImage"], plan.hosting.model["PrimaryContainer"]
    own = kind.framework in ("sklearn", "xgboost")
    assert ("-training:" in trains, "-inference:" in container["Image"]) == (not own, not own)
    environment = container.get("Environment", {})
    if cls is TensorFlow:
        # A SavedModel needs no script to be served.
        assert environment == {}
    else:
        assert environment["SAGEMAKER_PROGRAM"] == "train.py"
        # Some images want the script inside the artifact, which is then another one than the job's.
        inside = kind.inside
        assert environment["SAGEMAKER_SUBMIT_DIRECTORY"] == ("/opt/ml/model/code" if inside else location)
        assert container["ModelDataUrl"].startswith("s3://bucket/sagespark/model/") == inside
        assert environment["SAGEMAKER_REGION"] == "us-east-1"
    for operation, request in plan.requests:
        unknown = ParamValidator().validate(
            json.loads(json.dumps(request, default=str)), MODEL.operation_model(operation).input_shape
        )
        assert not unknown.has_errors(), unknown.generate_report()
    # Planning again names the same files.
    assert json.loads(estimator.plan(SCHEMA).trainingJob["HyperParameters"]["sagemaker_submit_directory"]) == location


def test_versions_and_instances_choose_the_image(aws: SageMakerSession, folder: Path) -> None:
    def images(**params: Any) -> tuple[str, str]:
        given = {"entryPoint": "train.py", "sourceDir": str(folder), "sagemakerSession": aws} | params
        plan = PyTorch(**given).plan(SCHEMA)
        container = plan.hosting.model["PrimaryContainer"]  # type: ignore[union-attr]
        return tuple(
            uri.rpartition("/")[2]
            for uri in (plan.trainingJob["AlgorithmSpecification"]["TrainingImage"], container["Image"])
        )  # type: ignore[return-value]

    assert images(frameworkVersion="2.6") == ("pytorch-training:2.6.0-cpu-py312", "pytorch-inference:2.6.0-cpu-py312")
    gpu = images(frameworkVersion="2.5.1", instanceType="ml.g5.xlarge", endpointInstanceType="ml.c5.xlarge")
    assert gpu == ("pytorch-training:2.5.1-gpu-py311", "pytorch-inference:2.5.1-cpu-py311")
    own = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    assert images(imageUri=own) == ("mine:1", "mine:1")
    # Without hosting a version that only trains will do.
    plan = PyTorch(
        entryPoint="train.py",
        sourceDir=str(folder),
        frameworkVersion="2.10",
        endpointPolicy="never",
        sagemakerSession=aws,
    ).plan(SCHEMA)
    assert plan.hosting is None
    with pytest.raises(ValidationError, match=r"version '2.10' for inference.*endpointPolicy='never' trains"):
        images(frameworkVersion="2.10")


def test_every_problem_is_told_before_anything_is_created(aws: SageMakerSession, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        PyTorch(
            entryPoint="tain.py",
            sourceDir=str(folder),
            dependencies=[str(tmp_path / "nothing")],
            requirements=str(tmp_path / "none.txt"),
            frameworkVersion="2.66",
            labelCol="labels",
            sagemakerSession=aws,
        ).plan(SCHEMA)
    text = "\n".join(caught.value.problems)
    for part in (
        "entryPoint: there is no script 'tain.py' in sourceDir",
        "did you mean 'train.py'?",
        "dependencies: there is no file or folder",
        "requirements: there is no file",
        "no pytorch image of version '2.66' for training",
        "did you mean '2.6'?",
        "labels",
    ):
        assert part in text, text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "entryPoint must be set to the script that trains"),
        ({"entryPoint": "train.R"}, r"must be a \.py or \.sh file, but got 'train.R'"),
        ({"entryPoint": "train.py", "sourceDir": "/none"}, "there is no folder '/none'"),
        ({"entryPoint": "../out.py", "sourceDir": "SRC"}, "entryPoint must be inside sourceDir"),
        ({"entryPoint": "t.py", "sourceDir": "s3://b/x.zip"}, "must be a .tar.gz archive"),
        ({"entryPoint": "t.py", "sourceDir": "s3://b/x.tar.gz", "requirements": ["a"]}, "put them into the archive"),
        ({"entryPoint": "train.py", "sourceDir": "SRC", "inferenceEntryPoint": "inferense.py"}, "mean 'inference.py'"),
        ({"entryPoint": "run.sh", "sourceDir": "SRC"}, "no Python and cannot serve: set inferenceEntryPoint"),
    ],
)  # fmt: skip
def test_what_is_refused(aws: SageMakerSession, folder: Path, given: dict[str, Any], message: str) -> None:
    (folder.parent / "out.py").write_text("")
    given = {name: str(folder) if value == "SRC" else value for name, value in given.items()}
    with pytest.raises(ValidationError, match=message):
        SKLearn(**given, sagemakerSession=aws).plan(SCHEMA)


def test_hyperparameters_are_values_of_json() -> None:
    for bad, message in (
        ({"f": open}, "must be JSON"),
        ({"x": float("nan")}, "must be JSON"),
        ({"sagemaker_program": "x"}, "keeps for itself"),
        ("epochs=3", "a dict with strings as keys"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            SKLearn(hyperparameters=bad)
    with pytest.raises(TypeError, match="a file's path or a list of requirements"):
        SKLearn(requirements=[""])


def test_parameters_of_the_built_in_xgboost_name_its_class() -> None:
    with pytest.raises(
        TypeError, match=r"XGBoost has no Param 'maxDepth'.*entryPoint.*classification\.XGBoostClassifier"
    ):
        XGBoost(maxDepth=3)
    with pytest.raises(TypeError, match="SKLearn has no Param 'entry_point'; did you mean 'entryPoint'"):
        SKLearn(entry_point="x")


def test_without_network_the_script_comes_by_a_channel(aws: SageMakerSession, folder: Path) -> None:
    plan = SKLearn(
        entryPoint="train.py", sourceDir=str(folder), enableNetworkIsolation=True, sagemakerSession=aws
    ).plan(SCHEMA)
    sent = plan.trainingJob
    assert (
        json.loads(sent["HyperParameters"]["sagemaker_submit_directory"]) == "/opt/ml/input/data/code/sourcedir.tar.gz"
    )
    channel = sent["InputDataConfig"][-1]
    assert channel["ChannelName"] == "code"
    assert channel["DataSource"]["S3DataSource"]["S3Uri"].endswith("/sourcedir.tar.gz")
    assert sent["EnableNetworkIsolation"]


# The files.


def test_an_archive_holds_what_belongs_to_the_script(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "lib" / "deep" / "x.py").write_text("1")
    (tmp_path / "one.py").write_text("2")
    given = values(
        entryPoint="train.py",
        sourceDir=str(folder),
        dependencies=[str(tmp_path / "lib"), str(tmp_path / "one.py")],
        requirements=["pandas<3", "rich"],
    )
    assert source.problems(given) == []
    found = members(source.pack(given))
    assert set(found) == {
        "train.py", "inference.py", "run.sh", "package/part.py", "lib/deep/x.py", "one.py", "requirements.txt"
    }  # fmt: skip
    assert found["requirements.txt"] == "pandas<3\nrich\n"
    with tarfile.open(fileobj=io.BytesIO(source.pack(given))) as tar:
        assert tar.getmember("run.sh").mode == 0o755


def test_the_same_files_are_the_same_bytes(folder: Path) -> None:
    given = values(entryPoint="train.py", sourceDir=str(folder))
    before = source.pack(given)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    assert source.pack(given) == before
    (folder / "train.py").write_text("# another\n")
    assert source.pack(given) != before


def test_a_script_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text("rich\n")
    given = values(
        entryPoint=str(folder / "train.py"),
        inferenceEntryPoint=str(folder / "inference.py"),
        requirements=str(tmp_path / "wanted.txt"),
    )
    assert set(members(source.pack(given))) == {"train.py", "inference.py", "requirements.txt"}
    assert (source.program(given), source.serving_program(given)) == ("train.py", "inference.py")
    twice = values(entryPoint=str(folder / "train.py"), dependencies=[str(folder / "train.py")])
    with pytest.raises(ValidationError, match=r"two files of the script are both 'train.py'"):
        source.pack(twice)


def test_a_repacked_model_holds_the_script(
    aws: SageMakerSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def archive(files: dict[str, str]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        return out.getvalue()

    stored = {
        "model": archive({"./model.pt": "m", "code/old.py": "old"}),
        "source": archive({"train.py": "t", "package/part.py": "p"}),
    }
    monkeypatch.setattr(s3, "download", lambda _, uri, path: path.write_bytes(stored[uri.key]))
    monkeypatch.setattr(s3, "upload_file", lambda _, path, uri: stored.update({uri.key: path.read_bytes()}))
    repack(aws, S3Uri("bucket", "model"), S3Uri("bucket", "source"), S3Uri("bucket", "new"))
    assert members(stored["new"]) == {"model.pt": "m", "code/train.py": "t", "code/package/part.py": "p"}


# Classes and models.


def test_names_live_where_users_import_them_from() -> None:
    for name in frameworks.__all__:
        cls = getattr(frameworks, name)
        assert cls.__module__ == "sagespark.ml.frameworks"
        assert pickle.loads(pickle.dumps(cls())).__class__ is cls


def test_copies_keep_the_script(aws: SageMakerSession, folder: Path) -> None:
    estimator = SKLearn(entryPoint="train.py", sourceDir=str(folder), hyperparameters={"a": 1}, sagemakerSession=aws)
    other = estimator.copy({estimator.hyperparameters: {"a": 2}})
    assert (other.getEntryPoint(), other.getHyperparameters(), estimator.getHyperparameters()) == (
        "train.py", {"a": 2}, {"a": 1}
    )  # fmt: skip


def test_a_model_knows_its_framework(aws: SageMakerSession) -> None:
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312"
    with pytest.raises(ValidationError, match="is of pytorch, but SKLearnModel is for sklearn"):
        SKLearnModel()._take(HostingRecord(aws, imageUri=image))
    model = frameworks.PyTorchModel()
    told = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://b/s.tar.gz"', "epochs": "3"}
    record = HostingRecord(
        aws, imageUri=image, modelData="s3://b/model.tar.gz", trainingJobName="j", hyperparameters=told
    )
    model._take(record)
    assert record.environment["SAGEMAKER_PROGRAM"] == "train.py"
    assert record.environment["SAGEMAKER_SUBMIT_DIRECTORY"] == "s3://b/s.tar.gz"
