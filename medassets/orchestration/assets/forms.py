"""Symptom forms by day: from a drop folder to a table, with errors back to their sender.

What belongs here: the graph of a day. What does not: the format (``ingest.forms``) and the steps
(``cohorts.forms``).
"""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from medassets.cohorts import forms
from medassets.cohorts.tables import TABLES
from medassets.orchestration.checks import table_checks
from medassets.orchestration.days import BY_DAY, DAYS, DELTA, inbox_sensor, keys, out_by_day
from medassets.orchestration.inputs import common_knowledge_of, ins, ontology_of, tags
from medassets.orchestration.source_files import SourceFile
from medassets.settings import Settings


@dg.multi_asset(
    name="form_tables",
    ins=ins("sources/hpo_ontology", "sources/common_reference"),
    outs={name: out_by_day(key) for name, key in forms.FORM_TABLES.items()},
    partitions_def=DAYS,
)
def form_tables(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    hpo_ontology: SourceFile,
    common_reference: SourceFile,
) -> Iterator[dg.Output[pa.Table]]:
    """Read a day's symptom forms; wrong rows are set aside with the reason."""
    known = forms.known_codes(ontology_of(hpo_ontology), common_knowledge_of(common_reference))
    for name, table in forms.day_forms(settings, context.partition_key, known).items():
        yield dg.Output(table, output_name=name)


@dg.asset(
    key=["clinical", "form_deliveries"],
    ins=ins(*forms.FORM_TABLES.values(), **BY_DAY),
    partitions_def=DAYS,
    code_version="1",
    kinds=DELTA,
    tags=tags("both"),
    metadata=BY_DAY,
)
def form_deliveries(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    symptom_forms: pa.Table,
    form_quarantine: pa.Table,
) -> pa.Table:
    """Move the day's forms to done or failed, now that they are in the lake, each with its errors."""
    return forms.acknowledge_forms(settings, context.partition_key, symptom_forms, form_quarantine)


_DAY_KEYS = (*forms.FORM_TABLES.values(), "clinical/form_deliveries")
CHECKS = [table_checks(TABLES[key]) for key in _DAY_KEYS]
FORMS_JOB = dg.define_asset_job(
    "symptom_forms_inbox",
    selection=keys(*_DAY_KEYS),
    description="Read a day's symptom forms from the inbox.",
    executor_def=dg.in_process_executor,
)
JOBS = [FORMS_JOB]
SENSORS = [
    inbox_sensor(
        "symptom_form_files",
        FORMS_JOB,
        forms.inbox_of,
        "Takes new files from <home>/inbox/forms and reads their day.",
    )
]
