"""What the page remembers between two interactions of one visitor.

What belongs here: access to Streamlit's session, so that every key stands in one place. What does not: the
values themselves (``case``). Nothing is written to a disk, and nothing outlives the browser's tab.
"""

from __future__ import annotations

import os
from typing import Any

import streamlit as st

from medassets.page.case import Case
from medassets.page.client import Api

ADDRESS_VARIABLE, KEY_VARIABLE = "MEDASSETS_API_URL", "MEDASSETS_API_KEY"


def api_address() -> str:
    """Where the API is: as ``medassets ui`` was told, or the installation's own."""
    from medassets.settings import Settings

    given = os.environ.get(ADDRESS_VARIABLE)
    if given:
        return given
    settings = Settings.model_validate({})
    return f"http://{settings.api_host}:{settings.api_port}"


def api() -> Api:
    """The client, with the visitor's key or the installation's."""
    return _client(api_address(), st.session_state.get("api_key") or os.environ.get(KEY_VARIABLE))


@st.cache_resource(max_entries=32)
def _client(address: str, key: str | None) -> Api:
    return Api(address, key)


def language() -> str:
    """``en`` or ``es``."""
    return str(st.session_state.get("language", "en"))


def case() -> Case:
    """The case that is being worked on."""
    st.session_state.setdefault("round", 0)
    if "case" not in st.session_state:
        st.session_state["case"] = Case()
    found: Case = st.session_state["case"]
    return found


def answer() -> dict[str, Any] | None:
    """The last answer, with the case that it was given for under ``fingerprint``."""
    return st.session_state.get("answer")


def ask() -> None:
    """Have the present case ranked, and keep the answer.

    Raises:
        ApiError: no answer.
    """
    st.session_state["answer"] = api().diagnose(case().body(language()))
    st.session_state["asked_for"] = case().fingerprint()
    st.session_state.pop("feedback_kept", None)


def open_linked() -> None:
    """Show the answer that the page's address names (``?prediction=``), as cards of a record system do, once.

    Raises:
        ApiError: there is no such answer, or the visitor may not see it.
    """
    wanted = st.query_params.get("prediction")
    if not wanted or st.session_state.get("linked") == wanted:
        return
    record = api().prediction(wanted)
    start_over()
    current = Case.of_request(record["request"], _labels(record["answer"]))
    round_ = st.session_state["round"]
    # The sidebar's fields decide age and sex at each drawing, so they are told first.
    remembered: dict[str, Any] = {
        "linked": wanted,
        "case": current,
        "answer": record["answer"],
        "asked_for": current.fingerprint(),
        f"age_unit_{round_}": current.age_unit,
        f"age_{round_}_{current.age_unit}": current.age,
        f"sex_{round_}": current.sex,
    }
    for name, value in remembered.items():
        st.session_state[name] = value


def _labels(given: dict[str, Any]) -> dict[str, str]:
    """Names of findings, as the reasons of an answer have them."""
    parts = [given[part]["candidates"] for part in ("rare", "common") if given[part]]
    reasons = [r for candidates in parts for c in candidates for r in c.get("explanation", [])]
    return {str(r.get("hpo_id") or r.get("evidence")): str(r.get("label")) for r in reasons}


def is_stale() -> bool:
    """Whether the case has changed since the last answer."""
    return st.session_state.get("asked_for") != case().fingerprint()


def start_over() -> None:
    """Forget the patient, keep the language and the key."""
    round_ = st.session_state.get("round", 0)
    for name in ("case", "answer", "asked_for", "feedback_kept", "lineage", "search", "read"):
        st.session_state.pop(name, None)
    st.session_state["round"] = round_ + 1
