"""Free text in requests: offsets, negation, conflicts with given terms, and that the text is not kept."""

import pytest
from fastapi.testclient import TestClient

from medassets.serving.http import create_app
from medassets.serving.requests import MAX_TEXT

TEXT = "Erika Mustermann has seizures. No microcephaly."


@pytest.fixture
def client(desk):
    with TestClient(create_app(lambda: desk), raise_server_exceptions=False) as client:
        yield client


def test_stated_and_denied_findings_are_used_with_their_places(client, desk):
    answer = client.post("/v1/diagnose", json={"text": TEXT}).json()
    assert desk.diagnoser.rare.asked[:2] == (["HP:0001250"], ["HP:0000252"])
    for finding, term, used in zip(
        answer["understood"], ("HP:0001250", "HP:0000252"), ("observed", "excluded"), strict=True
    ):
        assert (finding["hpo_id"], finding["used"]) == (term, used)
        assert TEXT[finding["start"] : finding["end"]] == finding["text"]
    assert answer["understood"][1]["negated"] and answer["notes"] == []


def test_the_text_itself_is_nowhere_kept(client, tmp_path, caplog):
    with caplog.at_level("DEBUG"):
        answer = client.post("/v1/diagnose", json={"text": TEXT}).json()
    kept = client.get(f"/v1/predictions/{answer['prediction_id']}").text
    assert "Mustermann" not in kept + caplog.text and '"understood":[' in kept
    assert b"Mustermann" not in b"".join(p.read_bytes() for p in tmp_path.glob("*.db*"))


@pytest.mark.parametrize(
    ("given", "asked", "message"),
    [
        ({"excluded": ["HP:0001250"]}, ([], ["HP:0001250", "HP:0000252"]), "given as excluded"),
        ({"unknown": ["HP:0002125"]}, ([], ["HP:0000252"]), "given as unknown"),
        ({"observed": ["HP:0000252"]}, (["HP:0000252", "HP:0001250"], []), "given as observed"),
    ],
)
def test_what_is_given_wins_over_the_text_and_a_note_says_so(client, desk, given, asked, message):
    answer = client.post("/v1/diagnose", json={"text": TEXT} | given).json()
    assert desk.diagnoser.rare.asked[:2] == asked
    assert len(answer["notes"]) == 1 and message in answer["notes"][0]["message"]


def test_implied_conflicts_are_not_used_either(client, desk):
    answer = client.post("/v1/diagnose", json={"text": "No seizures.", "observed": ["HP:0007359"]}).json()
    assert desk.diagnoser.rare.asked[:2] == (["HP:0007359"], [])
    assert "HP:0007359 is observed" in answer["notes"][0]["message"]
    answer = client.post(
        "/v1/diagnose", json={"text": "Focal-onset seizure.", "excluded": ["HP:0001250"]}
    ).json()
    assert desk.diagnoser.rare.asked[:2] == ([], ["HP:0001250"])
    assert answer["understood"][0]["used"] is None and answer["notes"]


def test_relatives_and_guesses_are_shown_but_not_used(client, desk):
    text = "The mother has microcephaly. Possible seizures."
    answer = client.post("/v1/diagnose", json={"text": text, "observed": ["HP:0007359"]}).json()
    assert [f["state"] for f in answer["understood"]] == ["family", "uncertain"]
    assert desk.diagnoser.rare.asked[:2] == (["HP:0007359"], [])


def test_a_text_without_findings_is_refused_and_not_repeated(client):
    response = client.post("/v1/diagnose", json={"text": "Erika Mustermann came by."})
    assert response.status_code == 400 and response.json()["errors"][0]["field"] == "text"
    assert "Mustermann" not in response.text


def test_annotate_gives_the_findings_alone(client, desk):
    found = client.post("/v1/annotate", json={"text": TEXT}).json()["findings"]
    assert [f["state"] for f in found] == ["observed", "excluded"]
    assert desk.diagnoser.rare.asked is None and list(desk.store.records()) == []
    for body in ({"text": ""}, {"text": "x" * (MAX_TEXT + 1)}, {"text": "x", "language": "de"}, {"text": 3}):
        assert client.post("/v1/annotate", json=body).status_code == 400


def test_a_bundle_without_dictionaries_says_so(client, desk):
    desk.diagnoser.matcher = None
    for path in ("/v1/annotate", "/v1/diagnose"):
        response = client.post(path, json={"text": TEXT})
        assert response.status_code == 400 and "carries no model" in response.text
