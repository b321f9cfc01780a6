"""Phenotype profiles: one row a case with its findings, how telling they are and which organ systems they
touch.

What belongs here: the table ``features/phenotype_profiles`` and the information content that it uses. What
does not: the arrays that methods compute with (``medassets.features.cases``).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from medassets.cohorts.tables import TABLES, conform
from medassets.features.cases import CaseSet
from medassets.knowledge.crosswalk import Crosswalk
from medassets.knowledge.ontology import Ontology, information_content


def annotated_information(annotations: pa.Table, ontology: Ontology) -> np.ndarray:
    """Return the information content (n_terms,), in nats, over the diseases of the annotations.

    Counted are phenotype rows (aspect P) that do not say that the disease lacks the term.
    """
    disease = annotations.column("disease_id").combine_chunks().dictionary_encode()
    term = annotations.column("hpo_id").combine_chunks().dictionary_encode()
    index = np.array([ontology.index[hpo_id] for hpo_id in term.dictionary.to_pylist()], dtype=np.int64)
    aspect = annotations.column("aspect").to_numpy(zero_copy_only=False)
    negated = annotations.column("qualifier").is_valid().to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero((aspect == "P") & ~negated)
    rows = disease.indices.to_numpy(zero_copy_only=False)[chosen]
    columns = index[term.indices.to_numpy(zero_copy_only=False)][chosen] if len(index) else rows
    present, position = np.unique(rows, return_inverse=True)
    profiles = sp.csr_matrix(
        (np.ones(len(rows), np.float32), (position, columns)), shape=(len(present), len(ontology))
    )
    return information_content(profiles, ontology)


def phenotype_profiles(
    cases: pa.Table,
    phenotypes: pa.Table,
    ontology: Ontology,
    information: np.ndarray,
    crosswalk: Crosswalk,
) -> pa.Table:
    """Return ``features/phenotype_profiles`` for cases, in their order, diseases under their canonical id.

    Args:
        cases: ``clinical/rare_cases`` or its simulated like.
        phenotypes: the findings of these cases.
        ontology: the ontology of the findings.
        information: information content of each term (n_terms,), see ``annotated_information``.
        crosswalk: gives the canonical disease ids.
    """
    case_set = CaseSet.from_tables(cases, phenotypes, ontology)
    implied = case_set.implied_matrix(ontology)
    roots = np.array(ontology.organ_system_roots, dtype=np.int64)
    root_ids = [ontology.terms[root] for root in roots]
    touched = implied[:, roots].toarray() > 0
    columns = {
        "case_id": case_set.case_ids,
        "disease_id": [None if d is None else crosswalk.canonical(d) for d in case_set.disease_ids],
        "sex": case_set.sex,
        "age_days": cases.column("age_days"),
        "observed": [[ontology.terms[t] for t in terms] for terms in case_set.observed],
        "excluded": [[ontology.terms[t] for t in terms] for terms in case_set.excluded],
        "n_implied": np.diff(implied.indptr),
        "information_content": [float(information[terms].sum()) for terms in case_set.observed],
        "organ_systems": [[root_ids[j] for j in np.flatnonzero(row)] for row in touched],
        "origin": case_set.origins,
    }
    return conform(pa.table(columns), TABLES["features/phenotype_profiles"])
