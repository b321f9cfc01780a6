"""The interview: one question at a time, over the API's stateless exchange.

What belongs here: asking and entering answers. What does not: the choice of questions, which is the API's.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from medassets.page import markup
from medassets.page.case import Finding, State
from medassets.page.names import evidence_finding, finding_name
from medassets.page.session import api, case, language
from medassets.page.strings import text

_BINARY: tuple[tuple[str, State], ...] = (("yes", "present"), ("no", "absent"), ("dont_know", "unknown"))


def draw() -> None:
    """The next question on the left, what it is about on the right."""
    spoken = language()
    current = case()
    found = api().next_questions(current.body(spoken))
    left, right = st.columns([7, 5], gap="large")
    with left:
        if not current.of("evidence", "present"):
            st.caption(text("interview_hint", spoken))
        if found["should_stop"] or not found["questions"]:
            st.success(f"{text('interview_done', spoken)} {found['reason']}")
        else:
            _ask(found["questions"][0])
            st.caption(found["reason"])
        if current.asked:
            st.button(text("undo", spoken), key="undo", type="tertiary", on_click=_undo)
        _history()
    with right:
        st.html(markup.leading(found["leading"], spoken))


def _ask(asked: dict[str, Any]) -> None:
    spoken = language()
    code = asked["code"]
    st.html(markup.question(asked, len(case().asked) + 1, spoken))
    if not asked["values"]:
        with st.container(horizontal=True):
            for label, state in _BINARY:
                st.button(
                    text(label, spoken), key=f"answer_{label}", on_click=_enter, args=(code, [code], state),
                    type="primary" if label == "yes" else "secondary",
                )  # fmt: skip
        return
    names = {value["code"]: value["label"] for value in asked["values"]}
    chosen: list[str]
    if asked["type"] == "C":
        one = st.selectbox(
            text("value_one", spoken),
            list(names),
            index=None,
            format_func=names.__getitem__,
            key=f"values_{code}",
        )
        chosen = [one] if one else []
    else:
        chosen = st.multiselect(
            text("value_many", spoken), list(names), format_func=names.__getitem__, key=f"values_{code}"
        )
    with st.container(horizontal=True):
        buttons: tuple[tuple[str, list[str], State], ...] = (
            ("enter", chosen, "present"), ("none_of_these", [code], "absent"),
            ("dont_know", [code], "unknown"),
        )  # fmt: skip
        for label, codes, state in buttons:
            st.button(
                text(label, spoken), key=f"answer_{label}", on_click=_enter, args=(code, codes, state),
                type="primary" if label == "enter" else "secondary", disabled=not codes,
            )  # fmt: skip


def _enter(code: str, codes: list[str], state: State) -> None:
    findings: list[Finding] = [evidence_finding(one, state, language()) for one in codes]
    case().answer(code, findings)


def _undo() -> None:
    case().undo()


def _history() -> None:
    spoken = language()
    current = case()
    answered = [f for code in current.asked for f in current.findings.values() if f.base == code]
    if answered:
        st.markdown(f"**{text('answered', spoken)}**")
        rows = [
            {text("findings", spoken): finding_name(f, spoken), " ": text(f.state, spoken)}
            for f in reversed(answered)
        ]
        st.table(rows)
