"""The page itself, which `medassets ui` runs: its parts, and what to do where the API is missing.

What belongs here: header, sidebar, tabs, and messages about the API. What does not: the parts
(``entry``, ``results``, ``interview``, ``audit``), wording (``strings``) and colours (``theme``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from medassets.page import audit, entry, interview, markup, results
from medassets.page.case import AgeUnit
from medassets.page.client import Api, ApiDeniedError, ApiError, ApiNotReadyError, ApiUnreachableError
from medassets.page.session import api, api_address, case, language, open_linked, start_over
from medassets.page.strings import LANGUAGES, text
from medassets.page.theme import PAGE_CSS


def main() -> None:
    """Draw the page once; Streamlit calls this at every interaction."""
    st.set_page_config(page_title="medassets", page_icon="⚕", layout="wide", initial_sidebar_state="expanded")
    st.html(f"<style>{PAGE_CSS}</style>")
    with answered_by_api(language()):
        open_linked()
    with st.sidebar:
        _sidebar()
    spoken = language()
    st.html(f'<h1 class="ma-title" lang="{spoken}"><span>medassets</span> · {text("title", spoken)}</h1>')
    with answered_by_api(spoken):
        st.html(markup.banner(_origins(api(), api_address()), spoken))
        tabs = st.tabs([text(name, spoken) for name in ("tab_case", "tab_interview", "tab_audit")])
        parts = (_case_tab, interview.draw, audit.draw)
        for tab, draw in zip(tabs, parts, strict=True):
            with tab, answered_by_api(spoken):
                draw()


@contextmanager
def answered_by_api(spoken: str) -> Iterator[None]:
    """Say what to do where the API gives no answer, instead of failing."""
    try:
        yield
    except ApiUnreachableError:
        st.error(text("api_down", spoken, address=api_address()))
        st.write(text("api_start", spoken))
        st.code("medassets serve", language="bash")
        st.button(text("retry", spoken), key="retry")
    except ApiNotReadyError as error:
        st.error(text("api_not_ready", spoken))
        st.write(text("api_make", spoken))
        st.code("medassets run\nmedassets serve", language="bash")
        st.caption(str(error))
    except ApiDeniedError:
        st.session_state["needs_key"] = True
        st.warning(text("api_denied", spoken))
    except ApiError as error:
        lines = [f"- `{field}` {message}" for field, message in error.problems] or [str(error)]
        st.warning("\n".join([text("api_refused", spoken), "", *lines]))


def _sidebar() -> None:
    spoken = language()
    st.radio(
        text("language", spoken),
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        horizontal=True,
        key="language",
    )
    current = case()
    st.subheader(text("patient", spoken))
    st.caption(text("no_names", spoken))
    round_ = st.session_state["round"]
    amount, unit = st.columns([1, 1])
    highest: dict[AgeUnit, int] = {"years": 120, "months": 240, "days": 730}
    chosen = unit.selectbox(
        text("age_unit", spoken),
        list(highest),
        format_func=lambda u: text(u, spoken),
        key=f"age_unit_{round_}",
    )
    current.age_unit = chosen or "years"
    current.age = amount.number_input(
        text("age", spoken),
        0,
        highest[current.age_unit],
        value=None,
        step=1,
        key=f"age_{round_}_{current.age_unit}",
    )
    current.sex = st.radio(
        text("sex", spoken),
        ["unknown", "F", "M"],
        format_func=lambda s: text(f"sex_{s}", spoken),
        key=f"sex_{round_}",
    )
    if st.session_state.get("needs_key"):
        st.text_input(text("api_key", spoken), type="password", key="api_key")
    st.button(text("new_patient", spoken), on_click=start_over, key="new_patient")


@st.cache_data(ttl=60, show_spinner=False)
def _origins(_api: Api, address: str) -> dict[str, list[str]]:
    models = _api.model_card()["manifest"]["models"]
    found: dict[str, set[str]] = {"rare": set(), "common": set()}
    for model in models:
        for part, names in found.items():
            if model["name"].startswith(part):
                names.update(model["training_origin"])
    return {part: sorted(names) for part, names in found.items()}


def _case_tab() -> None:
    left, right = st.columns([5, 7], gap="large")
    with left, st.container(key="entry"), answered_by_api(language()):
        entry.draw()
    with right:
        results.draw()


if __name__ == "__main__":
    main()
