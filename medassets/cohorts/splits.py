"""Splits that keep training and test apart: rare cases by publication, common patients by stratified hashing.

What belongs here: assigning rows to parts and proving that nothing stands on both sides. What does not:
sampling of episodes (``medassets.learners.rare.episodes``).

A publication often reports a whole family or a series, so cases that share one are never parted: a group is a
connected component of cases over publications. A group is test when SHA-256 of ``medassets-rare-split|`` and
its smallest publication id, modulo 5, is 0: the split does not depend on the order of files nor on the other
groups.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SALT = "medassets-rare-split"
TEST_MODULUS = 5


class LeakError(ValueError):
    """Something stands on both sides of a split; the message names it."""


def publication_groups(case_ids: Sequence[str], pmids: Sequence[Sequence[str]]) -> list[str]:
    """Return the publication group of each case, named by the smallest publication id of the group.

    A case without publication stands for itself under its own id.
    """
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    published = [sorted(refs) or [case_id] for case_id, refs in zip(case_ids, pmids, strict=True)]
    for refs in published:
        # The smaller name becomes the root, so the root of a group is its smallest publication.
        for other in refs[1:]:
            low, high = sorted((find(refs[0]), find(other)))
            root[high] = low
    return [find(refs[0]) for refs in published]


def part_of_group(group: str) -> str:
    """Return ``test`` or ``train`` for a publication group."""
    digest = hashlib.sha256(f"{SALT}|{group}".encode()).hexdigest()
    return "test" if int(digest, 16) % TEST_MODULUS == 0 else "train"


def rare_split(cases: pa.Table) -> pa.Table:
    """Split ``clinical/rare_cases`` by publication group.

    Cases without an observed term cannot be ranked and stand in neither part.

    Returns:
        ``features/rare_split``: case_id, group, part; in the order of ``cases``.
    """
    observed = cases.filter(pc.greater(cases.column("n_observed"), 0))
    ids = observed.column("case_id").to_pylist()
    groups = publication_groups(ids, observed.column("pmids").to_pylist())
    return pa.table(
        {
            "case_id": pa.array(ids, type=pa.string()),
            "group": pa.array(groups, type=pa.string()),
            "part": pa.array([part_of_group(group) for group in groups], type=pa.string()),
        }
    )


def check_no_leak(cases: pa.Table, split: pa.Table) -> None:
    """Prove that no case and no publication stands in more than one part.

    Args:
        cases: ``clinical/rare_cases`` (at least case_id and pmids).
        split: ``features/rare_split`` (at least case_id and part).

    Raises:
        LeakError: names the first case or publication that stands in two parts, or a case that is unknown.
    """
    pmids = dict(zip(cases.column("case_id").to_pylist(), cases.column("pmids").to_pylist(), strict=True))
    side: dict[str, str] = {}
    for case_id, part in zip(
        split.column("case_id").to_pylist(), split.column("part").to_pylist(), strict=True
    ):
        if case_id not in pmids:
            raise LeakError(f"case {case_id} is in the split but not among the cases")
        for name in (f"case {case_id}", *(f"publication {p}" for p in pmids[case_id])):
            if side.setdefault(name, part) != part:
                raise LeakError(f"{name} stands in {side[name]} and in {part}")


def group_folds(groups: Sequence[str], k: int, seed: int) -> np.ndarray:
    """Assign whole groups to ``k`` folds of about equal numbers of cases.

    Groups are placed largest first, each in the fold with the fewest cases so far; equal sizes are ordered by
    a seeded hash, so the result depends neither on the order of the cases nor on a global random state.

    Args:
        groups: publication group of each case (column ``group`` of the training part of
            ``features/rare_split``).
        k: number of folds, at least 2.
        seed: seed of the order.

    Returns:
        int array (n_cases,) with the fold of each case, 0 to k-1.

    Raises:
        ValueError: fewer groups than folds, or k below 2.
    """
    names, inverse, sizes = np.unique(
        np.asarray(groups, dtype=object), return_inverse=True, return_counts=True
    )
    if k < 2 or len(names) < k:
        raise ValueError(
            f"{len(names)} publication groups cannot make {k} folds (at least 2, at most one a group)"
        )
    order = sorted(range(len(names)), key=lambda g: (-sizes[g], _hash(str(names[g]), seed)))
    load, fold = np.zeros(k, dtype=np.int64), np.empty(len(names), dtype=np.int64)
    for g in order:
        fold[g] = int(np.argmin(load))
        load[fold[g]] += sizes[g]
    return fold[inverse]


def stratified_split(
    conditions: Sequence[str],
    ids: Sequence[str],
    seed: int,
    shares: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Assign patients to parts, within each condition in the given shares.

    Within a condition patients are ordered by a seeded hash of their id and cut at the shares (largest
    remainder), so adding another condition moves nobody, and every condition has its share in every part to
    within one patient.

    Args:
        conditions: condition of each patient.
        ids: id of each patient, distinct.
        seed: seed of the hash.
        shares: part -> share, summing to 1; default train 0.8, validation 0.1, test 0.1.

    Returns:
        object array (n,) of part names.

    Raises:
        ValueError: shares do not sum to 1, or ids are not distinct.
    """
    shares = dict(shares or {"train": 0.8, "validation": 0.1, "test": 0.1})
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"shares must be non-negative and sum to 1, got {shares}")
    if len(set(ids)) != len(ids):
        raise ValueError("ids of a stratified split must be distinct")
    names = list(shares)
    keys = np.array([_hash(patient, seed) for patient in ids], dtype=np.uint64)
    labels, condition = np.unique(np.asarray(conditions, dtype=object), return_inverse=True)
    parts = np.empty(len(keys), dtype=object)
    order = np.lexsort((keys, condition))
    starts = np.concatenate([[0], np.cumsum(np.bincount(condition, minlength=len(labels)))])
    for label in range(len(labels)):
        members = order[starts[label] : starts[label + 1]]
        ends = np.rint(np.cumsum([shares[name] for name in names]) * len(members)).astype(int)
        for name, start, end in zip(names, [0, *ends[:-1]], ends, strict=True):
            parts[members[start:end]] = name
    return parts


def common_split(patients: pa.Table, seed: int) -> pa.Table:
    """Split ``clinical/common_patients`` 80/10/10 within each condition.

    Patients without condition cannot be learned from nor tested on and stand in no part.

    Returns:
        ``features/common_split``: patient_id, part; in the order of ``patients``.
    """
    named = patients.filter(pc.is_valid(patients.column("condition")))
    ids = named.column("patient_id").to_pylist()
    parts = stratified_split(named.column("condition").to_pylist(), ids, seed)
    return pa.table({"patient_id": pa.array(ids, pa.string()), "part": pa.array(parts, pa.string())})


def _hash(text: str, seed: int) -> int:
    """Return 64 bits that depend on text and seed alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest(), "little")
