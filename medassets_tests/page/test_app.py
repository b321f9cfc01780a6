"""The page's flow without a browser, against the real API over small models."""

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from medassets.commands.server import free_port
from medassets.page import app, session


def start(monkeypatch, address):
    monkeypatch.setenv(session.ADDRESS_VARIABLE, address)
    test = AppTest.from_file(app.__file__, default_timeout=30).run()
    assert not test.exception
    return test


@pytest.fixture
def page(api_address, monkeypatch):
    return start(monkeypatch, api_address)


def click(test, key):
    test.button(key=key).click().run()
    assert not test.exception
    return test


def html_of(test):
    return " ".join(element.proto.body for element in test.get("html"))


def test_pick_ask_and_tell(page):
    page.text_input(key="search").set_value("sezure").run()
    click(page, "present_HP:0001250")
    assert page.text_input(key="search").value == ""
    click(page, "rank")
    assert "First" in html_of(page) and "pubmed.ncbi.nlm.nih.gov/1/" in html_of(page)
    click(page, "confirm")
    assert any("kept" in element.value for element in page.success)
    click(page, "show_lineage")
    assert page.dataframe[0].value["id"].str.contains("phenopackets").any()
    click(page, "remove_HP:0001250")
    assert any("changed" in element.value for element in page.warning)


def test_findings_are_read_from_text_and_only_then_added(page):
    page.text_area[0].set_value("Epileptic fit last week, no microcephaly.").run()
    click(page, "text_read")
    assert '<mark class="observed">' in html_of(page) and '<mark class="excluded">' in html_of(page)
    assert not page.session_state["case"].findings
    click(page, "text_add")
    states = {name: finding.state for name, finding in page.session_state["case"].findings.items()}
    assert states == {"HP:0001250": "present", "HP:0000252": "absent"}


def test_nothing_to_go_by_is_said_before_the_api_is_asked(page):
    click(page, "rank")
    assert any("at least one" in element.value for element in page.warning)


def test_the_interview_asks_one_question_at_a_time(page):
    seen = []
    for answer in ("answer_yes", "answer_no", "answer_dont_know"):
        seen.append(page.session_state["case"].asked[:])
        if any(button.key == answer for button in page.button):
            click(page, answer)
    assert len(page.session_state["case"].asked) >= 2
    click(page, "undo")
    assert len(page.session_state["case"].asked) >= 1


def test_spanish(page):
    page.radio(key="language").set_value("es").run()
    assert page.button(key="rank").label == "Ordenar las enfermedades" and "no diagnostica" in html_of(page)


def test_notice_and_origin_stand_before_anything_is_asked(page):
    assert "does not diagnose" in html_of(page) and "published cases" in html_of(page)


def test_what_the_api_refuses_is_shown_with_its_field(page):
    for label, state in (("focal", "present"), ("seizure", "absent")):
        page.text_input(key="search").set_value(label).run()
        click(page, f"{state}_{'HP:0007359' if label == 'focal' else 'HP:0001250'}")
    click(page, "rank")
    assert any("excluded" in element.value for element in page.warning)


def test_an_api_that_is_not_there_is_said_with_the_command(monkeypatch):
    address = f"http://127.0.0.1:{free_port()}"
    test = start(monkeypatch, address)
    assert address in test.error[0].value and test.code[0].value == "medassets serve"


def test_a_new_patient_starts_empty(page):
    page.text_input(key="search").set_value("sezure").run()
    click(page, "absent_HP:0001250")
    click(page, "new_patient")
    assert not page.session_state["case"].findings


def test_a_link_opens_the_answer_with_its_case(api_address, monkeypatch):
    body = {"age": "P5Y", "sex": "F", "observed": ["HP:0001250"], "excluded": ["HP:0000252"]}
    given = httpx.post(f"{api_address}/v1/diagnose", json=body).json()
    monkeypatch.setenv(session.ADDRESS_VARIABLE, api_address)
    test = AppTest.from_file(app.__file__, default_timeout=30)
    test.query_params["prediction"] = given["prediction_id"]
    test.run()
    assert not test.exception and not test.warning
    case = test.session_state["case"]
    assert (case.age, case.age_unit, case.sex) == (5, "years", "F")
    assert {f.id: (f.label, f.state) for f in case.findings.values()} == {
        "HP:0001250": ("Seizure", "present"), "HP:0000252": ("HP:0000252", "absent"),
    }  # fmt: skip
    assert "First" in html_of(test)
    click(test, "new_patient")
    assert not test.session_state["case"].findings and "First" not in html_of(test)


def test_a_link_to_no_answer_says_so(api_address, monkeypatch):
    monkeypatch.setenv(session.ADDRESS_VARIABLE, api_address)
    test = AppTest.from_file(app.__file__, default_timeout=30)
    test.query_params["prediction"] = "none"
    test.run()
    assert not test.exception and any("prediction_id" in element.value for element in test.warning)
