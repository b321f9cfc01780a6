"""Which question to ask next about a common condition, and when to stop asking.

What belongs here: the naive Bayes posterior over what is known, the expected information of each question,
and the rule that ends an interview; all stateless, for one person or for many at once, in numpy only because
the API runs it. What does not: the API's wording (``serving.inquiry``), the tables
(``features.answer_tables``), the interviews that measure it (``evaluation.inquiry``).

The expected information is the mutual information between condition and answer (Lindley 1956), in nats. A
question that only applies after another was answered "yes" is not asked before; the first one is credited
with what the second would tell, divided by the questions that it would take. With ``safety_first`` the
questions that reveal emergencies come first while a condition of severity 1 or 2 is still possible.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medassets.features.answer_tables import SEXES, AnswerTables, FloatArray, age_group, split_evidence

IntArray = NDArray[np.int64]

#: States of a question in ``Interview.known``.
OPEN, NO, YES, UNKNOWN, NOT_APPLICABLE = -1, 0, 1, 2, 3
#: Oldest age that is believed; DDXPlus's training patients end at 109 years.
MAX_AGE = 120
SEVERE = 2
_TINY = 1e-300


class InquiryInputError(ValueError):
    """What is stated of a person is unreadable or contradicts itself; the message names code and reason."""


@dataclass(frozen=True)
class InquirySettings:
    """When to stop, and what comes first.

    Attributes:
        certainty: stop when the leading condition's posterior reaches this.
        min_information: stop when no question is expected to tell more than this many nats.
        max_questions: stop after so many answers, the initial complaint included.
        safety_first: ask red-flag questions first while a severe condition is possible.
        severe_floor: posterior from which a condition of severity 1 or 2 counts as still possible.
        urgent_share: a red-flag question comes first only if it tells this share of what the best one would.
    """

    certainty: float = 0.98
    min_information: float = 0.01
    max_questions: int = 40
    safety_first: bool = True
    severe_floor: float = 0.02
    urgent_share: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.certainty <= 1 or self.min_information < 0 or self.max_questions < 1:
            raise ValueError(f"{self}: certainty in (0, 1], min_information >= 0, max_questions >= 1")


@dataclass(frozen=True)
class Answers:
    """What persons would answer: ``state`` (n, q) int8 YES, NO or UNKNOWN; ``values`` (n, v) bool."""

    state: NDArray[np.int8]
    values: NDArray[np.bool_]


@dataclass
class Interview:
    """What is known of n persons: ``log_posterior`` (n, c), not normalised; ``known`` (n, q) int8."""

    log_posterior: FloatArray
    known: NDArray[np.int8]

    @property
    def posterior(self) -> FloatArray:
        """(n, c) probabilities; rows sum to 1."""
        p = np.exp(self.log_posterior - self.log_posterior.max(1, keepdims=True))
        return np.asarray(p / p.sum(1, keepdims=True))


class InquiryEngine:
    """Posterior, information and choice of questions over ``AnswerTables``.

    Args:
        tables: P(answer | condition).
        severity: (c,) 1 (life-threatening) to 5 (mild).
        red_flag: (q,) bool, questions that reveal emergencies.
        question_sex: for each question the only sex that it applies to, or None.
        settings: stopping rule.
    """

    def __init__(
        self,
        tables: AnswerTables,
        severity: NDArray[np.integer],
        red_flag: NDArray[np.bool_],
        question_sex: Sequence[str | None],
        settings: InquirySettings | None = None,
    ) -> None:
        self.tables = tables
        self.settings = settings or InquirySettings()
        self.severe = np.asarray(severity) <= SEVERE
        self.red_flag = np.asarray(red_flag, dtype=bool)
        self.code_index = {code: j for j, code in enumerate(tables.codes)}
        self.value_index = {value: v for v, value in enumerate(tables.values)}
        self._excluded = {s: np.array([w is not None and w != s for w in question_sex], bool) for s in SEXES}
        self._starts = tables.outcome_start[:-1]
        self._entropy, self._entropy_given = (
            np.add.reduceat(-block * np.log(np.maximum(block, _TINY)), self._starts, axis=1)
            for block in (tables.outcome, tables.outcome_given)
        )
        self._positive = 1 - tables.outcome[:, self._starts]
        self._children = np.flatnonzero(tables.parent >= 0)

    def with_settings(self, settings: InquirySettings) -> InquiryEngine:
        """Return the same engine under another stopping rule; tables are shared."""
        other = copy.copy(self)
        other.settings = settings
        return other

    def start(self, age: NDArray[np.floating], sex: Sequence[str]) -> Interview:
        """Open interviews from age in years (n,), NaN where not known, and sex (n,), F, M or anything else.

        Raises:
            InquiryInputError: an age below 0 or above ``MAX_AGE``.
        """
        age = np.asarray(age, dtype=np.float64)
        wrong = (age < 0) | (age > MAX_AGE)
        if wrong.any():
            raise InquiryInputError(f"age {age[wrong][0]:g} is outside 0 to {MAX_AGE} years")
        tables = self.tables
        log_posterior = np.repeat(tables.log_prior[None], len(age), axis=0)
        has_age = ~np.isnan(age)
        log_posterior[has_age] += tables.log_age[:, age_group(age[has_age])].T
        known = np.full((len(age), len(tables.codes)), OPEN, dtype=np.int8)
        for s, name in enumerate(SEXES):
            rows = np.array([value == name for value in sex], dtype=bool)
            log_posterior[rows] += tables.log_sex[:, s]
            known[np.ix_(rows, self._excluded[name])] = NOT_APPLICABLE
        return Interview(log_posterior, known)

    def encode(self, evidence: Sequence[Sequence[str]], unknown: Sequence[Sequence[str]]) -> Answers:
        """Turn records into answers: what is not named is "no" (yes/no questions) or not known (the others).

        Args:
            evidence: of each person the evidences named (``E_91``, ``E_54_@_V_161``).
            unknown: of each person the base codes whose answer is not known.

        Raises:
            InquiryInputError: a code or value that the tables do not have.
        """
        tables = self.tables
        state = np.where(tables.is_binary, NO, UNKNOWN).astype(np.int8)[None].repeat(len(evidence), axis=0)
        values = np.zeros((len(evidence), len(tables.values)), dtype=bool)
        for i, (named, missing) in enumerate(zip(evidence, unknown, strict=True)):
            for code in missing:
                state[i, self._question(code)] = UNKNOWN
            for code, given in split_evidence(list(named)).items():
                j = self._question(code)
                if given and tables.is_binary[j]:
                    raise InquiryInputError(
                        f"{code} is a yes/no question and takes no value, got {given[0]!r}"
                    )
                for value in given:
                    values[i, self._value(code, value, j)] = True
                state[i, j] = YES if given or tables.is_binary[j] else UNKNOWN
        return Answers(state, values)

    def tell(
        self, interview: Interview, answers: Answers, questions: IntArray, rows: IntArray | None = None
    ) -> None:
        """Enter the answers of persons ``rows`` (default all) to one question each, in place."""
        rows = np.arange(len(questions)) if rows is None else rows
        tables = self.tables
        for j in np.unique(questions):
            who = rows[questions == j]
            state = answers.state[who, j]
            interview.known[who, j] = state
            told = who[state != UNKNOWN]
            if tables.is_binary[j]:
                column = tables.outcome_start[j] + answers.state[told, j]
                interview.log_posterior[told] += np.log(tables.outcome[:, column]).T
            else:
                span = slice(tables.value_start[j], tables.value_start[j + 1])
                interview.log_posterior[told] += tables.base_weight[:, j]
                interview.log_posterior[told] += answers.values[told, span] @ tables.value_weight[:, span].T
            closed = who[state != YES]
            interview.known[np.ix_(closed, np.flatnonzero(tables.parent == j))] = NOT_APPLICABLE

    def information(self, interview: Interview) -> FloatArray:
        """(n, q) nats that each question is expected to tell; -1 where it cannot be asked now."""
        tables, known, posterior = self.tables, interview.known, interview.posterior
        gain = self._gain(posterior, tables.outcome, self._entropy)
        whatever = gain.copy()
        children = self._children
        if len(children):
            given = self._gain(posterior, tables.outcome_given, self._entropy_given)[:, children]
            parents = tables.parent[children]
            gain[:, children] = np.where(known[:, parents] == YES, given, -1)
            two_steps = whatever[:, children] / (1 + posterior @ self._positive[:, parents])
            two_steps[(known[:, children] != OPEN) | ~tables.askable[children]] = -1
            for column, parent in enumerate(parents):
                gain[:, parent] = np.maximum(gain[:, parent], two_steps[:, column])
        gain[(known != OPEN) | ~tables.askable] = -1
        # The same person gets the same question alone and in a batch, where sums are rounded otherwise.
        return np.round(gain, 9)

    def choose(self, interview: Interview, information: FloatArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Pick the next question of each person.

        Args:
            interview: n persons.
            information: as ``information`` returns it.

        Returns:
            Questions (n,), and whether each comes first for safety's sake (n,).
        """
        best = information.argmax(1)
        urgent = np.zeros(len(best), dtype=bool)
        if self.settings.safety_first:
            best_gain = information.max(1, keepdims=True)
            enough = np.maximum(self.settings.min_information, self.settings.urgent_share * best_gain)
            flagged = self.urgent_questions(interview) & (information >= enough)
            urgent = np.asarray(flagged.any(1))
            best = np.where(urgent, np.where(flagged, information, -1).argmax(1), best)
        return best.astype(np.int64), urgent

    def urgent_questions(self, interview: Interview) -> NDArray[np.bool_]:
        """(n, q) red-flag questions that a fifth or more of a possible severe condition's patients affirm."""
        possible = (interview.posterior >= self.settings.severe_floor) & self.severe
        typical = (self._positive >= 0.2) & self.red_flag
        return np.asarray(possible.astype(np.float64) @ typical > 0)

    def stop_reason(self, interview: Interview, information: FloatArray) -> list[str | None]:
        """Why each interview ends: ``certain``, ``nothing_left``, ``limit``; None where it goes on."""
        top = interview.posterior.max(1)
        answered = ((interview.known >= NO) & (interview.known <= UNKNOWN)).sum(1)
        reasons: list[str | None] = []
        for p, left, count in zip(top, information.max(1), answered, strict=True):
            if p >= self.settings.certainty:
                reasons.append("certain")
            elif left < self.settings.min_information:
                reasons.append("nothing_left")
            else:
                reasons.append("limit" if count >= self.settings.max_questions else None)
        return reasons

    def _gain(self, posterior: FloatArray, outcome: FloatArray, entropy: FloatArray) -> FloatArray:
        mixed = posterior @ outcome
        total = np.add.reduceat(-mixed * np.log(np.maximum(mixed, _TINY)), self._starts, axis=1)
        return np.asarray(total - posterior @ entropy)

    def _question(self, code: str) -> int:
        if code not in self.code_index:
            raise InquiryInputError(f"unknown evidence {code!r}")
        return self.code_index[code]

    def _value(self, code: str, value: str, j: int) -> int:
        name = f"{code}_@_{value}"
        if name not in self.value_index:
            span = slice(self.tables.value_start[j], self.tables.value_start[j + 1])
            allowed = ", ".join(v.rpartition("_@_")[2] for v in self.tables.values[span])
            raise InquiryInputError(f"{code} has no value {value!r}; allowed: {allowed}")
        return self.value_index[name]
