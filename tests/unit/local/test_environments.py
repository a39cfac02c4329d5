"""Which environment stands for an image, and how one is built: once, by one builder, with its size said first."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import threading
import venv
from pathlib import Path

import pytest

from sagespark.algorithms.frameworks import FrameworkImage
from sagespark.core.clock import SystemClock
from sagespark.local.environments import build, pins
from sagespark.local.environments.build import BuildError, Environments
from sagespark.local.environments.pins import NoPinError, Pin, pin_for
from support.wheels import wheel


@pytest.mark.parametrize(
    ("framework", "version", "requirement"),
    [
        ("sklearn", "1.2-1", "scikit-learn==1.2.*"),
        ("sklearn", "1.4-2-py312", "numpy<2"),
        ("xgboost", "3.0-5", "xgboost-cpu==3.0.*"),
        ("xgboost", "1.7-1", "xgboost==1.7.*"),
        ("tensorflow", "2.19.0", "tensorflow-cpu==2.19.*"),
        ("mxnet", "1.9.0", "numpy==1.23.5"),
        ("pytorch", "2.6", f"torch=={pins.TORCH}"),
        ("pytorch", "2.10.0", f"torch=={pins.TORCH}"),
    ],
)
def test_pins(framework: str, version: str, requirement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_installed", lambda _: ())
    pin = pin_for(FrameworkImage(framework, version))
    assert pin is not None
    assert requirement in pin.requirements
    assert pins.CLIENT in pin.requirements
    # What is not just as the image has it is said.
    assert bool(pin.note) == (framework in ("mxnet", "pytorch"))


def test_transformers_are_as_asked_and_torch_is_the_one() -> None:
    pin = pin_for(FrameworkImage("huggingface", "4.49.0", "2.6.0"))
    assert pin is not None
    assert {"transformers==4.49.0", f"torch=={pins.TORCH}"} <= set(pin.requirements)
    other = pin_for(FrameworkImage("huggingface", "4.51.3", "2.6.0"))
    assert other is not None
    assert pin.key != other.key


def test_the_services_own_environment_stands_for_its_versions() -> None:
    for framework, distribution in (("sklearn", "scikit-learn"), ("xgboost", "xgboost-cpu")):
        major, minor = pins._installed(distribution)
        assert pin_for(FrameworkImage(framework, f"{major}.{minor}-0")) is None


@pytest.mark.parametrize(
    ("framework", "version", "reason"),
    [
        ("sklearn", "0.23-1", "since 1.2"),
        ("xgboost", "1.0-1", "is 1.2"),
        ("tensorflow", "2.11.1", "since 2.12"),
        ("pytorch", "1.13.1", "PyTorch 1"),
        ("mxnet", "1.4.1", "stands for 1.6"),
    ],
)
def test_versions_that_no_environment_stands_for(framework: str, version: str, reason: str) -> None:
    with pytest.raises(
        NoPinError, match=f"no environment for {framework} {version}: .*{reason}.*choose a newer version"
    ):
        pin_for(FrameworkImage(framework, version))


def environments(folder: Path) -> Environments:
    return Environments(SystemClock(), folder / "cache")


def test_an_environment_is_built_once_by_one_builder(tmp_path: Path) -> None:
    path = wheel(tmp_path, "sagespark_test_framework", "2.5")
    pin = Pin("demo", "2.5", (str(path),), "sagespark_test_framework")
    said: list[str] = []
    found: list[Path] = []

    def start() -> None:
        found.append(environments(tmp_path).build(pin, said.append, lambda: None))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    run = [str(found[0]), "-c", "import sagespark_test_framework as m, sys; print(m.VERSION, sys.prefix)"]
    version, prefix = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    assert version == "2.5"
    assert Path(prefix) == environments(tmp_path).path(pin)
    text = "\n".join(said)
    assert text.count("Waiting for another process that builds the environment of demo 2.5") == 1
    assert text.count("1 packages, 0 MB to download, once on this machine") == 1
    assert text.index("to download") < text.index("Installing collected packages")
    ready = json.loads((environments(tmp_path).path(pin) / build.READY).read_text())
    assert ready["requirements"] == [str(path)]
    # From now on it is there at once.
    assert environments(tmp_path).python(pin) == found[0]


def test_a_pin_that_cannot_be_installed_says_pips_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = Pin("demo", "9", (str(tmp_path / "none-9-py3-none-any.whl"),), "none")
    # An interrupted build left the interpreter; its pip is this environment's here, which saves unpacking one.
    venv.create(environments(tmp_path).path(pin), with_pip=False, symlinks=True)
    packages = next(environments(tmp_path).path(pin).glob("lib/*/site-packages"))
    (packages / "pip.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    with pytest.raises(BuildError, match=r"ended with exit code 1: .*none-9-py3-none-any\.whl"):
        environments(tmp_path).build(pin, lambda _: None, lambda: None)
    assert environments(tmp_path).python(pin) is None
    # The same folder again: it goes on, and this time what comes down does not fit.
    good = wheel(tmp_path, "none", "9")
    monkeypatch.setattr(build, "total_size", lambda _: 10**15)
    with pytest.raises(
        BuildError, match=r"takes about 4,000,000,000 MB .* are free; make room, or set SAGESPARK_CACHE"
    ):
        environments(tmp_path).build(pin, lambda _: None, lambda: None)
    assert good.exists()


def test_a_build_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def check() -> None:
        raise StoppedError

    pin = Pin("demo", "1", ("demo",), "demo")
    with pytest.raises(StoppedError):
        environments(tmp_path).build(pin, lambda _: None, check)
    assert environments(tmp_path).python(pin) is None


def test_where_environments_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build.cache_folder() == tmp_path / "xdg" / "sagespark" / "environments"
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "own"))
    assert build.cache_folder() == tmp_path / "own" / "environments"


def test_sizes_of_files_and_of_what_does_not_tell(tmp_path: Path) -> None:
    (tmp_path / "a b.whl").write_bytes(b"12345")
    assert build.total_size([(tmp_path / "a b.whl").as_uri(), "http://127.0.0.1:9/x.whl", "file:///none"]) == 5
