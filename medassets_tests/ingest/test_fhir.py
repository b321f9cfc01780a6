"""The door for hospital records: what enters, what is left out, and that no identifier passes it."""

import gzip
import json
import zipfile
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.ingest.fhir import Policy, read_consents, read_records
from medassets.ingest.fhir_values import age_at, moment, referred_id
from medassets.ingest.inbox import Delivery
from medassets.ingest.redaction import MARK, Redactor, identifiers_of
from medassets_tests.ingest.fixtures_fhir import (
    NOW,
    PSEUDONYMS,
    bundle,
    condition,
    consent,
    delivered,
    encounter,
    ndjson,
    note,
    observation,
    patient,
)

STRICT, OPEN = Policy(), Policy("simulated", consent_required=False)
TEXT = (
    "Ottoline Quillfeather has seizures. QUILLFEATHER lives at 12 Larkspur Mews, Brindleton 99881; "
    "call 555-010-7788 or o.quill@example.org, MRN-4471. No scoliosis."
)
IDENTIFIERS = ("ottoline", "quillfeather", "larkspur", "brindleton", "99881", "7788", "example.org", "4471")


def taken(deliveries, policy=STRICT, now=NOW, earlier=()):
    """Read as the graph does: consents first, then records."""
    if isinstance(deliveries, Delivery):
        deliveries = [deliveries]
    rejected = []
    consents = [found for found, _ in read_consents(deliveries, PSEUDONYMS, policy, rejected.append)]
    return read_records(deliveries, [*earlier, *consents], PSEUDONYMS, policy, now)


def test_a_bundle_gives_rows_that_hang_together(tmp_path):
    resources = [patient(), consent(), encounter(), condition(), observation(), note(TEXT)]
    got = taken(delivered(tmp_path, bundle(*resources)))
    assert {name: len(rows) for name, rows in got.rows.items()} == {
        "patients": 1, "encounters": 1, "conditions": 1, "observations": 1, "notes": 1
    }  # fmt: skip
    assert not got.rejected and not got.failed
    (person,), (visit,), (finding,) = (got.rows[n] for n in ("patients", "encounters", "conditions"))
    assert person["sex"] == "F" and person["birth_year"] == 1990 and person["consent"] == "permit"
    assert finding["patient_id"] == visit["patient_id"] == person["patient_id"]
    assert finding["encounter_id"] == visit["encounter_id"]
    assert finding["onset"] == datetime(2026, 2, 1, tzinfo=UTC) and finding["age"] == 35.7
    assert visit["start"] == datetime(2026, 2, 1, 7, tzinfo=UTC)
    (height,) = got.rows["observations"]
    assert (height["value"], height["unit"], height["code"]) == (175.5, "cm", "8302-2")


def test_no_identifier_passes_the_door(tmp_path):
    named = observation("o2", valueQuantity=None, valueString="told by Ottoline's mother")
    named.pop("valueQuantity")
    resources = [patient(), consent(), encounter(), condition(), named, note(TEXT)]
    got = taken(delivered(tmp_path, bundle(*resources), "Ottoline_Quillfeather_MRN-4471.json"))
    whole = json.dumps([got.rows, [r.as_dict() for r in got.rejected], got.counts], default=str).lower()
    assert not [word for word in IDENTIFIERS if word in whole]
    assert '"p1"' not in whole and "1990-05" not in whole
    (written,) = got.rows["notes"]
    assert written["text"].startswith(f"{MARK} {MARK} has seizures.") and "No scoliosis." in written["text"]
    assert written["removed"] == written["text"].count(MARK) > 5
    assert len(got.rows["observations"]) == 1 and MARK in got.rows["observations"][0]["value_text"]


def test_wrong_resources_are_reported_with_place_and_field_and_the_rest_arrives(tmp_path):
    wrong = [
        patient("p9", birthDate="1990-13-77"),
        patient("p8", gender="f"),
        observation("o9", code=None),
        condition("d9", subject={"reference": "Group/1"}),
        condition("d8", code={"text": "Ottoline felt ill"}),
        note("", "n9", content=[{"attachment": {"contentType": "application/pdf", "data": "QQ=="}}]),
        note("", "n8", content=[{"attachment": {"contentType": "text/plain", "url": "Binary/none"}}]),
        note("", "n7", content=[{"attachment": {"contentType": "text/plain", "data": "8J8="}}]),
    ]
    got = taken(delivered(tmp_path, bundle(patient(), *wrong, condition())), OPEN)
    assert len(got.rows["patients"]) == len(got.rows["conditions"]) == 1
    told = {(r.row, r.field): r.reason for r in got.rejected}
    at = "Bundle.entry[{}].resource.{}".format
    assert "Date value" in told[2, at(1, "birthDate")]
    assert told[3, at(2, "gender")] == "no code of FHIR R4"
    assert (4, at(3, "code")) in told
    assert told[5, at(4, "subject")] == "names no patient"
    assert told[6, at(5, "code")] == "the condition is not coded"
    assert told[7, at(6, "content[0].attachment.contentType")] == "not a type that is read"
    assert "no Binary" in told[8, at(7, "content[0].attachment.url")]
    assert "UnicodeDecodeError" in told[9, at(8, "content[0].attachment.data")]
    assert not any("Ottoline" in str(r) for r in got.rejected)


@pytest.mark.parametrize(
    "consents, permitted",
    [
        ([], "no consent"),
        ([consent()], "permit"),
        ([consent(kind="deny")], "deny"),
        ([consent(status="inactive")], "no consent"),
        ([consent(kind=None)], "deny"),
        ([consent(kind=None, policyRule={"coding": [{"code": "OPTIN"}]})], "permit"),
        ([consent(), consent("c2", kind="deny", dateTime="2026-02-01")], "deny"),
        ([consent(kind="deny"), consent("c2", dateTime="2026-02-01")], "permit"),
        ([consent(), consent("c2", kind="deny")], "deny"),
        ([consent(provision={"type": "permit", "period": {"end": "2026-02-28"}})], "no consent"),
        ([consent(provision={"type": "permit", "period": {"end": "2026-03"}})], "permit"),
        ([consent(provision={"type": "permit", "period": {"start": "2026-03-02"}})], "no consent"),
        ([consent(provision={"type": "permit", "provision": [{"type": "deny"}]})], "restricted"),
        ([consent(provision={"type": "permit", "purpose": [{"code": "TREAT"}]})], "restricted"),
        ([consent(provision={"type": "permit", "purpose": [{"code": "HRESCH"}]})], "permit"),
        ([consent(patient="another")], "no consent"),
    ],
)
def test_consent_decides(tmp_path, consents, permitted):
    got = taken(delivered(tmp_path, bundle(patient(), condition(), *consents)))
    enters = permitted == "permit"
    assert len(got.rows["patients"]) == len(got.rows["conditions"]) == int(enters)
    assert got.counts[f"patients: {permitted}"] == 1
    if not enters:
        assert got.counts[f"left out, {permitted}: Condition"] == 1


def test_a_denial_counts_where_consent_is_not_required(tmp_path):
    got = taken(delivered(tmp_path, bundle(patient(), patient("p2"), consent(kind="deny"))), OPEN)
    assert len(got.rows["patients"]) == 1 and got.counts["patients: deny"] == 1


def test_only_data_of_the_permitted_time_enter(tmp_path):
    permit = {"type": "permit", "dataPeriod": {"start": "2026-02-15"}}
    late = condition("d2", onsetDateTime="2026-02-20")
    got = taken(delivered(tmp_path, bundle(patient(), consent(provision=permit), condition(), late)))
    assert len(got.rows["conditions"]) == 1
    assert got.counts["left out, outside the permitted time: Condition"] == 1


def test_a_consent_of_an_earlier_day_counts_and_its_withdrawal_too(tmp_path):
    first = [c for c, _ in read_consents(
        [delivered(tmp_path, bundle(consent()), "a.json")], PSEUDONYMS, STRICT, print
    )]  # fmt: skip
    later = delivered(tmp_path, bundle(patient(), condition()), "b.json")
    assert len(taken(later, earlier=first).rows["conditions"]) == 1
    withdrawn = delivered(tmp_path, bundle(patient(), condition(), consent(status="inactive")), "c.json")
    assert not taken(withdrawn, earlier=first).rows["conditions"]


def test_bulk_files_zip_gzip_and_references_of_all_kinds(tmp_path):
    zipped = tmp_path / "export.zip"
    held = {"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": "U2VpenVyZXMu"}
    by_url = note(
        "", content=[{"attachment": {"contentType": "text/plain", "url": "https://x.org/Binary/b1"}}]
    )
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("Patient.ndjson", ndjson(patient()))
        archive.writestr("DocumentReference.ndjson", ndjson(by_url, held))
        archive.writestr("readme.txt", "no resource")
    absolute = condition(subject={"reference": "https://ehr.example/fhir/Patient/p1/_history/3"})
    by_number = condition(
        "d2", subject={"reference": "Patient?identifier=http://hospital.example/mrn|MRN-4471"}
    )
    packed = delivered(tmp_path, gzip.compress(ndjson(absolute, by_number)), "Condition.ndjson.gz")
    got = taken([Delivery.of(zipped), packed], OPEN)
    assert {row["patient_id"] for rows in got.rows.values() for row in rows} == {PSEUDONYMS.pseudonym("p1")}
    assert len(got.rows["conditions"]) == 2 and got.rows["notes"][0]["text"] == "Seizures."
    assert got.rows["patients"][0]["source_file"].endswith(".zip#2")


def test_temporary_ids_of_a_transaction(tmp_path):
    new, found = patient(), condition(subject={"reference": "urn:uuid:11"})
    entries = [{"fullUrl": "urn:uuid:11", "resource": new}, {"fullUrl": "urn:uuid:12", "resource": found}]
    found.pop("id")
    content = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
    got = taken(delivered(tmp_path, content), OPEN)
    assert got.rows["conditions"][0]["patient_id"] == got.rows["patients"][0]["patient_id"]


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.json", b"{", "not JSON"),
        ("a.json", b'{"resourceType": "Bundle", "entry": 3}', "not a list"),
        ("a.json", b'{"resourceType": "Bundle", "entry": [3]}', "holds no resource"),
        ("a.json", b'{"resourceType": "Patient", "id": "\\ud800"}', "not JSON in UTF-8"),
        ("a.ndjson", b'{"resourceType": "Patient", "x": NaN}', "not JSON in UTF-8"),
        ("a.ndjson", b"[" * 100_000, "not JSON in UTF-8"),
        ("a.json", b"[]", "no JSON object"),
        ("a.zip", b"PK no zip", "corrupt"),
        ("a.ndjson.gz", b"no gzip", "cannot be read"),
    ],
)
def test_a_file_that_is_none_fails_with_a_reason(tmp_path, name, content, reason):
    delivery = delivered(tmp_path, content, f"Quillfeather-{name}")
    got = taken(delivery, OPEN)
    assert got.failed == {delivery.label} and reason in got.rejected[0].reason
    assert "Quillfeather" not in got.rejected[0].message and str(tmp_path) not in got.rejected[0].message


def test_what_comes_again_counts_once_in_its_newest_state(tmp_path):
    old = condition(meta={"lastUpdated": "2026-01-01T00:00:00Z"}, onsetDateTime="2025")
    new = condition(meta={"lastUpdated": "2026-02-01T00:00:00Z"}, onsetDateTime="2026")
    for order in ((old, new), (new, old)):
        got = taken(delivered(tmp_path, bundle(patient(), *order)), OPEN)
        (row,) = got.rows["conditions"]
        assert row["onset"].year == 2026 and got.counts["came again: Condition"] == 1


def test_what_was_entered_in_error_or_is_of_other_types_is_counted(tmp_path):
    error = {"coding": [{"code": "entered-in-error"}]}
    claims = {"resourceType": "Claim", "id": "x"}
    got = taken(delivered(tmp_path, bundle(patient(), condition(verificationStatus=error), claims)), OPEN)
    assert got.counts["left out, entered in error: Condition"] == 1 and got.counts["not read: Claim"] == 1
    assert not got.rows["conditions"]


def test_a_note_without_its_patient_is_held_back(tmp_path):
    got = taken(delivered(tmp_path, bundle(note(TEXT))), OPEN)
    assert not got.rows["notes"] and "no Patient resource" in got.rejected[0].reason


def test_the_authors_of_a_note_are_not_named_either(tmp_path):
    signed = note("Seen by Barnaby Thistlewood.", author=[{"display": "Dr. Barnaby Thistlewood"}])
    (row,) = taken(delivered(tmp_path, bundle(patient(), signed)), OPEN).rows["notes"]
    assert row["text"] == f"Seen by {MARK} {MARK}." and row["removed"] == 2


def test_a_panel_gives_a_row_a_component(tmp_path):
    part = {"code": {"coding": [{"code": "8480-6"}]}, "valueQuantity": {"value": 120}}
    panel = observation(component=[part, part | {"valueQuantity": {"value": 80}}])
    panel.pop("valueQuantity")
    rows = taken(delivered(tmp_path, bundle(patient(), panel)), OPEN).rows["observations"]
    assert [(r["component"], r.get("value")) for r in rows] == [(0, None), (1, 120.0), (2, 80.0)]


def test_the_synthea_samples_pass_whole(shared_data):
    paths = sorted((shared_data / "fhir").glob("*.zip"))
    got = taken([Delivery.of(path) for path in paths], OPEN)
    assert not got.rejected
    assert len(got.rows["patients"]) == 37 and len(got.rows["notes"]) == 1215
    assert len(got.rows["conditions"]) == 677 and len(got.rows["encounters"]) == 1603
    assert taken([Delivery.of(paths[0])]).counts["patients: no consent"] in (13, 24)


@given(st.dates(min_value=datetime(1900, 1, 1).date()), st.integers(0, 120 * 365))
@settings(max_examples=50)
def test_ages_follow_the_calendar(born, days):
    birth = moment(born.isoformat())
    at = datetime.fromtimestamp(birth.timestamp() + days * 86400, UTC) if born.year < 9000 else None
    age = age_at(birth, at)
    assert age is None or abs(age - days / 365.2425) <= 0.05 + 1e-9


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_no_text_breaks_the_readers_of_values(text):
    assert moment(text) is None or moment(text).tzinfo is UTC
    referred_id(text, "Patient")
    cleaned, removed = Redactor([text, "Ottoline"]).clean(f"{text} Ottoline")
    assert "Ottoline" not in cleaned and removed >= 1


def test_who_is_named_by_a_patient():
    relative = {"name": {"given": ["Barnaby"]}, "telecom": [{"value": "555"}]}
    found = set(identifiers_of(patient(contact=[relative])))
    assert {"Quillfeather", "Ottoline", "Barnaby", "=MRN-4471", "=Brindleton"} <= found
