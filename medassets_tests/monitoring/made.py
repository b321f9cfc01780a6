"""A service that was asked: predictions and verdicts of a made-up store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from medassets.serving.store import PredictionStore, Record

START = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
CONDITIONS = ("Bronchitis", "GERD", "Anemia")


def at(days: float) -> str:
    """An instant after ``START``, as the store writes it."""
    return (START + timedelta(days=days)).isoformat(timespec="milliseconds")


def record(
    number: int, days: float = 0.0, *, bundle: str = "one", first: str = "Bronchitis", **request
) -> Record:
    """One prediction: both parts answered."""
    names = [first, *(name for name in CONDITIONS if name != first)]
    asked: dict[str, Any] = {
        "observed": ["HP:0001250"],
        "excluded": ["HP:0000252"],
        "evidence": {"present": ["E_91"], "absent": ["E_201"]},
        "age": "P12000.000D",
        "sex": "F",
        "patient_id": "pseudonym-of-somebody",
    }
    answer = {
        "common": {
            "candidates": [
                {"condition": n, "probability": p} for n, p in zip(names, (0.8, 0.15, 0.05), strict=True)
            ],
            "confidence": "high",
            "abstain": False,
        },
        "rare": {
            "candidates": [
                {"disease_id": "OMIM:1", "probability": 0.6},
                {"disease_id": "OMIM:2", "probability": 0.2},
            ],
            "confidence": "moderate",
            "abstain": False,
        },
    }
    return Record(f"p{number}", at(days), bundle, "bento:1", asked | request, answer)


def store_of(path, records, actor: str = "clinic") -> PredictionStore:
    store = PredictionStore(path / "predictions.db")
    for one in records:
        store.append(one, actor=actor)
    return store


def verdict(
    number: int, word: str, diagnosis: str, *, days: float = 3.0, predicted: float = 0.0, **more
) -> dict:
    """A row of the feedback table."""
    first = more.pop("first", "Bronchitis")
    rank = more.pop("rank", 1 if diagnosis == first else 2)
    return {
        "feedback_id": number,
        "day": at(days)[:10],
        "at": START + timedelta(days=days),
        "prediction_id": more.pop("prediction_id", f"p{number}"),
        "predicted_at": START + timedelta(days=predicted),
        "bundle": "one",
        "verdict": word,
        "diagnosis": diagnosis,
        "part": "common",
        "rank": rank,
        "probability": 0.8,
        "first": first,
        "abstain": False,
        "site": "clinic",
        "sex": "F",
        "age_years": 32.0,
        "age_group": "30-44",
        "observed": ["HP:0001250"],
        "excluded": [],
        "present": ["E_91"],
        "absent": ["E_201"],
        "unanswered": [],
        "complete": False,
    } | more
