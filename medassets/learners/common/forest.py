"""Random forest (Breiman, 2001) over the encoded answers.

What belongs here: fitting, scoring and storing the forest. What does not: rows and folds (``training``) and
the export (``onnx_export``).

Stored as the arrays of its trees, not as a pickle: the same bytes for the same forest, and nothing in a file
that could run. The fields are those of scikit-learn's own tree state.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medassets.features.model_inputs import ModelInputs
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.storage import load_arrays, load_inputs, save_arrays, save_inputs

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


@dataclass(frozen=True)
class ForestModel:
    """A fitted forest with the columns it reads."""

    forest: RandomForestClassifier
    inputs: ModelInputs
    n_conditions: int
    name: str = "forest"

    @classmethod
    def fit(
        cls, patients: CommonPatients, inputs: ModelInputs, n_conditions: int, config: CommonConfig, **_: Any
    ) -> ForestModel:
        """Fit on rows of a symptom matrix (unknown answers as -1, a value of their own)."""
        from sklearn.ensemble import RandomForestClassifier

        settings = config.forest
        forest = RandomForestClassifier(
            n_estimators=settings.trees,
            min_samples_leaf=settings.min_leaf,
            max_leaf_nodes=settings.max_leaves,
            max_features=settings.columns,
            n_jobs=config.threads,
            random_state=config.seed % 2**32,
        )
        forest.fit(inputs.transform(patients.matrix), patients.labels)
        forest.n_jobs = (
            1  # one patient at a time in what follows: starting threads would cost more than the trees
        )
        return cls(forest, inputs, n_conditions)

    def continued(
        self, patients: CommonPatients, n_conditions: int, config: CommonConfig, *, trees: int
    ) -> ForestModel:
        """A forest of these trees and further ones grown on other rows; this one stays as it is.

        Raises:
            ValueError: the rows lack a condition that the forest knows, or bring one that it does not.
        """
        if not np.array_equal(np.unique(patients.labels), self.forest.classes_):
            raise ValueError("a forest can only grow on rows of the conditions that it was grown on")
        grown = ForestModel.fit(
            patients,
            self.inputs,
            n_conditions,
            config.model_copy(update={"forest": config.forest.model_copy(update={"trees": trees})}),
        )
        together = grown.forest
        together.estimators_ = [*self.forest.estimators_, *together.estimators_]
        together.n_estimators = len(together.estimators_)
        return grown

    def log_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 log-probabilities; conditions never seen in training have the floor."""
        return np.log(np.maximum(self.predict_proba(matrix), 1e-12))

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64."""
        return self.predict_inputs(self.inputs.transform(matrix))

    def predict_inputs(self, X: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 of rows that are already a model's input: (n, n_inputs) float32."""
        result = np.zeros((len(X), self.n_conditions))
        result[:, self.forest.classes_] = self.forest.predict_proba(X)
        return result

    def save(self, directory: Path) -> None:
        """Write the trees' arrays."""
        directory.mkdir(parents=True, exist_ok=True)
        save_inputs(self.inputs, directory)
        states = [tree.tree_.__getstate__() for tree in self.forest.estimators_]
        nodes = np.concatenate([state["nodes"] for state in states])
        arrays = {f"node_{field}": nodes[field] for field in nodes.dtype.names or ()}
        arrays["values"] = np.concatenate([state["values"] for state in states]).astype(np.float32)
        arrays["counts"] = np.array([state["node_count"] for state in states])
        arrays["depths"] = np.array([state["max_depth"] for state in states])
        arrays["classes"] = self.forest.classes_
        arrays["n_conditions"] = np.array(self.n_conditions)
        save_arrays(directory / "forest.npz", arrays)

    @classmethod
    def load(cls, directory: Path) -> ForestModel:
        """Rebuild the forest from its trees' arrays."""
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.tree import DecisionTreeClassifier
        from sklearn.tree._tree import Tree

        arrays, inputs = load_arrays(directory / "forest.npz"), load_inputs(directory)
        classes, counts = arrays["classes"], arrays["counts"]
        fields = [name for name in arrays if name.startswith("node_")]
        kind = _node_type(fields, arrays)
        forest = RandomForestClassifier(n_estimators=len(counts))
        forest.classes_, forest.n_classes_ = classes, len(classes)
        forest.n_features_in_, forest.n_outputs_ = len(inputs), 1
        forest.estimators_ = []
        start = 0
        for count, depth in zip(counts, arrays["depths"], strict=True):
            rows = slice(start, start + int(count))
            nodes = np.zeros(int(count), dtype=kind)
            for field in fields:
                nodes[field.removeprefix("node_")] = arrays[field][rows]
            tree = DecisionTreeClassifier()
            tree.classes_, tree.n_classes_ = np.arange(len(classes)), len(classes)
            tree.n_features_in_, tree.n_outputs_ = len(inputs), 1
            tree.tree_ = Tree(len(inputs), np.array([len(classes)], dtype=np.intp), 1)
            values = np.ascontiguousarray(arrays["values"][rows], dtype=np.float64)
            tree.tree_.__setstate__(
                {"max_depth": int(depth), "node_count": int(count), "nodes": nodes, "values": values}
            )
            forest.estimators_.append(tree)
            start += int(count)
        return cls(forest, inputs, int(arrays["n_conditions"]))


def _node_type(fields: list[str], arrays: dict[str, np.ndarray]) -> np.dtype:
    """Record type of scikit-learn's tree nodes in the installed version.

    Raises:
        ValueError: the forest was stored by a version whose nodes have other fields.
    """
    from sklearn.tree._tree import NODE_DTYPE

    kind = np.dtype(NODE_DTYPE)
    stored = {field.removeprefix("node_") for field in fields}
    if stored != set(kind.names or ()):
        raise ValueError(
            f"stored trees have fields {sorted(stored)}, this scikit-learn has {sorted(kind.names or ())}"
        )
    return kind
