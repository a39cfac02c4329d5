"""The layers hold: imports go downward only, and what belongs to one module occurs in one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "sagespark"

# What each part may import of the package, beside itself (DESIGN: layers, downward only).
INERT = {"core", "codecs", "algorithms"}
ALLOWED = {
    "core": set(),
    "codecs": {"core"},
    "algorithms": {"core", "codecs"},
    "aws": INERT,
    "data": INERT | {"aws"},
    "ml": INERT | {"aws", "data", "bayesopt", "neo"},
    "bayesopt": {"core"},
    "neo": INERT,
    "local": INERT | {"bayesopt", "neo"},
    "embedded": INERT | {"aws", "local"},
    "tracking": INERT | {"aws", "data", "ml"},
    "cli": INERT | {"aws", "data", "ml", "embedded", "local"},
}
# Third-party packages by the parts that may import them, wherever in a file.
OWNERS = {
    "pyspark": {"data", "ml", "tracking"},
    "boto3": {"aws"},
    "botocore": {"aws", "local"},
    "sklearn": {"local", "neo"},
    "uvicorn": {"local"},
    "mlflow": {"tracking"},
    "matplotlib": {"bayesopt", "ml"},
    "typer": {"cli"},
    "scipy": {"bayesopt", "local"},
}
CLOCK_ONLY = {("time", "sleep"), ("datetime", "now"), ("datetime", "utcnow"), ("uuid", "uuid4"), ("uuid", "uuid1")}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "sagespark":
                yield from ((node.lineno, f"sagespark.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward_only(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        return
    for line, name in imports(path):
        head, _, rest = name.partition(".")
        if head == "sagespark" and rest:
            target = rest.split(".")[0]
            # The version is the package's own.
            assert target in ALLOWED[own] | {own, "__version__"}, f"{path}:{line}: {own} imports {name}"
        elif head in OWNERS:
            assert own in OWNERS[head], f"{path}:{line}: {own} imports {name}"


def test_the_package_imports_nothing_at_the_top() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("__future__", "typing"), node.module
        elif isinstance(node, ast.Import):
            assert {a.name for a in node.names} <= {"importlib"}, [a.name for a in node.names]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_time_and_randomness_have_one_source(path: Path) -> None:
    if path == PACKAGE / "core" / "clock.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in CLOCK_ONLY, f"{path}:{node.lineno}: {node.value.id}.{node.attr}"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert (node.module, alias.name) not in CLOCK_ONLY, f"{path}:{node.lineno}: from {node.module} import"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_readable(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{path} has {lines} lines; split it"
