"""The auditor's view: one answer, and the way back to the sums of its source files.

What belongs here: looking an answer up and drawing its lineage. What does not: the graph itself (``graph``).
"""

from __future__ import annotations

import json

import streamlit as st

from medassets.page import graph
from medassets.page.session import answer, api, language
from medassets.page.strings import text


def draw() -> None:
    """A field for the prediction, its lineage as graph and table."""
    spoken = language()
    st.caption(text("lineage_intro", spoken))
    last = (answer() or {}).get("prediction_id", "")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(text("prediction_id", spoken), last, key=f"prediction_{last}").strip()
        if st.button(text("show_lineage", spoken), key="show_lineage", disabled=not wanted):
            st.session_state["lineage"] = (wanted, api().lineage(wanted))
    shown, prov = st.session_state.get("lineage", ("", None))
    if prov is None or shown != wanted:
        return
    st.graphviz_chart(graph.dot(prov, spoken), width="stretch", alt=text("lineage_alt", spoken))
    st.dataframe(graph.rows(prov, spoken), hide_index=True)
    st.download_button(
        text("download_prov", spoken), json.dumps(prov, indent=1), f"lineage-{shown}.json",
        "application/json", key="download_prov",
    )  # fmt: skip
