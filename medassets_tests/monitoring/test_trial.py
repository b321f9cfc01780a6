"""What a challenger must show before it serves, and a champion while it is on trial."""

from datetime import timedelta

import pyarrow as pa
import pytest

from medassets.monitoring.challenger import sources_of, with_sources
from medassets.monitoring.records import ehr_cases
from medassets.monitoring.tables import EHR_CASES
from medassets.monitoring.trial import Replay, ab_finding, judge_trial, on_trial, request_of, shadow_findings
from medassets.serving.manifest import DataEntry
from medassets_tests.monitoring.made import START, verdict


def replayed(n: int, same: int, truth: str | None = None, slow: float = 1.0) -> list[Replay]:
    return [
        Replay(f"p{i}", "rare", "OMIM:1", "OMIM:1" if i < same else "OMIM:2", 0.02, 0.02 * slow, truth)
        for i in range(n)
    ]


def passed(replays, agreement=0.8) -> dict[str, bool]:
    return {name: finding.passed for name, finding in shadow_findings(replays, agreement).items()}


def test_the_shadow_holds_agreement_speed_and_what_is_known():
    assert passed([]) == {"shadow": True}
    assert passed(replayed(40, 36)) == {"shadow agreement": True, "shadow speed": True}
    assert passed(replayed(40, 20))["shadow agreement"] is False
    assert passed(replayed(40, 40, slow=3))["shadow speed"] is False
    # Where the truth is known, changes towards it are welcome and others are not.
    assert passed(replayed(40, 0, truth="OMIM:2")) == {"shadow accuracy": True, "shadow speed": True}
    assert passed(replayed(40, 0, truth="OMIM:1"))["shadow accuracy"] is False


def arm(bundle: str, right: int, wrong: int) -> list[dict]:
    words = ["Bronchitis"] * right + ["GERD"] * wrong
    return [verdict(n, "confirmed", word, bundle=bundle) for n, word in enumerate(words)]


@pytest.mark.parametrize(
    ("old", "new", "wanted", "holds"),
    [
        ((30, 10), (28, 12), 20, True),
        ((38, 2), (20, 20), 20, False),
        ((38, 2), (3, 3), 20, False),
        ((38, 2), (0, 0), 0, True),
    ],
    ids=["alike", "worse", "too few yet", "none asked for"],
)
def test_verdicts_on_both_bundles_are_compared(old, new, wanted, holds):
    found = ab_finding([*arm("a", *old), *arm("b", *new)], "a", "b", wanted)
    assert found.passed is holds


def judged(old, new, log=()) -> bool:
    verdicts = [*arm("a", *old), *arm("b", *new)]
    return judge_trial(verdicts, log, "b", "a", labels=20, margin=0.05).passed


def test_a_champion_is_taken_back_only_when_it_is_worse_for_certain():
    assert judged((90, 10), (18, 4))
    assert not judged((90, 10), (12, 12))
    assert judged((90, 10), (0, 10))  # too few yet
    assert judged((0, 0), (0, 40))  # nothing to compare with


def test_a_champion_that_falls_silent_is_taken_back():
    def rows(bundle, n, silent):
        return [
            {
                "bundle": bundle,
                "common_candidates": [],
                "common_abstain": None,
                "rare_candidates": ["OMIM:1"],
                "rare_abstain": i < silent,
            }
            for i in range(n)
        ]

    assert judged((0, 0), (0, 0), [*rows("a", 200, 10), *rows("b", 100, 8)])
    assert not judged((0, 0), (0, 0), [*rows("a", 200, 10), *rows("b", 100, 60)])


def test_a_trial_ends():
    assert on_trial(START, START + timedelta(days=13.9), 14)
    assert not on_trial(START, START + timedelta(days=14.1), 14)


def test_a_row_of_the_log_can_be_asked_again():
    request = request_of(verdict(1, "confirmed", "GERD"))
    assert request.evidence.present == ["E_91"] and request.evidence.absent == ["E_201"]
    assert round(request.age_years) == 32 and request.observed == ["HP:0001250"]


def condition(number: str, coding: str, patient: str = "p", **more) -> dict:
    return {
        "day": "2026-03-02", "condition_id": number, "patient_id": patient, "codings": [coding],
        "verification_status": "confirmed", "age": 10.0, "origin": "ehr", "source_file": "abc.json",
    } | more  # fmt: skip


HPO, OMIM, ORPHA = "http://human-phenotype-ontology.org", "https://omim.org", "http://www.orpha.net"


def phenotype(term: str, patient: str = "p", **more) -> dict:
    return {"patient_id": patient, "hpo_id": term, "negated": False, "uncertain": False, "family": False,
            "confidence": 0.9} | more  # fmt: skip


def test_records_with_a_coded_diagnosis_and_findings_become_cases():
    table = ehr_cases(
        [{"day": "2026-03-02", "patient_id": "p", "sex": "F"}],
        [
            condition("1", f"{OMIM}|154700"),
            condition("2", f"{HPO}|HP:0001166"),
            condition("3", f"{HPO}|HP:0000256", verification_status="refuted"),
        ],
        [
            phenotype("HP:0001083"),
            phenotype("HP:0001250", negated=True),
            phenotype("HP:0000252", family=True),
            phenotype("HP:0002616", confidence=0.3),
        ],
    )
    (case,) = table.to_pylist()
    assert (case["disease_id"], case["sex"], case["provenance"]) == ("OMIM:154700", "F", "abc.json#1")
    assert case["observed"] == ["HP:0001083", "HP:0001166"]
    assert case["excluded"] == ["HP:0000256", "HP:0001250"]


def test_records_that_do_not_tell_make_no_case():
    finding = [phenotype("HP:0001166"), phenotype("HP:0001166", "q"), phenotype("HP:0001166", "r")]
    found = ehr_cases(
        [],
        [
            condition("1", f"{OMIM}|154700"),
            condition("2", f"{ORPHA}|558"),  # two diagnoses
            condition("3", f"{ORPHA}|ORPHA:558", "q", verification_status="provisional"),
            condition("4", "http://snomed.info/sct|1", "r"),
            condition("5", f"{ORPHA}|558", "s"),  # no finding
        ],
        finding,
    )
    assert found.num_rows == 0
    (case,) = ehr_cases([], [condition("1", f"{ORPHA}|Orphanet_558", "q")], finding).to_pylist()
    assert case["disease_id"] == "ORPHA:558" and case["sex"] == "unknown"


def test_sources_of_new_cases_stand_once_and_below_their_table():
    rows = [
        {"case_id": n, "disease_id": "OMIM:1", "observed": [], "excluded": [], "sex": "F", "origin": "ehr",
         "provenance": p}
        for n, p in (("a", "prediction:1"), ("b", "abc.json#7"), ("c", "abc.json#8"))
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=EHR_CASES.schema)
    tables = {"clinical/ehr_cases": table}
    names = [source.name for source in sources_of(tables)]
    assert names == ["sources/feedback/1", "sources/record/abc.json"]
    (entry,) = with_sources([DataEntry(asset="clinical/ehr_cases", derived_from=["x"])], tables)
    assert entry.derived_from == ["sources/feedback/1", "sources/record/abc.json", "x"]
