"""Artifacts of linear learner and factorization machines opened by MXNet 1.9.1 itself, in an environment of its own.

MXNet is retired: its last version runs on Python 3.11 with numpy 1.23.5. The environment is built for the test; where
that cannot be done, the test fails and tells pip's reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagespark.local.containers.fm_model import FactorizationMachine
from sagespark.local.containers.linear_model import LinearModel

# An environment is downloaded and built the first time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

REQUIREMENTS = ("mxnet==1.9.1", "numpy==1.23.5")
OPEN = """
import json, sys, zipfile
import mxnet as mx
import numpy as np

base, *kinds = sys.argv[1:]
x = np.load(base + "/rows.npy")
told = []
for number, kind in enumerate(kinds):
    folder = f"{base}/unpacked-{number}"
    zipfile.ZipFile(f"{base}/model-{number}").extractall(folder)
    if kind == "linear":
        # As AWS's documentation opens it.
        _, arguments, _ = mx.model.load_checkpoint(folder + "/mx-mod", 0)
        module = mx.module.Module.load(folder + "/mx-mod", 0, label_names=None)
    else:
        arguments = {name[4:]: array for name, array in mx.nd.load(folder + "/params").items()}
        module = mx.module.Module(mx.sym.load(folder + "/symbol.json"), label_names=None)
    module.bind(data_shapes=[("data", x.shape)], for_training=False)
    module.set_params(arguments, {})
    module.forward(mx.io.DataBatch([mx.nd.array(x)]))
    shapes = {name: list(array.shape) for name, array in arguments.items()}
    told.append({"version": mx.__version__, "answers": module.get_outputs()[0].asnumpy().tolist(), "shapes": shapes})
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with MXNet."""
    folder = tmp_path_factory.mktemp("mxnet")
    assert sys.version_info[:2] == (3, 11), "MXNet 1.9.1 with numpy 1.23.5 needs Python 3.11"
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    command = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' and '.join(REQUIREMENTS)} cannot be installed: {done.stderr[-2000:]}"
    return found


def random(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def kind_of(model: Any) -> str:
    return "linear" if isinstance(model, LinearModel) else "machine"


ROWS = random(7, 5)
MODELS = {
    "two classes": LinearModel(random(1, 5), random(1), "binary_classifier", "logistic", 0.3),
    "hinge": LinearModel(random(1, 5), random(1), "binary_classifier", "hinge_loss"),
    "several classes": LinearModel(random(4, 5), random(4), "multiclass_classifier", "softmax_loss"),
    "numbers": LinearModel(random(1, 5), random(1), "regressor", "squared_loss"),
    "machine of two classes": FactorizationMachine(0.5, random(5), random(5, 3), "binary_classifier"),
    "machine of numbers": FactorizationMachine(0.5, random(5), random(5, 3), "regressor"),
}


@pytest.fixture(scope="module")
def opened(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What MXNet tells of each model."""
    folder = tmp_path_factory.mktemp("models")
    for number, model in enumerate(MODELS.values()):
        (folder / f"model-{number}").write_bytes(model.dump())
    (folder / "open.py").write_text(OPEN)
    np.save(folder / "rows.npy", ROWS)
    command = [str(python), str(folder / "open.py"), str(folder), *map(kind_of, MODELS.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(MODELS, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_mxnet_opens_it_and_gives_our_answers(opened: dict[str, Any], name: str) -> None:
    model, told = MODELS[name], opened[name]
    score = model.answers(ROWS)["score"]
    assert told["version"] == "1.9.1"
    np.testing.assert_allclose(np.array(told["answers"]).reshape(score.shape), score, rtol=1e-4, atol=1e-5)
    if isinstance(model, LinearModel):
        assert told["shapes"] == {"fc0_weight": list(model.weights.shape), "fc0_bias": list(model.bias.shape)}
    else:
        assert told["shapes"] == {"w0_weight": [1, 1], "w1_weight": [5, 1], "v": [5, 3]}
