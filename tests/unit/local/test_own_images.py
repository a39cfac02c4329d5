"""Names bound to folders of programs: kept, found by URI, and refused where the kernel would not run them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sagespark.cli import images as commands
from sagespark.core.errors import SageSparkError, ValidationError
from sagespark.local.containers import docker
from sagespark.local.containers.images import UnknownImage, resolve
from sagespark.local.containers.own_images import OwnImages

URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/churn:3"


def program(folder: Path, name: str, text: str = "#!/bin/sh\nexit 0\n", mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def images(tmp_path: Path) -> OwnImages:
    return OwnImages(tmp_path / "data" / "images.json")


def test_a_bound_name_runs_the_folders_programs(images: OwnImages, tmp_path: Path) -> None:
    folder = tmp_path / "churn"
    train = program(folder, "train")
    images.add("churn", folder=folder)
    image = resolve("churn", images)
    assert (image.train, image.serve, image.own) == ((str(train),), (), True)
    assert image.environment["PATH"].split(os.pathsep)[0] == str(folder)
    assert "PYTHONPATH" not in image.environment
    # A program that is added later is there at once.
    serve = program(folder, "serve")
    assert resolve("churn", images).serve == (str(serve),)


@pytest.mark.parametrize(
    ("name", "uri", "found"),
    [
        ("churn", "churn:3", True),
        ("churn", URI, True),
        ("churn:3", URI, True),
        ("churn:3", "churn:4", False),
        ("team/churn", "localhost:5000/team/churn@sha256:" + "0" * 64, True),
        ("churn", "team/churn", False),
        (URI, "churn:3", False),
        (URI, URI, True),
    ],
)
def test_a_name_stands_for_its_repository(images: OwnImages, tmp_path: Path, name: str, uri: str, found: bool) -> None:
    program(tmp_path / "x", "serve")
    images.add(name, folder=tmp_path / "x")
    assert (images.find(uri) is not None) == found


def test_exact_names_come_before_repositories(images: OwnImages, tmp_path: Path) -> None:
    for name in ("a", "b"):
        program(tmp_path / name, "train")
    images.add("churn", folder=tmp_path / "a")
    images.add("churn:2", folder=tmp_path / "b")
    assert [images.find(f"churn:{tag}").folder.name for tag in (1, 2)] == ["a", "b"]  # type: ignore[union-attr]
    assert images.remove("churn:2")
    assert not images.remove("churn:2")
    assert images.find("churn:2").folder.name == "a"  # type: ignore[union-attr]


def test_programs_that_cannot_run_are_refused_with_the_way_out(images: OwnImages, tmp_path: Path) -> None:
    cases = {
        "absent": (None, "there is no folder"),
        "empty": ({}, "neither a program `train` nor `serve`"),
        "mode": ({"train": ("#!/bin/sh\n", 0o644)}, "not executable; run: chmod"),
        "bare": ({"train": ("echo hello\n", 0o755)}, "first line names its interpreter"),
        "gone": ({"serve": ("#!/opt/none/python\n", 0o755)}, "interpreter that is not there: /opt/none/python"),
        "env": ({"serve": ("#!/usr/bin/env nonesuch\n", 0o755)}, "not on PATH: nonesuch"),
        "dos": ({"serve": ("#!/bin/sh\r\n", 0o755)}, "carriage return"),
    }
    for name, (files, message) in cases.items():
        folder = tmp_path / name
        if files is not None:
            folder.mkdir()
            for file, (text, mode) in files.items():
                program(folder, file, text, mode)
        with pytest.raises(ValidationError, match=message):
            images.add(name, folder=folder)
    with pytest.raises(ValidationError) as caught:
        images.add("no name", folder=tmp_path / "empty")
    assert len(caught.value.problems) == 2
    assert images.all() == ()


def test_a_folder_that_went_away_is_told_by_name(images: OwnImages, tmp_path: Path) -> None:
    train = program(tmp_path / "x", "train")
    images.add("churn", folder=tmp_path / "x")
    train.chmod(0o600)
    with pytest.raises(UnknownImage, match=r"'churn' stands for the folder .*/x: .*not executable; run: chmod \+x"):
        resolve("churn:1", images)


def test_an_image_of_docker_needs_its_daemon(images: OwnImages, monkeypatch: pytest.MonkeyPatch) -> None:
    images.add("churn", docker="registry.example/churn:1")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UnknownImage, match="image of Docker: this machine has no `docker` command"):
        resolve("churn", images)


def test_dockers_own_words_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, "docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1\n")
    with pytest.raises(docker.DockerError, match=r"daemon does not answer .Cannot connect .*; start it"):
        docker.check("churn:1")
    program(tmp_path, "docker", "#!/bin/sh\necho 'Error: No such image: churn:1' >&2; exit 1\n")
    with pytest.raises(docker.DockerError, match="run: docker pull churn:1"):
        docker.check("churn:1")


def test_the_command_line_of_docker(tmp_path: Path) -> None:
    common = {"name": "n", "folder": tmp_path, "opt_ml": tmp_path, "environment": {"A": "1 2"}, "host": "algo-1"}
    train = docker.command("img:1", ("train",), hosts={"algo-1": "127.0.0.1"}, ports=None, **common)  # type: ignore[arg-type]
    assert train[-2:] == ["img:1", "train"]
    assert train[train.index("--network") :][:2] == ["--network", "host"]
    assert f"{tmp_path}:/opt/ml" in train
    assert "A=1 2" in train
    assert "algo-1:127.0.0.1" in train
    serve = docker.command("img:1", ("serve",), hosts={}, ports=(4000, 8080), **common)  # type: ignore[arg-type]
    assert "127.0.0.1:4000:8080" in serve
    assert "--network" not in serve
    own = docker.command("img:1", ("/bin/sh", "-c", "x"), hosts={}, ports=None, isolated=True, **common)  # type: ignore[arg-type]
    assert own[-5:] == ["--entrypoint", "/bin/sh", "img:1", "-c", "x"]
    assert own[own.index("--network") + 1] == "none"


def test_the_commands(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data")]
    program(tmp_path / "x", "train")
    run = CliRunner().invoke
    added = run(commands.app, ["add", "churn", str(tmp_path / "x"), *data])
    assert added.exit_code == 0
    assert run(commands.app, ["list", *data]).stdout == f"churn\t{tmp_path / 'x'}\n"
    assert run(commands.app, ["remove", "churn", *data]).exit_code == 0
    again = run(commands.app, ["remove", "churn", *data])
    assert isinstance(again.exception, SageSparkError)
    assert "the bound ones are: none" in str(again.exception)
    both = run(commands.app, ["add", "churn", *data])
    assert "either FOLDER or --docker IMAGE" in str(both.exception)
