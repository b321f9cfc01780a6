"""What a caller may ask: the request's fields, their meaning and their limits.

What belongs here: shape and plausibility of a request. What does not: whether a term or code exists (the
bundle knows that, see ``predictor``) and how an answer looks (``answers``).

A finding is present, absent or unknown; what is not named is unknown unless the caller says that the evidence
is complete. Ages: ISO 8601 durations as in GA4GH Phenopackets v2, or a number of years.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)

Sex = Literal["F", "M", "unknown"]
Language = Literal["en", "es"]

DAYS_PER_YEAR = 365.25
MAX_AGE_YEARS = 130
#: Far above any real patient's findings, low enough to bound the work of a request.
MAX_FINDINGS = 500
#: A long discharge letter has about 10,000 characters.
MAX_TEXT = 20_000
#: Deeper than any phenopacket, FHIR questionnaire or request of ours.
MAX_DEPTH = 64

_ISO_AGE = re.compile(
    r"P(?=\d)(?:(?P<years>\d+(?:\.\d+)?)Y)?(?:(?P<months>\d+(?:\.\d+)?)M)?"
    r"(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
)
_FIELD = re.compile(r"[A-Za-z_]{1,40}")
_DAYS = {"years": DAYS_PER_YEAR, "months": DAYS_PER_YEAR / 12, "weeks": 7.0, "days": 1.0}
_SEXES = {
    "f": "F", "female": "F", "m": "M", "male": "M",
    "u": "unknown", "unknown": "unknown", "unknown_sex": "unknown",
    "other": "unknown", "other_sex": "unknown",
}  # fmt: skip


class RequestError(Exception):
    """The request cannot be answered as it stands.

    Attributes:
        problems: (field, message) of each fault.
    """

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(f"{field}: {message}" for field, message in self.problems))

    @classmethod
    def of(cls, error: ValidationError) -> RequestError:
        """The same faults, each with its field as a path; the values given stay out of the message."""
        return cls((_path(fault["loc"]), _wording(fault["msg"])) for fault in error.errors(include_url=False))


def age_in_days(value: Any) -> float | None:
    """Age in days from years (a number or its text) or an ISO 8601 duration.

    Raises:
        ValueError: neither, or outside 0 to 130 years.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        match = _ISO_AGE.fullmatch(text)
        if match:
            days = sum(float(amount) * _DAYS[unit] for unit, amount in match.groupdict().items() if amount)
        else:
            try:
                days = float(text) * DAYS_PER_YEAR
            except ValueError:
                raise ValueError("give years as a number or an ISO 8601 duration such as P3Y6M") from None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # An integer of hundreds of digits is no float.
        days = float(value) * DAYS_PER_YEAR if abs(value) <= MAX_AGE_YEARS else math.inf
    else:
        raise ValueError("give years as a number or an ISO 8601 duration such as P3Y6M")
    if not math.isfinite(days) or not 0 <= days <= MAX_AGE_YEARS * DAYS_PER_YEAR:
        raise ValueError(f"an age is between 0 and {MAX_AGE_YEARS} years")
    return days


def _sex(value: Any) -> Any:
    if value is None:
        return "unknown"
    if isinstance(value, str) and (known := _SEXES.get(value.strip().lower())):
        return known
    raise ValueError("give F, M or unknown")


def _evidence(value: Any) -> Any:
    return {"present": value} if isinstance(value, list) else value


def _sex_schema(schema: dict[str, Any]) -> None:
    """Document the words that are read as well."""
    schema.pop("type"), schema.pop("enum")
    schema["anyOf"] = [{"type": "string", "enum": ["F", "M", *sorted(_SEXES)]}, {"type": "null"}]


def _evidence_schema(schema: dict[str, Any]) -> None:
    """Document the short form."""
    codes = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 100}}
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, codes | {"maxItems": MAX_FINDINGS}]


#: Without control characters: no code has any, and no text of PostgreSQL holds NUL.
Identifier = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Findings = Annotated[list[Identifier], Field(max_length=MAX_FINDINGS)]


class Evidence(BaseModel):
    """Answers to the common-disease questions as DDXPlus codes: ``E_91`` or ``E_54_@_V_161``."""

    model_config = ConfigDict(extra="forbid")

    present: Findings = Field(default=[], description="codes that apply")
    absent: Findings = Field(default=[], description="base codes that were asked and denied")
    unknown: Findings = Field(default=[], description="base codes that were asked and could not be answered")
    complete: bool = Field(
        default=False, description="codes that are not named are absent, instead of unknown"
    )


class DiagnosisRequest(BaseModel):
    """One patient's findings.

    Raises:
        pydantic.ValidationError: a field is missing, of the wrong type, out of range, or contradicts another.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "age": "P5Y",
                    "sex": "F",
                    "observed": ["HP:0001250", "HP:0001263"],
                    "excluded": ["HP:0000252"],
                },
                {"age": 5, "text": "Recurrent seizures and developmental delay, no microcephaly."},
                {"age": 34, "sex": "M", "evidence": {"present": ["E_53", "E_91"], "absent": ["E_201"]}},
            ]
        },
    )

    observed: Findings = Field(default=[], description="HPO ids of findings that are present")
    excluded: Findings = Field(
        default=[], description="HPO ids of findings that were looked for and are absent"
    )
    unknown: Findings = Field(default=[], description="HPO ids of findings that could not be assessed")
    text: str = Field(
        default="",
        max_length=MAX_TEXT,
        description="findings in words; the answer lists what was understood, the text itself is not kept",
    )
    evidence: Annotated[Evidence, BeforeValidator(_evidence)] = Field(
        default_factory=Evidence,
        description="answers to the common-disease questions; a list means present",
        json_schema_extra=_evidence_schema,
    )
    age: Annotated[float | None, BeforeValidator(age_in_days)] = Field(
        None,
        description="years as a number, or an ISO 8601 duration (P3Y6M, P14D); kept in days",
        json_schema_extra={"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]},
    )
    sex: Annotated[Sex, BeforeValidator(_sex)] = Field(
        "unknown", description="F, M or unknown", json_schema_extra=_sex_schema
    )
    patient_id: Identifier | None = Field(
        default=None, description="the hospital's identifier; only a keyed pseudonym of it is kept"
    )
    top: int = Field(10, ge=1, le=100, description="how many candidates of each differential to return")
    language: Language = Field("en", description="language of the text, of questions and labels")

    @field_serializer("age")
    def _age(self, days: float | None) -> str | None:
        # Written back as a duration: a bare number would be read as years.
        return None if days is None else f"P{days:.3f}D"

    @model_validator(mode="after")
    def _no_contradiction(self) -> DiagnosisRequest:
        _refuse_overlap("observed", self.observed, "excluded", self.excluded)
        _refuse_overlap("observed", self.observed, "unknown", self.unknown)
        _refuse_overlap("excluded", self.excluded, "unknown", self.unknown)
        evidence = self.evidence
        present = [code.split("_@_")[0] for code in evidence.present]
        _refuse_overlap("evidence.present", present, "evidence.absent", evidence.absent)
        _refuse_overlap("evidence.present", present, "evidence.unknown", evidence.unknown)
        _refuse_overlap("evidence.absent", evidence.absent, "evidence.unknown", evidence.unknown)
        return self

    @property
    def has_phenotype(self) -> bool:
        """Whether there is anything to rank rare diseases by."""
        return bool(self.observed or self.excluded)

    @property
    def has_evidence(self) -> bool:
        """Whether there is anything to rank common diseases by."""
        return bool(self.evidence.present or self.evidence.absent)

    @property
    def age_years(self) -> float | None:
        """Age in years, for the common-disease models."""
        return None if self.age is None else self.age / DAYS_PER_YEAR


class TextRequest(BaseModel):
    """A text whose findings are wanted, without an answer to them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "Seizures since birth, no fever.", "language": "en"}]},
    )

    text: str = Field(min_length=1, max_length=MAX_TEXT, description="findings in words; not kept")
    language: Language = Field("en", description="language of the text")


class Feedback(BaseModel):
    """What a clinician found out about an answered prediction."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: Identifier
    verdict: Literal["confirmed", "rejected", "card accepted", "card overridden"] = Field(
        description="of the diagnosis named below"
    )
    diagnosis: Identifier = Field(description="disease id or condition name that is confirmed or rejected")
    comment: str = Field(
        default="", max_length=2000, description="free text; leave patients' names out of it"
    )


M = TypeVar("M", bound=BaseModel)


def parse_request(body: bytes | str | dict[str, Any]) -> DiagnosisRequest:
    """Read a request for a differential; see :func:`parse_body`."""
    return parse_body(DiagnosisRequest, body)


def parse_body(model: type[M], body: bytes | str | dict[str, Any]) -> M:
    """Read a JSON object as a model.

    Raises:
        RequestError: not a JSON object, or a field is wrong; each fault names its field.
    """
    try:
        return model.model_validate(body if isinstance(body, dict) else load_object(body))
    except ValidationError as error:
        raise RequestError.of(error) from None


def load_object(body: bytes | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RequestError: not JSON in UTF-8 (NaN and infinities are not JSON), nested too deeply, or not an
        object.
    """
    too_deep = RequestError([("body", f"is nested too deeply: {MAX_DEPTH} levels are allowed")])
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
        content = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is no character
    except RecursionError:
        raise too_deep from None
    except UnicodeError:
        raise RequestError([("body", "is not JSON in UTF-8")]) from None
    except ValueError as error:
        raise RequestError([("body", f"is not JSON: {error}")]) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        raise too_deep
    if not isinstance(content, dict):
        raise RequestError([("body", "must be a JSON object")])
    return content


def _depth(content: Any) -> int:
    """Levels of nesting; level by level, so that no depth exhausts the stack."""
    level, depth = [content], 0
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)]
    return depth


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_overlap(first: str, ones: list[str], second: str, others: list[str]) -> None:
    both = sorted(set(ones) & set(others))
    if both:
        raise ValueError(f"{', '.join(both)} in both {first} and {second}")


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        if isinstance(step, str) and not _FIELD.fullmatch(step):
            step = "(unknown field)"  # a caller's own words, which may be a name, are not repeated
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path or "body"


def _wording(message: str) -> str:
    return message.removeprefix("Value error, ")
