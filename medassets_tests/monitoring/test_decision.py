"""The decision: noise does not trigger, a real fall does, and nothing is asked twice."""

from datetime import timedelta

import pytest

from medassets.monitoring.decision import Evidence, Limits, decide
from medassets_tests.monitoring.made import START, verdict

NOW = START + timedelta(days=7)
SERVED = {"now": NOW, "bundle_made": START, "served": "one"}


def verdicts(right: int, wrong: int, **more) -> list[dict]:
    words = ["Bronchitis"] * right + ["GERD"] * wrong
    return [verdict(n, "confirmed", word, **more) for n, word in enumerate(words)]


@pytest.mark.parametrize(
    ("right", "wrong", "triggers"),
    [(30, 19, False), (42, 8, False), (60, 40, True), (40, 20, True), (95, 5, False)],
    ids=["too few", "below but by chance", "clearly below", "clearly below, fewer", "above"],
)
def test_accuracy_triggers_only_where_it_is_low_for_certain(right, wrong, triggers):
    found = decide(Evidence(verdicts=verdicts(right, wrong), **SERVED))
    assert [r.trigger for r in found.reasons] == (["accuracy"] if triggers else [])
    if triggers:
        assert "below 0.85" in found.reasons[0].text and found.parts() == ("common",)
        (tag,) = found.tags()
        assert tag == "medassets/reason/common-accuracy"


def test_old_verdicts_do_not_count():
    old = verdicts(30, 70, predicted=-60)
    assert not decide(Evidence(verdicts=old, **SERVED)).reasons


@pytest.mark.parametrize(
    ("more", "trigger"),
    [
        ({"drifted": ["common input E_1", "common input E_2", "common missing E_3"]}, "drift"),
        ({"new_cases": ["feedback:1"]}, "new_cases"),
        ({"new_patients": 100}, "new_patients"),
        ({"bundle_made": NOW - timedelta(days=91)}, "schedule"),
    ],
)
def test_each_trigger(more, trigger):
    assert [r.trigger for r in decide(Evidence(**(SERVED | more))).reasons] == [trigger]


def test_limits_are_the_sites():
    evidence = Evidence(
        new_cases=["a"], new_patients=500, **(SERVED | {"bundle_made": NOW - timedelta(days=400)})
    )
    off = Limits(new_cases=0, new_patients=0, every_days=0)
    assert not decide(evidence, off).reasons
    assert not decide(evidence, Limits(new_cases=2, new_patients=501, every_days=0)).reasons


def test_it_rests_after_a_retraining_but_new_cases_may_join_the_memory():
    evidence = Evidence(new_patients=500, new_cases=["a"], last_retrained=NOW - timedelta(hours=3), **SERVED)
    found = decide(evidence)
    assert [r.trigger for r in found.reasons] == ["new_cases"]
    assert "new_patients rests until" in found.rests[0]
    later = decide(Evidence(new_patients=500, last_retrained=NOW - timedelta(hours=25), **SERVED))
    assert [r.trigger for r in later.reasons] == ["new_patients"]


def test_never_two_at_once_and_never_without_a_bundle():
    assert not decide(Evidence(new_cases=["a"], running=True, **SERVED)).reasons
    assert "runs or waits" in decide(Evidence(new_cases=["a"], running=True, **SERVED)).rests[0]
    assert not decide(Evidence(now=NOW, new_cases=["a"])).reasons


def test_the_same_evidence_is_the_same_reason():
    one, other = (decide(Evidence(new_cases=cases, **SERVED)) for cases in (["b", "a"], ["a", "b"]))
    assert one.reasons == other.reasons
    assert one.reasons != decide(Evidence(new_cases=["a", "c"], **SERVED)).reasons
