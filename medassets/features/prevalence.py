"""How frequent diseases are, as a prior of the rare-disease ranking.

What belongs here: from Orphanet's statements to one figure a candidate, and a ranking with that prior. What
does not: reading the statements (``ingest.orphanet``) and the ranking itself (``rare_model``). It is on the
serving path: numpy and pyarrow only.

The ranker weighs candidates as equally frequent. With a prior of weight w, the odds of two candidates are
multiplied by the ratio of their prevalences to the power of w. A candidate without a figure counts as the
(geometric) mean of those that have one. The probability that none of the known diseases is the cause was
calibrated without a prior and stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medassets.features.rare_arrays import read_parquet
from medassets.features.rare_model import Ranking

FILE = "prevalence.parquet"
#: Kinds of statements that say how many people live or are born with a disease, the best first.
KINDS = ("point prevalence", "lifetime prevalence", "prevalence at birth")
#: Where it was measured, the widest first; any other place comes last.
_PLACES = ("worldwide", "europe")
_LEAST = 1e-3
_WEIGHT = b"medassets.weight"


def prevalence_table(statements: pa.Table, columns: Mapping[str, int], candidates: Sequence[str]) -> pa.Table:
    """Give one prevalence a candidate.

    Of a candidate's statements the best are taken: validated ones first, then the kind, then the place;
    equally good ones are averaged geometrically.

    Args:
        statements: ``clinical/orphanet_prevalences``.
        columns: candidate's column by any of its ids.
        candidates: canonical ids.

    Returns:
        ``disease_id``, ``per_million``, ``n_statements``, sorted by id; candidates without a figure are left
        out.
    """
    ranked: dict[int, list[tuple[tuple[bool, int, int], float]]] = {}
    for row in statements.to_pylist():
        column = columns.get(row["orpha_id"])
        kind, place = str(row["type"]).lower(), str(row["geography"]).lower()
        value = _per_million(row)
        if column is None or value is None or kind not in KINDS:
            continue
        where = _PLACES.index(place) if place in _PLACES else len(_PLACES)
        ranked.setdefault(column, []).append(((not row["validated"], KINDS.index(kind), where), value))
    rows = []
    for column, found in ranked.items():
        best = min(rank for rank, _ in found)
        values = [value for rank, value in found if rank == best]
        mean = float(np.exp(np.mean(np.log(values))))
        rows.append((candidates[column], mean, len(values)))
    ids, figures, counts = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "disease_id": pa.array(ids, pa.string()),
            "per_million": pa.array(figures, pa.float64()),
            "n_statements": pa.array(counts, pa.int32()),
        }
    )


def log_prior(table: pa.Table, candidates: Sequence[str], weight: float) -> np.ndarray:
    """Give float64 (n_candidates,): log prior of each candidate, 0 for those without a figure.

    Args:
        table: from ``prevalence_table``.
        candidates: canonical ids.
        weight: power of the prevalences, 0 (none) to 1 (as they are).
    """
    prior = np.zeros(len(candidates))
    place = {disease: i for i, disease in enumerate(candidates)}
    known = [i for i, disease in enumerate(table["disease_id"].to_pylist()) if disease in place]
    if not known:
        return prior
    logs = np.log(table["per_million"].to_numpy()[known])
    at = [place[disease] for disease in table["disease_id"].take(known).to_pylist()]
    prior[at] = weight * (logs - logs.mean())
    return prior


def write_prior(table: pa.Table, weight: float, directory: Path) -> None:
    """Write the prevalences and their weight beside a ranker."""
    pq.write_table(table.replace_schema_metadata({_WEIGHT: json.dumps(weight)}), directory / FILE)


def load_prior(directory: Path, candidates: Sequence[str]) -> np.ndarray | None:
    """Read the log prior of the candidates; None where the ranker has none."""
    path = directory / FILE
    if not path.is_file():
        return None
    table = read_parquet(path)
    return log_prior(table, candidates, float(json.loads((table.schema.metadata or {})[_WEIGHT])))


def with_prior(ranking: Ranking, prior: np.ndarray) -> Ranking:
    """Give a ranking with a prior: scores, probabilities and order change, ``unknown`` stays.

    Args:
        ranking: of one case, without prior.
        prior: (n_candidates,) log prior.
    """
    scores = ranking.scores + prior[ranking.candidates]
    # The least probabilities underflow to 0; what is 0 stays 0.
    weights = ranking.probabilities * np.exp(prior[ranking.candidates])
    probabilities = weights * (ranking.probabilities.sum() / weights.sum()) if weights.sum() else weights
    order = np.lexsort((ranking.candidates, -scores))
    listed = replace(
        ranking.listed, candidates=ranking.candidates[order], features=ranking.listed.features[order]
    )
    return Ranking(ranking.candidates[order], scores[order], probabilities[order], ranking.unknown, listed)


def _per_million(row: Mapping[str, object]) -> float | None:
    """Give a statement's mean value, else the geometric middle of its class."""
    mean, low, high = row["per_million"], row["low"], row["high"]
    if isinstance(mean, float) and mean > 0:
        return max(mean, _LEAST)
    if isinstance(low, float) and isinstance(high, float):
        return float(np.sqrt(low * high))
    return None
