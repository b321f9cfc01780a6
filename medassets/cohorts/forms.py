"""A day of symptom forms, from the inbox to ``clinical/symptom_forms``.

What belongs here: a day's two steps (tables, acknowledgement) and which codes are known. What does not: the
format (``ingest.forms``) and when it happens (the graph).
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pyarrow as pa

from medassets.cohorts.acknowledging import acknowledge
from medassets.cohorts.tables import TABLES
from medassets.cohorts.tables_live import table_of
from medassets.ingest.forms import ENDINGS, Resolve, read_forms
from medassets.ingest.inbox import Inbox
from medassets.ingest.pseudonyms import Pseudonymizer
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.settings import Settings

#: Outputs of ``day_forms``: name to table.
FORM_TABLES = {"forms": "clinical/symptom_forms", "rejected": "clinical/form_quarantine"}


def inbox_of(settings: Settings) -> Inbox:
    """Give the drop folder of symptom forms."""
    return Inbox(settings.forms_inbox, ENDINGS)


def known_codes(ontology: Ontology, common: CommonKnowledge) -> Resolve:
    """Give what tells a known code: HPO's phenotypes, retired ids included, and base evidences of DDXPlus."""

    def resolve(code: str) -> str | None:
        if code in common.evidence_index:
            return code
        term = ontology.resolve(code)
        return term if term is not None and ontology.is_phenotype[ontology.index[term]] else None

    return resolve


def day_forms(settings: Settings, day: str, resolve: Resolve) -> dict[str, pa.Table]:
    """Read a day's forms: the tables of ``FORM_TABLES`` by name.

    Raises:
        KeyFileError: there are forms, and no key to make pseudonyms with.
    """
    deliveries = inbox_of(settings).deliveries(day)
    if not deliveries:
        return {name: TABLES[key].empty() for name, key in FORM_TABLES.items()}
    found = read_forms(deliveries, resolve, Pseudonymizer.from_settings(settings), datetime.now(UTC))
    rows = {
        "forms": [row | {"origin": settings.fhir_origin} for row in found.rows],
        "rejected": [row.as_dict() for row in found.rejected],
    }
    return {
        name: table_of(TABLES[key], ({"day": day, **row} for row in rows[name]))
        for name, key in FORM_TABLES.items()
    }


def acknowledge_forms(settings: Settings, day: str, forms: pa.Table, rejected: pa.Table) -> pa.Table:
    """Move a day's forms to done or failed, with a report beside each: ``clinical/form_deliveries``.

    Args:
        settings: the installation.
        day: ISO day.
        forms: the day's ``clinical/symptom_forms``.
        rejected: the day's ``clinical/form_quarantine``; a file that neither table names came later.
    """
    good = dict.fromkeys(rejected.column("source_file").to_pylist(), 0)
    good |= Counter(forms.column("source_file").to_pylist())
    return acknowledge(
        inbox_of(settings), day, good, rejected, settings.fhir_origin, "clinical/form_deliveries"
    )
