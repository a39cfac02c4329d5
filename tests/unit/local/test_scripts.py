"""The toolkits' contract: what a script is told, how it is run, how its functions answer."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagespark.codecs.registry import codec
from sagespark.local.scripts import code, formats, serve, settings, train
from sagespark.local.scripts.handler import load, response
from sagespark.local.scripts.tensorflow_serving import as_request
from support.wheels import wheel

RESOURCES = {
    "current_host": "algo-2",
    "current_instance_type": "ml.m5.xlarge",
    "current_group_name": "homogeneousCluster",
    "hosts": ["algo-1", "algo-2"],
    "instance_groups": [
        {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.xlarge", "hosts": ["algo-1", "algo-2"]}
    ],
    "network_interface_name": "lo",
}


@pytest.fixture
def opt_ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "ml"
    (root / "input" / "config").mkdir(parents=True)
    (root / "model").mkdir()
    (root / "input" / "config" / "resourceconfig.json").write_text(json.dumps(RESOURCES))
    (root / "input" / "config" / "inputdataconfig.json").write_text('{"train": {"TrainingInputMode": "File"}}')
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
    for name in ("SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY", "SAGESPARK_FRAMEWORK", "SAGESPARK_NOTE"):
        monkeypatch.delenv(name, raising=False)
    return root


def job(root: Path, program: str, text: str, **values: Any) -> Path:
    """Write a script and the hyperparameters of its job."""
    folder = root / "code"
    folder.mkdir(exist_ok=True)
    (folder / program).write_text(text)
    given = {"sagemaker_program": program, "sagemaker_submit_directory": "/opt/ml/code", **values}
    (root / "input" / "config" / "hyperparameters.json").write_text(
        json.dumps({name: json.dumps(value) for name, value in given.items()})
    )
    return folder


def test_variables_are_the_toolkits(opt_ml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGESPARK_FRAMEWORK", "pytorch")
    values, own = settings.split(
        {"epochs": "3", "name": '"a b"', "raw": "not json", "sagemaker_program": '"train.py"', "layers": "[1, 2]"}
    )
    assert values == {"epochs": 3, "name": "a b", "raw": "not json", "layers": [1, 2]}
    found = settings.variables(values, own, "/opt/ml/code")
    expected = {
        "SM_HOSTS": '["algo-1", "algo-2"]',
        "SM_CURRENT_HOST": "algo-2",
        "SM_MASTER_HOSTNAME": "algo-1",
        "SM_IS_MASTER": "false",
        "SM_CHANNELS": '["train"]',
        "SM_CHANNEL_TRAIN": str(opt_ml / "input" / "data" / "train"),
        "SM_MODEL_DIR": str(opt_ml / "model"),
        "SM_OUTPUT_DATA_DIR": str(opt_ml / "output" / "data"),
        "SM_HPS": '{"epochs": 3, "layers": [1, 2], "name": "a b", "raw": "not json"}',
        "SM_HP_EPOCHS": "3",
        "SM_HP_NAME": "a b",
        "SM_HP_LAYERS": "[1, 2]",
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_MODULE_NAME": "train",
        "SM_NUM_GPUS": "0",
        "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_FRAMEWORK_MODULE": "sagemaker_pytorch_container.training:main",
        "SM_CURRENT_INSTANCE_GROUP_HOSTS": '["algo-1", "algo-2"]',
    }
    assert {name: found[name] for name in expected} == expected
    assert json.loads(found["SM_RESOURCE_CONFIG"]) == RESOURCES
    assert json.loads(found["SM_INPUT_DATA_CONFIG"])["train"]["TrainingInputMode"] == "File"
    assert json.loads(found["SM_TRAINING_ENV"])["hyperparameters"] == values
    assert json.loads(found["SM_USER_ARGS"]) == settings.arguments(values)
    assert int(found["SM_NUM_CPUS"]) >= 1


def test_arguments_are_the_toolkits() -> None:
    values = {"b": 1, "alpha": 0.5, "flag": True, "none": None, "map": {"y": 2, "x": 1}}
    assert settings.arguments(values) == [
        "--alpha", "0.5", "-b", "1", "--flag", "True", "--map", "x=1,y=2", "--none", ""
    ]  # fmt: skip


def test_a_python_script_runs_with_its_arguments(opt_ml: Path) -> None:
    text = "import os, sys\nopen(os.environ['SM_MODEL_DIR'] + '/m', 'w').write(' '.join(sys.argv[1:]))\n"
    job(opt_ml, "train.py", text, epochs=3, name="a b")
    assert train.main() == 0
    assert (opt_ml / "model" / "m").read_text() == "--epochs 3 --name a b"
    assert not (opt_ml / "output" / "failure").exists()


def test_a_shell_script_runs_with_its_arguments(opt_ml: Path) -> None:
    job(opt_ml, "train.sh", 'echo "$SM_HP_EPOCHS $*" > "$SM_MODEL_DIR/m"\n', epochs=3)
    assert train.main() == 0
    assert (opt_ml / "model" / "m").read_text() == "3 --epochs 3\n"


def test_the_last_exception_is_the_reason(opt_ml: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (
        "import sys\nprint('on the way')\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('missing')\n"
    )
    job(opt_ml, "train.py", text)
    assert train.main() == 1
    reason = (opt_ml / "output" / "failure").read_text()
    assert reason.startswith('ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback (most recent call last):\n')
    assert "KeyError: 'missing'\"\nCommand \"" in reason
    assert reason.endswith('train.py"')
    out, err = capfd.readouterr()
    assert "on the way" in out
    assert "ZeroDivisionError" in err


@pytest.mark.parametrize(
    ("ending", "code_"), [("sys.exit(3)", 3), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137)]
)
def test_the_exit_code_is_the_scripts(opt_ml: Path, ending: str, code_: int) -> None:
    job(opt_ml, "train.py", f"import sys\nprint('last words', file=sys.stderr, flush=True)\n{ending}\n")
    assert train.main() == code_
    reason = (opt_ml / "output" / "failure").read_text()
    assert f'ExitCode {code_}\nErrorMessage "last words"' in reason


def test_a_long_traceback_keeps_its_end() -> None:
    lines = ["Traceback (most recent call last):\n", *(f"  frame {i}\n" for i in range(200)), "ValueError: bad\n"]
    text = train.message(lines)
    assert len(text) <= 700
    assert text.startswith("  frame ")
    assert text.endswith("ValueError: bad")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sagemaker_program": "other.py"}, "no entry point 'other.py' among the script's files: train.py"),
        ({"sagemaker_program": None}, "sagemaker_program is missing"),
        ({"sagemaker_submit_directory": "/opt/ml/nowhere"}, "submit directory /opt/ml/nowhere does not exist"),
    ],
)
def test_a_job_without_its_script_says_so(opt_ml: Path, values: dict[str, Any], message: str) -> None:
    job(opt_ml, "train.py", "", **values)
    assert train.main() == 1
    assert (opt_ml / "output" / "failure").read_text().startswith("ClientError: ")
    assert message in (opt_ml / "output" / "failure").read_text()


def archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_archives_are_unpacked_and_never_outside(opt_ml: Path, tmp_path: Path) -> None:
    good = archive(tmp_path / "good.tar.gz", {"train.py": "x", "package/part.py": "y"})
    folder = code.fetch(str(good), opt_ml / "code")
    assert (folder / "package" / "part.py").read_text() == "y"
    with pytest.raises(code.CodeError, match="is no archive of a script's files"):
        code.fetch(str(archive(tmp_path / "bad.tar.gz", {"../out.py": "x"})), opt_ml / "other")
    (tmp_path / "text.tar.gz").write_text("hello")
    with pytest.raises(code.CodeError, match="is no archive"):
        code.fetch(str(tmp_path / "text.tar.gz"), opt_ml / "other")


def test_requirements_are_installed_for_this_container_alone(opt_ml: Path, tmp_path: Path) -> None:
    path = wheel(tmp_path, "sagespark_test_extra", "1.5")
    text = "import numpy, sagespark_test_extra, sys\nprint(sagespark_test_extra.VERSION, sys.prefix)\n"
    folder = job(opt_ml, "train.py", text)
    (folder / "requirements.txt").write_text(f"{path}\nnumpy\n")
    assert train.main() == 0
    assert Path(code.private()).is_relative_to(opt_ml)
    with pytest.raises(ImportError):
        __import__("sagespark_test_extra")


def test_requirements_that_cannot_be_installed_fail_the_job(opt_ml: Path, tmp_path: Path) -> None:
    folder = job(opt_ml, "train.py", "")
    (folder / "requirements.txt").write_text(f"{tmp_path}/none-1-py3-none-any.whl\n")
    assert train.main() == 1
    assert "InstallRequirementsError: could not install requirements.txt" in (opt_ml / "output" / "failure").read_text()


# Serving.

PREDICT = """
import numpy as np
def model_fn(model_dir):
    return float(open(model_dir + "/m").read())
def predict_fn(data, model):
    return np.asarray(data) * model
"""


@pytest.fixture
def handler(opt_ml: Path) -> Callable[..., Any]:
    (opt_ml / "model" / "m").write_text("2")
    (opt_ml / "code").mkdir()

    def make(text: str, framework: str = "sklearn") -> Any:
        (opt_ml / "code" / "serve_me.py").write_text(text)
        path = list(sys.path)
        try:
            return load(opt_ml / "code", "serve_me.py", framework, opt_ml / "model")
        finally:
            sys.path[:] = path
            sys.modules.pop("serve_me", None)

    return make


def test_default_functions_speak_three_content_types(handler: Callable[..., Any]) -> None:
    answer = handler(PREDICT)
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    body, kind = answer(formats.encode(x, formats.NPY), formats.NPY, formats.NPY)
    assert kind == formats.NPY
    assert np.array_equal(np.load(io.BytesIO(body)), 2 * x)
    assert answer(b"1,2\n3,4\n", "text/csv; charset=utf-8", "text/csv") == ("2.0,4.0\n6.0,8.0\n", "text/csv")
    assert answer(b"[[1, 2]]", formats.JSON, "*/*") == ("[[2.0, 4.0]]", formats.JSON)
    for kind, accept in (("text/plain", formats.JSON), (formats.JSON, "image/png")):
        with pytest.raises(formats.FormatError, match="Please implement"):
            answer(b"[[1]]", kind, accept)


def test_a_scripts_own_functions_come_first(handler: Callable[..., Any]) -> None:
    own = PREDICT + (
        "def input_fn(body, content_type, context):\n    return [len(body)], content_type\n"
        "def predict_fn(data, model):\n    return data, model\n"
        "def output_fn(prediction, accept='x'):\n    return repr(prediction), 'text/own'\n"
    )
    assert handler(own)(b"abc", "a/b", "c/d") == ("(([3], 'a/b'), 2.0)", "text/own")
    whole = (
        "def model_fn(d):\n    return 7\ndef transform_fn(model, data, kind, accept):\n    return f'{model}{data}'\n"
    )
    assert handler(whole)(b"[1]", formats.JSON, "text/csv") == ("7[1]", "text/csv")
    with pytest.raises(ValueError, match=r"Cannot use transform_fn implementation in conjunction with .* has input_fn"):
        handler(whole + "def input_fn(body, content_type):\n    return body\n")
    with pytest.raises(NotImplementedError, match="Please provide a model_fn implementation"):
        handler("x = 1")


def test_answers_that_are_none(handler: Callable[..., Any]) -> None:
    answer = handler(PREDICT + "def output_fn(prediction, accept):\n    return [1]\n")
    with pytest.raises(TypeError, match=r"must return a string, bytes, or a pair .* but got list"):
        answer(b"[1]", formats.JSON, formats.JSON)

    class Flask:
        response = "[3]"
        mimetype = "text/x"

    assert response(Flask(), formats.JSON) == ("[3]", "text/x")


def test_xgboosts_defaults(opt_ml: Path, handler: Callable[..., Any]) -> None:
    import xgboost

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(x, y), 3)
    (opt_ml / "model" / "m").unlink()
    booster.save_model(opt_ml / "model" / "xgboost-model.json")
    answer = handler("", "xgboost")
    expected = booster.predict(xgboost.DMatrix(x[:2]))
    rows = "\n".join(",".join(map(repr, row)) for row in x[:2].tolist())
    np.testing.assert_allclose(
        np.loadtxt(io.StringIO(answer(rows.encode(), "text/csv", "text/csv")[0])), expected, rtol=1e-6
    )
    svm = "\n".join("0 " + " ".join(f"{i}:{v!r}" for i, v in enumerate(row)) for row in x[:2].tolist())
    found = json.loads(answer(svm.encode(), "text/libsvm", formats.JSON)[0])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    record = codec("application/x-recordio-protobuf").encode(x[:2].astype(np.float32))
    found = json.loads(answer(bytes(record), "application/x-recordio-protobuf", formats.JSON)[0])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # One row of CSV is one record.
    assert len(json.loads(answer(rows.partition("\n")[0].encode(), "text/csv", formats.JSON)[0])) == 1


@pytest.fixture
def url(handler: Callable[..., Any]) -> Iterator[str]:
    server = serve.Server(("127.0.0.1", 0), handler(PREDICT))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_server(url: str) -> None:
    def post(path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(url + path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    with urllib.request.urlopen(url + "/ping") as answer:
        assert answer.status == 200
    assert post("/invocations", b"[[1, 2]]", content_type=formats.JSON) == (200, b"[[2.0, 4.0]]")
    status, text = post("/invocations", b"x", content_type="text/plain")
    assert status == 415
    assert b"Please implement input_fn" in text
    status, text = post("/invocations", b"{", content_type=formats.JSON)
    assert status == 500
    assert text.startswith(b"JSONDecodeError: ")
    assert post("/elsewhere", b"")[0] == 404


def test_where_the_serving_script_is(opt_ml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve.find_code() == (None, None)
    inside = opt_ml / "model" / "code"
    inside.mkdir()
    (inside / "inference.py").write_text("")
    assert serve.find_code() == (inside, "inference.py")
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "mine.py")
    monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code")
    with pytest.raises(code.CodeError, match=r"no script 'mine.py' among the model's files: inference.py"):
        serve.find_code()


def test_requests_of_tensorflow_serving() -> None:
    assert json.loads(as_request(b"1,2\n3,x\n", "text/csv")) == {"instances": [[1.0, 2.0], [3.0, "x"]]}
    assert json.loads(as_request(b"[1]\n[2]\n", "application/jsonlines")) == {"instances": [[1], [2]]}
    assert json.loads(as_request(b"[[1]]", formats.JSON)) == {"instances": [[1]]}
    assert json.loads(as_request(b'{"inputs": [1]}', formats.JSON)) == {"inputs": [1]}
    with pytest.raises(formats.FormatError, match="input_handler"):
        as_request(b"", "image/png")
