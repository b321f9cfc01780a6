"""Simulated and generated patients; ``origin`` in every row says which, and nothing here passes for real.

What belongs here: calling the simulators and generators. What does not: the decision to train with them,
which the models make and ``synthetic_fidelity`` argues.
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES
from medassets.orchestration import tables
from medassets.orchestration.checks import table_checks
from medassets.orchestration.inputs import common_knowledge_of, describe, ins, ontology_of, tags
from medassets.orchestration.source_files import SourceFile
from medassets.orchestration.training import LEARNING_SETTINGS, RARE_INPUTS, few_shot_config, rare_data
from medassets.settings import Settings

DELTA = {"deltalake", "numpy"}
tables.declare()


@dg.multi_asset(
    name="simulated_rare_tables",
    ins=ins("clinical/disease_annotations", "sources/hpo_ontology"),
    outs={
        name: dg.AssetOut(
            key=["synthetic", name],
            description=TABLES[f"synthetic/{name}"].description,
            code_version="1",
            kinds=DELTA,
            tags=tags("rare"),
            metadata=describe(settings=("seed", "simulation")),
        )
        for name in ("simulated_rare_cases", "simulated_case_phenotypes")
    },
)
def simulated_rare_tables(
    disease_annotations: pa.Table, hpo_ontology: SourceFile, settings: dg.ResourceParam[Settings]
) -> tuple[pa.Table, pa.Table]:
    """Simulate rare cases from annotated frequencies, with imprecise, omitted and unrelated findings."""
    from medassets.cohorts.simulate_rare import simulate_rare_cases

    made = simulate_rare_cases(
        disease_annotations, ontology_of(hpo_ontology), settings.simulation, settings.seed
    )
    return made.cases, made.phenotypes


@dg.asset(
    key=["synthetic", "simulated_common_patients"],
    ins=ins("sources/common_reference"),
    code_version="1",
    kinds=DELTA,
    tags=tags("common"),
    metadata=describe(settings=("seed", "simulation")),
)
def simulated_common_patients(common_reference: SourceFile, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """Simulate patients with common conditions from the reference figures, with unknown and wrong answers."""
    from medassets.cohorts.simulate_common import simulate

    return simulate(
        common_knowledge_of(common_reference),
        seed=settings.seed,
        per_condition=settings.simulation.common_per_condition,
        missing_rate=settings.simulation.missing_rate,
        noise_rate=settings.simulation.noise_rate,
    )


@dg.multi_asset(
    name="ctgan_tables",
    ins=RARE_INPUTS,
    outs={
        name: dg.AssetOut(
            key=["synthetic", name],
            description=TABLES[f"synthetic/{name}"].description,
            code_version="1",
            kinds={"deltalake", "pytorch"},
            tags=tags("rare", "cpu"),
            metadata=describe(settings=LEARNING_SETTINGS, code=("learners/rare",)),
        )
        for name in ("ctgan_cases", "ctgan_case_phenotypes")
    },
)
def ctgan_tables(settings: dg.ResourceParam[Settings], **inputs: Any) -> tuple[pa.Table, pa.Table]:
    """Generate cases with CTGAN, a generator a disease family; none where there are no published cases."""
    from medassets.orchestration.generating import generate

    made = generate(rare_data(inputs), few_shot_config(settings))
    return made.cases, made.phenotypes


@dg.asset(
    key=["synthetic", "synthetic_fidelity"],
    ins={**RARE_INPUTS, **ins("synthetic/ctgan_cases", "synthetic/ctgan_case_phenotypes")},
    code_version="1",
    kinds=DELTA,
    tags=tags("rare", "cpu"),
    metadata=describe(settings=LEARNING_SETTINGS, code=("learners/rare", "evaluation/fidelity.py")),
)
def synthetic_fidelity(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """Compare generated with published cases, and say whether training with them helps real ones."""
    from medassets.orchestration.generating import fidelity_rows

    rows, verdicts = fidelity_rows(inputs, rare_data(inputs), few_shot_config(settings))
    context.add_output_metadata({name: dg.MetadataValue.text(text) for name, text in verdicts.items()})
    return pa.Table.from_pylist(rows, schema=TABLES["synthetic/synthetic_fidelity"].schema)


@dg.asset_check(
    asset=["synthetic", "synthetic_fidelity"], description="No generator gives a published patient back."
)
def no_copied_patient(synthetic_fidelity: pa.Table) -> dg.AssetCheckResult:
    """Count generated cases that equal a published one."""
    from medassets.evaluation.fidelity import check_no_copies
    from medassets.orchestration.generating import LEARNED

    found = check_no_copies(synthetic_fidelity.to_pylist(), LEARNED)
    return dg.AssetCheckResult(passed=found.passed, description=found.message)


CHECKS = [
    no_copied_patient,
    table_checks(TABLES["synthetic/simulated_rare_cases"]),
    table_checks(TABLES["synthetic/simulated_case_phenotypes"]),
    table_checks(TABLES["synthetic/simulated_common_patients"]),
    table_checks(TABLES["synthetic/ctgan_cases"]),
    table_checks(TABLES["synthetic/ctgan_case_phenotypes"]),
]
