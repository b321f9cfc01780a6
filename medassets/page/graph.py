"""The lineage of an answer as a graph and as a table, from W3C PROV-JSON.

What belongs here: reading the API's PROV document, and Graphviz text of it. What does not: drawing, which the
browser does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medassets.page.strings import text
from medassets.page.theme import CAUTION, CAUTION_PALE, INK, MIST, MUTED, PAPER, PRIMARY, PRIMARY_PALE

_PREFIX = "medassets:"
#: From the answer back to the files; the order of the table.
KINDS = ("prediction", "bento", "bundle", "model", "run", "data", "source")
_FILLS = {
    "prediction": (PRIMARY, PAPER, PRIMARY), "bento": (PRIMARY_PALE, INK, PRIMARY),
    "bundle": (PRIMARY_PALE, INK, PRIMARY), "model": (MIST, INK, PRIMARY), "run": (PAPER, INK, MUTED),
    "data": (MIST, INK, MUTED), "source": (CAUTION_PALE, CAUTION, CAUTION),
}  # fmt: skip
#: Facts that stand in a box; the others stand in the table only.
_SHOWN = ("training_origin", "delta_version", "rows", "origin", "release", "sha256")
_WIDEST = 20


@dataclass(frozen=True)
class Step:
    """One entity or activity of the chain."""

    id: str
    kind: str
    name: str
    facts: dict[str, str] = field(default_factory=dict)


def steps_of(prov: dict[str, Any]) -> list[Step]:
    """The steps of a document, from the answer back to the files."""
    found = []
    for section in ("entity", "activity"):
        for name, attributes in prov.get(section, {}).items():
            kind, _, rest = name.removeprefix(_PREFIX).partition("/")
            if kind not in KINDS:
                continue
            facts = {k.removeprefix(_PREFIX): str(v) for k, v in attributes.items() if k.startswith(_PREFIX)}
            found.append(Step(name, kind, rest, facts))
    return sorted(found, key=lambda step: (KINDS.index(step.kind), step.name))


def edges_of(prov: dict[str, Any]) -> list[tuple[str, str]]:
    """(from, to) of each step and what it came from; a run stands between a model and its tables."""
    made_by = {(r["prov:entity"], r["prov:activity"]) for r in prov.get("wasGeneratedBy", {}).values()}
    used = {(r["prov:activity"], r["prov:entity"]) for r in prov.get("used", {}).values()}
    derived = {
        (r["prov:generatedEntity"], r["prov:usedEntity"]) for r in prov.get("wasDerivedFrom", {}).values()
    }
    through = {
        (e, u)
        for e, a in made_by
        for b, u in used
        if a == b and "/".join(a.split("/")[:1]) == "medassets:run"
    }
    kept = {step.id for step in steps_of(prov)}
    edges = (derived - through) | made_by | used
    return sorted((a, b) for a, b in edges if a in kept and b in kept)


def dot(prov: dict[str, Any], language: str) -> str:
    """Graphviz text: the answer on the left, the source files on the right."""
    lines = [
        "digraph lineage {",
        'rankdir=LR; bgcolor="transparent"; nodesep=0.18; ranksep=0.25;',
        'node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11, margin="0.12,0.07"];',
        f'edge [color="{MUTED}", arrowsize=0.6];',
    ]
    for step in steps_of(prov):
        fill, ink, border = _FILLS[step.kind]
        shown = [f"{k}: {_short(step.facts[k])}" for k in _SHOWN if step.facts.get(k)]
        label = "\\n".join(
            _quoted(part) for part in (text(f"step_{step.kind}", language), _short(step.name), *shown)
        )
        colours = f'fillcolor="{fill}", fontcolor="{ink}", color="{border}"'
        lines.append(f'"{_quoted(step.id)}" [label="{label}", {colours}];')
    lines += [f'"{_quoted(a)}" -> "{_quoted(b)}";' for a, b in edges_of(prov)]
    return "\n".join([*lines, "}"])


def rows(prov: dict[str, Any], language: str) -> list[dict[str, str]]:
    """The same chain as a table, sums written in full."""
    return [
        {
            text("steps", language): text(f"step_{step.kind}", language),
            "id": step.name,
            "facts": "; ".join(f"{name} {value}" for name, value in step.facts.items()),
        }
        for step in steps_of(prov)
    ]


def _short(value: str) -> str:
    return value if len(value) <= _WIDEST else f"{value[: _WIDEST - 1]}…"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
