"""A request becomes an answer that states its origin; what is unknown or contradictory is refused by name."""

import pytest

from medassets.serving.answers import Answer
from medassets.serving.bundle import BundleError
from medassets.serving.predictor import Diagnoser
from medassets.serving.requests import RequestError, parse_request
from medassets_tests.serving.conftest import FakeRare, fake_bundle


def diagnose(diagnoser, **request):
    return diagnoser.diagnose(parse_request(request), bento="diagnosis:1")


def problems(diagnoser, **request):
    with pytest.raises(RequestError) as error:
        diagnose(diagnoser, **request)
    return error.value.problems


def test_both_differentials_with_versions_and_origin(diagnoser):
    answer = diagnose(diagnoser, observed=["HP:0001250"], age="P2Y", sex="F", evidence=["E_91"])
    assert Answer.model_validate(answer).rare.candidates[0].disease_id == "OMIM:1"
    assert answer["common"]["candidates"][0]["condition"] == "Bronchitis"
    assert answer["versions"]["models"] == {"rare_ranker": "4", "common_ensemble": "2"}
    assert answer["versions"]["data"] == {"clinical/rare_cases": 7}
    assert answer["versions"]["bento"] == "diagnosis:1" and answer["versions"]["hpo"] == "2026-01-01"
    assert answer["training_origin"] == {"rare": ["published_case"], "common": ["simulated"]}
    assert "no diagnosis" in answer["notice"]
    assert diagnoser.rare.asked == (["HP:0001250"], [], pytest.approx(730.5), "F", 10)
    assert diagnoser.common.asked == (["E_91"], [], [], pytest.approx(2), "F", 10)


def test_each_answer_has_its_own_id(diagnoser):
    first, second = (diagnose(diagnoser, observed=["HP:0001250"]) for _ in range(2))
    assert first["prediction_id"] != second["prediction_id"]


def test_a_part_that_was_not_asked_for_says_why_it_is_null(diagnoser):
    answer = diagnose(diagnoser, observed=["HP:0001250"])
    assert answer["common"] is None and answer["not_answered"] == {"common": "no evidence codes given"}
    answer = diagnose(diagnoser, evidence=["E_91"])
    assert answer["rare"] is None and answer["not_answered"] == {"rare": "no HPO terms given"}


def test_a_model_that_the_bundle_lacks_says_so(bundle, ontology):
    answer = diagnose(Diagnoser(bundle, rare=FakeRare(ontology)), observed=["HP:0001250"], evidence=["E_91"])
    assert "carries no model" in answer["not_answered"]["common"]
    with pytest.raises(BundleError, match="neither a rare nor a common model"):
        Diagnoser(bundle)


def test_complete_evidence_leaves_the_rest_absent(diagnoser):
    diagnose(diagnoser, evidence={"present": ["E_91"], "complete": True})
    assert diagnoser.common.asked[2] is None
    diagnose(diagnoser, evidence={"present": ["E_91"], "absent": ["E_201"], "unknown": ["E_53"]})
    assert diagnoser.common.asked[:3] == (["E_91"], ["E_53"], ["E_201"])


def test_alternative_ids_are_mapped_and_listed(diagnoser):
    answer = diagnose(diagnoser, observed=["HP:0002125", "HP:0001250"])
    assert diagnoser.rare.asked[0] == ["HP:0001250"]
    assert answer["mapped"] == [
        {"field": "observed[0]", "given": "HP:0002125", "used": "HP:0001250",
         "reason": "obsolete or alternative id of Seizure"}
    ]  # fmt: skip


def test_nothing_to_go_by(diagnoser):
    assert problems(diagnoser, age=3)[0][0] == "observed"


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (
            {"observed": ["HP:0001250", "HP:9999999"]},
            "observed[1]",
            "HP:9999999 is no term of HPO 2026-01-01",
        ),
        ({"observed": ["HP:0001250"], "excluded": ["seizure"]}, "excluded[0]", "no term of HPO"),
        ({"observed": ["HP:0000005"]}, "observed[0]", "no phenotypic abnormality"),
        ({"observed": ["HP:0001250"], "unknown": ["HP:1"]}, "unknown[0]", "no term"),
        (
            {"observed": ["HP:0007359"], "excluded": ["HP:0001250"]},
            "excluded",
            "is implied by observed HP:0007359",
        ),
        ({"evidence": ["E_9999"]}, "evidence.present", "unknown evidence"),
        ({"evidence": {"present": ["E_91"], "absent": ["nope"]}}, "evidence.absent", "no such evidence"),
        (
            {"evidence": {"present": ["E_91"], "unknown": ["nope"], "complete": True}},
            "evidence.unknown",
            "no such evidence",
        ),
        ({"evidence": {"present": ["E_91_@_V_1"]}}, "evidence.present", "takes no value"),
    ],
)
def test_refusals_name_field_and_reason(diagnoser, request_, field, words):
    found = dict(problems(diagnoser, **request_))
    assert words in found[field]


def test_all_faults_are_told_at_once(diagnoser):
    assert len(problems(diagnoser, observed=["HP:1", "HP:2"], excluded=["HP:3"])) == 3


def test_an_interview_that_the_bundle_lacks_is_refused(diagnoser):
    with pytest.raises(RequestError, match="carries no model"):
        diagnoser.next_questions(parse_request({"evidence": ["E_91"]}))


def test_the_model_card_carries_manifest_and_cards(diagnoser):
    card = diagnoser.model_card()
    assert card["cards"]["rare"] == {"intended_use": "decision support"}
    assert card["manifest"]["models"][0]["name"] == "rare_ranker" and "files" not in card["manifest"]


@pytest.mark.parametrize("part", ["rare", "common", "inquiry"])
def test_a_part_of_another_version_is_named(tmp_path, part):
    bundle = fake_bundle(tmp_path, parts={part: lambda d: (d / "old.json").write_text("{}")})
    with pytest.raises(BundleError, match=f"cannot read part '{part}'"):
        Diagnoser.load(bundle.directory)


def test_a_bundle_is_verified_on_loading(bundle):
    (bundle.directory / "rare" / "x.json").write_text("[]")
    with pytest.raises(BundleError, match=r"rare/x\.json"):
        Diagnoser.load(bundle.directory)
