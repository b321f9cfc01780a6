"""Clinical tables: what the sources say, one schema a table, and what was set aside with its reason.

What belongs here: calling the readers. What does not: the readers (``ingest``, ``cohorts``) and the rules
(``cohorts.rules``), which hang on these tables as checks.
"""

import dagster as dg
import pyarrow as pa

from medassets.cohorts.rules import RARE_RULES
from medassets.cohorts.rules_common import COMMON_RULES
from medassets.cohorts.tables import TABLES, conform
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.orchestration.automation import on_change
from medassets.orchestration.checks import Rules, table_checks
from medassets.orchestration.days import DELTA, keys
from medassets.orchestration.expectations import Classes
from medassets.orchestration.inputs import (
    asset_keys,
    common_knowledge_of,
    crosswalk_of,
    ins,
    ontology_of,
    tags,
)
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.monitoring import table_or_empty
from medassets.orchestration.source_files import SourceFile
from medassets.orchestration.tables import QUARANTINES, QUARANTINES_BY_DAY, declare

#: Patients that a condition should have to be learned from.
LEAST_PATIENTS = 5
declare()


def _out(key: str, domain: str, description: str | None = None) -> dg.AssetOut:
    """Declare one table of a function that makes several."""
    return dg.AssetOut(
        key=key.split("/"),
        description=description or TABLES[key].description,
        code_version="1",
        kinds=DELTA,
        tags=tags(domain),
    )


@dg.multi_asset(
    name="annotation_tables",
    ins=ins("sources/disease_annotations", "sources/hpo_ontology"),
    outs={
        "annotations": _out("clinical/disease_annotations", "rare"),
        "rejected": _out(
            QUARANTINES["annotation"], "rare", "Annotation rows that were set aside, with the reason."
        ),
    },
)
def annotation_tables(disease_annotations: SourceFile, hpo_ontology: SourceFile) -> tuple[pa.Table, pa.Table]:
    """Read the disease annotations; retired term ids are mapped to current ones."""
    from medassets.ingest.quarantine import quarantine_table
    from medassets.knowledge.annotations import read_annotations

    table, rejected = read_annotations(disease_annotations.open_path(), ontology_of(hpo_ontology))
    return table, quarantine_table(rejected)


@dg.multi_asset(
    name="phenopacket_tables",
    ins=ins("sources/phenopackets", "sources/hpo_ontology"),
    outs={
        "cases": _out("clinical/rare_cases", "rare"),
        "phenotypes": _out("clinical/case_phenotypes", "rare"),
        "rejected": _out(
            QUARANTINES["phenopacket"], "rare", "Phenopacket values that were set aside, with the reason."
        ),
    },
)
def phenopacket_tables(
    phenopackets: SourceFile, hpo_ontology: SourceFile
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Read published cases; empty tables where this installation has no phenopackets."""
    from medassets.cohorts.rare_cases import read_rare_cases

    if not phenopackets.present:
        keys = ("clinical/rare_cases", "clinical/case_phenotypes", "clinical/quarantine")
        return tuple(TABLES[key].empty() for key in keys)
    read = read_rare_cases(phenopackets.open_path(), ontology_of(hpo_ontology))
    return read.cases, read.phenotypes, read.quarantine


@dg.multi_asset(
    name="common_patient_tables",
    ins=ins("sources/ddxplus_patients", "sources/common_reference"),
    outs={
        "patients": _out("clinical/common_patients", "common"),
        "rejected": _out(
            QUARANTINES["common_patient"], "common", "Patient values that were set aside, with the reason."
        ),
    },
)
def common_patient_tables(
    ddxplus_patients: SourceFile, common_reference: SourceFile
) -> tuple[pa.Table, pa.Table]:
    """Read patients with common conditions; empty tables where this installation has none."""
    from medassets.ingest.ddxplus import read_patients
    from medassets.ingest.quarantine import quarantine_table

    if not ddxplus_patients.present:
        return TABLES["clinical/common_patients"].empty(), TABLES["clinical/quarantine"].empty()
    patients, rejected = read_patients(ddxplus_patients.open_path(), common_knowledge_of(common_reference))
    return patients, quarantine_table(rejected)


@dg.multi_asset(
    name="disease_catalogue_tables",
    ins=ins(
        "clinical/disease_annotations",
        "sources/mondo_mappings",
        "clinical/rare_cases",
        "sources/common_reference",
    ),
    outs={
        "catalogue": _out("clinical/disease_catalogue", "both"),
        "rejected": _out(
            QUARANTINES["mapping"], "both", "Mapping rows that were set aside, with the reason."
        ),
    },
)
def disease_catalogue_tables(
    disease_annotations: pa.Table,
    mondo_mappings: SourceFile,
    rare_cases: pa.Table,
    common_reference: SourceFile,
) -> tuple[pa.Table, pa.Table]:
    """Merge equivalent diseases of annotations, cases and common conditions into one catalogue."""
    from medassets.cohorts.catalogue import disease_catalogue
    from medassets.ingest.mondo import read_mondo
    from medassets.ingest.quarantine import quarantine_table

    rejected = read_mondo(mondo_mappings.open_path()).rejected if mondo_mappings.present else []
    ids, labels = (rare_cases.column(c).to_pylist() for c in ("disease_id", "disease_label"))
    named = {disease: label for disease, label in zip(ids, labels, strict=True) if disease}
    conditions = common_knowledge_of(common_reference).conditions
    catalogue = disease_catalogue(disease_annotations, crosswalk_of(mondo_mappings), named, conditions)
    return catalogue, quarantine_table(rejected)


@dg.asset(
    key=["clinical", "quarantine"],
    ins=ins(*QUARANTINES.values()),
    deps=asset_keys(*QUARANTINES_BY_DAY),
    code_version="2",
    kinds=DELTA,
    tags=tags("both"),
    automation_condition=on_change(may_miss=keys(*QUARANTINES_BY_DAY)),
)
def quarantine(io_manager: dg.ResourceParam[DeltaIOManager], **set_aside: pa.Table) -> pa.Table:
    """Gather every rejected value of every source, of all days, with its file, row, field and reason."""
    gathered = TABLES["clinical/quarantine"]
    by_day = (table_or_empty(io_manager, key).select(gathered.schema.names) for key in QUARANTINES_BY_DAY)
    return pa.concat_tables([conform(table, gathered) for table in (*set_aside.values(), *by_day)])


@dg.asset(
    key=["clinical", "rule_violations"],
    ins=ins(
        "clinical/rare_cases",
        "clinical/case_phenotypes",
        "sources/hpo_ontology",
        "clinical/disease_annotations",
        "clinical/common_patients",
        "sources/common_reference",
    ),
    code_version="1",
    kinds=DELTA,
    tags=tags("both"),
)
def rule_violations(
    rare_cases: pa.Table,
    case_phenotypes: pa.Table,
    hpo_ontology: SourceFile,
    disease_annotations: pa.Table,
    common_patients: pa.Table,
    common_reference: SourceFile,
) -> pa.Table:
    """List every medical rule that a case or patient breaks; the rows stay in their tables."""
    cases = _broken_by_cases(rare_cases, case_phenotypes, hpo_ontology, disease_annotations)
    return pa.concat_tables([cases, _broken_by_patients(common_patients, common_reference)])


def _broken_by_cases(
    table: pa.Table, case_phenotypes: pa.Table, hpo_ontology: SourceFile, disease_annotations: pa.Table
) -> pa.Table:
    from medassets.cohorts.rules import check_rare, sex_limited_diseases

    limited = sex_limited_diseases(disease_annotations)
    return check_rare(table, case_phenotypes, ontology_of(hpo_ontology), limited)


def _broken_by_patients(table: pa.Table, common_reference: SourceFile) -> pa.Table:
    from medassets.cohorts.rules_common import check_common

    return check_common(table, common_knowledge_of(common_reference))


CHECKS = [
    table_checks(
        TABLES["clinical/rare_cases"],
        Rules(
            RARE_RULES,
            _broken_by_cases,
            {
                "case_phenotypes": "clinical/case_phenotypes",
                "hpo_ontology": "sources/hpo_ontology",
                "disease_annotations": "clinical/disease_annotations",
            },
        ),
    ),
    table_checks(TABLES["clinical/case_phenotypes"]),
    table_checks(
        TABLES["clinical/common_patients"],
        Rules(COMMON_RULES, _broken_by_patients, {"common_reference": "sources/common_reference"}),
        Classes("condition", tuple(CommonKnowledge.bundled().condition_names), LEAST_PATIENTS),
    ),
    table_checks(TABLES["clinical/disease_annotations"]),
    table_checks(TABLES["clinical/disease_catalogue"]),
    table_checks(TABLES["clinical/quarantine"]),
]
