"""A model of XGBoost as its artifact tells it: trees, importances, leaves; XGBoost itself is not needed.

Source of the format: XGBoost's "Introduction to Model IO" and its JSON schema.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs import ubjson
from sagespark.core.errors import CodecError, ValidationError


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees of a model, in the order in which they were grown.

    Parameters
    ----------
    objective : str
    numFeatures, numClasses : int
        ``numClasses`` is 0 where the objective has none.
    trees : tuple of dict
        Arrays by name, as the format has them: ``left_children``, ``split_indices``, ``split_conditions``, ...
    weights : ndarray of float64, shape (number of trees,)
        What each tree's answer is multiplied by: 1, but for dart.
    linear : bool
        Whether the model is linear and has no trees.
    """

    objective: str
    numFeatures: int
    numClasses: int
    trees: tuple[dict[str, Any], ...]
    weights: NDArray[np.float64]
    linear: bool

    def importances(self) -> NDArray[np.float64]:
        """Return each feature's share of the gain of all splits, shape (numFeatures,); zeros where nothing is split.

        XGBoost's ``total_gain``: a split's gain grows with the rows that come to it, as MLlib's importances do.

        Raises
        ------
        ValidationError
            If the model is linear.
        """
        self._refuse_linear("featureImportances")
        total = np.zeros(self.numFeatures)
        for tree in self.trees:
            split = np.asarray(tree["left_children"]) >= 0
            features = np.asarray(tree["split_indices"])[split]
            total += np.bincount(features, np.asarray(tree["loss_changes"], np.float64)[split], self.numFeatures)
        return total / total.sum() if total.sum() > 0 else total

    def leaves(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the number of the node at which a row ends in each tree, as XGBoost counts nodes.

        Parameters
        ----------
        row : ndarray of float32, shape (numFeatures,)
            NaN where a value is missing.
        """
        self._refuse_linear("predictLeaf")
        return np.array([_leaf(tree, row) for tree in self.trees], np.float64)

    def nodes(self) -> int:
        """Return the number of nodes of all trees, leaves among them."""
        return sum(len(tree["left_children"]) for tree in self.trees)

    def text(self) -> str:
        """Return all trees in words."""
        self._refuse_linear("toDebugString")
        head = f"{len(self.trees)} trees of the objective {self.objective}, {self.numFeatures} features"
        return "\n".join([head, *(f"Tree {i}:\n{_words(tree, 0, 1)}" for i, tree in enumerate(self.trees))])

    def _refuse_linear(self, name: str) -> None:
        if self.linear:
            raise ValidationError("the model is linear (booster='gblinear') and has no trees", name)


def _leaf(tree: dict[str, Any], row: NDArray[np.float32]) -> int:
    node = 0
    while tree["left_children"][node] >= 0:
        value = row[tree["split_indices"][node]]
        if np.isnan(value):
            left = bool(tree["default_left"][node])
        else:
            left = bool(value < np.float32(tree["split_conditions"][node]))
        node = int(tree["left_children"][node] if left else tree["right_children"][node])
    return node


def _words(tree: dict[str, Any], node: int, depth: int) -> str:
    margin = "  " * depth
    if tree["left_children"][node] < 0:
        return f"{margin}{node}: predict {float(tree['split_conditions'][node]):g}"
    feature, bound = int(tree["split_indices"][node]), float(tree["split_conditions"][node])
    missing = "left" if tree["default_left"][node] else "right"
    left, right = int(tree["left_children"][node]), int(tree["right_children"][node])
    return "\n".join(
        [
            f"{margin}{node}: if feature {feature} < {bound:g} (missing: {missing})",
            _words(tree, left, depth + 1),
            f"{margin}{node}: else",
            _words(tree, right, depth + 1),
        ]
    )


def parse(body: bytes) -> Trees:
    """Return what the file ``xgboost-model`` holds.

    Parameters
    ----------
    body : bytes
        XGBoost's JSON or UBJSON.

    Raises
    ------
    CodecError
        If it is neither: models of images before 3.0 are in a binary format, or pickled.
    """
    try:
        if body[:1] != b"{":
            raise CodecError("it begins with no object")
        document = json.loads(body) if body[1:2] in b'" \n\t\r' else ubjson.load(body)
        learner = document["learner"]
        booster = learner["gradient_booster"]
        shape = learner["learner_model_param"]
        objective = str(learner["objective"]["name"])
        width, classes = int(shape["num_feature"]), int(shape["num_class"])
        linear = booster["name"] == "gblinear"
        inner = booster["gbtree"] if booster["name"] == "dart" else booster
        trees = () if linear else tuple(inner["model"]["trees"])
        weights = np.asarray(booster["weight_drop"], np.float64) if booster["name"] == "dart" else np.ones(len(trees))
    except (CodecError, KeyError, TypeError, ValueError) as error:
        raise CodecError(
            f"the model is not in XGBoost's JSON or UBJSON format, in which images from 3.0 on write it: {error}"
        ) from error
    return Trees(objective, width, classes, trees, weights, linear)
