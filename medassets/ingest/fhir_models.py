"""Whether a FHIR R4 resource is valid, and which field is not.

What belongs here: validation by the models of ``fhir.resources`` (R4B, whose models of these resources are
R4's) and by the required code sets, which those models leave open. What does not: files (``fhir_files``) and
meaning (``fhir_rows``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from medassets.ingest.fhir_files import Located, Reject

#: Resource types that are read; of others only the number is kept.
READ = frozenset(
    {"Patient", "Encounter", "Condition", "Observation", "DocumentReference", "Consent", "Binary"}
)
#: Required bindings (https://hl7.org/fhir/R4/terminologies-valuesets.html), by type and field.
CODES: Mapping[tuple[str, str], frozenset[str]] = {
    ("Patient", "gender"): frozenset({"male", "female", "other", "unknown"}),
    ("Encounter", "status"): frozenset(
        {
            "planned",
            "arrived",
            "triaged",
            "in-progress",
            "onleave",
            "finished",
            "cancelled",
            "entered-in-error",
            "unknown",
        }
    ),
    ("Observation", "status"): frozenset(
        {
            "registered",
            "preliminary",
            "final",
            "amended",
            "corrected",
            "cancelled",
            "entered-in-error",
            "unknown",
        }
    ),
    ("DocumentReference", "status"): frozenset({"current", "superseded", "entered-in-error"}),
    ("Consent", "status"): frozenset(
        {"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"}
    ),
}
#: Fields whose value may be shown where it is wrong: they name nobody.
_SHOWN = frozenset({"status", "gender", "code", "system", "type", "class", "resourceType", "resource_type"})
#: Longest value that is shown.
_SHOWN_LENGTH = 60


def valid(located: Located, reject: Reject) -> bool:
    """Say whether a resource is valid; each wrong field of one that is not is reported."""
    kind = located.kind
    for (of, field), allowed in CODES.items():
        value = located.resource.get(field)
        if of == kind and value is not None and value not in allowed:
            shown = str(value)[:_SHOWN_LENGTH]
            reject(located.rejected(field, shown, "no code of FHIR R4", ", ".join(sorted(allowed))))
            return False
    if not located.id:
        reject(located.rejected("id", None, "the resource has no id", "a logical id"))
        return False
    try:
        _model(kind).model_validate(located.resource)
    except ValidationError as error:
        for problem in error.errors():
            reject(_problem(located, problem))
        return False
    return True


@cache
def _model(kind: str) -> type[BaseModel]:
    """Give the model of a resource type; importing them takes a third of a second."""
    from fhir.resources.R4B import get_fhir_model_class

    model: type[BaseModel] = get_fhir_model_class(kind)
    return model


def _problem(located: Located, problem: Any) -> Any:
    path = ""
    for part in problem["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    path = path.removeprefix(".") or located.kind
    leaf = path.rpartition(".")[2].partition("[")[0]
    value = problem.get("input")
    shown = str(value)[:_SHOWN_LENGTH] if leaf in _SHOWN and isinstance(value, str | int | bool) else None
    reason = " ".join(problem["msg"].removeprefix("Value error, ").split())
    return located.rejected(path, shown, reason, f"{located.kind} of FHIR R4")
