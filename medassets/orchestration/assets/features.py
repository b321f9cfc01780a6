"""Features and splits: what the methods read, and who may be learned from.

What belongs here: calling ``features`` and ``cohorts.splits``. What does not: learning. Where an installation
has no records, its cohort is the simulated one, and every row says so in ``origin``.
"""

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES, register
from medassets.engines.choice import engine_of
from medassets.features.common import EvidenceSpace
from medassets.features.common_features import declaration
from medassets.features.scaled import COHORT_PROFILE, COHORT_PROFILE_SQL, CommonFeatures
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.orchestration.checks import table_checks
from medassets.orchestration.inputs import (
    cohort,
    common_knowledge_of,
    crosswalk_of,
    describe,
    ins,
    ontology_of,
    tags,
)
from medassets.orchestration.source_files import SourceFile
from medassets.settings import Settings

DELTA = {"deltalake", "pyarrow"}
RARE_COHORT = (
    "clinical/rare_cases",
    "clinical/case_phenotypes",
    "synthetic/simulated_rare_cases",
    "synthetic/simulated_case_phenotypes",
)
COMMON_COHORT = ("clinical/common_patients", "synthetic/simulated_common_patients")


@dg.asset(
    key=["features", "rare_split"],
    ins=ins("clinical/rare_cases", "synthetic/simulated_rare_cases"),
    code_version="1",
    kinds=DELTA,
    tags=tags("rare"),
)
def rare_split(rare_cases: pa.Table, simulated_rare_cases: pa.Table) -> pa.Table:
    """Split cases by publication group, so that no publication stands on both sides."""
    from medassets.cohorts.splits import rare_split as split

    return split(cohort(rare_cases, simulated_rare_cases))


@dg.asset(
    key=["features", "phenotype_profiles"],
    ins=ins(*RARE_COHORT, "clinical/disease_annotations", "sources/hpo_ontology", "sources/mondo_mappings"),
    code_version="1",
    kinds=DELTA,
    tags=tags("rare"),
)
def phenotype_profiles(
    rare_cases: pa.Table,
    case_phenotypes: pa.Table,
    simulated_rare_cases: pa.Table,
    simulated_case_phenotypes: pa.Table,
    disease_annotations: pa.Table,
    hpo_ontology: SourceFile,
    mondo_mappings: SourceFile,
) -> pa.Table:
    """Lay each case out as the rare-disease methods read it: terms, information content, organ systems."""
    from medassets.features import profiles

    ontology = ontology_of(hpo_ontology)
    information = profiles.annotated_information(disease_annotations, ontology)
    cases, findings = (
        cohort(rare_cases, simulated_rare_cases),
        cohort(case_phenotypes, simulated_case_phenotypes),
    )
    return profiles.phenotype_profiles(cases, findings, ontology, information, crosswalk_of(mondo_mappings))


@dg.asset(
    key=["features", "term_embeddings"],
    ins=ins("clinical/disease_annotations", "sources/hpo_ontology"),
    code_version="1",
    kinds=DELTA | {"huggingface"},
    tags=tags("rare", "cpu"),
    metadata=describe(
        settings=("seed", "profile", "language_model_dir"), code=("learners/rare/embeddings.py",)
    ),
)
def term_embeddings(
    disease_annotations: pa.Table, hpo_ontology: SourceFile, settings: dg.ResourceParam[Settings]
) -> pa.Table:
    """Embed HPO terms from the ontology's structure and from their text with a pre-trained language model."""
    from medassets.features.rare import RareKnowledge
    from medassets.learners.rare.embeddings import term_embeddings as embed
    from medassets.learners.rare.embeddings import text_vectors, used_terms

    ontology = ontology_of(hpo_ontology)
    profiles = RareKnowledge.build(ontology, disease_annotations).raw_profiles()
    text = text_vectors(
        ontology,
        model_dir=settings.language_model_dir,
        cache_dir=settings.home / "cache" / "embeddings",
        quick=settings.profile == "quick",
        needed=used_terms(profiles, ontology, at_least=5) if settings.profile == "quick" else None,
    )
    return embed(ontology, profiles, seed=settings.seed, text=text)


@dg.asset(
    key=["features", "common_split"],
    ins=ins(*COMMON_COHORT),
    code_version="1",
    kinds=DELTA,
    tags=tags("common"),
    metadata=describe(settings=("seed",)),
)
def common_split(
    common_patients: pa.Table, simulated_common_patients: pa.Table, settings: dg.ResourceParam[Settings]
) -> pa.Table:
    """Split patients 80/10/10 within each condition."""
    from medassets.cohorts.splits import common_split as split

    return split(cohort(common_patients, simulated_common_patients), settings.seed)


@dg.asset(
    key=["features", "common_features"],
    ins=ins(*COMMON_COHORT, "sources/common_reference"),
    code_version="1",
    kinds=DELTA,
    tags=tags("common"),
)
def common_features(
    common_patients: pa.Table,
    simulated_common_patients: pa.Table,
    common_reference: SourceFile,
    settings: dg.ResourceParam[Settings],
) -> pa.Table:
    """Encode evidence as a matrix that keeps unknown apart from absent."""
    space = EvidenceSpace.from_knowledge(common_knowledge_of(common_reference))
    patients = cohort(common_patients, simulated_common_patients)
    return engine_of(settings).apply(patients, CommonFeatures(space))


@dg.asset(
    key=["features", "cohort_profile"],
    ins=ins("features/common_features"),
    code_version="1",
    kinds={"deltalake", "polars"},
    tags=tags("common"),
    metadata=describe(code=("engines",)),
)
def cohort_profile(common_features: pa.Table, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """Count patients by condition, sex and age group: whom the models of common conditions learn from."""
    return engine_of(settings).query(COHORT_PROFILE_SQL, {"features": common_features})


register([declaration(EvidenceSpace.from_knowledge(CommonKnowledge.bundled())), COHORT_PROFILE])


@dg.asset_check(
    asset=["features", "rare_split"],
    name="no_publication_on_both_sides",
    blocking=True,
    additional_ins=ins("clinical/rare_cases", "synthetic/simulated_rare_cases"),
)
def no_publication_on_both_sides(
    rare_split: pa.Table, rare_cases: pa.Table, simulated_rare_cases: pa.Table
) -> dg.AssetCheckResult:
    """No publication supplies cases to training and to test."""
    from medassets.cohorts.splits import LeakError, check_no_leak

    try:
        check_no_leak(cohort(rare_cases, simulated_rare_cases), rare_split)
    except LeakError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    return dg.AssetCheckResult(passed=True, metadata={"cases": rare_split.num_rows})


CHECKS = [
    *(
        table_checks(TABLES[f"features/{name}"])
        for name in ("rare_split", "phenotype_profiles", "term_embeddings")
    ),
    *(
        table_checks(TABLES[f"features/{name}"])
        for name in ("common_split", "common_features", "cohort_profile")
    ),
    no_publication_on_both_sides,
]
