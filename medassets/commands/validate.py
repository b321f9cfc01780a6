"""``medassets validate``: the latest bundle on files that nobody trained on.

What belongs here: arguments, tables, the output file. What does not: the figures (``serving.validation``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from medassets.commands.output import AsJson, emit, err, failures, interval, number, out, settings
from medassets.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="External validation of the latest bundle on files nobody trained on."
)

Bundle = Annotated[str | None, typer.Option(help="Version of the bundle; default: the latest.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the figures as JSON to this file.")]


@app.command()
def rare(
    path: Annotated[Path, typer.Argument(help="A zip or folder of phenopackets.", exists=True)],
    clean: Annotated[
        bool,
        typer.Option(
            "--clean", help="Leave out annotations and known cases that cite these cases' publications."
        ),
    ] = False,
    to: Out = None,
    bundle: Bundle = None,
    as_json: AsJson = False,
) -> None:
    """Rank the diagnosis of each published case among all rare diseases."""
    config = settings()
    with failures(as_json):
        from medassets.serving.validation import validate_rare

        report = validate_rare(_directory(config, bundle), path, clean=clean)
    warn_of_overlap(report)
    _write(report, to)
    if as_json:
        emit(report)
        return
    databases = "/".join(report["databases"])
    protocol = "clean" if clean else "as published"
    title = f"{report['candidates']} {databases} candidates, {protocol}, bundle {report['bundle']}"
    table = Table("cases", "n", "top-1", "95 % interval", "top-3", "top-10", "MRR", title=title)
    for group, figures in report["groups"].items():
        top1 = number(figures["top1"]), interval(figures["ci95"]["top1"])
        others = (number(figures[name]) for name in ("top3", "top10", "mrr"))
        table.add_row(group, str(figures["n"]), *top1, *others)
    out.print(table)
    _quarantined(report)


@app.command()
def common(
    path: Annotated[Path, typer.Argument(help="A patients zip or CSV in DDXPlus's format.", exists=True)],
    to: Out = None,
    bundle: Bundle = None,
    as_json: AsJson = False,
) -> None:
    """Find the condition of each patient: complete, noisy and interactive."""
    config = settings()
    with failures(as_json):
        from medassets.ingest.ddxplus import read_patients
        from medassets.knowledge.common_conditions import CommonKnowledge
        from medassets.serving.validation import validate_common

        # Official files repeat a few rows; here each row counts.
        patients, rejected = read_patients(path, CommonKnowledge.bundled(), duplicates="keep")
        report = validate_common(_directory(config, bundle), patients, rejected)
    warn_of_overlap(report)
    _write(report, to)
    if as_json:
        emit(report)
        return
    table = Table(
        "figure", "value", "95 % interval", title=f"{report['n']} patients, bundle {report['bundle']}"
    )
    for name in ("top1", "top3", "top5", "macro_f1", "differential_f1", "ece", "brier"):
        table.add_row(name, number(report[name], 4), interval(report["ci95"][name]))
    for name, figures in report["noise"].items():
        table.add_row(f"top1, {name}", number(figures["top1"], 4), interval(figures["ci95"]))
    for part, names in (("conformal", ("coverage", "mean_size")), ("inquiry", ("top1", "mean_questions"))):
        for name in names if report[part] else ():
            table.add_row(
                f"{part} {name}", number(report[part][name], 4), interval(report[part]["ci95"].get(name))
            )
    out.print(table)
    _quarantined(report)


def _directory(config: Settings, version: str | None) -> Path:
    from medassets.serving.bundle import latest_bundle

    return config.bundles_dir / version if version else latest_bundle(config.bundles_dir)


def _write(report: dict[str, Any], to: Path | None) -> None:
    if to is None:
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    pending = to.with_name(f".{to.name}-{os.getpid()}")
    pending.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(pending, to)


def warn_of_overlap(report: dict[str, Any]) -> None:
    """Say on standard error where the files are not unseen: figures on known patients flatter."""
    overlap = report["overlap"]
    if overlap is None:
        err.print("overlap: this bundle does not carry what would tell whether these patients are new to it")
    elif any(overlap.values()):
        known = f"{overlap['cases']} cases and {overlap['publications']} publications of these files"
        err.print(f"[yellow]overlap:[/yellow] {known} are among those that the bundle was made from:"
                  " the figures are not all of new patients", highlight=False, soft_wrap=True)  # fmt: skip


def _quarantined(report: dict[str, Any]) -> None:
    for reason, count in report["quarantined"]["reasons"].items():
        err.print(f"set aside: {count} x {reason}", highlight=False)
