"""The forest: its trees' invariants, its scores by hand, one row at a time, and beside the ``rrcf`` package."""

from __future__ import annotations

import numpy as np
import pytest
import rrcf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer

from sagespark.algorithms import random_cuts
from sagespark.algorithms.random_cuts import Forest, grow


def forest(rows: NDArray[np.float32], trees: int, samples: int, seed: int = 0) -> Forest:
    random = np.random.default_rng(seed)
    size = min(samples, len(rows))
    chosen = np.concatenate([random.choice(len(rows), size, replace=False) for _ in range(trees)])
    return grow(rows[chosen].astype(np.float32), np.full(trees, size), random)


def score_slowly(found: Forest, tree: int, x: NDArray[np.float32]) -> float:
    """Return equation (2) by going down one tree."""

    def below(node: int, depth: int) -> float:
        low, high = found.low[node].astype(float), found.high[node].astype(float)
        outside = np.maximum(np.maximum(low - x, x - high), 0).sum()
        sides = (high - low).sum()
        parted = outside / (outside + sides) if outside + sides > 0 else 0.0
        if found.feature[node] < 0:
            rest = 1 / (depth + np.log2(1 + found.mass[node]))
        elif parted == 1:
            rest = 0.0
        else:
            child = found.left[node] + (x[found.feature[node]] > found.cut[node])
            rest = below(child, depth + 1)
        return parted / (depth + 1) + (1 - parted) * rest

    return below(tree, 0) * np.log2(1 + found.mass[tree])


def test_a_node_is_cut_inside_its_box_and_holds_its_childrens_points() -> None:
    rows = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    rows[::7] = rows[0]
    found = forest(rows, 20, 128)
    inner = np.flatnonzero(found.feature >= 0)
    left, right = found.left[inner], found.left[inner] + 1
    np.testing.assert_array_equal(found.mass[inner], found.mass[left] + found.mass[right])
    np.testing.assert_array_equal(found.low[inner], np.minimum(found.low[left], found.low[right]))
    np.testing.assert_array_equal(found.high[inner], np.maximum(found.high[left], found.high[right]))
    feature, cut = found.feature[inner], found.cut[inner]
    assert (found.high[left, feature] <= cut).all()
    assert (found.low[right, feature] > cut).all()
    assert found.trees == 20
    assert (found.mass[:20] == 128).all()
    # Leaves are points, equal ones together; every node but the roots is one node's child.
    leaves = found.feature < 0
    np.testing.assert_array_equal(found.low[leaves], found.high[leaves])
    assert found.mass[leaves].max() > 1
    assert sorted([*left, *right]) == list(range(20, len(found.feature)))


def test_features_are_cut_in_proportion_to_their_sides() -> None:
    """A box of sides 3 and 1: three roots of four are cut in the first feature, evenly along it."""
    corners = np.array([[0, 0], [3, 0], [0, 1], [3, 1]], np.float32)
    found = grow(np.tile(corners, (4000, 1)), np.full(4000, 4), np.random.default_rng(2))
    first = found.feature[:4000] == 0
    assert first.mean() == pytest.approx(0.75, abs=0.03)
    assert found.cut[:4000][first].mean() == pytest.approx(1.5, abs=0.1)
    assert found.cut[:4000][first].std() == pytest.approx(3 / 12**0.5, abs=0.1)


def test_scores_are_those_of_one_row_at_a_time() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(200, 3)).astype(np.float32)
    found = forest(rows, 7, 64)
    asked = np.concatenate([rows[:20], random.normal(size=(20, 3)) * 4]).astype(np.float32)
    expected = [np.mean([score_slowly(found, tree, x) for tree in range(7)]) for x in asked]
    np.testing.assert_allclose(found.scores(asked), expected, rtol=1e-5)


def test_scores_by_hand() -> None:
    """Two points, 0 and 1: the root's box has one side. S = 2, so that the factor is log2(3)."""
    found = grow(np.array([[0], [1]], np.float32), np.array([2]), np.random.default_rng(0))
    factor = np.log2(3)
    # A point of the tree is a leaf of depth 1 with one point: 1 / (1 + 1). One that is 3 away is parted at the root
    # with 3/4, to depth 1; else it goes right, to the leaf 1, and is parted from it, to depth 2.
    np.testing.assert_allclose(
        found.scores(np.array([[0], [4]], np.float32)), [factor / 2, factor * (0.75 + 0.25 / 2)], rtol=1e-6
    )
    # Three equal points share a leaf, which is the root.
    same = grow(np.ones((3, 2), np.float32), np.array([3]), np.random.default_rng(0))
    np.testing.assert_allclose(same.scores(np.ones((1, 2), np.float32)), np.log2(4) / np.log2(4))
    np.testing.assert_allclose(same.scores(np.zeros((1, 2), np.float32)), np.log2(4))


@pytest.mark.parametrize("cells", [1 << 18, 64, 1])
def test_the_size_of_pieces_changes_nothing(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(4).normal(size=(60, 5)).astype(np.float32)
    found = forest(rows, 5, 32)
    expected = found.scores(rows)
    monkeypatch.setattr(random_cuts, "_CELLS", cells)
    np.testing.assert_allclose(found.scores(rows), expected, rtol=1e-12)
    assert found.scores(rows[:0]).shape == (0,)


def test_an_artifact_is_the_same_forest() -> None:
    rows = np.random.default_rng(5).normal(size=(100, 3)).astype(np.float32)
    found = forest(rows, 6, 50)
    again = Forest.of(found.arrays())
    for name in ("feature", "cut", "left", "mass", "low", "high"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name), err_msg=name)
    assert (again.trees, again.width) == (6, 3)
    with pytest.raises(ValueError, match="a forest has the arrays cut, feature, left, mass, points, trees"):
        Forest.of({"cut": found.cut})


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-(2.0**100), 2.0**100, width=32)), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_any_points_make_a_tree(points: list[tuple[int, float]]) -> None:
    rows = np.array(points, np.float32)
    found = grow(rows, np.array([len(rows)]), np.random.default_rng(0))
    leaves = found.feature < 0
    assert found.mass[leaves].sum() == len(rows)
    assert leaves.sum() == len(np.unique(rows + 0.0, axis=0))
    assert np.isfinite(found.scores(rows)).all()


def codisp(rows: NDArray[np.float64], trees: int, samples: int) -> NDArray[np.float64]:
    """Return the average collusive displacement of each row over the trees that hold it, by the ``rrcf`` package."""
    random = np.random.RandomState(0)
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(trees):
        chosen = random.choice(len(rows), samples, replace=False)
        tree = rrcf.RCTree(rows[chosen], index_labels=chosen, random_state=int(random.randint(2**31)))
        for index in chosen:
            total[index] += tree.codisp(index)
        count[chosen] += 1
    return total / count


def synthetic() -> NDArray[np.float64]:
    random = np.random.default_rng(6)
    return np.concatenate([random.normal(size=(297, 3)), [[7, 7, -7], [-9, 8, 0], [0, -6, 10]]])


def breast_cancer() -> NDArray[np.float64]:
    """Return real rows, ten features of them in their own units."""
    return np.asarray(load_breast_cancer().data[:300, :10])


@pytest.mark.parametrize("rows", [synthetic(), breast_cancer()], ids=["synthetic", "breast cancer"])
def test_ranks_as_the_rrcf_package(rows: NDArray[np.float64]) -> None:
    """Its score is another one by definition: how many points would move, not how deep the row would lie."""
    theirs = codisp(rows, 100, 300)
    ours = forest(rows.astype(np.float32), 300, 300).scores(rows)
    assert spearmanr(ours, theirs)[0] >= 0.9
    assert set(np.argsort(-ours)[:3]) == set(np.argsort(-theirs)[:3])
