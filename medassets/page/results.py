"""The answer on the page: differentials, what to look for next, printing, and feedback.

What belongs here: widgets around an answer. What does not: its markup (``markup``).
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from medassets.page import markup
from medassets.page.names import condition_name
from medassets.page.session import answer, api, case, is_stale, language
from medassets.page.strings import text

_PRINT = "<script>/* {number} */ setTimeout(() => window.print(), 300);</script>"


def draw() -> None:
    """The last answer, or where it will appear."""
    spoken = language()
    given = answer()
    if given is None:
        st.info(text("no_answer", spoken))
        return
    if is_stale():
        st.warning(text("changed", spoken))
    st.html(f'<div class="ma print-only" lang="{spoken}">{markup.patient(case(), spoken)}</div>')
    parts = sorted(("rare", "common"), key=lambda part: given[part] is None)
    for part in parts:
        st.html(markup.differential(given, part, spoken))
    more = markup.follow_up(given, spoken)
    if more:
        st.html(more)
    _keep(given)
    with st.container(key="feedback", border=True):
        _feedback(given)


def _keep(given: dict[str, Any]) -> None:
    spoken = language()
    with st.container(horizontal=True):
        if st.button(text("print", spoken), key="print"):
            number = st.session_state["printed"] = st.session_state.get("printed", 0) + 1
            st.html(_PRINT.format(number=number), unsafe_allow_javascript=True)
        st.download_button(
            text("download", spoken), markup.document(case(), given, spoken), "differential.html",
            "text/html",
            key="download",
        )  # fmt: skip


def _feedback(given: dict[str, Any]) -> None:
    spoken = language()
    choices = {c["disease_id"]: c["name"] for c in (given["rare"] or {}).get("candidates", [])}
    common = (given["common"] or {}).get("candidates", [])
    choices |= {c["condition"]: condition_name(c["condition"], spoken) for c in common}
    if not choices:
        return
    st.markdown(f"**{text('feedback', spoken)}**")
    chosen = st.selectbox(
        text("feedback_which", spoken), list(choices), format_func=choices.__getitem__, key="feedback_which"
    )
    comment = st.text_input(text("feedback_comment", spoken), max_chars=2000, key="feedback_comment")
    with st.container(horizontal=True):
        for verdict, label in (("confirmed", "confirm"), ("rejected", "reject")):
            if st.button(text(label, spoken), key=label):
                api().feedback(given["prediction_id"], verdict, chosen, comment)
                st.session_state["feedback_kept"] = True
    if st.session_state.get("feedback_kept"):
        st.success(text("feedback_thanks", spoken))
