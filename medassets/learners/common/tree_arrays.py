"""Fitted tree ensembles as flat arrays, the form from which ONNX trees are written.

What belongs here: reading the trees of XGBoost and scikit-learn. What does not: ONNX (``onnx_export``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xgboost
    from sklearn.ensemble import RandomForestClassifier


@dataclass(frozen=True)
class TreeArrays:
    """All nodes of an ensemble, one row a node.

    Attributes:
        tree: (m,) tree of each node; ``node`` its number in the tree.
        feature: (m,) input column, -1 at leaves.
        threshold: (m,) float32.
        left: (m,) node where the comparison holds; ``right`` where it does not.
        mode: the comparison, as ONNX names it.
        weights: (m, n_targets) what a leaf adds to each target; 0 elsewhere.
        base: (n_targets,) added once.
    """

    tree: np.ndarray
    node: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    mode: str
    weights: np.ndarray
    base: np.ndarray


def booster_arrays(booster: xgboost.Booster, n_targets: int) -> TreeArrays:
    """Trees of a multi-class or multi-output booster with one output a tree; targets are raw margins.

    Raises:
        ValueError: the booster has trees with vector leaves, or another number of outputs.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    model = learner["gradient_booster"]["model"]
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("tree", "node", "feature", "threshold", "left", "right", "target")
    }
    targets = model["tree_info"]
    if max(targets, default=0) >= n_targets:
        raise ValueError(f"booster has {max(targets) + 1} outputs, expected {n_targets}")
    for number, tree in enumerate(model["trees"]):
        if int(tree["tree_param"]["size_leaf_vector"]) > 1:
            raise ValueError("trees with vector leaves are not supported")
        left = np.array(tree["left_children"])
        parts["tree"].append(np.full(len(left), number))
        parts["node"].append(np.arange(len(left)))
        parts["feature"].append(np.where(left < 0, -1, tree["split_indices"]))
        parts["threshold"].append(np.array(tree["split_conditions"], dtype=np.float32))
        parts["left"].append(left)
        parts["right"].append(np.array(tree["right_children"]))
        parts["target"].append(np.full(len(left), targets[number]))
    flat = {name: np.concatenate(values) for name, values in parts.items()}
    leaf = flat["feature"] < 0
    weights = np.zeros((len(leaf), n_targets), dtype=np.float32)
    weights[leaf, flat.pop("target")[leaf]] = flat["threshold"][leaf]
    return TreeArrays(mode="BRANCH_LT", weights=weights, base=_base_margin(learner, n_targets), **flat)


def _base_margin(learner: dict, n_targets: int) -> np.ndarray:
    """Intercept of each target on the margin scale."""
    stored = np.atleast_1d(
        np.array(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float64)
    )
    base = np.broadcast_to(stored, (n_targets,)) if stored.size == 1 else stored
    if learner["objective"]["name"] == "binary:logistic":
        return np.log(base / (1 - base))
    return np.asarray(base)


def forest_arrays(forest: RandomForestClassifier, n_targets: int) -> TreeArrays:
    """Trees of a random forest; targets are its mean class probabilities, 0 for classes it never saw."""
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("tree", "node", "feature", "threshold", "left", "right")
    }
    weights = []
    for number, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        leaf = tree.children_left < 0
        parts["tree"].append(np.full(tree.node_count, number))
        parts["node"].append(np.arange(tree.node_count))
        parts["feature"].append(np.where(leaf, -1, tree.feature))
        parts["threshold"].append(tree.threshold.astype(np.float32))
        parts["left"].append(tree.children_left)
        parts["right"].append(tree.children_right)
        own = np.zeros((tree.node_count, n_targets), dtype=np.float32)
        shares = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True)
        own[np.ix_(leaf, forest.classes_)] = shares[leaf] / len(forest.estimators_)
        weights.append(own)
    flat = {name: np.concatenate(values) for name, values in parts.items()}
    return TreeArrays(mode="BRANCH_LEQ", weights=np.concatenate(weights), base=np.zeros(n_targets), **flat)
