"""FHIR R4 in: what is read of a Bundle, and that what cannot be used is listed."""

import json
import zipfile
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.serving.crosswalk import CodeMap, clinical_codes
from medassets.serving.fhir import read_bundle
from medassets.serving.requests import RequestError
from medassets_tests.serving.records import (
    CODES,
    HPO,
    LOINC,
    PATIENT,
    SNOMED,
    bundle,
    coded,
    condition,
    measured,
    observation,
)

AT = "2022-01-01T00:00:00Z"
ADULT = PATIENT | {"birthDate": "1990-01-01"}


def test_conditions_observations_and_answers_are_read():
    focal = {"system": HPO, "code": "HP_0007359"}
    packet = bundle(
        PATIENT,
        condition(SNOMED, "91175000"),
        observation(HPO, "HP:0000252", valueBoolean=False),
        {"resourceType": "QuestionnaireResponse", "item": [{"answer": [{"valueCoding": focal}]}]},
        timestamp=AT,
    )
    read = read_bundle(packet, CODES, top=2)
    assert read.request.observed == ["HP:0001250", "HP:0007359"] and read.request.excluded == ["HP:0000252"]
    assert read.request.sex == "F" and read.request.age == 731 and read.request.top == 2
    assert read.unmapped == [] and read.subject == "Patient/p1"
    assert read.mapped == [
        {
            "field": "entry[1].resource",
            "given": f"{SNOMED}|91175000",
            "used": "HP:0001250",
            "reason": "crosswalk",
        }
    ]


def test_what_cannot_be_mapped_is_listed_once_with_its_count():
    read = read_bundle(
        bundle(
            condition(SNOMED, "1"),
            condition(SNOMED, "1"),
            measured("8302-2", 142),
            observation(HPO, "HP:0001250", valueString="perhaps"),
            {"resourceType": "Condition", "code": {"text": "seizures, Mustermann"}},
        ),
        CODES,
    )
    assert [(u["code"], u["count"]) for u in read.unmapped] == [
        (f"{SNOMED}|1", 2), ("no code", 1), (f"{LOINC}|8302-2", 1), (f"{HPO}|HP:0001250", 1),
    ]  # fmt: skip
    assert read.unmapped[0]["field"] == "entry[0].resource.code" and read.request.observed == []
    assert "neither yes nor no" in read.unmapped[3]["reason"]
    assert "Mustermann" not in json.dumps(read.unmapped)


def test_refuted_conditions_are_excluded_and_contradictions_left_to_the_doctor():
    read = read_bundle(bundle(condition(HPO, "HP:0001250", "refuted"), condition(HPO, "HP:0000252")), CODES)
    assert (read.request.observed, read.request.excluded) == (["HP:0000252"], ["HP:0001250"])
    read = read_bundle(bundle(condition(HPO, "HP:0001250", "refuted"), condition(HPO, "HP:0001250")), CODES)
    assert read.request.observed == read.request.excluded == [] and "both" in read.unmapped[0]["reason"]


@pytest.mark.parametrize("status", ["entered-in-error", "provisional", "differential", "unconfirmed"])
def test_what_is_not_confirmed_is_listed_and_not_used(status):
    read = read_bundle(bundle(condition(HPO, "HP:0001250", status)), CODES)
    assert read.request.observed == [] and len(read.unmapped) == 1


def test_terms_that_the_ontology_lacks_are_listed_and_implied_denials_left_out(ontology):
    packet = bundle(
        condition(HPO, "HP:9999999"), condition(HPO, "HP:0000005"), condition(HPO, "HP:0002125"),
        condition(HPO, "HP:0007359"), condition(HPO, "HP:0000252", "refuted"), timestamp=AT,
    )  # fmt: skip
    read = read_bundle(packet, CODES, ontology)
    # HP:0002125 is an alternative id of HP:0001250.
    assert read.request.observed == ["HP:0001250", "HP:0007359"] and read.request.excluded == ["HP:0000252"]
    assert [u["code"] for u in read.unmapped] == [f"{HPO}|HP:9999999", f"{HPO}|HP:0000005"]
    implied = bundle(condition(HPO, "HP:0007359"), condition(HPO, "HP:0001250", "refuted"))
    read = read_bundle(implied, CODES, ontology)
    assert read.request.excluded == [] and "implies" in read.unmapped[0]["reason"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"interpretation": [coded("", "L")]}, (["HP:0000252"], [])),
        ({"interpretation": [coded("", "N")]}, ([], ["HP:0000252"])),
        ({"interpretation": [coded("", "H")]}, ([], [])),
        ({"referenceRange": [{"low": {"value": 51}, "high": {"value": 56}}]}, (["HP:0000252"], [])),
        ({"referenceRange": [{"low": {"value": 50}}]}, ([], ["HP:0000252"])),
        ({}, (["HP:0000252"], [])),
    ],
)
def test_a_value_is_judged_by_its_record_and_then_by_limits_of_adults(value, expected):
    read = read_bundle(bundle(ADULT, measured("8287-5", 50.5, "cm", **value), timestamp=AT), CODES)
    assert (read.request.observed, read.request.excluded) == expected
    assert len(read.unmapped) == (0 if any(expected) else 1)


@pytest.mark.parametrize(
    ("patient", "unit", "reason"),
    [
        (PATIENT, "cm", "those of adults"),
        (ADULT, "[in_i]", "its unit is not cm"),
    ],
)
def test_limits_of_adults_in_another_unit_or_for_a_child_decide_nothing(patient, unit, reason):
    read = read_bundle(bundle(patient, measured("8287-5", 50.5, unit), timestamp=AT), CODES)
    assert read.request.observed == [] and reason in read.unmapped[0]["reason"]


def test_of_several_values_the_latest_counts():
    values = [
        measured("8310-5", value, "Cel", effectiveDateTime=at)
        for value, at in ((39, "2020-01-01"), (36.5, "2021-12-31T00:00:00+02:00"), (40, "2021-05-01"))
    ]
    read = read_bundle(bundle(ADULT, *values, timestamp=AT), CODES)
    assert read.request.excluded == ["HP:0001945"]
    assert read.unmapped[0]["count"] == 2 and "latest" in read.unmapped[0]["reason"]


def test_components_are_statements_of_their_own():
    panel = observation(LOINC, "35094-2", component=[measured("8310-5", 39, "Cel")])
    read = read_bundle(bundle(ADULT, panel, timestamp=AT), CODES)
    assert read.request.observed == ["HP:0001945"]


def test_complaints_answer_the_common_questions_and_old_ones_do_not():
    cough, pregnant = condition(SNOMED, "49727002"), condition(SNOMED, "77386006")
    read = read_bundle(bundle(cough, pregnant), CODES)
    assert read.request.evidence.present == ["E_201", "E_167"] and read.request.observed == ["HP:0012735"]
    past = condition(SNOMED, "49727002", clinicalStatus=coded("", "resolved"))
    read = read_bundle(bundle(past, pregnant), CODES)
    assert read.request.evidence.present == [] and read.request.observed == ["HP:0012735"]
    old = measured("8310-5", 39, "Cel", effectiveDateTime="2021-05-01")
    read = read_bundle(bundle(ADULT, old, timestamp=AT), CODES)
    assert read.request.evidence.present == [] and read.request.observed == ["HP:0001945"]


def test_a_questionnaire_of_this_service_speaks_evidence_codes():
    items = [
        {"linkId": "E_91", "answer": [{"valueBoolean": True}]},
        {
            "linkId": "E_201",
            "answer": [{"valueBoolean": False, "item": [{"linkId": "E_1", "answer": [{"valueInteger": 3}]}]}],
        },
        {"linkId": "E_999", "answer": [{"valueBoolean": True}]},
    ]
    read = read_bundle(bundle({"resourceType": "QuestionnaireResponse", "item": items}), CODES)
    assert (read.request.evidence.present, read.request.evidence.absent) == (["E_91"], ["E_201"])
    assert len(read.unmapped) == 2


def test_a_patient_that_stands_twice_is_one_patient():
    assert read_bundle(bundle(PATIENT, PATIENT), CODES).request.sex == "F"


@pytest.mark.parametrize(
    ("packet", "field"),
    [
        ({"resourceType": "Patient"}, "resourceType"),
        ({"resourceType": "Bundle", "entry": 3}, "resourceType"),
        (bundle(PATIENT, PATIENT | {"id": "p2"}), "entry[1].resource"),
        (bundle({"resourceType": "Patient"}, {"resourceType": "Patient"}), "entry[1].resource"),
        (bundle(PATIENT | {"birthDate": "then"}), "Patient.birthDate"),
        (bundle(PATIENT, timestamp="2019-01-01T00:00:00Z"), "Patient.birthDate"),
        (bundle(PATIENT, timestamp=3), "timestamp"),
    ],
)
def test_wrong_bundles_name_the_field(packet, field):
    with pytest.raises(RequestError) as error:
        read_bundle(packet, CODES)
    assert error.value.problems[0][0] == field


@pytest.mark.parametrize(
    ("patient", "days"),
    [
        ({"birthDate": "2021"}, 184),
        ({"birthDate": "2021-12"}, 17),
        ({"birthDate": "2022"}, 0),
        ({"birthDate": "2021-12-01", "deceasedDateTime": "2021-12-11T10:00:00Z"}, 10),
    ],
)
def test_dates_may_lack_their_day_and_ages_end_with_death(patient, days):
    read = read_bundle(bundle({"resourceType": "Patient"} | patient, timestamp=AT), CODES)
    assert read.request.age == days


@given(
    st.lists(st.sampled_from(["91175000", "49727002", "1"]), max_size=6),
    st.lists(st.sampled_from(["confirmed", "refuted", "provisional"]), min_size=6, max_size=6),
)
def test_every_statement_is_used_or_listed(given_codes, statuses):
    read = read_bundle(
        bundle(*(condition(SNOMED, c, s) for c, s in zip(given_codes, statuses, strict=False))), CODES
    )
    mapped = {code for code in given_codes if any(m["given"].endswith(f"|{code}") for m in read.mapped)}
    listed = {u["code"].rpartition("|")[2] for u in read.unmapped}
    assert set(given_codes) <= mapped | listed


def test_synthea_records_are_read_to_a_good_part(shared_data, tmp_path):
    codes = CodeMap.of({}, clinical_codes())
    known: Counter[str] = Counter()
    total: Counter[str] = Counter()
    with zipfile.ZipFile(shared_data / "fhir" / "synthea-r4-bundles.zip") as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                content = json.loads(archive.read(name))
                read_bundle(content, codes)
                for entry in content["entry"]:
                    resource = entry["resource"]
                    if resource["resourceType"] in ("Condition", "Observation"):
                        coding = resource["code"]["coding"][0]
                        found = codes.hpo(coding["system"], coding["code"]) or codes.test(
                            coding["system"], coding["code"]
                        )
                        total[resource["resourceType"]] += 1
                        known[resource["resourceType"]] += found is not None
    assert total["Condition"] > 100 and known["Condition"] / total["Condition"] > 0.3
    assert known["Observation"] / total["Observation"] > 0.4
