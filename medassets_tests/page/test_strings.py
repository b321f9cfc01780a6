"""Both languages say everything, with the same placeholders."""

import re

import pytest

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.page.strings import TEXTS, origin, text


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_are_written_with_the_same_placeholders(key):
    english, spanish = TEXTS[key]
    assert english.strip() and spanish.strip()
    assert re.findall(r"{\w+}", english) == re.findall(r"{\w+}", spanish)


def test_every_topic_of_the_questions_has_a_name():
    assert {f"group_{e.group}" for e in CommonKnowledge.bundled().evidences} <= set(TEXTS)


def test_text_and_origin():
    assert text("question_number", "es", n=3) == "Pregunta 3"
    assert "synthesized" in origin("ddxplus", "en") and origin("other", "en") == "other"
