"""Tables that only the graph has: what each reader set aside, simulated likes of clinical tables, reports.

What belongs here: declarations derived from others', and the long form of figures. What does not: tables with
a meaning of their own, which are declared beside their code and listed in ``cohorts.tables``.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from medassets.cohorts import ehr, forms
from medassets.cohorts.tables import TABLES, Table, column, register

#: Reader to the table with what it set aside.
QUARANTINES = {
    name: f"clinical/{name}_quarantine"
    for name in ("phenopacket", "common_patient", "annotation", "mapping", "orphanet", "report")
}
#: The same of readers whose tables are by day.
QUARANTINES_BY_DAY = (ehr.DAY_TABLES["quarantine"], forms.FORM_TABLES["rejected"])
#: One measured number with its interval, as every report of the graph keeps it.
FIGURE = (
    column("group", pa.string(), "whom it was measured on"),
    column("metric", pa.string(), "name of the figure"),
    column("value", pa.float64(), "the figure; empty where the group cannot tell", required=False),
    column("low", pa.float64(), "lower end of the 95 % interval", required=False),
    column("high", pa.float64(), "upper end of the 95 % interval", required=False),
    column("n", pa.int64(), "rows behind the figure"),
    column("origin", pa.string(), "origin of those rows"),
)
REPORTS = (
    Table(
        "evaluation/rare_report",
        pa.schema(
            [
                column("protocol", pa.string(), "clean: nothing of a test publication was seen"),
                column("method", pa.string(), "what ranked"),
                column(
                    "candidates",
                    pa.string(),
                    "own: diseases of the cases' own databases; all: every candidate",
                ),
                *FIGURE,
            ]
        ),
        ("protocol", "method", "candidates", "group", "metric"),
        "A row is one figure of a rare-disease method on cases of publications that it never saw.",
    ),
    Table(
        "evaluation/few_shot_report",
        pa.schema([column("method", pa.string(), "few-shot method"), *FIGURE]),
        ("method", "group", "metric"),
        "A row is one figure of a few-shot method on cases of publications that it never saw.",
    ),
    Table(
        "evaluation/rare_ablation",
        pa.schema(
            [
                column("method", pa.string(), "few-shot method, or scores of the ranker that go together"),
                *FIGURE,
            ]
        ),
        ("method", "group", "metric"),
        "A row says how a method ranks alone, or what the ranker gains by it (added) or loses without it "
        "(removed), on episodes of the training part.",
    ),
    Table(
        "synthetic/synthetic_fidelity",
        pa.schema([column("generator", pa.string(), "what made the cases"), *FIGURE]),
        ("generator", "group", "metric"),
        "A row is one figure of how near generated cases come to published ones, and of what training gains.",
    ),
    Table(
        "evaluation/inquiry_report",
        pa.schema(
            [column("questions", pa.string(), "order of questions: information or safety_first"), *FIGURE]
        ),
        ("questions", "group", "metric"),
        "A row is one figure of the interview on patients that its tables were not counted from.",
    ),
    *(
        Table(
            f"evaluation/{name}",
            pa.schema([column("model", pa.string(), what), *FIGURE]),
            ("model", "group", "metric"),
            text,
        )
        for name, what, text in (
            (
                "imbalance_report",
                "how rare conditions were treated: none, class_weights, smote or adasyn",
                "A row is a figure of a classifier under a treatment of rare conditions, on validation rows.",
            ),
            (
                "mix_report",
                "mix=<what was trained on>/<model>",
                "A row is one figure of an ensemble trained on records, on simulated patients, or on both.",
            ),
            (
                "export_report",
                "onnx or python: what answered; or the model whose export was compared",
                "A row is a figure of the export: time for one patient, and distance to the trained model.",
            ),
        )
    ),
    *(
        Table(
            f"evaluation/{name}",
            pa.schema(
                [
                    column("model", pa.string(), "registered model"),
                    column("finding", pa.string(), "condition of promotion"),
                    column("passed", pa.bool_(), "whether it holds"),
                    column("message", pa.string(), "why"),
                    column("challenger", pa.string(), "version that was judged"),
                    column(
                        "champion",
                        pa.string(),
                        "version that serves after the decision; empty: none",
                        required=False,
                    ),
                ]
            ),
            ("model", "finding"),
            "A row is one condition that a challenger must meet to serve.",
        )
        for name in ("promotion", "rare_promotion")
    ),
)


def declare() -> None:
    """Declare these tables; declaring them again is harmless."""
    gathered = TABLES["clinical/quarantine"]
    register(replace(gathered, key=key) for key in QUARANTINES.values())
    simulated = replace(
        TABLES["clinical/common_patients"],
        key="synthetic/simulated_common_patients",
        description="One simulated consultation for a common condition.",
    )
    generated = (
        replace(TABLES[f"clinical/{kind}"], key=f"synthetic/{key}", description=text)
        for kind, key, text in (
            (
                "rare_cases",
                "ctgan_cases",
                "One case that CTGAN generated from published ones of a disease family.",
            ),
            ("case_phenotypes", "ctgan_case_phenotypes", "One finding of a case that CTGAN generated."),
        )
    )
    register([simulated, *generated, *REPORTS])
