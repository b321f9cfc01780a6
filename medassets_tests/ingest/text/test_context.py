import pytest

from medassets.ingest.text import TextMatcher


def flags(matcher: TextMatcher, text: str, language: str = "en") -> dict[str, str]:
    """What is said of each finding: ``-`` denied, ``?`` open, ``f`` of the family, nothing for present."""
    return {
        finding.name: "-" * finding.negated + "?" * finding.uncertain + "f" * finding.family
        for finding in matcher.find(text, language)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No seizures, fever or ataxia.", {"Seizure": "-", "Fever": "-", "Ataxia": "-"}),
        ("Denies fever but has headache.", {"Fever": "-", "Headache": ""}),
        ("Without fever, he developed a seizure.", {"Fever": "-", "Seizure": ""}),
        ("Negative for ataxia. Headache.", {"Ataxia": "-", "Headache": ""}),
        ("Absence of seizures.", {"Seizure": "-"}),
        ("Absence seizures.", {"Absence seizure": ""}),
        ("Absent thumbs and no cleft palate.", {"Absent thumb": "", "Cleft palate": "-"}),
        ("Seizures were absent.", {"Seizure": "-"}),
        ("Fever was ruled out.", {"Fever": "-"}),
        ("Hypotonia, seizures: absent; fever: present", {"Hypotonia": "", "Seizure": "-", "Fever": ""}),
        ("Fever: no. Ataxia: yes", {"Fever": "-", "Ataxia": ""}),
        ("Neither fever nor headache was noted", {"Fever": "-", "Headache": "-"}),
        ("No evidence of ataxia, although fever was noted", {"Ataxia": "-", "Fever": ""}),
        ("no fever\n- headache", {"Fever": "-", "Headache": ""}),
    ],
)
def test_what_is_denied(matcher: TextMatcher, text: str, expected: dict[str, str]) -> None:
    assert flags(matcher, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "No increase in seizures.",
        "Not only seizures.",
        "Her seizures are not controlled.",
        "no change in seizures",
    ],
)
def test_what_only_looks_like_a_denial(matcher: TextMatcher, text: str) -> None:
    assert flags(matcher, text) == {"Seizure": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Possible ataxia, headache.", {"Ataxia": "?", "Headache": "?"}),
        ("Rule out ataxia. Fever.", {"Ataxia": "?", "Fever": ""}),
        ("Ataxia cannot be excluded.", {"Ataxia": "?"}),
        ("Suspected ataxia but fever is certain", {"Ataxia": "?", "Fever": ""}),
    ],
)
def test_what_is_left_open(matcher: TextMatcher, text: str, expected: dict[str, str]) -> None:
    assert flags(matcher, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Her mother has epilepsy.", {"Seizure": "f"}),
        ("Family history of ataxia and cleft lip.", {"Ataxia": "f", "Cleft lip": "f"}),
        ("Her mother reports seizures.", {"Seizure": ""}),
        ("The mother has ataxia. The boy has fever.", {"Ataxia": "f", "Fever": ""}),
        ("No family history of ataxia", {"Ataxia": "-f"}),
    ],
)
def test_whose_finding_it_is(matcher: TextMatcher, text: str, expected: dict[str, str]) -> None:
    assert flags(matcher, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No presenta fiebre ni vómitos.", {"Fever": "-", "Vomiting": "-"}),
        ("Niega cefalea, pero refiere fiebre.", {"Headache": "-", "Fever": ""}),
        ("Sin convulsiones. Ataxia.", {"Seizure": "-", "Ataxia": ""}),
        ("Ausencia de fiebre", {"Fever": "-"}),
        ("Se descarta ataxia", {"Ataxia": "-"}),
        ("La madre tiene epilepsia", {"Seizure": "f"}),
        ("La madre refiere convulsiones", {"Seizure": ""}),
        ("Posible ataxia", {"Ataxia": "?"}),
        ("No se descarta ataxia", {"Ataxia": "?"}),
        ("Sin aumento de las convulsiones", {"Seizure": ""}),
    ],
)
def test_spanish_denials(matcher: TextMatcher, text: str, expected: dict[str, str]) -> None:
    assert flags(matcher, text, "es") == expected
