"""Whether validated patients are strangers: what a file shares with what the bundle was made from.

What belongs here: counting shared cases, publications and rows, and the fingerprints a bundle carries for
it. What does not: leaving the shared ones out (``validation``). Figures on patients that a model has seen say
little about the next one, so that validation names how many there are.

A common patient has no identity in the public releases: two rows are one patient when condition, age, sex
and answers are. Only 64-bit digests of them are kept, no answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from medassets.features.cases import CaseSet

#: Part of the bundle with the fingerprints of common patients.
SEEN = "seen"
_FILE = "common_patients.npz"


def shared_cases(known: CaseSet, cases: CaseSet) -> dict[str, int]:
    """Count what ``cases`` share with the cases of the bundle's memory.

    Returns:
        ``cases`` with an id that the memory holds, and ``publications`` (distinct) that both cite.
    """
    ids = set(known.case_ids)
    return {
        "cases": sum(case_id in ids for case_id in cases.case_ids),
        "publications": len(_publications(known) & _publications(cases)),
    }


def shared_patients(known: np.ndarray, patients: pa.Table) -> dict[str, int]:
    """Count rows that the bundle was made from; common patients cite no publications.

    Args:
        known: fingerprints, sorted.
        patients: rows of ``clinical/common_patients``.
    """
    return {"cases": int(np.isin(fingerprints(patients), known).sum()), "publications": 0}


def fingerprints(patients: pa.Table) -> np.ndarray:
    """Digest of each row's condition, age, sex and answers: uint64 (n,), in the table's order."""
    columns = (patients.column(name).to_pylist() for name in ("condition", "age", "sex", "evidence"))
    rows = zip(*columns, strict=True)
    return np.fromiter(
        (_digest((condition, str(age), sex, *sorted(evidence))) for condition, age, sex, evidence in rows),
        dtype=np.uint64,
        count=patients.num_rows,
    )


def write_seen(patients: pa.Table, folder: Path) -> None:
    """Write the fingerprints of the patients that a bundle is made from."""
    np.savez(folder / _FILE, common_patients=np.unique(fingerprints(patients)))


def read_seen(folder: Path) -> np.ndarray:
    """Read what ``write_seen`` wrote.

    Raises:
        FileNotFoundError: nothing was written there.
    """
    with np.load(folder / _FILE, allow_pickle=False) as arrays:
        return np.asarray(arrays["common_patients"])


def _publications(cases: CaseSet) -> set[str]:
    return {publication for publications in cases.pmids for publication in publications}


def _digest(fields: Iterable[str]) -> int:
    digest = hashlib.blake2b("\x1f".join(fields).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
