"""Entering findings: search, common questions, and the list of what was stated.

What belongs here: widgets that change the case. What does not: what may stand together (``case``).
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from medassets.page import markup
from medassets.page.case import Finding, State
from medassets.page.names import evidence_finding, finding_name, topics, values_of
from medassets.page.session import api, ask, case, language
from medassets.page.strings import text

_STATES: tuple[State, ...] = ("present", "absent", "unknown")
_COLOURS = {"present": "green", "absent": "red", "unknown": "gray"}
_ANSWERS: dict[str, State] = {"yes": "present", "no": "absent", "dont_know": "unknown"}


def draw() -> None:
    """Search, the findings, and the button that asks."""
    spoken = language()
    query = st.text_input(
        text("search", spoken), placeholder=text("search_hint", spoken), key="search"
    ).strip()
    if query:
        _results(query)
    with st.expander(text("text", spoken)):
        _text()
    st.markdown(f"**{text('findings', spoken)}**")
    if not case().findings:
        st.caption(text("findings_none", spoken))
    with st.container(key="stated"):
        for finding in list(case().findings.values()):
            _row(finding)
    with st.expander(text("questions", spoken)):
        _questions()
    if st.button(text("rank", spoken), type="primary", key="rank", width="stretch"):
        if case().is_empty:
            st.warning(text("empty_case", spoken))
        else:
            ask()


def _results(query: str) -> None:
    spoken = language()
    found = api().terms(query, spoken)
    if not found:
        st.caption(text("search_none", spoken))
    with st.container(key="found"):
        for term in found:
            _result(term)


def _result(term: dict[str, Any]) -> None:
    spoken = language()
    values = values_of(term["id"], spoken) if term["kind"] == "evidence" else {}
    kind = text(f"search_{term['kind']}", spoken)
    st.markdown(f"{_plain(term['label'])} :small[({kind})]")
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        code = term["id"]
        if values:
            code = st.selectbox(
                text("value", spoken), list(values), format_func=values.__getitem__,
                key=f"value_{term['id']}", label_visibility="collapsed",
            )  # fmt: skip
        for state in _STATES:
            stated = code if state == "present" else term["id"]
            st.button(
                text(state, spoken), key=f"{state}_{term['id']}", on_click=_state, args=(term, stated, state)
            )


def _state(term: dict[str, Any], code: str, state: State) -> None:
    st.session_state["search"] = ""  # the field is ready for the next finding
    if term["kind"] == "evidence":
        case().state(evidence_finding(code, state, language(), term["label"]))
    else:
        case().state(Finding(term["id"], "hpo", term["label"], state))


def _row(finding: Finding) -> None:
    spoken = language()
    name = finding_name(finding, spoken)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":{_COLOURS[finding.state]}-badge[{text(finding.state, spoken)}] {_plain(name)}")
        st.button(
            text("remove", spoken), key=f"remove_{finding.id}", type="tertiary", on_click=case().remove,
            args=(finding.id,),
        )  # fmt: skip


def _text() -> None:
    spoken = language()
    written = st.text_area(
        text("text_box", spoken), max_chars=20_000, key=f"text_{st.session_state['round']}"
    )
    if st.button(text("text_read", spoken), key="text_read", disabled=not written.strip()):
        st.session_state["read"] = (written, api().annotate(written, spoken))
    read, findings = st.session_state.get("read", ("", []))
    if not written.strip() or read != written:
        return
    if not findings:
        st.caption(text("text_none", spoken))
        return
    st.html(markup.highlighted(written, findings, spoken))
    st.button(text("text_add", spoken), key="text_add", on_click=_add, args=(findings,))


def _add(findings: list[dict[str, Any]]) -> None:
    """State what the text observes or excludes; the uncertain and the family's stay out."""
    states: dict[str, State] = {"excluded": "absent", "observed": "present"}
    for said, state in states.items():  # what is observed anywhere outweighs a denial elsewhere
        for found in findings:
            if found["state"] == said:
                case().state(Finding(found["hpo_id"], "hpo", found["name"], state))


def _questions() -> None:
    spoken = language()
    groups = topics()
    group = st.selectbox(
        text("group", spoken), sorted(groups), format_func=lambda g: text(f"group_{g}", spoken),
        index=sorted(groups).index("general"), key="group",
    )  # fmt: skip
    options = ["not_asked", *_ANSWERS]
    for item in groups[group]:
        stated = case().findings.get(item.code)
        now = next((i for i, s in enumerate(_ANSWERS.values(), 1) if stated and stated.state == s), 0)
        # The state is part of the key, so that an answer given elsewhere shows here as well.
        given = st.radio(
            item.question_es if spoken == "es" else item.question_en, options, now, horizontal=True,
            format_func=lambda o: text(o, spoken),
            key=f"ask_{item.code}_{st.session_state['round']}_{now}",
        )  # fmt: skip
        if options.index(given) != now:
            if given == "not_asked":
                case().remove(item.code)
            else:
                case().state(evidence_finding(item.code, _ANSWERS[given], spoken))
            st.rerun()


def _plain(label: str) -> str:
    """A label without meaning for Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>:$~" else c for c in label)
