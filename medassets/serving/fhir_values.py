"""What the value of a FHIR Observation says: yes, no, too low, normal, too high, or nothing that can be used.

What belongs here: values, interpretations, reference ranges, dates and ages of FHIR R4. What does not: which
resources a Bundle holds and what becomes of them (``fhir``), and the meaning of codes (``crosswalk``).

A value is judged by the record's own interpretation, else by its reference range, else, for adults, by the
limits of the crosswalk in the same unit. Codes: HL7 v3 ObservationInterpretation, SNOMED CT qualifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal

from medassets.serving.crosswalk import LabTest
from medassets.serving.requests import RequestError

Judgement = Literal["low", "normal", "high"]
Pair = tuple[str, str]

ADULT_YEARS = 18
_NO = frozenset({"373067005", "260385009", "2667000", "NEG", "ND", "N", "no"})
_YES = frozenset({"373066001", "10828004", "52101004", "POS", "DET", "A", "AA", "yes"})
_HIGH, _LOW = frozenset({"H", "HH", "HU", "H>"}), frozenset({"L", "LL", "LU", "L<"})
_DATES = ("effectiveDateTime", "effectiveInstant", "issued")
#: Ways in which records write the same unit.
_UNITS = {
    "mEq/L": "mmol/L", "K/uL": "10*3/uL", "10^3/uL": "10*3/uL", "10*9/L": "10*3/uL", "°C": "Cel", "C": "Cel",
    "/min": "/min", "{beats}/min": "/min", "{Beats}/min": "/min", "mL/min": "mL/min/{1.73_m2}",
}  # fmt: skip


def pairs(concept: Any) -> list[Pair]:
    """System and code of each coding of a CodeableConcept, or of a list of them."""
    concepts = concept if isinstance(concept, list) else [concept]
    return [
        (str(coding.get("system", "")), str(coding.get("code", "")))
        for one in concepts
        if isinstance(one, dict) and isinstance(one.get("coding"), list)
        for coding in one["coding"]
        if isinstance(coding, dict)
    ]


def codes_of(concept: Any) -> set[str]:
    """The codes of a CodeableConcept, or of a list of them, whatever their system."""
    return {code for _, code in pairs(concept)}


def said(observation: Mapping[str, Any]) -> bool | None:
    """Whether an Observation states its code: a true or false, a coded yes or no, or no value at all."""
    value = observation.get("valueBoolean")
    if isinstance(value, bool):
        return value
    coded = codes_of(observation.get("valueCodeableConcept")) | codes_of(observation.get("interpretation"))
    if coded & _NO:
        return False
    if coded & _YES:
        return True
    return None if any(name.startswith("value") for name in observation) or coded else True


def judged(observation: Mapping[str, Any], test: LabTest, years: float | None, sex: str) -> Judgement | str:
    """Whether a measured value is low, normal or high; else why that cannot be said.

    Args:
        observation: an Observation, or a component of one.
        test: what its code means.
        years: age of the patient, for the limits of adults.
        sex: F, M or unknown.
    """
    interpretation = codes_of(observation.get("interpretation"))
    if interpretation & _HIGH:
        return "high"
    if interpretation & _LOW:
        return "low"
    if "N" in interpretation:
        return "normal"
    quantity = observation.get("valueQuantity")
    value = _number(quantity, "value")
    if value is None:
        return "it has neither an interpretation nor a numeric value"
    ranges = observation.get("referenceRange")
    for one in ranges if isinstance(ranges, list) else []:
        low, high = (
            _number(one.get(side) if isinstance(one, dict) else None, "value") for side in ("low", "high")
        )
        if low is not None or high is not None:
            return _against(value, low, high)
    if test.unit is None:
        return "it has neither an interpretation nor a reference range"
    if years is None or years < ADULT_YEARS:
        return "it has neither an interpretation nor a reference range, and limits here are those of adults"
    assert isinstance(quantity, dict)
    unit = str(quantity.get("code") or quantity.get("unit") or "")
    if _UNITS.get(unit, unit) != test.unit:
        return f"its unit is not {test.unit}"
    below = test.below.get(sex) if isinstance(test.below, Mapping) else test.below
    above = test.above.get(sex) if isinstance(test.above, Mapping) else test.above
    if below is None and above is None:
        return "its limits depend on the sex, which is not known"
    # From the limit on a value is high; a reference range's own end is still normal.
    if above is not None and value >= above:
        return "high"
    return _against(value, below, None)


def components(observation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and content of each component that is a statement of its own."""
    found = observation.get("component")
    for number, one in enumerate(found if isinstance(found, list) else []):
        if isinstance(one, dict):
            yield f".component[{number}]", one


def seen_at(resource: Mapping[str, Any]) -> datetime | None:
    """When an Observation was made, where it says so."""
    for name in _DATES:
        value = resource.get(name)
        if isinstance(value, str):
            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                continue
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def time_of(bundle: Mapping[str, Any]) -> datetime:
    """The Bundle's own time, or the present.

    Raises:
        RequestError: it is no instant.
    """
    if "timestamp" not in bundle:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(bundle["timestamp"])
    except (ValueError, TypeError):
        raise RequestError([("timestamp", "must be an instant, YYYY-MM-DDThh:mm:ssZ")]) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def age_in_days(patient: Mapping[str, Any], at: date) -> int | None:
    """Age of a Patient on a day, or on the day of death before it; of a birth year its middle counts.

    Raises:
        RequestError: the date of birth is none, or lies after the day.
    """
    born = patient.get("birthDate")
    if born is None:
        return None
    birth = _day(born, "Patient.birthDate")
    if isinstance(patient.get("deceasedDateTime"), str):
        at = min(at, _day(patient["deceasedDateTime"][:10], "Patient.deceasedDateTime"))
    if at < birth and len(str(born)) < len("YYYY-MM-DD") and str(born) == at.isoformat()[: len(str(born))]:
        return 0  # born this year or month, day not known
    if at < birth:
        raise RequestError([("Patient.birthDate", "lies after the Bundle's time")])
    return (at - birth).days


def _day(value: Any, field: str) -> date:
    """A FHIR date, which may lack its day or month."""
    text = str(value)
    middle = {len("YYYY"): "-07-01", len("YYYY-MM"): "-15"}.get(len(text), "")
    try:
        return date.fromisoformat(text + middle)
    except ValueError:
        raise RequestError([(field, "must be a date, YYYY-MM-DD, YYYY-MM or YYYY")]) from None


def _against(value: float, low: float | None, high: float | None) -> Judgement:
    if low is not None and value < low:
        return "low"
    return "high" if high is not None and value > high else "normal"


def _number(holder: Any, name: str) -> float | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    # Bounded: an integer of hundreds of digits is no float.
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
        else None
    )
