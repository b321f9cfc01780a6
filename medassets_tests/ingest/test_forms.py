"""Symptom forms: every way to write them that senders have, and every wrong row named."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.ingest.forms import COLUMNS, read_forms, template
from medassets.ingest.inbox import Delivery
from medassets_tests.ingest.fixtures_fhir import NOW, PSEUDONYMS, delivered

KNOWN = {"HP:0001250": "HP:0001250", "HP:0000737": "HP:0001250", "E_91": "E_91", "HP:0002315": "HP:0002315"}
HEAD = "form_id,patient_id,answered_at,age,sex,code,answer,severity\n"
GOOD = "f1,12345,2026-02-03,34,F,HP:0001250,yes,6\n"


def read(*deliveries: Delivery):
    return read_forms(list(deliveries), KNOWN.get, PSEUDONYMS, NOW)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_template_is_read_as_it_is(tmp_path, kind):
    got = read(delivered(tmp_path, template(kind).encode(), f"a.{kind}"))
    assert not got.rejected
    first, second = got.rows
    assert (first["code"], first["answer"], first["severity"]) == ("HP:0001250", "yes", 6)
    assert (second["code"], second["answer"], second["severity"]) == ("E_91", "no", None)
    assert first["answered_at"] == datetime(2026, 2, 3, 8, 30, tzinfo=UTC)
    assert first["age"] == 34 and first["patient_id"] == PSEUDONYMS.pseudonym("12345")
    assert "12345" not in str(got.rows)


@pytest.mark.parametrize(
    "content",
    [
        (HEAD + GOOD).encode("utf-8-sig"),
        (HEAD + GOOD).encode("utf-16"),
        (HEAD + GOOD).replace("\n", "\r\n").encode(),
        (HEAD + GOOD).replace(",", ";").encode(),
        (HEAD + GOOD).replace(",", "\t").encode(),
        (HEAD.upper() + GOOD + "\n\n,,,,,,,\n").encode(),
        (HEAD + GOOD.replace("F,", '"f",')).encode(),
    ],
    ids=["bom", "utf-16", "crlf", "semicolon", "tab", "blank rows", "quotes"],
)
def test_csv_as_spreadsheets_write_it(tmp_path, content):
    got = read(delivered(tmp_path, content, "a.csv"))
    assert len(got.rows) == 1 and not got.rejected and got.rows[0]["sex"] == "F"


@pytest.mark.parametrize(
    "old, new, field, reason",
    [
        ("HP:0001250", "HP:9999999", "code", "is not known"),
        ("yes", "maybe", "answer", "is not known"),
        (",34,", ",340,", "age", "in the range"),
        (",34,", ",nan,", "age", "in the range"),
        (",6", ",6.5", "severity", "no whole number"),
        ("2026-02-03", "03.02.2026", "answered_at", "is no time"),
        ("2026-02-03", "2026-05-01", "answered_at", "in the future"),
        ("2026-02-03", "", "answered_at", "is empty"),
        (",F,", ",woman,", "sex", "is not known"),
        ("12345", "", "patient_id", "is empty"),
        (",6", ",6,7", "row", "9 fields, the header has 8"),
    ],
)
def test_a_wrong_row_is_named_and_the_others_arrive(tmp_path, old, new, field, reason):
    wrong = GOOD.replace(old, new)
    other = GOOD.replace("f1", "f2")
    got = read(delivered(tmp_path, (HEAD + other + wrong).encode(), "a.csv"))
    (error,) = got.rejected
    assert (error.row, error.field) == (2, field) and reason in error.reason and error.allowed
    assert len(got.rows) == 1 and list(got.files.values()) == [(1, 1)]
    assert "12345" not in str(error)


@pytest.mark.parametrize(
    "name, content, field, reason",
    [
        ("a.csv", b"form_id,colour\n", "header", "no column of the format"),
        ("a.csv", b"form_id,patient_id\n", "header", "the column is missing"),
        ("a.csv", HEAD.replace("age", "code").encode(), "header", "stands twice"),
        ("a.csv", b"", "header", "the column is missing"),
        ("a.csv", HEAD.encode(), "file", "holds no answer"),
        ("a.csv", HEAD.encode() + b"\xe9", "file", "not utf-8: byte"),
        ("a.csv", HEAD.encode() + b'"open', "file", "line"),
        ("a.json", b"[", "file", "not JSON at line 1"),
        ("a.json", b'"text"', "file", "no list of forms"),
        ("a.json", b'[{"form_id": "\\ud800"}]', "file", "not JSON"),
        ("a.json", b'[{"form_id": "1"}]', "row", "no list of answers"),
        ("a.json", b'[{"answers": [3]}]', "row", "is no object"),
        ("a.json", b'[{"answers": [{"colour": 1}]}]', "colour", "no column of the format"),
    ],
)
def test_a_file_that_is_no_form_says_why(tmp_path, name, content, field, reason):
    got = read(delivered(tmp_path, content, name))
    assert not got.rows and got.rejected[0].field == field and reason in got.rejected[0].reason


def test_an_answer_counts_once_even_over_files_and_retired_codes(tmp_path):
    retired = GOOD.replace("HP:0001250", "HP:0000737").replace("yes", "no")
    got = read(
        delivered(tmp_path, (HEAD + GOOD + retired).encode(), "a.csv"),
        delivered(tmp_path, (HEAD + GOOD + GOOD.replace("f1", "f2")).encode(), "b.csv"),
    )
    assert [row["answer"] for row in got.rows] == ["yes", "yes"]
    assert [r.row for r in got.rejected] == [2, 1]
    assert all("stands already" in r.reason for r in got.rejected)


@given(st.lists(st.fixed_dictionaries({name: st.text(max_size=12) for name in COLUMNS}), max_size=4))
@settings(max_examples=60)
def test_whatever_a_form_says_each_answer_is_kept_or_named(tmp_path_factory, forms):
    answers = [{"answers": [form]} for form in forms]
    content = json.dumps(answers).encode()
    got = read(delivered(tmp_path_factory.mktemp("forms"), content, "a.json"))
    assert len(got.rows) + len(got.rejected) == max(1, len(forms)) or "not JSON" in got.rejected[0].reason
