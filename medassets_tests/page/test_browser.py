"""The page in real Chromium: pick, ask, answer, print, with the keyboard only.

The test starts what it needs: the API over small models (``conftest``) and ``medassets ui``. It needs
Debian's package ``chromium`` and Python's ``playwright``.
"""

import shutil
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from medassets.commands.server import free_port, stop_process
from medassets_tests.waiting import listens, until

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT = 30_000


@pytest.fixture(scope="module")
def page_address(api_address):
    port = free_port()
    code = "from medassets.cli import main; main()"
    command = [sys.executable, "-c", code, "ui", "--port", str(port), "--api", api_address]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, f"`medassets ui` ended with {process.returncode}"
        assert httpx.get(f"http://127.0.0.1:{port}/_stcore/health", timeout=60).is_success
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_process(process)


@pytest.fixture
def page(page_address):
    chromium = shutil.which("chromium")
    assert chromium, "no chromium on the path: install it, on Debian with `apt-get install -y chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.goto(page_address, wait_until="domcontentloaded")
        opened.get_by_label("Search a symptom or sign").wait_for(timeout=WAIT)
        yield opened
        browser.close()


def tab_to(page, key, presses=60):
    """Press Tab until the focus is in the widget of a key."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("k => !!document.activeElement.closest('.st-key-' + k)", key):
            return
    raise AssertionError(f"{key} is not reached with {presses} presses of Tab")


def pick(page, typed, key):
    """Search a finding and state it, by keyboard."""
    tab_to(page, "search")
    page.keyboard.type(typed)
    page.keyboard.press("Enter")
    page.locator(f".st-key-{key}").wait_for(timeout=WAIT)
    tab_to(page, key)
    page.keyboard.press("Enter")


def test_pick_ask_answer_and_print_with_the_keyboard_only(page):
    pick(page, "sezure", "present_HP-0001250")
    page.locator(".st-key-remove_HP-0001250").wait_for(timeout=WAIT)
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "rank")
    page.keyboard.press("Enter")
    page.get_by_text("First", exact=True).first.wait_for(timeout=WAIT)

    page.get_by_role("tab", name="Findings and differential").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    question = page.locator(".question")
    question.wait_for(timeout=WAIT)
    asked = question.inner_text()
    tab_to(page, "answer_yes")
    page.keyboard.press("Enter")
    page.get_by_text("Answered so far").wait_for(timeout=WAIT)
    changed = "old => document.querySelector('.question')?.innerText !== old"
    page.wait_for_function(changed, arg=asked, timeout=WAIT)

    page.get_by_role("tab", name="Interview").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.evaluate("window.print = () => { document.title = 'printed'; }")
    tab_to(page, "print")
    page.keyboard.press("Enter")
    page.wait_for_function("document.title === 'printed'", timeout=WAIT)


def test_paper_shows_the_answer_and_no_controls(page):
    pick(page, "sezure", "present_HP-0001250")
    page.locator(".st-key-remove_HP-0001250").wait_for(timeout=WAIT)
    page.locator(".st-key-rank button").click()
    page.get_by_text("First", exact=True).first.wait_for(timeout=WAIT)
    page.emulate_media(media="print")
    assert page.get_by_text("it does not diagnose").is_visible()
    assert page.locator("ol.ranks").first.is_visible() and page.locator(".print-only").first.is_visible()
    assert not page.locator(".st-key-search").is_visible() and not page.locator(".st-key-rank").is_visible()
    assert len(page.pdf()) > 5_000


def test_the_lineage_is_drawn(page):
    pick(page, "sezure", "present_HP-0001250")
    page.locator(".st-key-remove_HP-0001250").wait_for(timeout=WAIT)
    page.locator(".st-key-rank button").click()
    page.get_by_text("First", exact=True).first.wait_for(timeout=WAIT)
    page.get_by_role("tab", name="Audit").click()
    page.locator(".st-key-show_lineage button").click()
    page.locator("svg g.node").first.wait_for(timeout=WAIT)
    assert "5ca1ab1e" in page.locator("svg:has(g.node)").text_content()


#: Texts and their contrast with what lies behind them (WCAG 2.2, 1.4.3), those of disabled controls left out.
LOW_CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const over = (f, b) => [0, 1, 2].map(i => f[i] * f[3] + b[i] * (1 - f[3])).concat(1);
  const light = c => c.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => e ? over(parse(getComputedStyle(e).backgroundColor), behind(e.parentElement))
    : [255, 255, 255, 1];
  const low = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, e = node.parentElement, words = node.textContent.trim();
    if (!words || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (e.closest('[disabled], [aria-disabled=true], style, script, svg')) continue;
    const style = getComputedStyle(e), back = behind(e), front = over(parse(style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) low.push(`${words.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
#: Controls that a screen reader could not name (WCAG 2.2, 4.1.2).
NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, select, [role=tab], a[href]')]
  .filter(e => e.checkVisibility() && e.type !== 'hidden')
  .filter(e => !(e.innerText || '').trim() && !e.getAttribute('aria-label') && !e.title
    && !e.getAttribute('aria-labelledby') && !(e.labels && [...e.labels].some(l => l.innerText.trim())))
  .map(e => e.outerHTML.slice(0, 160))"""


@pytest.mark.parametrize("spoken", ["English", "Español"])
def test_every_text_can_be_read_and_every_control_has_a_name(page, spoken):
    pick(page, "sezure", "present_HP-0001250")
    page.locator(".st-key-remove_HP-0001250").wait_for(timeout=WAIT)
    page.locator(".st-key-rank button").click()
    page.get_by_text("First", exact=True).first.wait_for(timeout=WAIT)
    page.get_by_text(spoken, exact=True).first.click()
    page.wait_for_timeout(1500)
    for tab in range(3):
        page.get_by_role("tab").nth(tab).click()
        page.wait_for_timeout(700)
        assert page.evaluate(LOW_CONTRAST) == []
        assert page.evaluate(NAMELESS) == []
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: #bbb\">pale</p>')")
    assert page.evaluate(LOW_CONTRAST) == ["pale: 1.92"]


def test_a_card_of_the_record_system_leads_to_its_answer(page, page_address, api_address):
    given = httpx.post(f"{api_address}/v1/diagnose", json={"age": 5, "observed": ["HP:0001250"]}).json()
    page.goto(f"{page_address}/?prediction={given['prediction_id']}", wait_until="domcontentloaded")
    page.get_by_text("First", exact=True).first.wait_for(timeout=WAIT)
    expect(page.get_by_label("Age", exact=True)).to_have_value("5", timeout=WAIT)


def test_a_narrow_screen_needs_no_scrolling_to_the_side(page):
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(1000)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 1
