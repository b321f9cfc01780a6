"""Reports of an evaluation as one HTML page and one Markdown text.

What belongs here: putting figures, plots and check outcomes in an order that a reader follows. What does not:
computing and drawing them. Each report states the origin of its rows at its top, in words.

The HTML stands alone: styles and images are inside, nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medassets.evaluation.figures import Finding
from medassets.evaluation.model_cards import NOT_INTENDED, ORIGINS, markdown_table
from medassets.evaluation.plots import markdown_image

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ report.title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color:
#1a1a1a } table { border-collapse: collapse; margin: .7rem 0; font-size: 13px }
td, th { border: 1px solid #d5d5d5; padding: .25rem .5rem; text-align: left }
th { background: #f3f3f3 } tr:nth-child(even) td { background: #fafafa }
.note { background: #fff7e0; border-left: 4px solid #e69f00; padding: .6rem 1rem }
.passed { color: #00664b } .failed { color: #a33c00; font-weight: 600 } img { max-width: 100% }
</style></head><body>
<h1>{{ report.title }}</h1>
<p>{{ report.summary }}</p>
<div class="note">{% for line in notes %}<p>{{ line }}</p>{% endfor %}</div>
{% if report.findings %}<h2>Checks</h2><ul>
{% for name, finding in report.findings.items() %}<li><span class="{{ 'passed' if finding.passed else
'failed' }}"> {{ name }}: {{ 'passed' if finding.passed else 'FAILED' }}</span> {{ finding.message }}</li>{%
endfor %}</ul>{% endif %} {% for section in report.sections %}<h2>{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% for title, png in section.plots.items() %}<img alt="{{ title }}" src="data:image/png;base64,{{ png | b64
}}">{% endfor %} {% if section.rows %}<table><tr>{% for name in section.columns %}<th>{{ name }}</th>{%
endfor %}</tr> {% for row in section.rows %}<tr>{% for name in section.columns %}<td>{{ row.get(name, '')
}}</td>{% endfor %}</tr> {% endfor %}</table>{% endif %}{% endfor %}
</body></html>
"""


@dataclass(frozen=True)
class Section:
    """A heading with a sentence, plots (title to PNG) and one table (equal rows)."""

    title: str
    text: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    plots: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Column names in the order in which rows bring them."""
        return list(dict.fromkeys(key for row in self.rows for key in row))


@dataclass(frozen=True)
class Report:
    """A report: title, one paragraph, the origins of its rows, check outcomes and sections.

    Raises:
        ValueError: no origin, or an origin that has no words (``model_cards.ORIGINS``).
    """

    title: str
    summary: str
    origins: Mapping[str, int]
    sections: Sequence[Section]
    findings: Mapping[str, Finding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.origins if name not in ORIGINS]
        if unknown or not self.origins:
            raise ValueError(f"{self.title}: the origin of the rows must be named; got {list(self.origins)}")

    @property
    def notes(self) -> list[str]:
        """What must be read first: where the rows come from and what the software is not."""
        sources = [f"{count:,} rows: {ORIGINS[name]} ({name})." for name, count in self.origins.items()]
        return ["Evaluated on " + " ".join(sources), NOT_INTENDED]

    def to_html(self) -> str:
        """The report as one page; every text is escaped."""
        from jinja2 import Environment

        environment = Environment(autoescape=True, trim_blocks=True)
        environment.filters["b64"] = lambda png: base64.b64encode(png).decode()
        return environment.from_string(_PAGE).render(report=self, notes=self.notes)

    def to_markdown(self) -> str:
        """The report in Markdown; plots carry their own data."""
        parts = [f"# {self.title}", self.summary, *(f"> {line}" for line in self.notes)]
        if self.findings:
            lines = [
                f"- **{k}** {'passed' if f.passed else 'FAILED'}: {f.message}"
                for k, f in self.findings.items()
            ]
            parts += ["## Checks", "\n".join(lines)]
        for section in self.sections:
            parts += [f"## {section.title}", *([section.text] if section.text else [])]
            parts += [markdown_image(png, title) for title, png in section.plots.items()]
            if section.rows:
                parts.append(markdown_table(section.rows))
        return "\n\n".join(parts) + "\n"


def count_origins(origins: Iterable[str]) -> dict[str, int]:
    """How many rows each origin has, by name: ``{"ddxplus": 1850}``."""
    counts: dict[str, int] = {}
    for origin in origins:
        counts[origin] = counts.get(origin, 0) + 1
    return dict(sorted(counts.items()))
