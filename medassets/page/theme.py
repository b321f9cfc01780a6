"""Colours and style sheets of the page, on screen and on paper.

What belongs here: colours, the pairs in which they are used, CSS. What does not: what is shown.

Every pair of text and background meets WCAG 2.2, success criterion 1.4.3 (AA, 4.5:1), and bars meet 1.4.11
(3:1); the tests compute both from the lists below with the specification's formula.
"""

from __future__ import annotations

INK, MUTED, PAPER, MIST, LINE = "#14213d", "#475569", "#ffffff", "#f4f7fa", "#cbd5e1"
PRIMARY, PRIMARY_PALE = "#0f6b66", "#e6f4f2"
FOR, AGAINST = "#166534", "#9a3412"
ALARM, ALARM_PALE = "#b3261e", "#fdf0ef"
CAUTION, CAUTION_PALE = "#7c3a06", "#fff6e6"

#: (text, background) of everything that is read.
TEXT_PAIRS = [
    (INK, PAPER), (INK, MIST), (MUTED, PAPER), (MUTED, MIST), (PAPER, PRIMARY), (PRIMARY, PAPER),
    (PRIMARY, PRIMARY_PALE), (PRIMARY, MIST), (FOR, PAPER), (AGAINST, PAPER), (ALARM, ALARM_PALE),
    (ALARM, PAPER),
    (CAUTION, CAUTION_PALE), (INK, PRIMARY_PALE), (INK, ALARM_PALE), (INK, CAUTION_PALE),
]  # fmt: skip
#: (shape, background) of bars and borders that carry meaning.
SHAPE_PAIRS = [(PRIMARY, PAPER), (PRIMARY, MIST), (FOR, PAPER), (AGAINST, PAPER), (ALARM, PAPER)]

#: Options of ``streamlit run`` that give its own widgets the same colours.
STREAMLIT_THEME = {
    "theme.base": "light",
    "theme.primaryColor": PRIMARY,
    "theme.backgroundColor": PAPER,
    "theme.secondaryBackgroundColor": MIST,
    "theme.textColor": INK,
    "theme.borderColor": LINE,
    "theme.baseRadius": "6px",
}


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours ``#rrggbb`` as WCAG 2.2 defines it, from 1 to 21."""
    bright, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


#: What an answer looks like, on the page and in the file that can be downloaded.
ANSWER_CSS = f"""
.ma {{ color: {INK}; font-size: 0.95rem; line-height: 1.4; }}
.ma h3 {{ font-size: 1.1rem; margin: 0.2rem 0 0.3rem; padding: 0; color: {INK}; }}
.ma h4 {{ font-size: 0.9rem; margin: 0.6rem 0 0.2rem; padding: 0; color: {MUTED}; font-weight: 600; }}
.ma p {{ margin: 0.2rem 0; }}
.ma a {{ color: {PRIMARY}; text-decoration: underline; }}
.ma ul, .ma ol {{ margin: 0; padding-left: 1.2rem; }}
.ma ol.ranks {{ list-style: none; padding: 0; }}
.ma ol.ranks > li {{ border-top: 1px solid {LINE}; padding: 0.4rem 0; margin: 0; break-inside: avoid; }}
.ma .head {{ display: flex; justify-content: space-between; align-items: baseline; gap: 0.8rem; }}
.ma .head b {{ font-weight: 600; }}
.ma .percent {{ font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }}
.ma .small, .ma summary {{ font-size: 0.84rem; color: {MUTED}; }}
.ma summary {{ cursor: pointer; width: fit-content; }}
.ma summary:focus-visible, .ma a:focus-visible {{ outline: 3px solid {PRIMARY}; outline-offset: 2px; }}
.ma .track {{ background: {MIST}; border-radius: 4px; height: 9px; margin: 0.25rem 0; }}
.ma .bar {{ background: {PRIMARY}; border-radius: 4px; height: 9px; min-width: 2px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
.ma .tag {{ display: inline-block; border: 1px solid {LINE}; border-radius: 10px; padding: 0 0.55rem;
  font-size: 0.8rem; color: {MUTED}; background: {PAPER}; white-space: nowrap; }}
.ma .tag.high {{ color: {PRIMARY}; background: {PRIMARY_PALE}; border-color: {PRIMARY}; }}
.ma .tag.low, .ma .tag.none {{ color: {CAUTION}; background: {CAUTION_PALE}; border-color: {CAUTION}; }}
.ma .tag.alarm {{ color: {ALARM}; background: {ALARM_PALE}; border-color: {ALARM}; }}
.ma table.reasons {{ border-collapse: collapse; width: 100%; margin: 0.2rem 0 0.3rem; border: 0; }}
.ma table.reasons td {{ padding: 0.1rem 0.4rem 0.1rem 0; border: 0; font-size: 0.86rem;
    vertical-align: middle; }}
.ma table.reasons td.side {{ width: 34%; }}
.ma .reason {{ height: 8px; border-radius: 3px; min-width: 2px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }}
.ma .reason.for {{ background: {FOR}; }} .ma .reason.against {{ background: {AGAINST}; }}
.ma .word.for {{ color: {FOR}; }} .ma .word.against {{ color: {AGAINST}; }}
.ma .box {{ border-left: 5px solid {PRIMARY}; background: {PRIMARY_PALE}; padding: 0.5rem 0.8rem;
  border-radius: 4px; margin: 0.4rem 0; break-inside: avoid; }}
.ma .box.abstain {{ border-color: {CAUTION}; background: {CAUTION_PALE}; color: {CAUTION}; }}
.ma .box.abstain b {{ font-size: 1.05rem; }}
.ma .box.alarm {{ border-color: {ALARM}; background: {ALARM_PALE}; color: {ALARM}; }}
.ma .columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 0 1.6rem; }}
.ma .banner {{ display: flex; flex-wrap: wrap; gap: 0.1rem 1.2rem; font-size: 0.86rem; padding: 0.4rem 0.8rem;
  border: 1px solid {LINE}; border-left: 5px solid {PRIMARY}; border-radius: 4px; background: {MIST}; }}
.ma .question {{ font-size: 1.45rem; line-height: 1.3; font-weight: 600; margin: 0.4rem 0; }}
.ma p.read {{ white-space: pre-wrap; line-height: 1.9; }}
.ma mark {{ background: {PRIMARY_PALE}; color: {INK}; border-bottom: 2px solid {PRIMARY};
  padding: 0 0.2rem; }}
.ma mark span {{ font-size: 0.78rem; color: {PRIMARY}; }}
.ma mark.excluded {{ background: {ALARM_PALE}; border-color: {ALARM}; }}
.ma mark.excluded span {{ color: {ALARM}; }}
.ma mark.uncertain, .ma mark.family {{ background: {CAUTION_PALE}; border-color: {CAUTION}; }}
.ma mark.uncertain span, .ma mark.family span {{ color: {CAUTION}; }}
.ma .patient {{ margin: 0.3rem 0; }}
"""

#: The rest of the screen; ``data-testid`` are Streamlit's own names of its parts.
SCREEN_CSS = f"""
.block-container {{ padding-top: 1.6rem; padding-bottom: 2rem; max-width: 84rem; }}
[data-testid="stHeader"] {{ background: transparent; height: 0; }}
[data-testid="stElementContainer"]:has(.banner) {{ position: sticky; top: 0; z-index: 50;
    background: {PAPER}; }}
.ma-title {{ font-size: 1.5rem; font-weight: 700; color: {INK}; margin: 0; padding: 0; line-height: 1.2; }}
.ma-title span {{ color: {PRIMARY}; }}
[data-testid="stSidebar"] [data-testid="stVerticalBlock"] {{ gap: 0.7rem; }}
[data-testid="stMain"] button[kind="secondary"],
    [data-testid="stMain"] button[kind="primary"] {{ min-height: 2.1rem;
  padding: 0.1rem 0.7rem; }}
button:focus-visible, input:focus-visible, [role="tab"]:focus-visible, [role="radio"]:focus-visible {{
  outline: 3px solid {PRIMARY} !important; outline-offset: 2px; }}
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p {{ color: {MUTED} !important;
    opacity: 1; }}
[data-testid="stSidebarHeader"] {{ height: 1.5rem; min-height: 0; margin: 0; }}
.st-key-entry, .st-key-entry [data-testid="stVerticalBlock"] {{ gap: 0.6rem; }}
.st-key-found {{ border: 1px solid {LINE}; border-radius: 6px; padding: 0.6rem 0.8rem;
    background: {MIST}; gap: 0.2rem; }}
.st-key-stated {{ gap: 0.1rem !important; }}
.st-key-entry p {{ margin: 0; }}
.st-key-entry [data-testid="stMarkdownContainer"] {{ margin-bottom: 0; }}
.print-only {{ display: none; }}
"""

PRINT_CSS = """
@page { margin: 14mm; }
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stToolbar"], [role="tablist"],
  .stButton, .stDownloadButton, .stTextInput, .stTextArea, .stSelectbox, .stRadio, .stNumberInput,
    .stExpander,
  .st-key-entry, .st-key-feedback, [data-testid="stAlert"],
    [data-testid="stStatusWidget"] { display: none !important; }
  .print-only { display: block !important; }
  [data-testid="stAppViewContainer"], [data-testid="stMain"], [data-testid="stApp"], .block-container {
    display: block !important; position: static !important; overflow: visible !important;
    height: auto !important;
    max-width: none !important; padding: 0 !important; }
  [data-testid="stColumn"]:has(.st-key-entry) { display: none !important; }
  [data-testid="stElementContainer"]:has(.banner) { position: static; }
  .ma details::details-content { content-visibility: visible !important; height: auto !important; }
}
"""

PAGE_CSS = SCREEN_CSS + ANSWER_CSS + PRINT_CSS
