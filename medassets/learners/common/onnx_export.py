"""Export of the ensemble to ONNX, and the checks that the export says the same and is fast.

What belongs here: building one ONNX graph of all learned models, writing the bundle's part, comparing it with
the trained models. What does not: running it (``medassets.serving.common``), which needs neither scikit-learn
nor xgboost nor torch.

All models share one graph and so one session and one call: trees as ``TreeEnsembleRegressor`` (ONNX-ML 3;
leaf weights that are zero are left out, which makes a forest of 49 conditions twenty times smaller), the
network as PyTorch exports it. Naive Bayes and what follows the models are sums over arrays and stay numpy.
"""

from __future__ import annotations

import io
import statistics
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medassets.features.pooling import CommonPrediction
from medassets.learners.common.boosting import BoostingModel
from medassets.learners.common.forest import ForestModel
from medassets.learners.common.naive_bayes import NaiveBayes
from medassets.learners.common.network import NetworkModel
from medassets.learners.common.storage import save_arrays, save_json
from medassets.learners.common.tree_arrays import TreeArrays, booster_arrays, forest_arrays

if TYPE_CHECKING:
    import onnx

    from medassets.learners.common.ensemble import CommonEnsemble

#: Exported and trained probabilities may differ by this much (float32 sums in another order).
TOLERANCE = 1e-5
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
MODEL_INPUT, DIFFERENTIAL_INPUT = "inputs", "differential_inputs"


class ExportError(ValueError):
    """The export does not say what the trained model says; the message has the difference."""


class Exported(Protocol):
    """An export that was loaded again (``medassets.serving.common.CommonPredictor``)."""

    def predict_matrix(self, matrix: np.ndarray) -> CommonPrediction:
        """Predict for rows of a symptom matrix."""
        ...


def export_ensemble(ensemble: CommonEnsemble, directory: Path) -> None:
    """Write the bundle's part: ``models.onnx``, arrays, the space, conditions and metadata."""
    directory.mkdir(parents=True, exist_ok=True)
    learned = {name: model for name, model in ensemble.models.items() if not isinstance(model, NaiveBayes)}
    graph, scales = build_graph(ensemble, learned)
    if graph is not None:
        (directory / "models.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    bayes = ensemble.models["naive_bayes"]
    assert isinstance(bayes, NaiveBayes)
    bayes.scores.save(directory / "naive_bayes.npz")
    save_arrays(directory / "decision.npz", ensemble.decision.to_arrays())
    inputs = {f"{name}_columns": model.inputs.columns for name, model in learned.items()}  # type: ignore[attr-defined]
    if ensemble.head is not None:
        columns = ensemble.head.inputs
        inputs |= {"differential_columns": columns.inputs.columns, "differential_sizes": columns.inputs.sizes}
        inputs |= {"pictured": columns.pictured, "symptoms": columns.symptoms}
    save_arrays(directory / "inputs.npz", inputs)
    (directory / "space.json").write_text(ensemble.space.to_json(), encoding="utf-8")
    knowledge = ensemble.knowledge
    save_json(
        directory / "common.json",
        {
            "conditions": [
                {
                    "name": c.name,
                    "icd10": c.icd10,
                    "severity": c.severity,
                    "name_en": c.name_en,
                    "name_es": c.name_es,
                }
                for c in knowledge.conditions
            ],
            "labels": {e.code: e.label_en for e in knowledge.evidences},
            "outputs": scales,
            "metadata": ensemble.metadata,
        },
    )


def build_graph(
    ensemble: CommonEnsemble, learned: dict[str, Any]
) -> tuple[onnx.ModelProto | None, dict[str, str]]:
    """All learned models in one graph.

    Returns:
        The model (None where there is nothing to export) and, for each output, what it is: ``margin``
        (softmax follows), ``probability``, or ``raw``.
    """
    import onnx
    from onnx import TensorProto, helper

    classes = len(ensemble.knowledge.conditions)
    nodes: list[Any] = []
    initializers: list[Any] = []
    kinds: dict[str, str] = {}
    widths: dict[str, int] = {}
    for name, model in learned.items():
        if isinstance(model, BoostingModel):
            trees, kinds[name] = booster_arrays(model.booster, classes), "margin"
            nodes.append(_tree_node(trees, MODEL_INPUT, name))
        elif isinstance(model, ForestModel):
            trees, kinds[name] = forest_arrays(model.forest, classes), "probability"
            nodes.append(_tree_node(trees, MODEL_INPUT, name))
        elif isinstance(model, NetworkModel):
            kinds[name] = "margin"
            part = _network_graph(model, name)
            nodes += part.graph.node
            initializers += part.graph.initializer
        else:
            raise ExportError(f"{name}: no way to export a {type(model).__name__}")
        widths[MODEL_INPUT] = len(model.inputs)
    if ensemble.head is not None:
        for name, booster in (("member", ensemble.head.member), ("mass", ensemble.head.mass)):
            nodes.append(_tree_node(booster_arrays(booster, classes), DIFFERENTIAL_INPUT, name))
            kinds[name] = "raw"
        widths[DIFFERENTIAL_INPUT] = len(ensemble.head.inputs)
    if not nodes:
        return None, kinds
    graph = helper.make_graph(
        nodes,
        "common_ensemble",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, w]) for n, w in widths.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, classes]) for n in kinds],
        initializer=initializers,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model_proto = helper.make_model(graph, opset_imports=opsets, producer_name="medassets")
    model_proto.ir_version = IR_VERSION
    onnx.checker.check_model(model_proto)
    return model_proto, kinds


def _tree_node(trees: TreeArrays, source: str, name: str) -> Any:
    """One node for a whole tree ensemble."""
    from onnx import helper

    leaf = trees.feature < 0
    tree, node = trees.tree, trees.node
    weight_row, weight_target = np.nonzero(trees.weights)
    return helper.make_node(
        "TreeEnsembleRegressor",
        [source],
        [name],
        name=name,
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        post_transform="NONE",
        n_targets=trees.weights.shape[1],
        base_values=trees.base.astype(np.float32).tolist(),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=node.tolist(),
        nodes_featureids=np.where(leaf, 0, trees.feature).tolist(),
        nodes_values=np.where(leaf, 0, trees.threshold).astype(np.float32).tolist(),
        nodes_modes=np.where(leaf, "LEAF", trees.mode).tolist(),
        nodes_truenodeids=np.where(leaf, 0, trees.left).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, trees.right).tolist(),
        target_treeids=tree[weight_row].tolist(),
        target_nodeids=node[weight_row].tolist(),
        target_ids=weight_target.tolist(),
        target_weights=trees.weights[weight_row, weight_target].astype(np.float32).tolist(),
    )


def _network_graph(model: NetworkModel, name: str) -> onnx.ModelProto:
    """PyTorch's own export, its inner names prefixed so that it can stand beside others."""
    import onnx
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but the new one needs onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.module,
            (torch.zeros(2, len(model.inputs)),),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=[MODEL_INPUT],
            output_names=[name],
            dynamic_axes={MODEL_INPUT: {0: "n"}, name: {0: "n"}},
        )
    proto = onnx.load_from_string(buffer.getvalue())
    kept = {MODEL_INPUT, name}

    def renamed(names: list[str]) -> list[str]:
        return [n if n in kept or not n else f"{name}/{n}" for n in names]

    for node in proto.graph.node:
        node.name = f"{name}/{node.name}"
        node.input[:], node.output[:] = renamed(list(node.input)), renamed(list(node.output))
    for tensor in proto.graph.initializer:
        tensor.name = f"{name}/{tensor.name}"
    return proto


def check_export(ensemble: CommonEnsemble, predictor: Exported, matrix: np.ndarray) -> dict[str, float]:
    """Compare exported and trained models.

    Args:
        ensemble: as trained.
        predictor: loaded from its export.
        matrix: (n, n_features) rows to compare on, 1,000 or more for a release.

    Returns:
        Largest absolute difference of probabilities for each base model, ``ensemble`` and ``differential``.

    Raises:
        ExportError: a difference above ``TOLERANCE``; the message names the model.
    """
    trained, exported = ensemble.predict(matrix), predictor.predict_matrix(matrix)
    pairs = {name: (trained.models[name], exported.models[name]) for name in trained.models}
    pairs["ensemble"] = (trained.probabilities, exported.probabilities)
    pairs["differential"] = (trained.differential, exported.differential)
    result = {name: float(np.abs(a - b).max()) for name, (a, b) in pairs.items()}
    wrong = {name: value for name, value in result.items() if not value <= TOLERANCE}
    if wrong:
        raise ExportError(f"exported models differ by more than {TOLERANCE} on {len(matrix)} rows: {wrong}")
    return result


@dataclass(frozen=True)
class Latency:
    """Median milliseconds to answer for one patient."""

    onnx_ms: float
    python_ms: float
    n: int

    @property
    def ratio(self) -> float:
        """How many times faster the export is."""
        return self.python_ms / self.onnx_ms


def measure_latency(
    ensemble: CommonEnsemble, predictor: Exported, matrix: np.ndarray, repeats: int = 200
) -> Latency:
    """Time single patients through both, in the same run, in turn."""
    times: dict[str, list[float]] = {"onnx": [], "python": []}
    for i in range(repeats):
        row = matrix[i % len(matrix)][None]
        for name, predict in (("onnx", predictor.predict_matrix), ("python", ensemble.predict)):
            start = time.perf_counter()
            predict(row)
            times[name].append((time.perf_counter() - start) * 1000)
    return Latency(statistics.median(times["onnx"]), statistics.median(times["python"]), repeats)
