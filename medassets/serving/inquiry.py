"""The stateless interview of the API: what is known in, the next questions in English or Spanish out.

What belongs here: reading what a client states, wording the answer, keeping both in the bundle. What does
not: the choice of questions (``features.inquiry``) and the prediction itself (``serving.common``).

The exchange follows the usual stateless interview of symptom checkers: each request carries everything that
is known (present, absent, unknown), each reply the next questions and whether to stop. It supports a
decision; its ``leading`` list is the reason for a question, not a diagnosis.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medassets.features.answer_tables import AnswerTables, split_evidence
from medassets.features.inquiry import (
    NO,
    NOT_APPLICABLE,
    UNKNOWN,
    YES,
    Answers,
    InquiryEngine,
    InquiryInputError,
    InquirySettings,
    Interview,
)
from medassets.knowledge.common_conditions import VALUE_SEPARATOR

Language = Literal["en", "es"]

REASONS: dict[str, dict[str, str]] = {
    "certain": {
        "en": "One condition explains the answers with the certainty asked for.",
        "es": "Una afección explica las respuestas con la certeza exigida.",
    },
    "nothing_left": {
        "en": "No further question is expected to change the picture.",
        "es": "No se espera que otra pregunta cambie el panorama.",
    },
    "limit": {
        "en": "The limit of questions is reached; the answer remains wide.",
        "es": "Se alcanzó el límite de preguntas; la respuesta sigue siendo amplia.",
    },
    "continue": {
        "en": "A further question is expected to narrow the possibilities.",
        "es": "Se espera que otra pregunta reduzca las posibilidades.",
    },
    "urgent": {
        "en": "A severe condition is still possible: warning signs are asked first.",
        "es": "Aún es posible una afección grave: primero se pregunta por los signos de alarma.",
    },
}
#: Conditions named as the reason for a question.
LEADING = 5


@dataclass(frozen=True)
class Stated:
    """What a client states of one person: evidence strings present, base codes absent, base codes unknown."""

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Inquiry:
    """Engine and wording together.

    Args:
        engine: posterior and choice of questions.
        wording: for each question ``{"label", "question", "values"}`` by language, ``type``, ``group``,
            ``red_flag`` and ``sex``; for each condition its name by language and its severity (see
            ``build_inquiry``).
    """

    def __init__(self, engine: InquiryEngine, wording: dict[str, Any]) -> None:
        self.engine = engine
        self.wording = wording

    @property
    def metadata(self) -> dict[str, Any]:
        """What the interview is made of: settings, number of training patients, origin of their rows."""
        return {
            "params": {**asdict(self.engine.settings), "error_rate": self.engine.tables.error_rate},
            "metrics": {},
            "n_patients": self.engine.tables.n_patients,
            "training_origin": self.wording["training_origin"],
        }

    def with_settings(self, settings: InquirySettings) -> Inquiry:
        """Return the same interview under another stopping rule."""
        return Inquiry(self.engine.with_settings(settings), self.wording)

    def save(self, directory: Path) -> None:
        """Write tables, wording and settings; the same interview gives the same bytes."""
        self.engine.tables.save(directory)
        content = {"settings": asdict(self.engine.settings), "wording": self.wording}
        text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
        (directory / "inquiry.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Inquiry:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: the folder lacks a file.
        """
        content = json.loads((directory / "inquiry.json").read_text(encoding="utf-8"))
        settings = InquirySettings(**content["settings"])
        return cls(
            make_engine(AnswerTables.load(directory), content["wording"], settings), content["wording"]
        )

    def interview(self, stated: Stated, age: float | None, sex: str) -> tuple[Interview, Answers]:
        """Enter everything that is stated of one person.

        Raises:
            InquiryInputError: an unknown code or value, an age out of range, or statements that contradict
                each other.
        """
        engine, tables = self.engine, self.engine.tables
        named, stated = split_evidence(list(stated.present)), self._whole_denials(stated)
        self._check(named, stated)
        answers = engine.encode([stated.present], [stated.unknown])
        interview = engine.start(np.array([np.nan if age is None else float(age)]), [sex])
        codes = {*named, *stated.absent, *stated.unknown}
        for code, values in named.items():  # a detail that is present implies its question
            parent = tables.parent[engine.code_index[code]]
            if parent >= 0 and _positive(self.wording["questions"][code], values):
                codes.add(tables.codes[parent])
                answers.state[0, parent] = YES
        for j in sorted(
            (engine.code_index[code] for code in codes), key=lambda j: (tables.parent[j] >= 0, j)
        ):
            parent = tables.parent[j]
            if parent >= 0 and answers.state[0, parent] != YES:
                interview.known[0, j] = NOT_APPLICABLE
                continue
            if tables.codes[j] in stated.absent and not tables.is_binary[j]:
                answers.state[0, j] = YES  # "none of them" is an answer: the question's default value
                answers.values[0, tables.value_start[j]] = True
            engine.tell(interview, answers, np.array([j]))
        return interview, answers

    def _whole_denials(self, stated: Stated) -> Stated:
        """Check denials of single values and leave them out: they do not answer the question."""
        whole = []
        for item in stated.absent:
            code, separator, _ = item.partition(VALUE_SEPARATOR)
            if not separator:
                whole.append(code)
            elif item not in self.engine.value_index:
                raise InquiryInputError(f"unknown value {item!r}")
            elif item in stated.present:
                raise InquiryInputError(f"{item} is stated both present and absent")
        return replace(stated, absent=tuple(whole))

    def next_questions(
        self,
        present: Iterable[str] = (),
        absent: Iterable[str] = (),
        unknown: Iterable[str] = (),
        age: float | None = None,
        sex: str = "unknown",
        language: Language = "en",
        n: int = 1,
    ) -> dict[str, Any]:
        """Return the next questions to ask and whether to stop.

        Args:
            present: evidences that are present, ``E_91`` or ``E_54_@_V_161`` (bare code of a question with
                values: it applies, its value is not known).
            absent: base codes answered "no" or "none"; a single value that is denied tells nothing here.
            unknown: base codes that were asked and could not be answered.
            age: in years, None where not known.
            sex: F or M; anything else is unknown.
            language: ``en`` or ``es``.
            n: most questions wanted; those of one group stand together.

        Returns:
            ``questions`` (list), ``should_stop``, ``reason`` and ``reason_code``, ``certainty``, ``leading``
            (conditions with probability and severity) and ``n_answered``.

        Raises:
            InquiryInputError: as ``interview``, or a language that is not offered.
        """
        if language not in ("en", "es"):
            raise InquiryInputError(f"language {language!r} is not offered; allowed: en, es")
        stated = Stated(tuple(present), tuple(absent), tuple(unknown))
        interview, _ = self.interview(stated, age, sex)
        information = self.engine.information(interview)
        stop = self.engine.stop_reason(interview, information)[0]
        first, urgent = self.engine.choose(interview, information)
        picked = [] if stop else self._pick(int(first[0]), bool(urgent[0]), interview, information[0], n)
        reason = stop or ("urgent" if urgent[0] else "continue")
        posterior = interview.posterior[0]
        return {
            "questions": [self._word(j, is_urgent, information[0, j], language) for j, is_urgent in picked],
            "should_stop": stop is not None,
            "reason": REASONS[reason][language],
            "reason_code": reason,
            "certainty": float(posterior.max()),
            "leading": [
                {
                    "condition": self.engine.tables.conditions[c],
                    "label": self.wording["conditions"][self.engine.tables.conditions[c]][language],
                    "severity": self.wording["conditions"][self.engine.tables.conditions[c]]["severity"],
                    "probability": float(posterior[c]),
                }
                for c in np.argsort(-posterior, kind="stable")[:LEADING]
            ],
            "n_answered": int(np.isin(interview.known, (NO, YES, UNKNOWN)).sum()),
        }

    def _pick(
        self, first: int, urgent: bool, interview: Interview, information: np.ndarray, n: int
    ) -> list[tuple[int, bool]]:
        """Questions in the order to ask them: the chosen one and its group, then others by information."""
        questions = self.engine.tables.codes
        flagged = (
            self.engine.urgent_questions(interview)[0] if urgent else np.zeros(len(questions), dtype=bool)
        )
        worthwhile = np.flatnonzero(information >= self.engine.settings.min_information)
        rest = sorted(
            (j for j in worthwhile if j != first), key=lambda j: (not flagged[j], -information[j], j)
        )
        chosen = [first, *(int(j) for j in rest)][: max(n, 1)]
        groups = list(dict.fromkeys(self.wording["questions"][questions[j]]["group"] for j in chosen))
        chosen.sort(key=lambda j: groups.index(self.wording["questions"][questions[j]]["group"]))
        return [(j, bool(flagged[j])) for j in chosen]

    def _word(self, j: int, urgent: bool, information: float, language: Language) -> dict[str, Any]:
        code = self.engine.tables.codes[j]
        text = self.wording["questions"][code]
        return {
            "code": code,
            "type": text["type"],
            "group": text["group"],
            "label": text["label"][language],
            "question": text["question"][language],
            "values": [
                {
                    "code": f"{code}{VALUE_SEPARATOR}{value}",
                    "label": self.wording["values"].get(value, {}).get(language, value),
                }
                for value in text["values"]
            ],
            "red_flag": text["red_flag"],
            "asked_first_for_safety": urgent,
            "information": float(information),
        }

    def _check(self, named: dict[str, list[str]], stated: Stated) -> None:
        """Raise where statements contradict each other."""
        questions, tables, index = self.wording["questions"], self.engine.tables, self.engine.code_index
        for code in (*named, *stated.absent, *stated.unknown):
            if code not in index:
                raise InquiryInputError(f"unknown evidence {code!r}")
        absent, unknown = set(stated.absent), set(stated.unknown)
        for code in sorted({*named} & (absent | unknown)):
            where = "absent" if code in absent else "unknown"
            raise InquiryInputError(f"{code} is stated both present and {where}")
        for code in sorted(absent & unknown):
            raise InquiryInputError(f"{code} is stated both absent and unknown")
        for code, values in named.items():
            if questions[code]["type"] == "C" and len(set(values)) > 1:
                raise InquiryInputError(
                    f"{code} has one value at a time, stated: {', '.join(sorted(set(values)))}"
                )
            parent = tables.parent[index[code]]
            if parent >= 0 and tables.codes[parent] in absent and _positive(questions[code], values):
                raise InquiryInputError(
                    f"{code} only applies with {tables.codes[parent]}, which is stated absent"
                )


def _positive(question: dict[str, Any], values: list[str]) -> bool:
    return any(value != question["default"] for value in values)


def make_engine(tables: AnswerTables, wording: dict[str, Any], settings: InquirySettings) -> InquiryEngine:
    """Put severities, red flags and sexes of the wording beside the tables."""
    questions = [wording["questions"][code] for code in tables.codes]
    return InquiryEngine(
        tables,
        np.array([wording["conditions"][name]["severity"] for name in tables.conditions]),
        np.array([question["red_flag"] for question in questions], dtype=bool),
        [question["sex"] for question in questions],
        settings,
    )
