"""The API as the page sees it: a few calls over HTTP, and errors that a person can act on.

What belongs here: addresses, headers, and telling "not there", "not ready", "not allowed" and "not accepted"
apart. What does not: wording (``strings``) and anything shown.
"""

from __future__ import annotations

from typing import Any

import httpx

TIMEOUT = httpx.Timeout(20.0, connect=3.0)


class ApiError(Exception):
    """The API gave no answer that can be shown.

    Attributes:
        problems: (field, message) of each fault, as the API named them.
    """

    def __init__(self, message: str, problems: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


class ApiUnreachableError(ApiError):
    """Nothing answers at the address."""


class ApiNotReadyError(ApiError):
    """The service runs, but has no bundle that it can serve."""


class ApiDeniedError(ApiError):
    """A key is needed, or this key may not do that."""


class ApiRefusedError(ApiError):
    """The request cannot be answered as it stands; ``problems`` names the fields."""


class Api:
    """Calls of the ``/v1`` interface.

    Args:
        address: for example ``http://127.0.0.1:3000``.
        key: API key, where the installation asks for one.
        transport: for tests; the network where ``None``.
    """

    def __init__(
        self, address: str, key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.address = address.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=self.address, headers=headers, timeout=TIMEOUT, transport=transport, trust_env=False
        )

    def model_card(self) -> dict[str, Any]:
        """What is served, learned from what."""
        return self._call("GET", "/v1/model-card")

    def terms(self, query: str, language: str, limit: int = 5) -> list[dict[str, Any]]:
        """Findings whose names are like the query, best first."""
        found = self._call("GET", "/v1/terms", params={"q": query, "language": language, "limit": limit})
        return list(found["terms"])

    def annotate(self, written: str, language: str) -> list[dict[str, Any]]:
        """The findings that a text names, with their places in it."""
        return list(
            self._call("POST", "/v1/annotate", json={"text": written, "language": language})["findings"]
        )

    def diagnose(self, body: dict[str, Any]) -> dict[str, Any]:
        """The differential of a case."""
        return self._call("POST", "/v1/diagnose", json=body)

    def next_questions(self, body: dict[str, Any], n: int = 1) -> dict[str, Any]:
        """The next questions of the interview, or that it should stop."""
        return self._call("POST", "/v1/next-questions", params={"n": n}, json=body)

    def feedback(self, prediction_id: str, verdict: str, diagnosis: str, comment: str = "") -> dict[str, Any]:
        """Tell whether a diagnosis was confirmed or rejected."""
        body = {
            "prediction_id": prediction_id,
            "verdict": verdict,
            "diagnosis": diagnosis,
            "comment": comment,
        }
        return self._call("POST", "/v1/feedback", json=body)

    def prediction(self, prediction_id: str) -> dict[str, Any]:
        """An answer as it was given."""
        return self._call("GET", f"/v1/predictions/{prediction_id}")

    def lineage(self, prediction_id: str) -> dict[str, Any]:
        """The chain of an answer as PROV-JSON."""
        return self._call("GET", f"/v1/lineage/{prediction_id}")

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One call.

        Raises:
            ApiError: its subclass says what a person can do about it.
        """
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ApiUnreachableError(f"{self.address}: {error}") from error
        if response.is_success:
            return dict(response.json())
        problems = _problems(response)
        message = (
            "; ".join(f"{field}: {text}" for field, text in problems) or f"status {response.status_code}"
        )
        kinds = {401: ApiDeniedError, 403: ApiDeniedError, 503: ApiNotReadyError}
        raise kinds.get(response.status_code, ApiRefusedError)(message, problems)


def _problems(response: httpx.Response) -> list[tuple[str, str]]:
    """The faults of problem details (RFC 9457); none where the body is something else."""
    try:
        content = response.json()
    except ValueError:
        return []
    errors = content.get("errors", []) if isinstance(content, dict) else []
    return [(str(e.get("field", "")), str(e.get("message", ""))) for e in errors if isinstance(e, dict)]
