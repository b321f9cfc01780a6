"""Names of conditions and common-disease evidences in the page's language.

What belongs here: looking names up in the bundled reference table, which holds them in both languages. What
does not: the wording of the page (``strings``) and names of HPO terms (the API gives them).
"""

from __future__ import annotations

from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge, Evidence
from medassets.page.case import Finding, State


def condition_name(name: str, language: str) -> str:
    """A condition's name; the given one where the table has none."""
    knowledge = CommonKnowledge.bundled()
    if name not in knowledge.condition_index:
        return name
    condition = knowledge.conditions[knowledge.condition_index[name]]
    return condition.name_es if language == "es" else condition.name_en


def evidence(code: str) -> Evidence | None:
    """The question of a code, with or without a value; ``None`` where the table has none."""
    knowledge = CommonKnowledge.bundled()
    index = knowledge.evidence_index.get(code.split(VALUE_SEPARATOR)[0])
    return None if index is None else knowledge.evidences[index]


def evidence_name(code: str, language: str, fallback: str = "") -> str:
    """The label of a code, with that of its value."""
    found = evidence(code)
    if found is None:
        return fallback or code
    label = found.label_es if language == "es" else found.label_en
    for value in found.values:
        if code == f"{found.code}{VALUE_SEPARATOR}{value.code}":
            return f"{label}: {value.label_es if language == 'es' else value.label_en}"
    return label


def values_of(code: str, language: str) -> dict[str, str]:
    """The values of a question by their codes; empty for a yes/no question."""
    found = evidence(code)
    if found is None or found.type == "B":
        return {}
    return {
        f"{found.code}{VALUE_SEPARATOR}{v.code}": v.label_es if language == "es" else v.label_en
        for v in found.values
    }


def finding_name(finding: Finding, language: str) -> str:
    """A finding's label in the page's present language."""
    return evidence_name(finding.id, language, finding.label) if finding.kind == "evidence" else finding.label


def evidence_finding(code: str, state: State, language: str, label: str = "") -> Finding:
    """A common-disease finding."""
    found = evidence(code)
    single = found is not None and found.type == "C"
    return Finding(code, "evidence", evidence_name(code, language, label), state, single)


def topics() -> dict[str, list[Evidence]]:
    """The yes/no questions by topic."""
    groups: dict[str, list[Evidence]] = {}
    for item in CommonKnowledge.bundled().evidences:
        if item.type == "B":
            groups.setdefault(item.group, []).append(item)
    return groups
