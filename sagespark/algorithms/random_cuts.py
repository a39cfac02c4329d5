"""A forest of robust random cut trees, as arrays: grown level by level, walked by all rows together.

After Guha, Mishra, Roy and Schrijvers, "Robust Random Cut Forest Based Anomaly Detection on Streams", 2016, and AWS's
page "How RCF Works". Notation: ``T`` trees of at most ``S`` points of ``d`` features; a node's bounding box is
``[lo_i, hi_i]`` in each feature.

A node is cut in a feature chosen with a probability in proportion to the box's side, at a place chosen evenly on it
(definition 1 of the paper). Points that are equal share a leaf.

The score of a row in a tree is how far it would rearrange the tree on the average over the cuts that would let it in:
the expectation of one over the depth that it would get. A row ``x`` that comes to a node of depth ``t`` (the root's is
0) is parted from all the node's points by the first cut with the probability

    p = e / (e + sum_i (hi_i - lo_i)),    e = sum_i max(lo_i - x_i, 0, x_i - hi_i),                                 (1)

and then is a leaf of depth ``t + 1``; else it goes down the node's own cut. One that is equal to a leaf of ``m`` points
ends there at the depth ``t + log2(1 + m)``. So with ``q`` the product of the ``1 - p`` on the way down,

    score = log2(1 + S) * ( sum q p / (t + 1)  +  q / (t + log2(1 + m)) ),                                          (2)

averaged over the trees. The factor is AWS's "scaling the result with respect to the sample size", as AWS's own
library of random cut forests (github.com/aws/random-cut-forest-by-aws) has it: scores of common points lie somewhat
below 1 whatever ``S`` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 1 << 18
"""Most numbers of an intermediate array."""


@dataclass(frozen=True)
class Forest:
    """Trees whose nodes lie one after the other; the first ``T`` nodes are the roots.

    Parameters
    ----------
    feature : ndarray of int32, shape (nodes,)
        Feature that the node is cut in; -1: a leaf.
    cut : ndarray of float32, shape (nodes,)
        Rows with a value of at most this go to the left child; the right one lies behind it.
    left : ndarray of int32, shape (nodes,)
        Number of the left child, 0 for a leaf.
    mass : ndarray of int32, shape (nodes,)
        Points below the node.
    low, high : ndarray of float32, shape (nodes, d)
        The bounding box.
    trees : int
        ``T``.
    """

    feature: NDArray[np.int32]
    cut: NDArray[np.float32]
    left: NDArray[np.int32]
    mass: NDArray[np.int32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    trees: int

    @property
    def width(self) -> int:
        """``d``."""
        return int(self.low.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, for an artifact; boxes of leaves are points, and those of the others follow."""
        leaves = self.feature < 0
        return {
            "feature": self.feature,
            "cut": self.cut,
            "left": self.left,
            "mass": self.mass,
            "points": self.low[leaves],
            "trees": np.array([self.trees], np.int32),
        }

    @staticmethod
    def of(arrays: Mapping[str, NDArray[Any]]) -> Forest:
        """Return the forest of the arrays that :meth:`arrays` gave.

        Raises
        ------
        ValueError
            If they are not of a forest.
        """
        names = {"feature", "cut", "left", "mass", "points", "trees"}
        if set(arrays) != names or arrays["points"].ndim != 2:
            raise ValueError(f"a forest has the arrays {', '.join(sorted(names))}")
        feature, left = arrays["feature"].astype(np.int32), arrays["left"].astype(np.int32)
        count, width = len(feature), arrays["points"].shape[1]
        low = np.full((count, width), np.inf, np.float32)
        high = np.full((count, width), -np.inf, np.float32)
        leaves = feature < 0
        low[leaves] = high[leaves] = arrays["points"]
        depth = _depths(feature, left, int(arrays["trees"][0]))
        # Children first.
        for level in range(int(depth.max(initial=0)), -1, -1):
            inner = np.flatnonzero((depth == level) & ~leaves)
            child = left[inner]
            low[inner] = np.minimum(low[child], low[child + 1])
            high[inner] = np.maximum(high[child], high[child + 1])
        return Forest(
            feature,
            arrays["cut"].astype(np.float32),
            left,
            arrays["mass"].astype(np.int32),
            low,
            high,
            int(arrays["trees"][0]),
        )

    def scores(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return equation (2) for each row, shape (n,).

        Parameters
        ----------
        rows : ndarray, shape (n, d)
        """
        out = np.empty(len(rows))
        sides = (self.high.astype(np.float64) - self.low).sum(axis=1)
        step = max(1, _CELLS // max(1, self.trees * min(self.width, 16)))
        for start in range(0, len(rows), step):
            out[start : start + step] = self._scores(
                np.ascontiguousarray(rows[start : start + step], np.float32), sides
            )
        return out

    def _scores(self, rows: NDArray[np.float32], sides: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(rows)
        total = np.zeros(n)
        # A pair of a row and a tree is at a node, with the probability that it has got there.
        row = np.repeat(np.arange(n), self.trees)
        node: NDArray[Any] = np.tile(np.arange(self.trees), n)
        reached = np.ones(n * self.trees)
        roots = np.log2(1.0 + self.mass[: self.trees])
        scale = np.tile(roots, n)
        depth = 0
        while len(row):
            parted = self._parted(rows, row, node, sides)
            share = reached * parted / (depth + 1)
            at_leaf = self.feature[node] < 0
            if at_leaf.any():
                rest = reached[at_leaf] * (1 - parted[at_leaf])
                share[at_leaf] += rest / (depth + np.log2(1.0 + self.mass[node[at_leaf]]))
            total += np.bincount(row, share * scale, minlength=n)
            going = ~at_leaf & (parted < 1)
            row, node, scale = row[going], node[going], scale[going]
            reached = reached[going] * (1 - parted[going])
            right = rows[row, self.feature[node]] > self.cut[node]
            node = self.left[node] + right
            depth += 1
        return total / self.trees

    def _parted(
        self, rows: NDArray[np.float32], row: NDArray[Any], node: NDArray[Any], sides: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return equation (1) for pairs of a row and a node."""
        outside = np.empty(len(row))
        step = max(1, _CELLS // (8 * self.width))
        for start in range(0, len(row), step):
            part = slice(start, start + step)
            low, high, x = self.low[node[part]], self.high[node[part]], rows[row[part]]
            # low = max(low - x, 0, x - high), in place.
            np.subtract(low, x, out=low)
            np.subtract(x, high, out=x)
            np.maximum(low, x, out=low)
            np.maximum(low, 0, out=low)
            # Not by BLAS: a row's score must not depend on the rows beside it.
            outside[part] = np.einsum("ij->i", low)
        whole = outside + sides[node]
        parted: NDArray[np.float64] = np.divide(outside, whole, out=np.zeros_like(whole), where=whole > 0)
        return parted


def grow(points: NDArray[np.float32], sizes: NDArray[np.int64], random: np.random.Generator) -> Forest:
    """Return a forest.

    Parameters
    ----------
    points : ndarray of float32, shape (sum of sizes, d)
        The points of the first tree, then those of the second, ...
    sizes : ndarray of int64, shape (T,)
        Number of points of each tree, 1 or more.
    random : numpy.random.Generator
    """
    order = np.arange(len(points))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sizes = sizes.astype(np.int64)
    levels: list[dict[str, NDArray[Any]]] = []
    made = len(sizes)
    while len(sizes):
        # The nodes of a level, each with its points order[start : start + size].
        sorted_points = points[order]
        low = np.minimum.reduceat(sorted_points, starts, axis=0)
        high = np.maximum.reduceat(sorted_points, starts, axis=0)
        feature, cut = _cuts(low, high, random)
        inner = feature >= 0
        left = np.zeros(len(sizes), np.int32)
        left[inner] = made + 2 * np.arange(int(inner.sum()))
        made += 2 * int(inner.sum())
        levels.append(
            {"feature": feature, "cut": cut, "left": left, "mass": sizes.astype(np.int32), "low": low, "high": high}
        )
        # Points of leaves go; the others are sorted by node and side.
        node = np.repeat(np.arange(len(sizes)), sizes)
        stays = inner[node]
        node, order, sorted_points = node[stays], order[stays], sorted_points[stays]
        side = sorted_points[np.arange(len(node)), feature[node]] > cut[node]
        child = 2 * (np.cumsum(inner) - 1)[node] + side
        order = order[np.argsort(child, kind="stable")]
        sizes = np.bincount(child, minlength=2 * int(inner.sum())).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if len(sizes) else sizes
    whole = {name: np.concatenate([level[name] for level in levels]) for name in levels[0]}
    return Forest(**whole, trees=len(levels[0]["feature"]))


def _cuts(
    low: NDArray[np.float32], high: NDArray[np.float32], random: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the feature (-1: none) and the place of a random cut of each box."""
    upto = np.cumsum(high.astype(np.float64) - low, axis=1)
    whole = upto[:, -1]
    # One number chooses both: how far along the sides, laid end to end.
    along = random.random(len(low)) * whole
    feature = np.minimum((upto <= along[:, np.newaxis]).sum(axis=1), low.shape[1] - 1)
    nodes = np.arange(len(low))
    before = np.where(feature > 0, upto[nodes, feature - 1], 0.0)
    lowest, highest = low[nodes, feature], high[nodes, feature]
    cut = (lowest + (along - before)).astype(np.float32)
    # Rounding must neither put all points on one side nor leave the box.
    cut = np.maximum(np.minimum(cut, np.nextafter(highest, np.float32(-np.inf))), lowest)
    return np.where(whole > 0, feature, -1).astype(np.int32), np.where(whole > 0, cut, 0).astype(np.float32)


def _depths(feature: NDArray[np.int32], left: NDArray[np.int32], trees: int) -> NDArray[np.int32]:
    depth = np.zeros(len(feature), np.int32)
    nodes: NDArray[Any] = np.arange(trees)
    level = 0
    while len(nodes):
        depth[nodes] = level
        child = left[nodes[feature[nodes] >= 0]]
        nodes, level = np.concatenate([child, child + 1]), level + 1
    return depth
