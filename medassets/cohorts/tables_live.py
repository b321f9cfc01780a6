"""Declared tables of what comes in while the platform runs: hospital records and symptom forms, by day.

What belongs here: schema, key and description of each table. What does not: how a table is filled
(``ingest.fhir``, ``ingest.forms``, ``ingest.notes``). ``day`` is the day of arrival (UTC) and the partition:
a record that comes again on a later day stands there again, with its newest content.

No table holds a name, an address or an identifier of the source: patients and records are known by keyed
pseudonyms, and a source file by its SHA-256, because names of files may carry names of people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from medassets.cohorts.schema import Table, column

TIME = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.string())
_DAY = column("day", pa.string(), "day of arrival, ISO 8601, UTC")
_PATIENT = column("patient_id", pa.string(), "keyed pseudonym of the patient")
_ENCOUNTER = column("encounter_id", pa.string(), "keyed pseudonym of the encounter", required=False)
_AGE = column("age", pa.float64(), "age in years at that time, to a tenth", required=False)
_ORIGIN = column("origin", pa.string(), "ehr; simulated where the source is a simulator")
_FILE = column("source_file", pa.string(), "start of the file's SHA-256, its ending, number of the member")
_CODED = (
    column("code_system", pa.string(), "code system of the first coding", required=False),
    column("code", pa.string(), "code of the first coding", required=False),
    column("display", pa.string(), "wording of the first coding", required=False),
)
_CODINGS = column("codings", STRINGS, "all codings, as system|code")

#: What the text matcher says of a place in a text, whichever text it was.
PHENOTYPE_COLUMNS = (
    column("hpo_id", pa.string(), "HPO term"),
    column("name", pa.string(), "its preferred name"),
    column("start", pa.int32(), "offset of the first character in the stored text"),
    column("end", pa.int32(), "offset after the last"),
    column("text", pa.string(), "the words as written", private=True),
    column("negated", pa.bool_(), "the sentence denies it"),
    column("uncertain", pa.bool_(), "the sentence leaves it open"),
    column("family", pa.bool_(), "said of a relative"),
    column("confidence", pa.float64(), "that the phrase means the term, 0 to 1"),
)


def _by_day(key: str, primary_key: tuple[str, ...], description: str, *columns: pa.Field) -> Table:
    """Declare a table of records that carries day, origin and file beside its own columns."""
    return Table(key, pa.schema([_DAY, *columns, _ORIGIN, _FILE]), ("day", *primary_key), description)


LIVE_TABLES: tuple[Table, ...] = (
    Table(
        "sources/fhir_server",
        pa.schema(
            [
                _DAY,
                column("server", pa.string(), "base address of the server"),
                column("file", pa.string(), "start of the file's SHA-256 and its ending", required=False),
                column("bytes", pa.int64(), "size of the file", required=False),
                column("problem", pa.string(), "what the server says that it could not give", required=False),
            ]
        ),
        (),
        "One row a file of resources that a FHIR server updated on a day, or a problem that it reports.",
    ),
    _by_day(
        "clinical/ehr_consents",
        ("consent_id",),
        "One row a Consent resource of a patient: what it decides and when.",
        column("consent_id", pa.string(), "keyed pseudonym of the resource"),
        _PATIENT,
        column("status", pa.string(), "FHIR status; only active ones count"),
        column("decision", pa.string(), "permit, deny, or restricted: a permission whose limits are not met"),
        column("recorded", TIME, "when it was recorded", required=False),
        column("start", TIME, "in force from", required=False),
        column("end", TIME, "in force until", required=False),
        column("data_start", TIME, "permits data from", required=False),
        column("data_end", TIME, "permits data until", required=False),
    ),
    _by_day(
        "clinical/ehr_patients",
        ("patient_id",),
        "One row a patient whose record may be used.",
        _PATIENT,
        column("sex", pa.string(), "M, F or unknown"),
        column("birth_year", pa.int32(), "year of birth", required=False),
        column("deceased", pa.bool_(), "whether the record says that the patient died"),
        column("consent", pa.string(), "permit, or not_required by setting"),
    ),
    _by_day(
        "clinical/ehr_encounters",
        ("encounter_id",),
        "One row an encounter of a patient with the hospital.",
        column("encounter_id", pa.string(), "keyed pseudonym of the encounter"),
        _PATIENT,
        column("status", pa.string(), "FHIR status"),
        column("class_code", pa.string(), "class: AMB ambulatory, EMER emergency, IMP inpatient"),
        *_CODED,
        column("reasons", STRINGS, "reasons, as system|code"),
        column("start", TIME, "begin", required=False),
        column("end", TIME, "end", required=False),
        _AGE,
    ),
    _by_day(
        "clinical/ehr_conditions",
        ("condition_id",),
        "One row a condition (diagnosis, problem, finding) of a patient.",
        column("condition_id", pa.string(), "keyed pseudonym of the condition"),
        _PATIENT,
        _ENCOUNTER,
        *_CODED,
        _CODINGS,
        column("clinical_status", pa.string(), "active, resolved, ...", required=False),
        column("verification_status", pa.string(), "confirmed, provisional, refuted, ...", required=False),
        column("onset", TIME, "first signs", required=False),
        column("abatement", TIME, "end", required=False),
        column("recorded", TIME, "when it was recorded", required=False),
        _AGE,
    ),
    _by_day(
        "clinical/ehr_observations",
        ("observation_id", "component"),
        "One row an observed value of a patient; of a panel one row a component.",
        column("observation_id", pa.string(), "keyed pseudonym of the observation"),
        column("component", pa.int32(), "0 the observation itself, 1 and up its components"),
        _PATIENT,
        _ENCOUNTER,
        column("status", pa.string(), "FHIR status"),
        column("category", pa.string(), "vital-signs, laboratory, ...", required=False),
        *_CODED,
        _CODINGS,
        column("effective", TIME, "when it was observed", required=False),
        column("value", pa.float64(), "numeric value", required=False),
        column("unit", pa.string(), "unit of the value (UCUM code where there is one)", required=False),
        column("value_code", pa.string(), "coded value, as system|code", required=False),
        column("value_text", pa.string(), "value in words, cleaned", required=False, private=True),
        column("interpretation", pa.string(), "H, L, N, ...", required=False),
        _AGE,
    ),
    _by_day(
        "clinical/ehr_notes",
        ("note_id", "part"),
        "One row a text of a clinical note; names and identifiers of the patient are removed.",
        column("note_id", pa.string(), "keyed pseudonym of the document"),
        column("part", pa.int32(), "attachment of the document, from 0"),
        _PATIENT,
        _ENCOUNTER,
        column("status", pa.string(), "FHIR status: current, superseded, ..."),
        *_CODED,
        column("date", TIME, "when it was written", required=False),
        column("language", pa.string(), "en or es"),
        column("text", pa.string(), "the text as kept", private=True),
        column("removed", pa.int32(), "places where an identifier was removed"),
        _AGE,
    ),
    Table(
        "clinical/ehr_counts",
        pa.schema(
            [
                _DAY,
                column("file", pa.string(), "the file, or all"),
                column("what", pa.string(), "what was counted: patients, resources, rejected, left out, ..."),
                column("n", pa.int64(), "how many"),
                _ORIGIN,
            ]
        ),
        ("day", "file", "what"),
        "One row a count of what became of the patients and resources of a day.",
    ),
    Table(
        "clinical/ehr_deliveries",
        pa.schema(
            [
                _DAY,
                column("file", pa.string(), "start of the file's SHA-256 and its ending"),
                column("state", pa.string(), "done, or failed where nothing of it could be used"),
                column("resources", pa.int64(), "valid resources in it"),
                column("rejected", pa.int64(), "values and resources that were set aside"),
                _ORIGIN,
            ]
        ),
        ("day", "file"),
        "One row a file that was delivered, and what became of it.",
    ),
    _by_day(
        "clinical/note_phenotypes",
        ("note_id", "part", "start", "end", "hpo_id"),
        "One row a phenotype named in a clinical note, with its place and whether it is denied.",
        column("note_id", pa.string(), "note"),
        column("part", pa.int32(), "attachment of the document"),
        _PATIENT,
        column("language", pa.string(), "language that was read"),
        *PHENOTYPE_COLUMNS,
    ),
    _by_day(
        "clinical/symptom_forms",
        ("form_id", "code"),
        "One row an answer of a symptom form.",
        column("form_id", pa.string(), "keyed pseudonym of the form's id"),
        _PATIENT,
        column("answered_at", TIME, "when the form was filled in"),
        column("age", pa.float64(), "age in years", required=False),
        column("sex", pa.string(), "M, F or unknown"),
        column("code", pa.string(), "current HPO id, or DDXPlus evidence"),
        column("answer", pa.string(), "yes, no or unknown"),
        column("severity", pa.int32(), "0 none to 10 worst", required=False),
        column("source_row", pa.int32(), "row of the file, from 1"),
    ),
)


FORM_DELIVERIES = replace(
    next(table for table in LIVE_TABLES if table.key == "clinical/ehr_deliveries"),
    key="clinical/form_deliveries",
    description="One row a file of symptom forms that was delivered; its resources are answers.",
)


def table_of(spec: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Make a declared table of rows by column name; what a row does not name is null."""
    return pa.Table.from_pylist(list(rows), schema=spec.schema)


def by_day(spec: Table, key: str) -> Table:
    """Give the likes of a table with the day of arrival, so that a day replaces its own rows only."""
    return Table(key, pa.schema([_DAY, *spec.schema]), (), f"{spec.description} By day.")
