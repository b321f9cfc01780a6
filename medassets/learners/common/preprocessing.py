"""Preprocessing that travels with a model: encoding, selection by clinical relevance, imputation, resampling.

What belongs here: scikit-learn transformers and the pipelines made of them, and the comparison of SMOTE and
ADASYN with class weights. What does not: the encoding itself (``medassets.features.common``) and its
application in serving (``medassets.features.model_inputs``), which needs no scikit-learn.

scikit-learn is used rather than feature-engine: both are kept up, but the exporter to ONNX knows
scikit-learn's estimators. The transformers duck-type scikit-learn's interface so that importing this module
stays light.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from medassets.features.answer_codes import AnswerCodes
from medassets.features.answers import AGE_CEILING
from medassets.features.common import PRESENT, UNKNOWN, EvidenceSpace
from medassets.features.model_inputs import ModelInputs

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from medassets.learners.common.config import CommonConfig
    from medassets.learners.common.training import TrainingData


class _Transformer:
    """What ``sklearn.pipeline.Pipeline`` asks of a step."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments, as scikit-learn's ``clone`` wants them."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> _Transformer:
        """Replace constructor arguments."""
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, then transform the same rows."""
        return self.fit(X, y).transform(X)  # type: ignore[attr-defined]

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()


class AnswerEncoder(_Transformer):
    """Tables to symptom matrices: default values become "absent", several values become several columns."""

    def __init__(self, space: EvidenceSpace) -> None:
        self.space = space

    def fit(self, X: pa.Table, y: Any = None) -> AnswerEncoder:
        """Nothing to learn: the space is knowledge."""
        return self

    def transform(self, X: pa.Table) -> np.ndarray:
        """(n, n_features) int8."""
        return self.space.encode_table(X)


class RelevanceSelector(_Transformer):
    """Keep columns that can matter: every question a clinician may ask, and values that records carry.

    All base evidences stay, since each belongs to some condition's picture and may be a red flag, and age and
    sex. A column of a single value stays if at least ``min_support`` patients with records have it; degrees
    stay where any record has one.
    """

    def __init__(self, space: EvidenceSpace, min_support: int = 5) -> None:
        self.space = space
        self.min_support = min_support

    def fit(self, X: np.ndarray, y: Any = None) -> RelevanceSelector:
        """Count values.

        Args:
            X: (n, n_features) symptom matrix of records (not of simulated patients, whose values mean
                nothing).
            y: not used.
        """
        keep = np.zeros(self.space.n_features, dtype=bool)
        keep[self.space.base] = True
        keep[[self.space.age, self.space.sex]] = True
        keep[self.space.values] = (X[:, self.space.values] == PRESENT).sum(axis=0) >= self.min_support
        keep[self.space.levels] = (X[:, self.space.levels] > 0).sum(axis=0) >= self.min_support
        self.inputs_ = ModelInputs.of(np.flatnonzero(keep), AnswerCodes.from_space(self.space))
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """(n, n_inputs) float32."""
        return self.inputs_.transform(X)


class UnknownImputer(_Transformer):
    """Fill unknown answers for estimators that cannot take them, and say in a column of its own that it was
    done.

    An unknown answer becomes the column's mean among known ones (its prevalence); ages and degrees are scaled
    to about 0..1. Where any row had it unknown, an indicator column follows: absent and unknown never look
    alike.
    """

    def __init__(self, indicator: bool = True) -> None:
        self.indicator = indicator

    def fit(self, X: np.ndarray, y: Any = None) -> UnknownImputer:
        """Learn scales, means and which columns need an indicator."""
        unknown = X == UNKNOWN
        self.scale_ = np.maximum(X.max(axis=0), 1.0)
        self.scale_[self.scale_ > 11] = AGE_CEILING
        known = np.maximum((~unknown).sum(axis=0), 1)
        self.mean_ = np.where(unknown, 0.0, X).sum(axis=0) / known / self.scale_
        self.flagged_ = np.flatnonzero(unknown.any(axis=0))
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """(n, n_inputs + n_flagged) float32."""
        unknown = X == UNKNOWN
        filled = np.where(unknown, self.mean_, X / self.scale_)
        parts = [filled, unknown[:, self.flagged_]] if self.indicator else [filled]
        return np.hstack(parts).astype(np.float32)


def evidence_pipeline(
    space: EvidenceSpace,
    *,
    min_support: int = 5,
    unknown: Literal["code", "impute"] = "code",
    encode: bool = True,
) -> Pipeline:
    """Pipeline from patients to a model's input.

    Args:
        space: columns of the symptom matrix.
        min_support: see ``RelevanceSelector``.
        unknown: ``code`` leaves -1 (trees, the network), ``impute`` fills and flags (linear models, SMOTE).
        encode: start from a table; False: from a symptom matrix.
    """
    from sklearn.pipeline import Pipeline

    steps: list[tuple[str, Any]] = [("encode", AnswerEncoder(space))] if encode else []
    steps.append(("select", RelevanceSelector(space, min_support)))
    if unknown == "impute":
        steps.append(("impute", UnknownImputer()))
    return Pipeline(steps)


def compare_imbalance(data: TrainingData, config: CommonConfig) -> pa.Table:
    """Compare ways to treat rare conditions with one classifier (multinomial logistic) and one preprocessing.

    Trained on the training part, measured on the validation part: nothing, class weights, SMOTE
    (Chawla et al., 2002) and ADASYN (He et al., 2008). Conditions with too few rows for a neighbour are left
    to the others by SMOTE and ADASYN (a synthetic patient needs two to lie between).

    Returns:
        One row a method: method, n_train, n_validation, top1, macro_f1, rare_recall (conditions at or below
            the
        median number of training rows), origin of the validation rows; ``note`` says why a method did not
        run.
    """
    from sklearn.linear_model import LogisticRegression

    pipeline = evidence_pipeline(data.space, min_support=config.min_support, unknown="impute", encode=False)
    X, y = pipeline.fit_transform(data.train.matrix), data.train.labels
    held, truth = pipeline.transform(data.validation.matrix), data.validation.labels
    counts = np.bincount(y, minlength=len(data.knowledge.conditions))
    rare = counts[truth] <= np.median(counts)
    rows = []
    for method in ("none", "class_weights", "smote", "adasyn"):
        drawn, note = _resample(method, X, y, config.seed)
        row: dict[str, Any] = {"method": method, "n_train": 0, "n_validation": len(truth), "note": note}
        row |= dict.fromkeys(("top1", "macro_f1", "rare_recall"))
        if drawn is not None:
            weight = "balanced" if method == "class_weights" else None
            model = LogisticRegression(C=1.0, max_iter=200, class_weight=weight).fit(*drawn)
            predicted = model.predict(held)
            row |= {"n_train": len(drawn[1]), "top1": float((predicted == truth).mean())}
            row |= {"macro_f1": _macro_f1(truth, predicted)}
            row |= {"rare_recall": float((predicted == truth)[rare].mean()) if rare.any() else None}
        rows.append(row | {"origin": "+".join(sorted(set(data.validation.origin)))})
    return pa.Table.from_pylist(rows)


def _resample(
    method: str, X: np.ndarray, y: np.ndarray, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    if method in ("none", "class_weights"):
        return (X, y), ""
    from imblearn.over_sampling import ADASYN, SMOTE

    counts = np.bincount(y)
    enough = {label: int(counts.max()) for label in np.flatnonzero(counts >= 3)}
    neighbours = max(1, min(5, int(counts[counts >= 3].min()) - 1)) if enough else 0
    if not neighbours:
        return None, "no condition has 3 rows"
    if method == "smote":
        smote = SMOTE(sampling_strategy=enough, k_neighbors=neighbours, random_state=seed)
        return smote.fit_resample(X, y), ""
    added, left_out = [(X, y)], 0
    for label, wanted in enough.items():
        if counts[label] >= wanted:
            continue
        adasyn = ADASYN(sampling_strategy={label: wanted}, n_neighbors=neighbours, random_state=seed)
        try:
            more_X, more_y = adasyn.fit_resample(X, y)
        except (ValueError, RuntimeError):
            # ADASYN grows a condition where its patients have neighbours of another; some have none.
            left_out += 1
            continue
        added.append((more_X[len(y) :], more_y[len(y) :]))
    note = (
        f"{left_out} conditions have no neighbours of another and were left as they are" if left_out else ""
    )
    grown = tuple(np.concatenate([part[i] for part in added]) for i in (0, 1))
    return (grown[0], grown[1]), note


def _macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, average="macro", labels=np.unique(truth), zero_division=0))
