"""Evaluation: figures with intervals and the origin of their rows, findings as checks, reports to read.

What belongs here: calling the measures and showing what they found. What does not: measuring (``evaluation``,
``orchestration.judging``). Every figure is of rows that the model did not learn from.
"""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES, register
from medassets.evaluation.figures import EVALUATION_TABLES
from medassets.orchestration import tables
from medassets.orchestration.checks import table_checks
from medassets.orchestration.inputs import describe, ins, tags
from medassets.orchestration.metadata import markdown_table
from medassets.orchestration.promotion import promote, promote_rare
from medassets.orchestration.showing import common_page, headline, rare_page, shown, write_page
from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.training import (
    COMMON_INPUTS,
    LEARNING_SETTINGS,
    RARE_INPUTS,
    common_data,
    rare_data,
    thinned,
)
from medassets.settings import Settings

tables.declare()
register(EVALUATION_TABLES)
ENSEMBLE = {**COMMON_INPUTS, **ins("models/common_ensemble")}
FEW_SHOT = ("rare_prototypes", "rare_siamese", "rare_maml", "rare_transfer")
RARE_METHODS = ("rare_likelihood", *FEW_SHOT, "rare_ranker")


def report_asset(
    name: str, domain: str, inputs: Mapping[str, dg.AssetIn]
) -> Callable[..., dg.AssetsDefinition]:
    """Declare a report asset."""
    made: Callable[..., dg.AssetsDefinition] = dg.asset(
        key=["evaluation", name],
        ins=dict(inputs),
        code_version="1",
        kinds={"deltalake", "numpy"},
        tags=tags(domain, "cpu"),
        metadata=describe(settings=LEARNING_SETTINGS),
    )
    return made


@report_asset("fairness_report", "common", ENSEMBLE)
def fairness_report(settings: dg.ResourceParam[Settings], **inputs: Any) -> pa.Table:
    """Accuracy, calibration and critical misses by sex and age group."""
    from medassets.evaluation.fairness import fairness_report as measure
    from medassets.orchestration.judging import SERVED, answer_common, severity_of

    data = common_data(inputs, settings)
    made, truth = answer_common(inputs["common_ensemble"], data)
    return measure(made.probabilities, truth, severity_of(data), data.test, model=SERVED, seed=settings.seed)


@report_asset("critical_misses", "common", ENSEMBLE)
def critical_misses(settings: dg.ResourceParam[Settings], **inputs: Any) -> pa.Table:
    """List every patient whose severe condition is not among the ensemble's first three."""
    from medassets.evaluation.safety import list_critical_misses
    from medassets.orchestration.judging import SERVED, answer_common, severity_of

    data = common_data(inputs, settings)
    p = answer_common(inputs["common_ensemble"], data)[0].probabilities
    names = list(data.knowledge.condition_names)
    return list_critical_misses(p, data.test, names, severity_of(data), model=SERVED)


@report_asset("robustness_report", "common", ENSEMBLE)
def robustness_report(settings: dg.ResourceParam[Settings], **inputs: Any) -> pa.Table:
    """Accuracy and calibration as answers go missing or wrong, of every model beside naive Bayes."""
    from medassets.evaluation.robustness import robustness_report as measure
    from medassets.orchestration.judging import all_models

    data = common_data(inputs, settings)
    predict = all_models(inputs["common_ensemble"], data)
    test = thinned(data.test, 2000) if settings.profile == "quick" else data.test
    return measure(predict, test, data.knowledge, seed=settings.seed)


@report_asset(
    "explanations", "common", {**ENSEMBLE, **ins("models/common_boosting", "models/common_naive_bayes")}
)
def explanations(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """Why the leading condition leads, for a sample: SHAP, LIME, likelihood ratios, their agreement."""
    from medassets.evaluation.explanation import explain_sample

    data, trees = common_data(inputs, settings), inputs["common_boosting"].model
    ensemble, scores = inputs["common_ensemble"], inputs["common_naive_bayes"].model.scores
    table, agreement = explain_sample(
        trees.booster,
        trees.inputs.columns,
        lambda matrix: ensemble.predict(matrix).probabilities,
        scores,
        data.test,
        data.training.train.matrix[:500],
        data.training.space,
        list(data.knowledge.condition_names),
        sample=30 if settings.profile == "quick" else 200,
        lime_sample=5 if settings.profile == "quick" else 40,
        seed=settings.seed,
    )
    context.add_output_metadata(shown(agreement))
    return table


@report_asset("inquiry_report", "common", {**COMMON_INPUTS, **ins("models/common_inquiry")})
def inquiry_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """How often the interview finds the condition, and after how many questions."""
    from medassets.orchestration.showing import inquiry_table

    data = common_data(inputs, settings)
    test = thinned(data.test, 1000) if settings.profile == "quick" else data.test
    table, plot = inquiry_table(inputs["common_inquiry"].engine, test, data.origin, settings.seed)
    context.add_output_metadata({"accuracy over questions": dg.MetadataValue.md(plot)})
    return table


@report_asset(
    "common_report",
    "common",
    {
        **ENSEMBLE,
        **ins(
            "evaluation/fairness_report",
            "evaluation/robustness_report",
            "evaluation/inquiry_report",
            "evaluation/explanations",
        ),
    },
)
def common_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """Report on common conditions: figures, calibration, interview, noise, sets, groups, explanations."""
    from medassets.orchestration.judging import ask_common

    data = common_data(inputs, settings)
    judged = ask_common(inputs["common_ensemble"], data, settings.seed)
    page = common_page(judged, data, inputs)
    place = write_page(page, settings.reports_dir / "common")
    context.add_output_metadata({**headline(judged.figures, "ensemble"), **place})
    return judged.figures


@report_asset("rare_ablation", "rare", RARE_INPUTS)
def rare_ablation(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """What each few-shot method, and each of its own scores, adds to the ranker on held-out episodes."""
    from medassets.orchestration.judging import ablation_rows

    rows = ablation_rows(rare_data(inputs), settings)
    context.add_output_metadata(
        {"figures": dg.MetadataValue.md(markdown_table(rows)), "profile": settings.profile}
    )
    return pa.Table.from_pylist(rows, schema=TABLES["evaluation/rare_ablation"].schema)


@report_asset(
    "rare_report",
    "rare",
    {
        **RARE_INPUTS,
        **ins(*(f"models/{name}" for name in RARE_METHODS)),
        **ins("evaluation/few_shot_report", "evaluation/rare_ablation", "synthetic/synthetic_fidelity"),
    },
)
def rare_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """The report on rare diseases: every method by number of known cases, what each adds, generated cases."""
    from medassets.orchestration.judging import rare_rows

    data = rare_data(inputs)
    alone = {name.removeprefix("rare_"): inputs[name] for name in RARE_METHODS if name != "rare_ranker"}
    rows = rare_rows(alone, inputs["rare_ranker"], data)
    place = write_page(rare_page(rows, data, inputs), settings.reports_dir / "rare")
    table = pa.Table.from_pylist(rows)
    context.add_output_metadata({**headline(table, "ranker"), **place})
    return table


@report_asset("few_shot_report", "rare", {**RARE_INPUTS, **ins(*(f"models/{name}" for name in FEW_SHOT))})
def few_shot_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """Few-shot accuracy, prototype similarity, adaptation by gradient step, transfer, rank over cases."""
    from medassets.orchestration.few_shot import few_shot_rows

    episodes = 100 if settings.profile == "quick" else 1000
    rows = few_shot_rows({name: inputs[name].model for name in FEW_SHOT}, rare_data(inputs), episodes)
    context.add_output_metadata(
        {f"{row['method']}/{row['metric']}/{row['group']}": float(row["value"]) for row in rows}
    )
    return pa.Table.from_pylist(rows, schema=TABLES["evaluation/few_shot_report"].schema)


@dg.asset(
    key=["evaluation", "promotion"],
    ins={**ENSEMBLE, **ins("evaluation/fairness_report", "evaluation/robustness_report")},
    code_version="1",
    kinds={"deltalake", "mlflow"},
    tags=tags("common"),
)
def promotion(settings: dg.ResourceParam[Settings], tracking: MlflowTracking, **inputs: Any) -> pa.Table:
    """Judge the challenger against the champion; only a champion is served."""
    return promote(inputs, common_data(inputs, settings), tracking, settings.seed)


@dg.asset(
    key=["evaluation", "rare_promotion"],
    ins={**RARE_INPUTS, **ins("models/rare_ranker")},
    code_version="1",
    kinds={"deltalake", "mlflow"},
    tags=tags("rare"),
)
def rare_promotion(settings: dg.ResourceParam[Settings], tracking: MlflowTracking, **inputs: Any) -> pa.Table:
    """Judge the newest ranker against the champion by a paired bootstrap; only a champion is served."""
    return promote_rare(inputs["rare_ranker"], rare_data(inputs), tracking, settings.seed)


@dg.asset(
    key=["evaluation", "model_cards"],
    ins=ins(
        "models/common_ensemble",
        "models/rare_ranker",
        "evaluation/common_report",
        "evaluation/fairness_report",
        "evaluation/rare_report",
        "evaluation/promotion",
    ),
    code_version="1",
    kinds={"deltalake", "markdown"},
    tags=tags("both"),
)
def model_cards(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """A card for each served model: intended use, data with origin and licence, figures, groups, limits."""
    from medassets.orchestration.cards import build_cards

    table = build_cards(inputs, context.instance)
    folder = settings.reports_dir / "cards"
    folder.mkdir(parents=True, exist_ok=True)
    for row in table.to_pylist():
        (folder / f"{row['model']}.md").write_text(row["markdown"], encoding="utf-8")
        context.add_output_metadata({row["model"]: dg.MetadataValue.md(row["markdown"])})
    return table


def _finding_check(
    table: str, name: str, description: str, judge: Callable[[pa.Table], Any], **options: Any
) -> Any:
    """Make a check of what a report found; its severity is a warning where ``warn`` says so."""
    warn = options.pop("warn", False)

    @dg.asset_check(asset=["evaluation", table], name=name, description=description, **options)
    def check(report: pa.Table) -> dg.AssetCheckResult:
        finding = judge(report)
        severity = dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR
        return dg.AssetCheckResult(passed=finding.passed, severity=severity, description=finding.message)

    return check


def _fair(report: pa.Table) -> Any:
    from medassets.evaluation.fairness import check_fairness

    return check_fairness(report)


def _robust(report: pa.Table) -> Any:
    from medassets.evaluation.robustness import check_against_line

    return check_against_line(report, "ensemble")


def _added(report: pa.Table) -> Any:
    from medassets.evaluation.rare_ablation import check_what_is_served

    return check_what_is_served(report.to_pylist())


def _safe(report: pa.Table) -> Any:
    """Read the finding that promotion recorded: the list of misses alone does not say out of how many."""
    from medassets.evaluation.figures import Finding

    row = next(row for row in report.to_pylist() if row["finding"] == "safety")
    return Finding(row["passed"], row["message"])


def _served(report: pa.Table) -> Any:
    from medassets.evaluation.figures import Finding

    rows = report.to_pylist()
    refused = [f"{row['finding']}: {row['message']}" for row in rows if not row["passed"]]
    champion, challenger = rows[0]["champion"], rows[0]["challenger"]
    if champion is None:
        return Finding(False, f"nothing may serve: version {challenger} was refused ({'; '.join(refused)})")
    stays = f"version {challenger} was refused, {champion} goes on serving ({'; '.join(refused)})"
    return Finding(True, stays if refused else f"version {champion} serves")


CHECKS = [
    *(
        table_checks(TABLES[f"evaluation/{name}"])
        for name in (
            "common_report",
            "fairness_report",
            "robustness_report",
            "critical_misses",
            "rare_report",
            "rare_ablation",
        )
    ),
    _finding_check(
        "fairness_report", "within_bounds", "no sex or age group is surely worse than allowed", _fair
    ),
    _finding_check(
        "robustness_report", "holds_the_line", "never surely below naive Bayes", _robust, warn=True
    ),
    _finding_check(
        "rare_ablation", "what_adds_is_served", "no method outside the ranker surely adds", _added, warn=True
    ),
    _finding_check("promotion", "critical_misses", "few severe conditions are missed", _safe),
    _finding_check("promotion", "a_champion_serves", "a version may serve", _served, blocking=True),
    _finding_check("rare_promotion", "a_champion_serves", "a version may serve", _served, blocking=True),
]
