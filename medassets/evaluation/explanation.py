"""Why a model of common conditions answered as it did, by three methods, and how far they agree.

What belongs here: exact SHAP values of trees, LIME, naive Bayes log-likelihood shares, their agreement, and
the table of explained patients. What does not: the API's explanation, which is the last of the three and
computed where it is served.

Sources: Lundberg et al. (Nature Machine Intelligence 2020) for TreeSHAP, in log-odds of the explained
condition; Ribeiro et al. (KDD 2016) for LIME, a local linear model of its probability. The third is the
share of each answer in the log-likelihood ratio of the condition against the others, weighed by their
posterior. The three answer different questions, so their agreement is measured, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medassets.cohorts.schema import conform
from medassets.evaluation.figures import EXPLANATIONS, OVERALL, Figure, number, origin_of
from medassets.features.answer_codes import AdditiveScores
from medassets.features.common import ABSENT, PRESENT, UNKNOWN, EvidenceSpace

FloatArray = NDArray[np.float64]
ALL_PATIENTS = "all"
SHAP, LIME, LIKELIHOOD = "shap", "lime", "likelihood"


def tree_shap(
    tree: Any,
    inputs: NDArray[np.floating],
    columns: NDArray[np.integer],
    n_features: int,
    *,
    classes: NDArray[np.integer] | None = None,
    n_classes: int | None = None,
) -> FloatArray:
    """Exact SHAP values of a tree model.

    Args:
        tree: an ``xgboost.Booster`` or a fitted scikit-learn forest.
        inputs: (n, k) rows as the tree model reads them.
        columns: (k,) column of the symptom matrix behind each input.
        n_features: columns of the symptom matrix.
        classes: class of each of the model's outputs where it does not have all (a forest's ``classes_``).
        n_classes: classes in all, needed with ``classes``.

    Returns:
        (n, n_features, classes); zero for columns that the model does not read.

    Raises:
        ValueError: the explainer gave another shape than (n, k, outputs).
    """
    import shap

    values = np.asarray(shap.TreeExplainer(tree).shap_values(inputs))
    if values.ndim != 3 or values.shape[:2] != inputs.shape:
        raise ValueError(f"SHAP values of shape {values.shape} for {inputs.shape} inputs")
    outputs = np.arange(values.shape[2]) if classes is None else np.asarray(classes)
    result = np.zeros((len(inputs), n_features, n_classes or len(outputs)))
    result[np.ix_(np.arange(len(inputs)), np.asarray(columns), outputs)] = values
    return result


def lime_values(
    predict: Callable[[NDArray[np.int8]], NDArray[np.floating]],
    matrix: NDArray[np.int8],
    background: NDArray[np.int8],
    classes: NDArray[np.integer],
    numeric: Sequence[int],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> FloatArray:
    """LIME's local linear weights for one class of each row.

    Args:
        predict: rows of the symptom matrix in, (n, classes) probabilities out.
        matrix: (n, f) rows to explain.
        background: (m, f) rows whose answers the perturbations are drawn from.
        classes: (n,) class explained in each row.
        numeric: columns that are numbers (levels, age); all others are categories.
        samples: perturbed rows for each explanation.
        seed: of the perturbations.

    Returns:
        (n, f); zero for columns that never vary in the background.
    """
    from lime.lime_tabular import LimeTabularExplainer

    varying = np.flatnonzero((background != background[:1]).any(0))
    position = {int(column): i for i, column in enumerate(varying)}
    categorical = [i for column, i in position.items() if column not in set(numeric)]
    explainer = LimeTabularExplainer(
        background[:, varying].astype(np.float64),
        categorical_features=categorical,
        discretize_continuous=False,
        random_state=seed,
    )
    result = np.zeros(matrix.shape)
    for i, (row, target) in enumerate(zip(matrix, classes, strict=True)):
        # Columns without variation keep the row's own answer.
        def perturbed(part: NDArray[np.floating], row: NDArray[np.int8] = row) -> NDArray[np.floating]:
            full = np.repeat(row[None], len(part), axis=0)
            full[:, varying] = np.clip(np.rint(part), -1, 120)
            return predict(full)

        explained = explainer.explain_instance(
            row[varying].astype(np.float64),
            perturbed,
            labels=(int(target),),
            num_features=len(varying),
            num_samples=samples,
        )
        for column, weight in explained.as_map()[int(target)]:
            # A numeric column's weight is a slope in units of its spread: its share is slope times distance.
            own = int(varying[column])
            scale = 1.0
            if own in set(numeric):
                scale = (row[own] - explainer.scaler.mean_[column]) / explainer.scaler.scale_[column]
            result[i, own] = weight * scale
    return result


def likelihood_values(
    scores: AdditiveScores, matrix: NDArray[np.int8], classes: NDArray[np.integer]
) -> FloatArray:
    """Share of each answer in the log-likelihood ratio of one class against the others.

    Args:
        scores: naive Bayes as look-up tables.
        matrix: (n, f) rows of the symptom matrix.
        classes: (n,) class explained in each row.

    Returns:
        (n, f) nats; above zero where the answer speaks for the class.
    """
    result = np.zeros(matrix.shape)
    for i, (row, target) in enumerate(zip(matrix, classes, strict=True)):
        shares = scores.contributions(row)
        total = scores.bias + shares.sum(0)
        total[target] = -np.inf
        rivals = np.exp(total - total.max())
        result[i] = shares[:, target] - shares @ (rivals / rivals.sum())
    return result


def evidence_totals(values: FloatArray, space: EvidenceSpace) -> FloatArray:
    """Add the columns of one evidence (yes/no, its values, its level), as a person reads an explanation.

    Args:
        values: (n, f) contributions of columns.
        space: the columns.

    Returns:
        (n, q + 2): one column an evidence, then age and sex.
    """
    totals = values[:, space.base].copy()
    for j, detail in enumerate(space.details):
        totals[:, j] += values[:, detail].sum(1)
    return np.hstack([totals, values[:, [space.age, space.sex]]])


def agreement(
    first: FloatArray, second: FloatArray, *, top: int = 10, within: NDArray[np.bool_] | None = None
) -> dict[str, float | int]:
    """How far two explanations of the same rows agree.

    Args:
        first, second: (n, f) contributions.
        top: strongest contributions that are compared as sets.
        within: (n, f) columns that count, or None for all.

    Returns:
        ``{"n", "rank_correlation", "top_overlap", "sign_agreement"}``, means over rows: Spearman's
        correlation of the strengths over columns that either method uses, share of the ``top`` in common,
        and share of those in common that point the same way. Rows without two used columns do not count.
    """
    from scipy.stats import spearmanr

    correlations, overlaps, signs = [], [], []
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        used = (np.abs(a) > 1e-9) | (np.abs(b) > 1e-9)
        if within is not None:
            used &= within[i]
        columns = np.flatnonzero(used)
        if len(columns) < 2 or not np.ptp(np.abs(a[columns])) or not np.ptp(np.abs(b[columns])):
            continue
        correlations.append(float(spearmanr(np.abs(a[columns]), np.abs(b[columns])).statistic))
        size = min(top, len(columns))
        strongest = [set(columns[np.argsort(-np.abs(x[columns]), kind="stable")[:size]]) for x in (a, b)]
        common = sorted(strongest[0] & strongest[1])
        overlaps.append(len(common) / size)
        if common:
            signs.append(float((np.sign(a[common]) == np.sign(b[common])).mean()))
    means = [float(np.mean(x)) if x else float("nan") for x in (correlations, overlaps, signs)]
    names = ("rank_correlation", "top_overlap", "sign_agreement")
    return {"n": len(correlations), **dict(zip(names, means, strict=True))}


def explanation_table(
    contributions: Mapping[str, FloatArray],
    matrix: NDArray[np.int8],
    classes: NDArray[np.integer],
    patients: pa.Table,
    space: EvidenceSpace,
    conditions: Sequence[str],
    *,
    top: int = 10,
) -> pa.Table:
    """The strongest contributions of each method to each patient's class, and over all patients.

    Args:
        contributions: method to (n, f).
        matrix: (n, f) rows explained.
        classes: (n,) class explained in each row.
        patients: the same rows of ``clinical/common_patients``.
        space: names of the columns.
        conditions: names of the classes.
        top: contributions kept for each patient and method; the mean strength over the sample stands under
            the patient ``all``.
    """
    ids, origins = patients.column("patient_id").to_pylist(), patients.column("origin").to_pylist()
    rows: list[dict[str, Any]] = []
    for method, values in contributions.items():
        for i, (own, target) in enumerate(zip(values, classes, strict=True)):
            for rank, column in enumerate(_strongest(own, top), start=1):
                rows.append(
                    {
                        "patient_id": ids[i],
                        "condition": conditions[target],
                        "method": method,
                        "rank": rank,
                        "feature": space.names[column],
                        "state": _state(int(matrix[i, column]), column, space),
                        "contribution": float(own[column]),
                        "origin": origins[i],
                    }
                )
        strength = np.abs(values).mean(0)
        for rank, column in enumerate(_strongest(strength, 2 * top), start=1):
            rows.append(
                {
                    "patient_id": ALL_PATIENTS,
                    "condition": ALL_PATIENTS,
                    "method": method,
                    "rank": rank,
                    "feature": space.names[column],
                    "state": f"mean strength of {len(values)} patients",
                    "contribution": float(strength[column]),
                    "origin": "+".join(sorted(set(origins))),
                }
            )
    return conform(pa.Table.from_pylist(rows, schema=EXPLANATIONS.schema), EXPLANATIONS)


def table_agreement(table: pa.Table, *, top: int = 3) -> list[Figure]:
    """How far methods agree on the patients that both explained, read from ``evaluation/explanations``.

    Args:
        table: as ``explain_sample`` returns it.
        top: strongest features compared.

    Returns:
        For each pair of methods the share of patients whose strongest feature is the same (``same_first``)
        and the mean share of the ``top`` strongest that both name (``shared_top<top>``).
    """
    named: dict[str, dict[str, list[str]]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: int(row["rank"])):
        if row["patient_id"] != ALL_PATIENTS and row["rank"] <= top:
            named.setdefault(row["method"], {}).setdefault(row["patient_id"], []).append(row["feature"])
    figures = []
    for first, second in combinations(sorted(named), 2):
        shared = sorted(named[first].keys() & named[second].keys())
        if not shared:
            continue
        pairs = [(named[first][patient], named[second][patient]) for patient in shared]
        same = float(np.mean([a[0] == b[0] for a, b in pairs]))
        overlap = float(np.mean([len(set(a) & set(b)) / max(len(a), len(b)) for a, b in pairs]))
        for metric, value in (("same_first", same), (f"shared_top{top}", overlap)):
            figures.append(
                Figure(
                    f"{first} and {second}", OVERALL, metric, value, None, None, len(shared), origin_of(table)
                )
            )
    return figures


def _strongest(values: FloatArray, top: int) -> list[int]:
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    return [int(column) for column in order if abs(values[column]) > 0]


def _state(answer: int, column: int, space: EvidenceSpace) -> str:
    if answer == UNKNOWN:
        return "unknown"
    if column == space.sex:
        return "M" if answer else "F"
    if column >= space.levels.start:
        return str(answer)
    return {PRESENT: "present", ABSENT: "absent"}[answer]


def explain_sample(
    tree: Any,
    columns: NDArray[np.integer],
    predict: Callable[[NDArray[np.int8]], NDArray[np.floating]],
    scores: AdditiveScores,
    patients: pa.Table,
    background: NDArray[np.int8],
    space: EvidenceSpace,
    conditions: Sequence[str],
    *,
    sample: int = 60,
    lime_sample: int = 20,
    seed: int = 0,
) -> tuple[pa.Table, list[Figure]]:
    """Explain the leading condition of a sample of patients by all methods, and measure their agreement.

    Args:
        tree: the ensemble's booster or forest with all classes.
        columns: (k,) columns of the symptom matrix that it reads.
        predict: the ensemble; its leading condition is what is explained, and LIME looks at it.
        scores: naive Bayes of the ensemble, the explanation that the API gives.
        patients: rows of ``clinical/common_patients`` that were not trained on.
        background: (m, f) training rows for LIME.
        space: columns of the symptom matrix.
        conditions: class names.
        sample: patients explained, drawn with ``seed``.
        lime_sample: how many of them by LIME too, which is slow.
        seed: of the draw and of LIME.

    Returns:
        A table ``evaluation/explanations`` and the agreement of each pair of methods, evidence by evidence.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(patients.num_rows)[:sample])
    patients = patients.take(pa.array(chosen))
    matrix = space.encode_table(patients)
    classes = np.asarray(predict(matrix)).argmax(1)
    rows, few = np.arange(len(matrix)), slice(0, lime_sample)
    inputs = matrix[:, np.asarray(columns)].astype(np.float32)
    shap_values = tree_shap(tree, inputs, columns, space.n_features)[rows, :, classes]
    numeric = range(space.levels.start, space.age + 1)
    lime = lime_values(predict, matrix[few], background, classes[few], numeric, seed=seed)
    values = {SHAP: shap_values, LIKELIHOOD: likelihood_values(scores, matrix, classes)}
    tables = [
        explanation_table(values, matrix, classes, patients, space, conditions),
        explanation_table(
            {LIME: lime}, matrix[few], classes[few], patients.slice(0, len(lime)), space, conditions
        ),
    ]
    totals = {name: evidence_totals(v, space) for name, v in (*values.items(), (LIME, lime))}
    origin, figures = origin_of(patients), []
    for first, second in ((SHAP, LIKELIHOOD), (SHAP, LIME), (LIKELIHOOD, LIME)):
        shared = min(len(totals[first]), len(totals[second]))
        found = agreement(totals[first][:shared], totals[second][:shared])
        n = int(found.pop("n"))
        figures += [
            Figure(f"{first} and {second}", OVERALL, name, number(value), None, None, n, origin)
            for name, value in found.items()
        ]
    return pa.concat_tables(tables), figures
