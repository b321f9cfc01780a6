"""Ages and onsets of phenopackets as days since birth.

What belongs here: ISO 8601 durations and the phenopacket ``TimeElement`` in its forms (age, age range,
gestational age, onset term, timestamps). What does not: whether an age fits the rest of a case
(``medassets.cohorts.rules``).

A year counts 365.25 days and a month a twelfth of it, weeks 7; fractions are allowed in every part, as ISO
8601-2 does.
"""

from __future__ import annotations

import re
from datetime import datetime

YEAR = 365.25
MONTH = YEAR / 12
MAX_AGE_YEARS = 130
PREGNANCY_DAYS = 315  # 45 weeks
_ALLOWED = f"an ISO 8601 duration such as P3Y2M, P10D, P6W, from 0 to {MAX_AGE_YEARS} years"
_DURATION = re.compile(
    r"^P(?=\d|T\d)(?:(\d+(?:[.,]\d+)?)Y)?(?:(\d+(?:[.,]\d+)?)M)?(?:(\d+(?:[.,]\d+)?)W)?(?:(\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?=\d)(?:(\d+(?:[.,]\d+)?)H)?(?:(\d+(?:[.,]\d+)?)M)?(?:(\d+(?:[.,]\d+)?)S)?)?$"
)
_UNITS = (YEAR, MONTH, 7.0, 1.0, 1 / 24, 1 / 1440, 1 / 86400)

#: First age, in days, of HPO's onset terms; what begins before birth counts as day 0.
ONSET_TERMS = {
    "HP:0030674": 0.0,  # Antenatal
    "HP:0011460": 0.0,  # Embryonal
    "HP:0011461": 0.0,  # Fetal
    "HP:0034199": 0.0,  # Late first trimester
    "HP:0034198": 0.0,  # Second trimester
    "HP:0034197": 0.0,  # Third trimester
    "HP:0003577": 0.0,  # Congenital
    "HP:0003623": 0.0,  # Neonatal
    "HP:0410280": 28.0,  # Pediatric
    "HP:0003593": 28.0,  # Infantile
    "HP:0011463": 1 * YEAR,  # Childhood
    "HP:0003621": 5 * YEAR,  # Juvenile
    "HP:0003581": 16 * YEAR,  # Adult
    "HP:0011462": 16 * YEAR,  # Young adult
    "HP:0025708": 16 * YEAR,  # Early young adult
    "HP:0025709": 19 * YEAR,  # Intermediate young adult
    "HP:0025710": 25 * YEAR,  # Late young adult
    "HP:0003596": 40 * YEAR,  # Middle age
    "HP:0003584": 60 * YEAR,  # Late
}


class AgeError(ValueError):
    """An age that cannot be used, with the reason and what is allowed."""

    def __init__(self, reason: str, allowed: str = _ALLOWED) -> None:
        super().__init__(f"{reason}; allowed: {allowed}")
        self.reason = reason
        self.allowed = allowed


def duration_days(text: object) -> int:
    """Return an ISO 8601 duration in whole days, rounded down.

    Raises:
        AgeError: not a duration, or longer than ``MAX_AGE_YEARS``.
    """
    match = _DURATION.match(text) if isinstance(text, str) else None
    if match is None:
        raise AgeError("not an ISO 8601 duration")
    # The small term keeps exact sums such as 12 months from falling a day short.
    days = sum(
        float(part.replace(",", ".")) * unit
        for part, unit in zip(match.groups(), _UNITS, strict=True)
        if part
    )
    if days > MAX_AGE_YEARS * YEAR:
        raise AgeError(f"an age of {days / YEAR:.1f} years is impossible")
    return int(days + 1e-6)


def onset_days(element: object, birth: datetime | None = None) -> int:
    """Return a phenopacket TimeElement in days since birth.

    A range gives its middle, an onset term the first age of its range, a gestational age 0 (before birth), an
    interval its start. Timestamps need the date of birth.

    Raises:
        AgeError: the element has none of the known forms, or an impossible age.
    """
    forms = "age, ageRange, gestationalAge, ontologyClass, timestamp or interval"
    if isinstance(element, str):
        return duration_days(element)
    if not isinstance(element, dict):
        raise AgeError("not a time element", forms)
    if "age" in element or "iso8601duration" in element:
        age = element.get("age", element)
        return duration_days(age.get("iso8601duration") if isinstance(age, dict) else age)
    if "ageRange" in element:
        return _range_days(element["ageRange"])
    if "gestationalAge" in element:
        return _gestational(element["gestationalAge"])
    if "ontologyClass" in element:
        term = element["ontologyClass"]
        term_id = term.get("id") if isinstance(term, dict) else None
        if not isinstance(term_id, str) or term_id not in ONSET_TERMS:
            raise AgeError(
                "not an HPO onset term with an age", "an onset term under HP:0003674 that names an age"
            )
        return int(ONSET_TERMS[term_id])
    if "timestamp" in element:
        return _since(birth, element["timestamp"])
    if "interval" in element:
        interval = element["interval"]
        return _since(birth, interval.get("start") if isinstance(interval, dict) else None)
    raise AgeError("no known form of time element", forms)


def timestamp(text: object) -> datetime:
    """Return an ISO 8601 timestamp, without its zone.

    Raises:
        AgeError: not a timestamp.
    """
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=None)
    except ValueError as error:
        raise AgeError("not a timestamp", "ISO 8601, for example 2019-04-01T00:00:00Z") from error


def _since(birth: datetime | None, text: object) -> int:
    """Return the days from birth to a timestamp; what lies in the pregnancy before counts as 0."""
    moment = timestamp(text)
    if birth is None:
        raise AgeError(
            "a timestamp gives no age without subject.dateOfBirth", "an age, or a date of birth beside it"
        )
    days = (moment - birth).days
    if days < -PREGNANCY_DAYS or days > MAX_AGE_YEARS * YEAR:
        raise AgeError(
            f"{days} days after birth is impossible", f"0 to {MAX_AGE_YEARS} years after the date of birth"
        )
    return max(days, 0)


def _range_days(value: object) -> int:
    """Return the middle of an age range."""
    if not isinstance(value, dict):
        raise AgeError("not an age range", "start and end, each an ISO 8601 duration")
    start, end = (
        duration_days(bound.get("iso8601duration") if isinstance(bound, dict) else bound)
        for bound in (value.get("start"), value.get("end"))
    )
    if end < start:
        raise AgeError(f"the range ends ({end} days) before it starts ({start} days)", "start not after end")
    return (start + end) // 2


def _gestational(value: object) -> int:
    """Check a gestational age (weeks 0 to 45, days 0 to 6) and return 0: it lies before birth."""
    weeks, days = (value.get("weeks"), value.get("days", 0)) if isinstance(value, dict) else (None, None)
    if not isinstance(weeks, int) or not isinstance(days, int) or not 0 <= weeks <= 45 or not 0 <= days <= 6:
        raise AgeError("impossible gestational age", "weeks 0 to 45 and days 0 to 6")
    return 0
