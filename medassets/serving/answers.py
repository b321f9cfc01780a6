"""What the service answers: the fields of an answer and what each means.

What belongs here: the answer's shape, as documented in the OpenAPI document. What does not: how the values
come about (``predictor`` and the models' own predictors).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NOTICE = {
    "en": "Decision support for health professionals: no diagnosis; the physician decides.",
    "es": "Apoyo a la decisión para profesionales sanitarios: no es un diagnóstico; decide el médico.",
}
Confidence = Literal["high", "moderate", "low", "none"]


class _Shape(BaseModel):
    # Models may explain more than is promised here.
    model_config = ConfigDict(extra="allow")


class PhenotypeReason(_Shape):
    """What one phenotype says for or against a disease (LIRICAL-like)."""

    hpo_id: str
    label: str
    state: Literal["observed", "excluded"]
    direction: Literal["for", "against"]
    log_ratio: float = Field(description="natural logarithm of the likelihood ratio")


class RareCandidate(_Shape):
    """A rare disease of the differential."""

    disease_id: str
    name: str
    probability: float
    n_known_cases: int = Field(description="published cases of this disease that the bundle knows")
    explanation: list[PhenotypeReason] = []


class SimilarCase(_Shape):
    """A published patient like this one."""

    case_id: str
    disease_id: str
    disease: str
    pmids: list[str]
    similarity: float


class RareAnswer(_Shape):
    """Differential over rare diseases."""

    candidates: list[RareCandidate]
    confidence: Confidence
    abstain: bool = Field(description="nothing that is known fits")
    reason: str | None = Field(description="of the abstention")
    similar_cases: list[SimilarCase] = []
    look_for_next: list[dict[str, Any]] = Field(
        default=[], description="phenotypes that would best separate the candidates"
    )


class CommonCandidate(_Shape):
    """A common condition of the differential."""

    condition: str
    icd10: str | None
    severity: int | None = Field(description="1 (most severe) to 5")
    probability: float
    explanation: list[dict[str, Any]] = []


class CommonAnswer(_Shape):
    """Differential over common conditions."""

    candidates: list[CommonCandidate]
    confidence: Confidence
    abstain: bool
    reason: str | None
    conformal_set: list[str] | None = Field(description="holds the condition with the stated coverage")
    coverage: float | None = Field(default=None, description="stated coverage of the set")
    red_flags: list[Any] = Field(default=[], description="severe conditions that are still possible")


class Mapped(_Shape):
    """A finding that was read as another one."""

    field: str
    given: str
    used: str
    reason: str


class Unmapped(_Shape):
    """A coded statement that was not used, and why."""

    field: str
    code: str
    reason: str
    count: int


class Understood(_Shape):
    """A finding that the text names."""

    hpo_id: str
    name: str
    start: int = Field(description="offset of the first character, counted in code points")
    end: int = Field(description="offset after the last character")
    text: str = Field(description="the words as written")
    negated: bool
    uncertain: bool
    family: bool = Field(description="said of a relative")
    confidence: float = Field(description="that the words mean the term, 0 to 1")
    state: Literal["observed", "excluded", "uncertain", "family"]


class UsedFinding(Understood):
    """A finding of the text, and whether the differential rests on it."""

    used: Literal["observed", "excluded"] | None


class Annotation(_Shape):
    """The findings of a text."""

    findings: list[Understood]
    notice: str


class Note(_Shape):
    """A finding of the text that was left out, and why."""

    field: str
    hpo_id: str
    message: str


class Versions(_Shape):
    """Everything that decided the answer."""

    bundle: str
    bento: str
    models: dict[str, str]
    data: dict[str, int | None] = Field(description="Delta version of each table")
    hpo: str | None
    arm: Literal["champion", "challenger", "shadow"] = Field(
        default="champion", description="which of two bundles answered; shadow: in nobody's sight"
    )
    shadow_of: str | None = Field(default=None, description="prediction that a shadow answer stands beside")


class Answer(_Shape):
    """A differential with its reasons and its origin."""

    prediction_id: str
    at: str = Field(description="UTC, ISO 8601")
    notice: str
    rare: RareAnswer | None
    common: CommonAnswer | None
    not_answered: dict[str, str] = Field(description="why a part is null")
    mapped: list[Mapped] = Field(description="findings that were read as others, none is dropped")
    unmapped: list[Unmapped] = Field(
        default=[], description="statements of the FHIR Bundle asked with that were not used"
    )
    understood: list[UsedFinding] = Field(default=[], description="findings of the text")
    notes: list[Note] = Field(default=[], description="what was decided where findings conflict")
    training_origin: dict[str, list[str]] = Field(
        description="where the patients came from that the models learned from: "
        "published_case, ddxplus, simulated, ctgan, ehr"
    )
    versions: Versions


class Leading(_Shape):
    """A condition that the interview's answers point to; the reason for a question, no diagnosis."""

    condition: str
    label: str
    severity: int
    probability: float


class Questions(_Shape):
    """The next questions of the interview."""

    questions: list[dict[str, Any]]
    should_stop: bool
    reason: str
    reason_code: str
    certainty: float
    leading: list[Leading]
    n_answered: int
    notice: str
    versions: dict[str, Any]


class FoundTerm(_Shape):
    """A finding whose name is like what was typed."""

    id: str
    kind: Literal["hpo", "evidence"]
    label: str
    matched: str
    similarity: float


class FoundTerms(_Shape):
    """Findings by name, best first."""

    terms: list[FoundTerm]


class Kept(_Shape):
    """An answer as it was given, with what was asked."""

    request: dict[str, Any]
    answer: Answer


class KeptFeedback(_Shape):
    """Feedback as it was kept."""

    feedback_id: int
    prediction_id: str


class ModelCard(_Shape):
    """What the models are, what they learned from and how they were measured."""

    notice: str
    bento: str
    manifest: dict[str, Any]
    cards: dict[str, Any]


class ProvDocument(_Shape):
    """A W3C PROV-JSON document."""

    prefix: dict[str, str]
    entity: dict[str, Any]
    activity: dict[str, Any]
    agent: dict[str, Any]
