"""The README's table of algorithms: it is the one that is printed, no cell is empty, and tests stand behind it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sagespark.algorithms.registry import ALGORITHMS
from sagespark.ml import anomaly, classification, clustering, feature, regression
from support.algorithm_table import COLUMNS, LINES, Line, table

TESTS = Path(__file__).parents[1]
MODULES = (anomaly, classification, clustering, feature, regression)


def test_the_readme_shows_it() -> None:
    print(table())
    readme = (TESTS.parent / "README.md").read_text(encoding="utf-8")
    assert table() in readme, "paste what `python -m support.algorithm_table` prints"


def test_every_algorithm_has_a_line_and_every_cell_a_word() -> None:
    assert {line.algorithm for line in LINES} == set(ALGORITHMS)
    for line in LINES:
        cells = line.cells()
        assert len(cells) == len(COLUMNS)
        for cell in cells:
            assert cell.strip()
            assert cell != "no", "no cell says no without its reason"


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.estimator)
def test_it_says_what_the_spec_says(line: Line) -> None:
    spec = next(getattr(module, line.estimator)._spec for module in MODULES if hasattr(module, line.estimator))
    assert spec.name == line.algorithm
    assert (line.weights == "yes") == ("weightCol" in spec.input_params)
    if line.hosts == "yes":
        assert spec.distributed


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.estimator)
def test_the_tests_behind_it_exist(line: Line) -> None:
    assert line.tests
    for test in line.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, test
