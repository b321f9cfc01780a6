"""Declared tables of monitoring: what was answered and found out, what drifted, how well it went.

What belongs here: schema, key and description of each ``monitoring/*`` table and of what feedback gives
back to ``clinical``. What does not: how a table is filled (``log``, ``drift``, ``performance``,
``confirmed``).

None of these tables holds what identifies a person: no pseudonym, no text, no comment; ages are whole years
up to 90, the limit of the HIPAA safe harbour (45 CFR 164.514).
"""

from __future__ import annotations

import pyarrow as pa

from medassets.cohorts.schema import Table, column
from medassets.cohorts.tables import register
from medassets.cohorts.tables_common import COMMON_PATIENTS

_STRINGS = pa.list_(pa.string())
_AT = pa.timestamp("us", "UTC")

_ASKED = (
    column("site", pa.string(), "who asked: name of the API key, anonymous where keys are off"),
    column("sex", pa.string(), "M, F or unknown"),
    column("age_years", pa.float64(), "age in whole years, 90 for all above", required=False),
    column("age_group", pa.string(), "age group of the fairness report, unknown without an age"),
    column("observed", _STRINGS, "HPO terms that were present"),
    column("excluded", _STRINGS, "HPO terms that were looked for and absent"),
    column("present", _STRINGS, "answers to common-disease questions that apply"),
    column("absent", _STRINGS, "questions that were denied"),
    column("unanswered", _STRINGS, "questions that could not be answered"),
    column("complete", pa.bool_(), "whether questions that are not named count as denied"),
)


def _answered(part: str, names: str) -> tuple[pa.Field, ...]:
    return (
        column(f"{part}_candidates", _STRINGS, f"{names} of the differential, best first"),
        column(f"{part}_probability", pa.float64(), "probability of the first one", required=False),
        column(
            f"{part}_confidence", pa.string(), "high, moderate, low or none; empty: not asked", required=False
        ),
        column(f"{part}_abstain", pa.bool_(), "whether nothing known fitted", required=False),
    )


PREDICTION_LOG = Table(
    "monitoring/prediction_log",
    pa.schema(
        [
            column("prediction_id", pa.string(), "prediction"),
            column("day", pa.string(), "day of the answer, UTC, ISO 8601"),
            column("at", _AT, "instant of the answer"),
            column("bundle", pa.string(), "bundle that answered"),
            column("bento", pa.string(), "bento that served it"),
            column("arm", pa.string(), "which bundle it was assigned to: champion or challenger"),
            *_ASKED,
            *_answered("common", "conditions"),
            *_answered("rare", "disease ids"),
        ]
    ),
    ("prediction_id",),
    "One answered prediction, without anything that identifies a person.",
)
CLINICIAN_FEEDBACK = Table(
    "monitoring/clinician_feedback",
    pa.schema(
        [
            column("feedback_id", pa.int64(), "number of the feedback in the service's store"),
            column("day", pa.string(), "day of the feedback, UTC, ISO 8601"),
            column("at", _AT, "instant of the feedback"),
            column("prediction_id", pa.string(), "prediction that it is about"),
            column("predicted_at", _AT, "instant of the answer"),
            column("bundle", pa.string(), "bundle that answered"),
            column("verdict", pa.string(), "confirmed, rejected, card accepted or card overridden"),
            column("diagnosis", pa.string(), "disease id or condition that the verdict is about"),
            column("part", pa.string(), "common or rare"),
            column(
                "rank",
                pa.int32(),
                "its place in the differential; empty: not among those shown",
                required=False,
            ),
            column("probability", pa.float64(), "probability of the first candidate", required=False),
            column("first", pa.string(), "first candidate of the differential", required=False),
            column("abstain", pa.bool_(), "whether the answer abstained", required=False),
            *_ASKED,
        ]
    ),
    ("feedback_id",),
    "One verdict of a clinician, joined to the prediction that it is about.",
)
_SHARE = "share of present answers among known ones, or mean of a number"
DRIFT_REPORT = Table(
    "monitoring/drift_report",
    pa.schema(
        [
            column("day", pa.string(), "last day of the window"),
            column("bundle", pa.string(), "served bundle whose training data is the reference"),
            column("part", pa.string(), "common or rare"),
            column("kind", pa.string(), "input, missing, outlier, prediction or confidence"),
            column("group", pa.string(), "all, or a group such as sex=F, age=15-29, site=clinic"),
            column("feature", pa.string(), "symptom, condition or number"),
            column("label", pa.string(), "its name in words"),
            column("reference", pa.float64(), f"in the reference: {_SHARE}", required=False),
            column("current", pa.float64(), f"in the window: {_SHARE}", required=False),
            column("p_value", pa.float64(), "of the test that both are alike", required=False),
            column("q_value", pa.float64(), "p after Benjamini and Hochberg over the report", required=False),
            column("n_reference", pa.int64(), "rows behind the reference"),
            column("n_current", pa.int64(), "rows behind the window"),
            column("drifted", pa.bool_(), "q below the limit and a difference that matters"),
        ]
    ),
    ("day", "part", "kind", "group", "feature"),
    "A row is one feature of the window against the training data of the served bundle.",
)
PERFORMANCE_REPORT = Table(
    "monitoring/performance_report",
    pa.schema(
        [
            column("week", pa.string(), "Monday of the week of the answers, ISO 8601; all: every week"),
            column("part", pa.string(), "common, rare or service"),
            column("group", pa.string(), "all, or a group such as bundle=1a2b, sex=F, site=clinic"),
            column("metric", pa.string(), "name of the figure"),
            column("value", pa.float64(), "the figure; empty where nothing is known yet", required=False),
            column("low", pa.float64(), "lower end of the 95 % interval", required=False),
            column("high", pa.float64(), "upper end of the 95 % interval", required=False),
            column("n", pa.int64(), "rows behind the figure"),
        ]
    ),
    ("week", "part", "group", "metric"),
    "A row is one figure of the running service, by week; labels come late, so weeks fill up afterwards.",
)
#: A case that reached the platform after training, with all that the rare-disease memory needs.
_NEW_CASE = (
    column("case_id", pa.string(), "id of the case"),
    column("disease_id", pa.string(), "confirmed diagnosis"),
    column("observed", _STRINGS, "HPO terms that were present"),
    column("excluded", _STRINGS, "HPO terms that were looked for and absent"),
    column("age_days", pa.float64(), "age in days, from whole years", required=False),
    column("sex", pa.string(), "M, F or unknown"),
    column("origin", pa.string(), "ehr, or simulated where the record is a simulated one"),
    column("provenance", pa.string(), "prediction:<id> or the resource of the record"),
)
CONFIRMED_CASES = Table(
    "clinical/confirmed_cases",
    pa.schema(list(_NEW_CASE)),
    ("case_id",),
    "One rare-disease case that a clinician confirmed through feedback on a prediction.",
)
EHR_CASES = Table(
    "clinical/ehr_cases",
    pa.schema(list(_NEW_CASE)),
    ("case_id",),
    "One rare-disease case of a hospital's records: a coded diagnosis with findings.",
)
CONFIRMED_PATIENTS = Table(
    "clinical/confirmed_patients",
    COMMON_PATIENTS.schema,
    COMMON_PATIENTS.primary_key,
    "One patient whose common condition a clinician confirmed; patient_id is prediction:<id>.",
)

_FINDING = (
    column("finding", pa.string(), "condition that is judged"),
    column("passed", pa.bool_(), "whether it holds"),
    column("message", pa.string(), "why"),
)
COMMON_COMPARISON = Table(
    "retraining/common_comparison",
    pa.schema(
        [
            column("way", pa.string(), "champion, continued or retrained"),
            column("chosen", pa.bool_(), "whether this way makes the challenger"),
            column("group", pa.string(), "test part, confirmed (held out of both ways), or all of these"),
            column("top1", pa.float64(), "share of first candidates that are right", required=False),
            column("n", pa.int64(), "rows behind the figure"),
            column("cpu_seconds", pa.float64(), "processor time of the training"),
            *_FINDING,
            column("version", pa.string(), "version in the registry", required=False),
        ]
    ),
    ("way", "group", "finding"),
    "A row is one figure or finding of a way to train the common models again, on the same rows.",
)
SHADOW_REPORT = Table(
    "retraining/shadow_report",
    pa.schema(
        [
            *_FINDING,
            column("challenger", pa.string(), "bundle that answered in the shadow"),
            column("n", pa.int64(), "replayed answers behind it"),
        ]
    ),
    ("challenger", "finding"),
    "A row is one finding on a challenger that answered logged requests again, unseen.",
)
RETRAINING_PROMOTION = Table(
    "retraining/promotion",
    pa.schema(
        [
            *_FINDING,
            column("champion", pa.string(), "bundle that served when it was judged"),
            column("challenger", pa.string(), "bundle that was judged"),
            column("promoted", pa.bool_(), "whether every condition holds"),
            column("at", _AT, "when it was judged"),
        ]
    ),
    ("challenger", "finding"),
    "A row is one condition that a challenger bundle must meet to serve.",
)
TRIAL = Table(
    "retraining/trial",
    pa.schema(
        [
            column("champion", pa.string(), "bundle on trial"),
            column("predecessor", pa.string(), "bundle that served before it"),
            column("promoted_at", _AT, "begin of the trial"),
            column("until", _AT, "its end"),
            column("passed", pa.bool_(), "whether nothing speaks against the champion"),
            column("message", pa.string(), "why"),
        ]
    ),
    ("champion",),
    "The trial of the bundle that was promoted last; no row where none is on trial.",
)

MONITORING_TABLES = (
    COMMON_COMPARISON, SHADOW_REPORT, RETRAINING_PROMOTION, TRIAL,
    PREDICTION_LOG, CLINICIAN_FEEDBACK, DRIFT_REPORT, PERFORMANCE_REPORT,
    CONFIRMED_CASES, EHR_CASES, CONFIRMED_PATIENTS,
)  # fmt: skip
register(MONITORING_TABLES)
