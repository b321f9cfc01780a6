"""Contrast of every pair of colours, by the formula of WCAG 2.2."""

import pytest

from medassets.page.theme import PAGE_CSS, SHAPE_PAIRS, TEXT_PAIRS, contrast


def test_the_formula_gives_the_specifications_values():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("pair", TEXT_PAIRS)
def test_text_meets_aa(pair):
    assert contrast(*pair) >= 4.5


@pytest.mark.parametrize("pair", SHAPE_PAIRS)
def test_shapes_meet_aa(pair):
    assert contrast(*pair) >= 3


def test_focus_is_visible_and_paper_has_its_own_rules():
    assert "focus-visible" in PAGE_CSS and "@media print" in PAGE_CSS
