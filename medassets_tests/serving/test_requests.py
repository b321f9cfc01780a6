"""Requests: what is read, and which field each refusal names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.serving.requests import DAYS_PER_YEAR, RequestError, age_in_days, parse_request


@pytest.mark.parametrize(
    ("given_age", "days"),
    [
        (2, 2 * DAYS_PER_YEAR),
        ("2", 2 * DAYS_PER_YEAR),
        ("P1Y", DAYS_PER_YEAR),
        ("P14D", 14),
        ("P2W", 14),
        ("P1Y6M", 1.5 * DAYS_PER_YEAR),
        (0, 0),
        (None, None),
    ],
)
def test_ages(given_age, days):
    assert age_in_days(given_age) == (None if days is None else pytest.approx(days))


@pytest.mark.parametrize(
    "age", ["P", "PT1H", "old", -1, 131, "P200Y", float("nan"), float("inf"), True, [3], {}]
)
def test_impossible_ages_name_the_field(age):
    with pytest.raises(RequestError) as error:
        parse_request({"age": age})
    assert error.value.problems[0][0] == "age"


@given(st.integers(0, 129), st.integers(0, 11), st.integers(0, 27))
def test_iso_age_is_the_sum_of_its_parts(years, months, days):
    expected = years * DAYS_PER_YEAR + months * DAYS_PER_YEAR / 12 + days
    assert age_in_days(f"P{years}Y{months}M{days}D") == pytest.approx(expected)


def test_a_whole_request():
    request = parse_request(
        json.dumps(
            {"age": "P3Y", "sex": "female", "observed": ["HP:0001250"], "evidence": ["E_91", "E_54_@_V_161"]}
        )
    )
    assert request.sex == "F" and request.has_phenotype and request.has_evidence
    assert request.age_years == pytest.approx(3)
    assert request.evidence.present == ["E_91", "E_54_@_V_161"]
    assert parse_request({}).sex == "unknown" and not parse_request({}).has_evidence


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"sex": "X"}, "sex"),
        ({"sex": 1}, "sex"),
        ({"top": 0}, "top"),
        ({"observed": "HP:1"}, "observed"),
        ({"observed": ["HP:1", 7]}, "observed[1]"),
        ({"observed": [""]}, "observed[0]"),
        ({"observed": ["HP:1"] * 501}, "observed"),
        ({"evidence": {"present": [None]}}, "evidence.present[0]"),
        ({"evidence": 3}, "evidence"),
        ({"symptoms": []}, "symptoms"),
        ({"language": "de"}, "language"),
    ],
)
def test_wrong_fields_are_named(body, field):
    with pytest.raises(RequestError) as error:
        parse_request(body)
    assert field in [name for name, _ in error.value.problems]


@pytest.mark.parametrize(
    "body",
    [
        {"observed": ["HP:0001250"], "excluded": ["HP:0001250"]},
        {"evidence": {"present": ["E_54_@_V_161"], "absent": ["E_54"]}},
        {"evidence": {"absent": ["E_1"], "unknown": ["E_1"]}},
    ],
)
def test_contradictions_name_the_finding(body):
    with pytest.raises(RequestError, match="in both"):
        parse_request(body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"age": NaN}', "NaN is not a JSON number"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00", "not JSON"),
    ],
)
def test_bodies_that_are_no_object(text, message):
    with pytest.raises(RequestError, match=message):
        parse_request(text)


def test_a_request_written_out_reads_back_the_same():
    request = parse_request({"age": 3, "sex": "F", "observed": ["HP:0001250"], "evidence": ["E_91"]})
    assert parse_request(request.model_dump(mode="json", exclude_defaults=True)) == request


def test_refusals_do_not_repeat_what_was_sent():
    with pytest.raises(RequestError) as error:
        parse_request({"age": "Erika Mustermann", "sex": "Erika Mustermann"})
    assert "Mustermann" not in str(error.value)
