"""What users get wrong, as rows: a training job's request and data, and the end and the reason that it must have.

A reason is a regex of the whole of it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from sagespark.algorithms.registry import image_uri
from sagespark.codecs.registry import codec
from sagespark.local.config import ServiceInfo
from support.programs import as_csr

REGION = "us-east-1"
BUCKET = ServiceInfo("").bucket
RECORDIO, CSV, LIBSVM = "application/x-recordio-protobuf", "text/csv", "text/libsvm"
FAILED = ("Failed", "Failed")
LATE = ("Stopped", "MaxRuntimeExceeded")


@dataclass(frozen=True)
class BadInput:
    """One row.

    Parameters
    ----------
    what : str
        What is wrong.
    reason : str
        Regex of the FailureReason; of a job that did not fail, of its last status message.
    algorithm : str
        Whose image it is.
    hyperparameters : mapping
        As strings.
    channels : mapping
        Name, and the bytes of its one file.
    content_type : str
        Of the channels.
    code : mapping or bytes or None
        A script's files, or what stands in place of their archive.
    members : mapping
        Other members of the request.
    ends : tuple of str
        TrainingJobStatus and SecondaryStatus.
    """

    what: str
    reason: str
    algorithm: str = "kmeans"
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, bytes] = field(default_factory=dict)
    content_type: str = RECORDIO
    code: Mapping[str, str] | bytes | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    ends: tuple[str, str] = FAILED

    def objects(self, name: str) -> dict[str, bytes]:
        """Return the objects that the job ``name`` reads, by key."""
        found = {f"{name}/{channel}/part": body for channel, body in self.channels.items()}
        if self.code is not None:
            found[f"{name}/sourcedir.tar.gz"] = self.code if isinstance(self.code, bytes) else _archive(self.code)
        return found

    def request(self, name: str) -> dict[str, Any]:
        """Return the CreateTrainingJob request of the job ``name``."""
        given = {key: str(value) for key, value in self.hyperparameters.items()}
        if self.code is not None:
            given["sagemaker_submit_directory"] = f"s3://{BUCKET}/{name}/sourcedir.tar.gz"
        framework = self.algorithm == "sklearn"
        channels = [_channel(channel, f"{name}/{channel}/", self.content_type) for channel in self.channels]
        return {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": _sklearn() if framework else image_uri(self.algorithm, REGION),
                "TrainingInputMode": "File",
            },
            "RoleArn": ServiceInfo("").role,
            "HyperParameters": given,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            # Of the jobs' time, which runs fast.
            "StoppingCondition": {"MaxRuntimeInSeconds": 20 * 24 * 3600},
            **({"InputDataConfig": channels} if channels else {}),
            **self.members,
        }


def _sklearn() -> str:
    """Return the image whose environment is the tests' own."""
    major, minor = version("scikit-learn").split(".")[:2]
    return f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-scikit-learn:{major}.{minor}-0-cpu-py3"


def _archive(files: Mapping[str, str]) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return found.getvalue()


def _channel(name: str, key: str, content_type: str = "", kind: str = "S3Prefix", **members: Any) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": f"s3://{BUCKET}/{key}"}
    if "AttributeNames" in members:
        source["AttributeNames"] = members.pop("AttributeNames")
    form = {"ContentType": content_type} if content_type else {}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **form, **members}


# -- programs ---------------------------------------------------------------------------------------------------------


def shell(what: str, script: str, reason: str, **options: Any) -> BadInput:
    """Return a job whose container runs a shell script; ``$ML`` is its ``/opt/ml``."""
    return program(what, ("/bin/sh", "-c", 'ML="${SAGEMAKER_BASE_DIR:-/opt/ml}"; ' + script), reason, **options)


def program(what: str, argv: Sequence[str], reason: str, **options: Any) -> BadInput:
    """Return a job whose container runs a program of its own."""
    specification = {
        "TrainingImage": image_uri("kmeans", REGION),
        "TrainingInputMode": "File",
        "ContainerEntrypoint": list(argv),
    }
    ends = options.pop("ends", FAILED)
    return BadInput(what, reason, members={"AlgorithmSpecification": specification, **options}, ends=ends)


def _from(key: str, kind: str = "S3Prefix", **members: Any) -> list[dict[str, Any]]:
    return [_channel("train", key, kind=kind, **members)]


SHARED = {
    "shared/text": b"no gzip and no JSON",
    "shared/lost.manifest": json.dumps([{"prefix": f"s3://{BUCKET}/shared/"}, "lost"]).encode(),
    "odd/a//b": b"x",
}
"""Objects that several rows read, by key."""
MANIFEST = "ManifestFile"
DOWNLOAD = "ClientError: Data download failed:"
READ = 'cat "$ML/input/data/train_0"; exec sleep 600'
BUSY = "while :; do sleep 0.05; done"
TOO_LONG = "Training job runtime exceeded MaxRuntimeInSeconds provided"
HOUR = {"MaxRuntimeInSeconds": 3600}
TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
SECOND_HOST = 'grep -q \'"current_host": "algo-2"\' "$ML/input/config/resourceconfig.json"'
ABSENT = {"S3DataType": "S3Prefix", "S3Uri": "s3://absent-bucket/x"}

PROGRAMS = (
    shell("exits 3", "exit 3", "AlgorithmError: Exit Code: 3"),
    shell("says why", 'echo "no rows left" > "$ML/output/failure"; exit 1', "AlgorithmError: no rows left"),
    shell("blames its user", 'echo "ClientError: bad k" > "$ML/output/failure"; exit 1', "ClientError: bad k"),
    shell(
        "says too much",
        'head -c 5000 /dev/zero | tr "\\0" x > "$ML/output/failure"; exit 1',
        "AlgorithmError: x{1008}",
    ),
    shell("no text", r"""printf '\377\376' > "$ML/output/failure"; exit 1""", "AlgorithmError: \ufffd\ufffd"),
    shell("a folder for a reason", 'mkdir "$ML/output/failure"; exit 5', "AlgorithmError: Exit Code: 5"),
    shell("a link for a reason", 'ln -s /etc/hostname "$ML/output/failure"; exit 5', "AlgorithmError: Exit Code: 5"),
    shell("killed", "kill -9 $$", "AlgorithmError: Exit Code: 137"),
    program("program is not there", ("/none/such",), "AlgorithmError: Exit Code: 127"),
    program("program is none", ("/etc/hostname",), "AlgorithmError: Exit Code: 126"),
    shell("silent for an hour", "exec sleep 600", TOO_LONG, ends=LATE, StoppingCondition=HOUR),
    shell("deaf for an hour", f"trap '' TERM; {BUSY}", TOO_LONG, ends=LATE, StoppingCondition=HOUR),
    shell(
        "second host fails",
        f"{SECOND_HOST} || exec sleep 600; exit 7",
        "AlgorithmError: Exit Code: 7",
        ResourceConfig=TWO,
    ),
    shell("no data", "true", DOWNLOAD + "No S3 objects found .*", InputDataConfig=_from("none/")),
    shell(
        "no bucket",
        "true",
        DOWNLOAD + ".*bucket does not exist.*",
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": ABSENT}}],
    ),
    shell("manifest is no JSON", "true", f"{DOWNLOAD}.*is not JSON.*", InputDataConfig=_from("shared/text", MANIFEST)),
    shell(
        "manifest of nothing",
        "true",
        DOWNLOAD + rf".*The manifest s3://{BUCKET}/shared/lost\.manifest names it\..*",
        InputDataConfig=_from("shared/lost.manifest", MANIFEST),
    ),
    shell(
        "key is no file name", "true", f"{DOWNLOAD}.*has an empty, '.' or '..' step.*", InputDataConfig=_from("odd/")
    ),
    shell(
        "pipe is no gzip",
        READ,
        "ClientError: Channel 'train' could not be read: .*is not gzip.*",
        InputDataConfig=_from("shared/text", InputMode="Pipe", CompressionType="Gzip"),
    ),
    shell(
        "augmented line is no JSON",
        READ,
        rf"ClientError: .*line 1 of the augmented manifest s3://{BUCKET}/shared/text is not JSON.*",
        InputDataConfig=_from("shared/text", "AugmentedManifestFile", InputMode="Pipe", AttributeNames=["a"]),
    ),
    shell(
        "output bucket is gone",
        "true",
        r"ClientError: The bucket of OutputDataConfig\.S3OutputPath does not exist.*",
        OutputDataConfig={"S3OutputPath": "s3://absent-bucket/out"},
    ),
)

# -- scripts of frameworks --------------------------------------------------------------------------------------------


def script(what: str, code: Mapping[str, str] | bytes | None, reason: str, **hyperparameters: str) -> BadInput:
    """Return a job of a script, by default ``train.py``."""
    given = {"sagemaker_program": '"train.py"', **hyperparameters}
    return BadInput(what, reason, "sklearn", {name: text for name, text in given.items() if text}, code=code)


SCRIPTS = (
    script("no script named", {"train.py": ""}, "ClientError: the hyperparameter sagemaker_program is missing.*",
           sagemaker_program=""),
    script("script is missing", {"other.py": "", "helper.py": ""}, "ClientError: there is no entry point 'train.py' "
           "among the script's files: helper.py, other.py"),
    script("script's archive is gone", None, "ClientError: the script's files cannot be downloaded from "
           r"s3://\S+/lost.tar.gz: .*404.*", sagemaker_submit_directory=f'"s3://{BUCKET}/lost.tar.gz"'),
    script("script's archive is none", b"no archive", r"ClientError: \S+ is no archive of a script's files: .*"),
    script("script's folder is not there", None, "ClientError: the submit directory /opt/ml/other does not exist .*",
           sagemaker_submit_directory='"/opt/ml/other"'),
    script("script exits 3", {"train.py": "import sys; sys.exit(3)"},
           'AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage ""\nCommand .*'),
    script("script raises", {"train.py": "raise ValueError('no column price')"},
           'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback .*'
           'ValueError: no column price"\nCommand .*'),
)  # fmt: skip

# -- built-in algorithms ----------------------------------------------------------------------------------------------


def _encode(rows: Any, labels: Any = None) -> bytes:
    """Return rows as RecordIO-protobuf, labels beside."""
    rows = np.asarray(rows, np.float32) if isinstance(rows, list) else rows
    given = None if labels is None else np.asarray(labels, np.float32)
    return bytes(codec(RECORDIO).encode(rows, given))


ROWS = [[0, 1, 2], [3, 1, 0], [1, 0, 5], [2, 2, 2]]
LABELS = [0, 1, 0, 1]
GOOD = _encode(ROWS, LABELS)
PLAIN = _encode(ROWS)


def _with(value: float) -> Any:
    rows = np.array(ROWS, np.float32)
    rows[2, 1] = value
    return rows


def _job(algorithm: str, defaults: Mapping[str, Any], data: bytes) -> Any:
    """Return a function of a row's name, its reason, what it changes, and its channels."""

    def row(what: str, reason: str, changed: Mapping[str, Any] | None = None, **options: Any) -> BadInput:
        channels = {name: options.pop(name) for name in ("train", "validation", "test") if name in options}
        given = {key: value for key, value in {**defaults, **(changed or {})}.items() if value is not None}
        return BadInput(
            f"{algorithm}: {what}",
            f"ClientError: {reason}",
            algorithm,
            given,
            {"train": data} | {name: body for name, body in channels.items() if body is not None},
            options.pop("form", RECORDIO),
            members=options,
        )

    return row


kmeans = _job("kmeans", {"k": 2, "feature_dim": 3}, PLAIN)
pca = _job("pca", {"num_components": 2, "feature_dim": 3, "mini_batch_size": 4}, PLAIN)
lda = _job("lda", {"num_topics": 2, "feature_dim": 3, "mini_batch_size": 4}, PLAIN)
linear = _job("linear-learner", {"predictor_type": "binary_classifier", "feature_dim": 3}, GOOD)
machines = _job(
    "factorization-machines", {"predictor_type": "binary_classifier", "feature_dim": 3, "num_factors": 2}, GOOD
)
neighbours = _job("knn", {"k": 2, "feature_dim": 3, "predictor_type": "classifier", "sample_size": 4}, GOOD)
forest = _job("randomcutforest", {"feature_dim": 3}, PLAIN)
boosting = _job("xgboost", {"num_round": 1, "objective": "binary:logistic"}, b"1 0:1 1:2\n0 0:2 1:1\n")
ALGORITHMS = (
    kmeans("k of the wrong type", r"k must be an integer >= 2, but got 'ten'", {"k": "ten"}),
    kmeans("k out of range", "k must be an integer >= 2, but got 1", {"k": 1}),
    kmeans("k is missing", "Required hyperparameter 'k' is missing", {"k": None}),
    kmeans("k is more than the rows", "the train channel holds 4 rows, but k is 5; .* at least k rows", {"k": 5}),
    kmeans("unknown hyperparameter", r"Unknown hyperparameter 'epoch' \(did you mean 'epochs'\?\)", {"epoch": 1}),
    kmeans(
        "several problems at once",
        r"Unknown hyperparameter 'kk'.*; epochs must be an integer >= 1, but got 0; Required hyperparameter 'k' .*",
        {"k": None, "kk": 2, "epochs": 0},
    ),
    kmeans(
        "feature_dim is not the data's",
        "channel 'train', file 'part': rows from 0 on have 3 features, but feature_dim is 9",
        {"feature_dim": 9},
    ),
    kmeans("NaN", ".*file 'part': row 2 holds nan; every feature must be finite", train=_encode(_with(np.nan))),
    kmeans(
        "infinite, sparse",
        ".*file 'part': row 2 holds -inf; every feature must be finite",
        train=_encode(as_csr(_with(-np.inf))),
    ),
    kmeans("records are cut off", ".*file 'part': application/x-recordio-protobuf, byte .*", train=PLAIN[:-3]),
    kmeans("no rows", "the train channel holds 0 rows, but k is 2; there must be at least k rows", train=b""),
    kmeans("text in CSV", ".*file 'part': .*line 2, column 2: 'red' is no number.*", train=b"1,2,3\n1,red,3\n",
           form="text/csv;label_size=0"),
    kmeans("a content type that is not read", "channel 'train' has the content type 'text/libsvm'; .* reads .*",
           form=LIBSVM),
    kmeans("no train channel", "the train channel is missing; kmeans reads 'train' and 'test'", train=None,
           InputDataConfig=[_channel("test", "shared/text", RECORDIO)]),
    kmeans("unknown channel", "unknown channel 'validation'; kmeans reads 'train' and 'test'", validation=PLAIN),
    kmeans("a seed out of range", r"SAGESPARK_SEED must be an integer in 0\.\.2147483647, but got '-1'",
           Environment={"SAGESPARK_SEED": "-1"}),
    pca("more components than features", "num_components is 4, but there are 3 features; .*", {"num_components": 4}),
    pca("a mode of another algorithm", r"algorithmMode \(algorithm_mode\) must be 'regular' or 'randomized', but got "
        "'stable'", {"algorithm_mode": "stable"}),
    lda("negative counts", "channel 'train': row 2 holds -1; LDA counts words, so every feature must be a whole "
        "number of 0 or more", train=_encode(_with(-1))),
    lda("fractions of words", "channel 'test': row 2 holds 2.5; LDA counts words, .*", test=_encode(_with(2.5))),
    lda("no words", "the 2 rows of the train channel hold no word: every count is 0", train=_encode([[0, 0, 0]] * 2)),
    lda("alpha0 out of range", "alpha0 must be a number > 0, but got 0.*", {"alpha0": 0}),
    linear("missing labels", ".*file 'part' must have one label per row, but its rows have none", train=PLAIN),
    linear("NaN label", ".*file 'part': row 1 has the label nan; every label must be finite",
           train=_encode(ROWS, [0, np.nan, 1, 0])),
    linear("one class", "every label of the train channel is 1; a binary_classifier needs rows of both classes",
           train=_encode(ROWS, [1] * 4)),
    linear("a third class", "channel 'validation' has the label 2; the labels of a binary_classifier of 2 classes .*",
           validation=_encode(ROWS, [0, 1, 2, 0])),
    linear("a loss of another kind", "loss must be 'auto' or one of logistic, hinge_loss for a binary_classifier, "
           "but is 'squared_loss'", {"loss": "squared_loss"}),
    linear("a word for a number", r"learningRate \(learning_rate\) must be 'auto' or a number > 0, but got 'fast'",
           {"learning_rate": "fast"}),
    linear("number of classes is missing", "num_classes is required for a multiclass_classifier: .*",
           {"predictor_type": "multiclass_classifier"}),
    machines("CSV", "channel 'train' has the content type 'text/csv'; this algorithm reads "
             "application/x-recordio-protobuf", train=b"1,2,3\n", form=CSV),
    machines("one class", "every label of the train channel is 0; .* needs rows of both classes",
             train=_encode(ROWS, [0] * 4)),
    machines("diverges", "training diverged: weights are no longer finite; lower .*",
             {"predictor_type": "regressor", "linear_lr": 1e300, "epochs": 3}, train=_encode(ROWS, [0, 1, 2, 1e30])),
    neighbours("k is more than the rows kept", "k is 5, but 4 rows are kept; there must be at least k", {"k": 5}),
    neighbours("fractions of classes", "the train channel holds the label 0.5; a classifier's labels must be .*",
               train=_encode(ROWS, [0, 0.5, 1, 0])),
    neighbours("an index without what it needs", "index_type 'faiss.IVFPQ' needs faiss_index_pq_m.*",
               {"index_type": "faiss.IVFPQ"}),
    forest("too few trees", r"numTrees \(num_trees\) must be an integer in \[50, 1000\], but got 49",
           {"num_trees": 49}),
    forest("a label that is no anomaly's", "the test channel holds the label 2; a label must be 1 for an anomaly .*",
           test=_encode(ROWS, [0, 1, 2, 0])),
    boosting("rounds are missing", "Required hyperparameter 'num_round' is missing", {"num_round": None}, form=LIBSVM),
    boosting("a share out of range", r"stepSize \(eta\) must be a number in \[0, 1\], but got 2.*", {"eta": 2},
             form=LIBSVM),
    boosting("a name twice", "'learning_rate' is another name of 'eta'; give one of them",
             {"eta": 0.1, "learning_rate": 0.2}, form=LIBSVM),
    boosting("number of classes is missing", "num_class is required for the objective 'multi:softmax': .*",
             {"objective": "multi:softmax"}, form=LIBSVM),
    boosting("what XGBoost has no longer", "hyperparameter 'predictor' is none of XGBoost 3.2: only images .*",
             {"predictor": "auto"}, form=LIBSVM),
    boosting("one class", "every label of the train channel is 1; binary:logistic needs rows of two classes",
             train=b"1 0:1\n1 0:2\n", form=LIBSVM),
    boosting("a label that is no probability", "the label of row 1 of the train channel is 2, but for binary:logistic "
             r"it must be .*\[0, 1\].*", train=b"1 0:1\n2 0:2\n", form=LIBSVM),
    boosting("NaN label", ".*file 'part': the label of row 1 is nan; every label must be a number",
             train=b"1,2\nnan,3\n", form=CSV),
    boosting("text in CSV", ".*file 'part': .*line 2, column 2: 'red' is no number.*", train=b"1,2\n1,red\n",
             form=CSV),
    boosting("rows of several lengths", ".*file 'part': .*line 2 has 3 cells, the lines before 2.*",
             train=b"1,2\n1,2,3\n", form=CSV),
    boosting("LibSVM that is none", ".*file 'part': .*line 2: '0-1' must be an entry, index:value.*",
             train=b"1 0:1\n0 0-1\n", form=LIBSVM),
    boosting("negative weight", ".*file 'part': the weight of row 1 is -1.*; weights are 0 or more",
             {"csv_weights": 1}, train=b"1,1,2\n0,-1,3\n", form=CSV),
    boosting("missing labels", ".*file 'part': the rows have no labels", train=PLAIN),
    boosting("a content type that is not read", "channel 'train': 'application/json' is not an accepted ContentType; "
             "XGBoost reads .*", form="application/json"),
    boosting("validation of another width", "the rows of the validation channel have 1 features, but others 2; .*",
             train=b"1,2,3\n0,4,5\n", validation=b"1,2\n", form=CSV),
)  # fmt: skip

ROWS_OF_ALL = PROGRAMS + SCRIPTS + ALGORITHMS
"""Every row."""
