"""The case that is being worked on: findings with their states, age and sex, and the request made of them.

What belongs here: what may stand together, and the body of ``/v1/diagnose`` and ``/v1/next-questions``. What
does not: the search for findings and everything shown. No Streamlit here: these are plain values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

VALUE_SEPARATOR = "_@_"

State = Literal["present", "absent", "unknown"]
Kind = Literal["hpo", "evidence"]
AgeUnit = Literal["years", "months", "days"]
_DESIGNATORS = {"years": "Y", "months": "M", "days": "D"}


@dataclass(frozen=True)
class Finding:
    """One finding as the clinician states it.

    Attributes:
        id: HPO id, or evidence code, with its value where it has one.
        kind: ``hpo`` or ``evidence``.
        label: as the API or the reference table names it.
        state: present, absent or unknown.
        single: a question that has one value at a time.
    """

    id: str
    kind: Kind
    label: str
    state: State
    single: bool = False

    @property
    def base(self) -> str:
        """The question that a value belongs to; the id itself otherwise."""
        return self.id.split(VALUE_SEPARATOR)[0]


@dataclass
class Case:
    """One patient's findings; no name, no identifier."""

    age: int | None = None
    age_unit: AgeUnit = "years"
    sex: str = "unknown"
    findings: dict[str, Finding] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @classmethod
    def of_request(cls, request: Mapping[str, Any], labels: Mapping[str, str]) -> Case:
        """The case that a kept request was made of.

        Args:
            request: as ``/v1/predictions`` gives it: only what was stated, age as days (``P731.000D``).
            labels: names of findings by their ids; an id without one stands for itself.
        """
        case = cls(sex=str(request.get("sex", "unknown")))
        if isinstance(request.get("age"), str):
            days = float(request["age"].strip("PD"))
            case.age, case.age_unit = (int(days / 365.25), "years") if days > 730 else (round(days), "days")
        evidence = request.get("evidence", {})
        stated: list[tuple[Kind, State, list[str]]] = [
            ("hpo", "present", request.get("observed", [])),
            ("hpo", "absent", request.get("excluded", [])),
            ("hpo", "unknown", request.get("unknown", [])),
            ("evidence", "present", evidence.get("present", [])),
            ("evidence", "absent", evidence.get("absent", [])),
            ("evidence", "unknown", evidence.get("unknown", [])),
        ]
        for kind, state, ids in stated:
            for name in ids:
                label = labels.get(name) or labels.get(name.split(VALUE_SEPARATOR)[0], name)
                case.findings[name] = Finding(name, kind, label, state)
        return case

    def state(self, finding: Finding) -> None:
        """State a finding; what contradicts it gives way.

        A value that is present ends "absent" and "unknown" of its question, and the other way round; a
        question with one value at a time keeps the last.
        """
        for other in [f for f in self.findings.values() if f.base == finding.base and f.id != finding.id]:
            values = VALUE_SEPARATOR in other.id and VALUE_SEPARATOR in finding.id
            if not values or finding.single:
                del self.findings[other.id]
        self.findings[finding.id] = finding

    def remove(self, finding_id: str) -> None:
        """Take a finding back."""
        self.findings.pop(finding_id, None)

    def answer(self, code: str, findings: list[Finding]) -> None:
        """Enter the answer to a question of the interview: one or several findings of the same question."""
        for finding in findings:
            self.state(finding)
        self.asked = [*(c for c in self.asked if c != code), code]

    def undo(self) -> str | None:
        """Take back the last answer of the interview; returns its question, ``None`` where there is none."""
        if not self.asked:
            return None
        code = self.asked.pop()
        for finding in [f for f in self.findings.values() if f.base == code]:
            del self.findings[finding.id]
        return code

    def of(self, kind: Kind, state: State) -> list[str]:
        """Ids of one kind in one state, in the order in which they were stated."""
        return [f.id for f in self.findings.values() if f.kind == kind and f.state == state]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to rank by: unknown findings say nothing."""
        return not any(f.state != "unknown" for f in self.findings.values())

    def body(self, language: str, top: int = 8) -> dict[str, Any]:
        """The request of this case."""
        body: dict[str, Any] = {
            "observed": self.of("hpo", "present"),
            "excluded": self.of("hpo", "absent"),
            "unknown": self.of("hpo", "unknown"),
            "evidence": {state: self.of("evidence", state) for state in ("present", "absent", "unknown")},
            "sex": self.sex,
            "language": language,
            "top": top,
        }
        if self.age is not None:
            body["age"] = f"P{self.age}{_DESIGNATORS[self.age_unit]}"
        return body

    def fingerprint(self) -> str:
        """Equal for equal cases: tells whether an answer still belongs to the case."""
        return json.dumps([self.age, self.age_unit, self.sex, *map(asdict, self.findings.values())])
