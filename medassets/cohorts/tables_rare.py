"""Declared tables of rare diseases, and the quarantine that all sources share.

What belongs here: schema, key and description of each table. What does not: how a table is filled. Terms come
from the Human Phenotype Ontology; a case is one GA4GH phenopacket (version 2) or one simulated patient.
"""

from __future__ import annotations

import pyarrow as pa

from medassets.cohorts.schema import Table, column

_STRINGS = pa.list_(pa.string())
_ORIGIN = "where the row comes from: published_case, simulated, ctgan, ehr"

_CASES = pa.schema(
    [
        column("case_id", pa.string(), "id of the case, unique over all sources"),
        column("cohort", pa.string(), "folder of the source, usually gene or disease", required=False),
        column("subject_id", pa.string(), "id of the person within the publication", required=False),
        column("sex", pa.string(), "M, F or unknown"),
        column("age_days", pa.int32(), "age at last encounter in days since birth", required=False),
        column("disease_id", pa.string(), "diagnosis, as the source names it", required=False),
        column("disease_label", pa.string(), "name of the diagnosis", required=False),
        column("genes", _STRINGS, "symbols of the genes interpreted as causative or contributing"),
        column("pmids", _STRINGS, "publications of the case, sorted; empty where none is named"),
        column("hpo_version", pa.string(), "ontology release that the source used", required=False),
        column("n_observed", pa.int32(), "distinct observed terms"),
        column("n_excluded", pa.int32(), "distinct terms that were looked for and not found"),
        column("completeness", pa.float64(), "share of the expected fields that are filled, 0 to 1"),
        column("complete_enough", pa.bool_(), "completeness of at least 0.7"),
        column("origin", pa.string(), _ORIGIN),
        column("source_file", pa.string(), "file, and member of an archive, that the case stands in"),
    ]
)

_PHENOTYPES = pa.schema(
    [
        column("case_id", pa.string(), "case that the finding belongs to"),
        column("hpo_id", pa.string(), "current HPO id"),
        column("source_hpo_id", pa.string(), "HPO id as the source wrote it"),
        column("label", pa.string(), "name of the current term", required=False),
        column("excluded", pa.bool_(), "true where the finding was looked for and not found"),
        column("onset_days", pa.int32(), "onset in days since birth; before birth 0", required=False),
        column("origin", pa.string(), _ORIGIN),
    ]
)

_SPLIT = pa.schema(
    [
        column("case_id", pa.string(), "case"),
        column("group", pa.string(), "publication group, named by its smallest publication id"),
        column("part", pa.string(), "train or test"),
    ]
)

RARE_TABLES: tuple[Table, ...] = (
    Table("clinical/rare_cases", _CASES, ("case_id",), "One row a person with a rare disease."),
    Table(
        "clinical/case_phenotypes",
        _PHENOTYPES,
        ("case_id", "hpo_id"),
        "One row a finding of a case, observed or excluded.",
    ),
    Table(
        "clinical/disease_catalogue",
        pa.schema(
            [
                column(
                    "disease_id",
                    pa.string(),
                    "canonical id: OMIM, else ORPHA, else DECIPHER, or common:<name>",
                ),
                column("name", pa.string(), "name of the disease"),
                column("equivalents", _STRINGS, "all ids that mean this disease, the canonical one included"),
                column("mondo_id", pa.string(), "MONDO id, where the crosswalk holds one", required=False),
                column("kind", pa.string(), "rare or common"),
                column("n_annotations", pa.int32(), "phenotype annotations over all equivalents"),
                column("origin", pa.string(), "where the equivalences come from: mondo or identity"),
            ]
        ),
        ("disease_id",),
        "One row a disease, after equivalent entries of OMIM, Orphanet and MONDO are merged.",
    ),
    Table(
        "clinical/disease_annotations",
        pa.schema(
            [
                column("disease_id", pa.string(), "disease as the annotations name it"),
                column("name", pa.string(), "name of the disease", required=False),
                column("hpo_id", pa.string(), "current HPO id"),
                column("source_hpo_id", pa.string(), "HPO id as the annotations wrote it"),
                column(
                    "qualifier", pa.string(), "NOT where the disease does not show the term", required=False
                ),
                column(
                    "frequency", pa.float64(), "share of patients with the term; 0 for NOT", required=False
                ),
                column(
                    "n_patients", pa.int32(), "patients that the frequency was counted in", required=False
                ),
                column("references", _STRINGS, "publications or sources of the row"),
                column(
                    "evidence",
                    pa.string(),
                    "PCS published study, TAS traceable statement, IEA",
                    required=False,
                ),
                column("onset", pa.string(), "HPO onset term", required=False),
                column("sex", pa.string(), "M or F where the row holds for one sex only", required=False),
                column("modifier", _STRINGS, "HPO clinical modifiers"),
                column("aspect", pa.string(), "P phenotype, I inheritance, C course, M modifier, H history"),
            ]
        ),
        (),
        "One row a phenotype annotation of a disease.",
    ),
    Table(
        "clinical/quarantine",
        pa.schema(
            [
                column("source", pa.string(), "source that was read"),
                column("source_file", pa.string(), "file, and member of an archive"),
                column("row", pa.int64(), "line or position, from 1", required=False),
                column("record_id", pa.string(), "case, patient or disease, where known", required=False),
                column("field", pa.string(), "field as the source names it"),
                column("value", pa.string(), "value as found", required=False),
                column("reason", pa.string(), "why it was rejected"),
                column("allowed", pa.string(), "what would have been accepted"),
                column("raw", pa.string(), "the rejected record as JSON, cut", required=False),
            ]
        ),
        (),
        "One row a rejected value of a source.",
    ),
    Table(
        "clinical/rule_violations",
        pa.schema(
            [
                column("row_id", pa.string(), "case or patient"),
                column("rule", pa.string(), "rule that is broken, see medassets.cohorts.rules"),
                column("field", pa.string(), "column that breaks it"),
                column("value", pa.string(), "its value", required=False),
                column("reason", pa.string(), "why this cannot be, in words"),
            ]
        ),
        (),
        "One row a medical rule that a case or patient breaks.",
    ),
    Table(
        "features/phenotype_profiles",
        pa.schema(
            [
                column("case_id", pa.string(), "case"),
                column("disease_id", pa.string(), "canonical disease", required=False),
                column("sex", pa.string(), "M, F or unknown"),
                column("age_days", pa.int32(), "age at last encounter in days", required=False),
                column("observed", _STRINGS, "observed terms, sorted"),
                column("excluded", _STRINGS, "excluded terms, sorted"),
                column("n_implied", pa.int32(), "terms that the observed ones imply, themselves included"),
                column("information_content", pa.float64(), "sum over the observed terms, in nats"),
                column("organ_systems", _STRINGS, "organ systems touched, as HPO ids"),
                column("origin", pa.string(), _ORIGIN),
            ]
        ),
        ("case_id",),
        "One row a case: its findings as the rare-disease methods read them.",
    ),
    Table(
        "features/rare_split",
        _SPLIT,
        ("case_id",),
        "One row a case that has an observed finding: its split part.",
    ),
    Table(
        "features/term_embeddings",
        pa.schema(
            [
                column("hpo_id", pa.string(), "term"),
                column("method", pa.string(), "how the vector was made, for example graph or text"),
                column("vector", pa.list_(pa.float32()), "embedding"),
            ]
        ),
        ("hpo_id", "method"),
        "One row an HPO term and embedding method.",
    ),
    Table(
        "synthetic/simulated_rare_cases",
        _CASES,
        ("case_id",),
        "One row a simulated person with a rare disease.",
    ),
    Table(
        "synthetic/simulated_case_phenotypes",
        _PHENOTYPES,
        ("case_id", "hpo_id"),
        "One row a finding of a simulated case.",
    ),
)
