"""The weekly figures as plots for asset metadata.

What belongs here: choosing what is drawn. What does not: drawing (``evaluation.plots``).
"""

from __future__ import annotations

import pyarrow as pa

from medassets.evaluation.plots import interval_bars, markdown_image
from medassets.monitoring.log import NAMES
from medassets.monitoring.performance import ALL

#: Metric to the plot's title.
DRAWN = {
    "accuracy": "accuracy by week",
    "calibration_gap": "accuracy minus stated certainty by week",
    "abstained": "share of abstentions by week",
}
#: Weeks on a plot, the newest ones.
WEEKS = 26


def weekly_plots(table: pa.Table) -> dict[str, str]:
    """Markdown images of ``monitoring/performance_report`` by name, with intervals and numbers of rows."""
    rows = table.to_pylist()
    plots = {}
    for part in NAMES:
        for metric, title in DRAWN.items():
            weeks = [
                {**row, "group": row["week"]}
                for row in rows
                if row["part"] == part
                and row["metric"] == metric
                and row["group"] == ALL
                and row["week"] != ALL
                and row["value"] is not None
            ][-WEEKS:]
            if weeks:
                name = f"{part}: {title}"
                plots[f"{part}_{metric}"] = markdown_image(interval_bars(weeks, title=name), name)
    return plots
