"""An answer as HTML: for the page, for paper and for the file that can be downloaded.

What belongs here: turning answers, cases and interviews into markup; every value is escaped. What does not:
colours (``theme``), wording (``strings``) and widgets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from medassets.page.case import Case
from medassets.page.names import condition_name, evidence_name, finding_name
from medassets.page.strings import origin, text
from medassets.page.theme import ANSWER_CSS, PRINT_CSS

_PMID = re.compile(r"PMID:(\d+)")
_DISEASE_PAGES = {
    "OMIM": "https://omim.org/entry/{number}",
    "ORPHA": "https://www.orpha.net/en/disease/detail/{number}",
    "MONDO": "https://monarchinitiative.org/MONDO:{number}",
}
#: Reasons shown of each candidate.
REASONS = 7


def percent(share: float) -> str:
    """A probability as read by people: never 0 % or 100 %."""
    if share >= 0.995:
        return "> 99 %"
    if share < 0.01:
        return "< 1 %"
    return f"{share:.0%}".replace("%", " %")


def disease_link(disease_id: str) -> str:
    """The id, linked to its catalogue where that has an address."""
    prefix, _, number = disease_id.partition(":")
    if prefix not in _DISEASE_PAGES or not number.isdigit():
        return escape(disease_id)
    return _link(_DISEASE_PAGES[prefix].format(number=number), disease_id)


def publication_link(pmid: str) -> str:
    """A publication, linked to PubMed."""
    match = _PMID.fullmatch(pmid)
    return _link(f"https://pubmed.ncbi.nlm.nih.gov/{match[1]}/", pmid) if match else escape(pmid)


def banner(origins: dict[str, list[str]], language: str) -> str:
    """The notice and the origin of the training data, shown at all times."""
    learned = " · ".join(
        f"{text(part, language)}: {', '.join(origin(name, language) for name in names)}"
        for part, names in origins.items()
        if names
    )
    source = f"<span><b>{text('trained_on', language)}</b> — {escape(learned)}</span>" if learned else ""
    return _wrap(
        f'<div class="banner" role="note"><span>{text("notice", language)}</span>{source}</div>', language
    )


def patient(case: Case, language: str) -> str:
    """Age, sex and findings in a few lines."""
    parts = []
    if case.age is not None:
        parts.append(f"{text('age', language)}: {case.age} {text(case.age_unit, language)}")
    parts.append(f"{text('sex', language)}: {text(f'sex_{case.sex}', language)}")
    lines = [f"<p>{'; '.join(parts)}</p>"]
    for state in ("present", "absent", "unknown"):
        names = [finding_name(f, language) for f in case.findings.values() if f.state == state]
        if names:
            lines.append(f"<p><b>{text(state, language)}:</b> {escape(', '.join(names))}</p>")
    return f'<div class="patient">{"".join(lines)}</div>'


def differential(answer: dict[str, Any], part: str, language: str) -> str:
    """One differential: ranked, with bars, confidence, reasons, and the abstention first."""
    found = answer.get(part)
    title = f"<h3>{text(part, language)}"
    if found is None:
        why = text(f"not_answered_{part}", language)
        if language == "en" and "bundle" in answer.get("not_answered", {}).get(part, ""):
            why = answer["not_answered"][part]
        return _wrap(
            f'{title}</h3><p class="small">{text("not_answered", language)}: {escape(why)}.</p>', language
        )
    word = found["confidence"]
    said = f"{text('confidence', language)}: {text(f'confidence_{word}', language)}"
    body = [
        f'{title} <span class="tag {escape(word)}">{said}</span></h3>',
        f'<p class="small">{text("trained_on", language)}: ',
    ]
    body += [escape(", ".join(origin(o, language) for o in answer["training_origin"].get(part, []))), "</p>"]
    body += [_abstention(found, part, language), _red_flags(found, language)]
    rows = [_candidate(c, part, language, opened=i == 0) for i, c in enumerate(found["candidates"])]
    body.append(f'<ol class="ranks">{"".join(rows)}</ol>')
    if part == "common" and found.get("conformal_set") and not found["abstain"]:
        names = ", ".join(condition_name(name, language) for name in found["conformal_set"])
        coverage = percent(found.get("coverage") or 0)
        body.append(
            f'<p class="small">{escape(text("conformal", language, percent=coverage, names=names))}</p>'
        )
    return _wrap("".join(body), language)


def follow_up(answer: dict[str, Any], language: str) -> str:
    """What to look for next, and similar published patients; empty without a rare answer."""
    found = answer.get("rare")
    if found is None:
        return ""
    blocks = []
    if found.get("look_for_next"):
        items = "".join(
            f'<li>{escape(str(item["label"]))} <span class="small">{escape(str(item["hpo_id"]))}</span></li>'
            for item in found["look_for_next"]
        )
        why = f'<p class="small">{text("look_next_why", language)}</p>'
        blocks.append(f"<div><h3>{text('look_next', language)}</h3>{why}<ul>{items}</ul></div>")
    if found.get("similar_cases"):
        items = "".join(_similar(item, language) for item in found["similar_cases"])
        blocks.append(f"<div><h3>{text('similar', language)}</h3><ul>{items}</ul></div>")
    return _wrap(f'<div class="columns">{"".join(blocks)}</div>', language) if blocks else ""


def leading(rows: Iterable[dict[str, Any]], language: str) -> str:
    """Conditions that the interview sees in front."""
    items = [_bar(escape(str(row["label"])), row["probability"], "") for row in rows]
    return _wrap(f'<h3>{text("leading", language)}</h3><ol class="ranks">{"".join(items)}</ol>', language)


def question(asked: dict[str, Any], number: int, language: str) -> str:
    """The question that is asked now; warning signs are marked by a word, not by colour alone."""
    flag = f' <span class="tag alarm">⚑ {text("red_flag", language)}</span>' if asked.get("red_flag") else ""
    head = f'<span class="small">{text("question_number", language, n=number)}</span>{flag}'
    return _wrap(f'{head}<p class="question">{escape(asked["question"])}</p>', language)


def highlighted(written: str, findings: Iterable[dict[str, Any]], language: str) -> str:
    """A text with what was understood of it marked, the term and its state beside the words."""
    parts, place = [], 0
    for found in sorted(findings, key=lambda f: (f["start"], -f["end"])):
        if found["start"] < place:
            continue  # inside a longer finding that is marked already
        note = f"{found['name']}, {text('state_' + found['state'], language)}"
        words = escape(written[found["start"] : found["end"]])
        parts.append(escape(written[place : found["start"]]))
        parts.append(f'<mark class="{escape(found["state"])}">{words} <span>{escape(note)}</span></mark>')
        place = found["end"]
    return _wrap(f'<p class="read">{"".join(parts)}{escape(written[place:])}</p>', language)


def document(case: Case, answer: dict[str, Any], language: str) -> str:
    """The answer as one file that needs nothing else, to be kept or printed."""
    versions = answer["versions"]
    facts = {"prediction": answer["prediction_id"], "at": answer["at"], "bundle": versions["bundle"]}
    facts |= {f"model {name}": version for name, version in versions["models"].items()}
    facts["HPO"] = versions.get("hpo") or "-"
    foot = "; ".join(f"{name} {value}" for name, value in facts.items())
    parts = [
        banner(answer["training_origin"], language), _wrap(patient(case, language), language),
        differential(answer, "rare", language), differential(answer, "common", language),
        follow_up(answer, language), _wrap(f'<p class="small">{escape(foot)}</p>', language),
    ]  # fmt: skip
    style = (
        f"body {{ font-family: sans-serif; max-width: 60rem; margin: 2rem auto; }} {ANSWER_CSS} {PRINT_CSS}"
    )
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>medassets</title>'
        f"<style>{style}</style></head><body><h1>{text('title', language)}</h1>{''.join(parts)}</body></html>"
    )


def _wrap(content: str, language: str) -> str:
    return f'<div class="ma" lang="{language}">{content}</div>'


def _link(address: str, label: str) -> str:
    return f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(label)}</a>'


def _bar(label: str, share: float, below: str) -> str:
    width = max(0.0, min(1.0, float(share)))
    return (
        f'<li><div class="head"><b>{label}</b><span class="percent">{escape(percent(width))}</span></div>'
        f'<div class="track"><div class="bar" style="width:{width:.1%}"></div></div>{below}</li>'
    )


def _candidate(candidate: dict[str, Any], part: str, language: str, *, opened: bool) -> str:
    if part == "rare":
        label = escape(candidate["name"])
        known = f"{candidate['n_known_cases']} {text('known_cases', language)}"
        note = f"{disease_link(candidate['disease_id'])} · {known}"
    else:
        label = escape(condition_name(candidate["condition"], language))
        severity = candidate.get("severity")
        worse = f" · {text('severity', language)} {severity}/5" if severity else ""
        note = f"ICD-10 {escape(str(candidate['icd10'] or '-'))}{worse}"
    reasons = _reasons(candidate.get("explanation", []), language)
    if reasons:
        shown = " open" if opened else ""
        reasons = f"<details{shown}><summary>{text('reasons', language)}</summary>{reasons}</details>"
    return _bar(label, candidate["probability"], f'<span class="small">{note}</span>{reasons}')


def _reasons(explanation: list[dict[str, Any]], language: str) -> str:
    """A table with a bar for each finding; direction stands in words beside the colour."""
    strengths = [abs(float(r.get("log_ratio", r.get("contribution", 0.0)))) for r in explanation]
    largest = max(strengths, default=0.0) or 1.0
    rows = []
    for reason, strength in list(zip(explanation, strengths, strict=True))[:REASONS]:
        code = reason.get("evidence")
        label = evidence_name(code, language, reason["label"]) if code else reason["label"]
        side = "for" if reason["direction"] == "for" else "against"
        state = text(f"state_{reason['state']}", language)
        rows.append(
            f'<tr><td>{escape(label)} <span class="small">({state})</span></td>'
            f'<td class="side"><div class="reason {side}" style="width:{strength / largest:.0%}"></div></td>'
            f'<td class="word {side}">{text(side, language)}</td></tr>'
        )
    return f'<table class="reasons"><tbody>{"".join(rows)}</tbody></table>' if rows else ""


def _abstention(found: dict[str, Any], part: str, language: str) -> str:
    if not found["abstain"]:
        return ""
    if part == "rare" and "unknown_probability" in found:
        why = text("abstain_rare_why", language, percent=percent(found["unknown_probability"]))
    elif part == "rare":
        why = found.get("reason") or ""
    else:
        why = text("abstain_common_why", language)
    what = text(f"abstain_{part}", language)
    return f'<div class="box abstain" role="alert"><b>{what}</b> {escape(why)}</div>'


def _red_flags(found: dict[str, Any], language: str) -> str:
    flags = [f for f in found.get("red_flags", []) if isinstance(f, dict)]
    if not flags:
        return ""
    names = ", ".join(
        f"{condition_name(f['condition'], language)} ({percent(f['probability'])})" for f in flags
    )
    return f'<div class="box alarm"><b>⚑ {text("red_flags", language)}:</b> {escape(names)}</div>'


def _similar(item: dict[str, Any], language: str) -> str:
    links = ", ".join(publication_link(pmid) for pmid in item["pmids"])
    alike = f"{text('similarity', language)} {float(item['similarity']):.2f}"
    return f'<li>{escape(item["disease"])}<br><span class="small">{links} · {alike}</span></li>'
