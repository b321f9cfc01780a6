"""The regulatory technical file of a release: what a notified body or a hospital's review asks for.

What belongs here: laying out intended use, data, risks, validation results, changes, the TRIPOD+AI table and
the privacy checklist. What does not: measuring, and gathering from the graph. Every figure and check result
is handed in; the tables of risks, items and rules lie in ``data/*.toml`` with the code that answers each.

Order of sections: Annex II of the Medical Device Regulation (EU) 2017/745. Risks: ISO 14971:2019. Reporting:
TRIPOD+AI (Collins et al., BMJ 2024). The software is no medical device; a site that makes it one starts here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from medassets.evaluation.figures import Finding
from medassets.evaluation.model_cards import NOT_INTENDED, figure_rows
from medassets.evaluation.report import Report, Section

#: Tables of the file: name to the key of its rows.
TABLES = {"risks": "risk", "tripod": "item", "privacy": "line"}


@dataclass(frozen=True)
class Change:
    """What a release changed: a model's version beside the one that served before."""

    model: str
    version: str
    before: str
    decision: str


def lines_of(table: str) -> list[dict[str, Any]]:
    """Read one of the tables ``risks``, ``tripod``, ``privacy``.

    Raises:
        KeyError: there is no such table.
    """
    key = TABLES[table]
    text = (resources.files("medassets.evaluation") / "data" / f"{table}.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)[key]
    return found


def technical_file(
    release: str,
    software: str,
    cards: Sequence[Mapping[str, Any]],
    origins: Mapping[str, int],
    checks: Mapping[str, Finding],
    changes: Sequence[Change],
) -> Report:
    """Lay out the technical file of a release.

    Args:
        release: version of the serving bundle.
        software: version of this package.
        cards: the served models' cards, as their JSON reads back (``model_cards.ModelCard``).
        origins: rows by origin that the release was made from.
        checks: outcome of each check of the graph by ``asset: check``.
        changes: what this release changed.

    Raises:
        ValueError: no card, or an origin without words.
    """
    if not cards:
        raise ValueError(f"release {release} has no model card: nothing can be stated of it")
    return Report(
        title=f"Technical file of release {release}",
        summary=f"medassets {software}, bundle {release}: decision support for common and rare diseases. "
        "Generated from the graph that made the release.",
        origins=origins,
        findings=checks,
        sections=[
            Section("1. Intended use", rows=[{"model": c["model"], "use": c["intended_use"]} for c in cards]),
            Section("2. Not intended", NOT_INTENDED),
            Section("3. Data", rows=[{"model": c["model"], **row} for c in cards for row in c["data"]]),
            Section("4. Methods", rows=[_method(c) for c in cards]),
            Section("5. Risks", "After ISO 14971.", [_printed(row) for row in lines_of("risks")]),
            Section("6. Validation results", "With 95 % intervals.", _figures(cards, "figures")),
            Section("7. Results by sex and age", "With 95 % intervals.", _figures(cards, "subgroups")),
            Section(
                "8. Limits", rows=[{"model": c["model"], "limit": x} for c in cards for x in c["limits"]]
            ),
            Section("9. Changes", "", [vars(change) for change in changes]),
            Section("10. TRIPOD+AI", "Where each item is answered.", lines_of("tripod")),
            Section("11. Privacy", "GDPR and HIPAA.", [_printed(row) for row in lines_of("privacy")]),
        ],
    )


def _method(card: Mapping[str, Any]) -> dict[str, str]:
    return {
        "model": card["model"],
        "version": card["version"],
        "method": card["method"],
        "missing answers": card["missing_data"],
    }


def _figures(cards: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, str]]:
    return [{"model": card["model"], **row} for card in cards for row in figure_rows(card[name])]


def _printed(row: Mapping[str, Any]) -> dict[str, str]:
    return {key: ", ".join(value) if isinstance(value, list) else str(value) for key, value in row.items()}
