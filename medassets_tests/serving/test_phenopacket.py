"""Phenopackets become requests; what is wrong is named as it stands in the phenopacket."""

import pytest

from medassets.serving.phenopacket import is_phenopacket, request_of
from medassets.serving.requests import RequestError

PACKET = {
    "id": "p",
    "subject": {"sex": "FEMALE", "timeAtLastEncounter": {"age": {"iso8601duration": "P2Y6M"}}},
    "phenotypicFeatures": [
        {"type": {"id": "HP:0001250", "label": "Seizure"}, "onset": {"age": {"iso8601duration": "P1Y"}}},
        {"type": {"id": "HP:0001250", "label": "Seizure"}},
        {"type": {"id": "HP:0000252"}, "excluded": True},
    ],
    "diseases": [{"term": {"id": "OMIM:1"}}],
    "metaData": {},
}


def test_a_phenopacket_is_read_whole():
    request = request_of(PACKET, top=3)
    assert (request.observed, request.excluded, request.sex) == (["HP:0001250"], ["HP:0000252"], "F")
    assert request.age_years == pytest.approx(2.5) and request.top == 3


def test_phenopackets_and_requests_are_told_apart():
    assert is_phenopacket(PACKET) and is_phenopacket({"phenotypicFeatures": []})
    assert not is_phenopacket({"observed": ["HP:0001250"]})


def test_unknown_sex_and_missing_age_stay_unknown():
    request = request_of({"subject": {"sex": "OTHER_SEX"}, "phenotypicFeatures": []})
    assert request.sex == "unknown" and request.age is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"phenotypicFeatures": {}}, "phenotypicFeatures"),
        ({"phenotypicFeatures": [7]}, "phenotypicFeatures[0].type.id"),
        ({"phenotypicFeatures": [{"type": {}}]}, "phenotypicFeatures[0].type.id"),
        (
            {"phenotypicFeatures": [{"type": {"id": "HP:1"}, "excluded": "yes"}]},
            "phenotypicFeatures[0].excluded",
        ),
        ({"subject": "me"}, "subject"),
        (
            {"subject": {"timeAtLastEncounter": {"age": {"iso8601duration": "old"}}}},
            "subject.timeAtLastEncounter.age.iso8601duration",
        ),
        (
            {"phenotypicFeatures": [{"type": {"id": "HP:1"}}, {"type": {"id": "HP:1"}, "excluded": True}]},
            "phenotypicFeatures",
        ),
    ],
)
def test_faults_are_named_as_in_the_phenopacket(change, field):
    with pytest.raises(RequestError) as error:
        request_of(PACKET | change)
    assert error.value.problems[0][0] == field
