"""The case: what may stand together, and that its request is one that the API reads."""

from hypothesis import given
from hypothesis import strategies as st

from medassets.page.case import Case, Finding
from medassets.page.names import evidence_finding
from medassets.serving.requests import parse_request

CODES = ["E_91", "E_55", "E_55_@_V_101", "E_55_@_V_89", "E_56", "E_56_@_3", "E_56_@_7"]


@given(st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(["present", "absent", "unknown"]))))
def test_whatever_is_stated_in_whatever_order_is_a_request_without_contradiction(statements):
    case = Case(age=3, age_unit="months", sex="F")
    for code, state in statements:
        case.state(evidence_finding(code if state == "present" else code.split("_@_")[0], state, "en"))
    request = parse_request(case.body("en"))
    if statements:
        code, state = statements[-1]
        kept = getattr(request.evidence, state)
        assert (code if state == "present" else code.split("_@_")[0]) in kept
    assert len([c for c in request.evidence.present if c.startswith("E_56")]) <= 1
    assert 89 < request.age < 93


def test_findings_go_to_their_fields():
    case = Case()
    for number, state in enumerate(("present", "absent", "unknown")):
        case.state(Finding(f"HP:000000{number}", "hpo", "x", state))
    body = case.body("es")
    assert (body["observed"], body["excluded"], body["unknown"]) == (
        ["HP:0000000"],
        ["HP:0000001"],
        ["HP:0000002"],
    )
    assert "age" not in body and not case.is_empty
    case.remove("HP:0000000")
    case.remove("HP:0000001")
    assert case.is_empty


def test_an_answer_can_be_taken_back():
    case = Case()
    case.answer("E_55", [evidence_finding(c, "present", "en") for c in ("E_55_@_V_101", "E_55_@_V_89")])
    case.answer("E_91", [evidence_finding("E_91", "absent", "en")])
    before = case.fingerprint()
    assert case.undo() == "E_91" and case.fingerprint() != before
    assert case.of("evidence", "present") == ["E_55_@_V_101", "E_55_@_V_89"]
    assert case.undo() == "E_55" and case.undo() is None and not case.findings
