"""``medassets run``: the whole graph, then one question to the bento it built, then a short table.

What belongs here: what the command prints and returns. What does not: running the graph
(``orchestration.run``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from medassets.commands.output import (
    BAD_INPUT,
    FAILURE,
    AsJson,
    emit,
    err,
    failures,
    interval,
    number,
    out,
    settings,
    stop,
)
from medassets.commands.preflight import refuse_faults

if TYPE_CHECKING:
    from medassets.orchestration.run import RunSummary
    from medassets.settings import Settings

#: One made-up person, asked of each new bento: findings of Marfan syndrome, answers of influenza.
EXAMPLE: dict[str, Any] = {
    "age": 24,
    "sex": "F",
    "observed": ["HP:0001166", "HP:0001083", "HP:0002616", "HP:0000098", "HP:0000768"],
    "excluded": ["HP:0001249"],
    "evidence": {
        "present": ["E_91", "E_201", "E_144", "E_94", "E_50", "E_88"],
        "absent": ["E_66", "E_151", "E_210"],
    },
    "top": 3,
}


def run(
    select: Annotated[
        str | None, typer.Option(help="Asset selection in Dagster's syntax, for example 'group:clinical'.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make everything selected again, changed or not.")
    ] = False,
    example: Annotated[bool, typer.Option(help="Ask the built bento one example case over HTTP.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make what is not up to date, build the bento, ask it one example case."""
    config = settings()
    refuse_faults(config, "run", as_json=as_json)
    from medassets.orchestration.run import RunInProgressError, run_graph

    with failures(as_json, RunInProgressError):
        try:
            summary = run_graph(config, select=select, force=force, console=err)
        except ValueError as error:  # of the selection
            stop(BAD_INPUT, str(error), as_json=as_json)
    answer = None
    bento = summary.paths.get("diagnosis_bento")
    if summary.success and example and select is None and bento:
        answer = ask_example(Path(bento), config, as_json)
    if as_json:
        emit(json.loads(summary.to_json()) | {"example": answer, "home": str(config.home)})
    else:
        show(summary, answer, config)
    if not summary.success:
        raise typer.Exit(FAILURE)


def ask_example(bento: Path, config: Settings, as_json: bool) -> dict[str, Any]:
    """Serve a bento for one request, made with a key of its own, and give its answer."""
    import httpx

    from medassets.commands.server import ServerError, running
    from medassets.serving.access import KeyRing

    # The identity provider is the site's; a key can be made here, for this one request.
    config = config.model_copy(update={"auth": "keys"})
    ring = KeyRing(config.api_keys)
    try:
        with (
            ring.lent("example of medassets run", "service", ["ask"]) as key,
            running(bento, config) as address,
        ):
            headers = {"Authorization": f"Bearer {key}"}
            response = httpx.post(f"{address}/v1/diagnose", json=EXAMPLE, headers=headers, timeout=30)
    except ServerError as error:
        stop(FAILURE, str(error), as_json=as_json)
    if response.status_code != httpx.codes.OK:
        stop(
            FAILURE,
            f"the bento refused the example: {response.status_code} {response.text[:500]}",
            as_json=as_json,
        )
    answer: dict[str, Any] = response.json()
    return answer


def show(summary: RunSummary, answer: dict[str, Any] | None, config: Settings) -> None:
    """Print the table that a run ends with."""
    out.print()
    layers = Table("layer", "made", "up to date", "rows made", "seconds", title="assets")
    names = [line.layer for line in summary.executed] + [key.split("/")[0] for key in summary.up_to_date]
    for layer in dict.fromkeys(names):
        made = [line for line in summary.executed if line.layer == layer]
        left = sum(key.split("/")[0] == layer for key in summary.up_to_date)
        rows, seconds = sum(line.rows or 0 for line in made), sum(line.seconds for line in made)
        layers.add_row(layer, str(len(made)), str(left), f"{rows:,}", f"{seconds:.1f}")
    out.print(layers)
    if not summary.executed:
        out.print("Nothing has changed: everything was up to date.")
    if summary.metrics:
        metrics = Table("figure", "value", "95 % interval", "n", "measured on", title="main figures")
        for row in summary.metrics:
            name = " ".join(str(row[part]) for part in ("model", "group", "metric", "name") if row.get(part))
            value = row.get("value")
            limits = row.get("ci95") or (row.get("low"), row.get("high"))
            origin = str(row.get("origin") or row.get("data_origin") or "-")
            metrics.add_row(name, number(value), interval(limits), str(row.get("n") or "-"), origin)
        out.print(metrics)
    sources = ", ".join(f"{name} ({origin})" for name, origin in sorted(summary.sources.items()))
    out.print(f"[bold]sources[/bold]  {sources}", highlight=False)
    for name, message in summary.failed:
        err.print(f"[red]failed[/red]  {name}: {message}", highlight=False)
    if answer:
        show_answer(answer)
    out.print(
        f"\n[bold]next[/bold]  `make dev`: Dagster UI on http://127.0.0.1:{config.ui_port}, "
        f"API on http://{config.api_host}:{config.api_port}/docs\n"
        f"      data and models lie in {config.home}; this run took {summary.seconds:.0f} s",
        highlight=False,
    )


def show_answer(answer: dict[str, Any]) -> None:
    """Print both differentials of an answer."""
    for part, label in (("rare", "name"), ("common", "condition")):
        section = answer.get(part)
        if section is None:
            out.print(f"{part}: {answer['not_answered'].get(part, 'not asked')}")
            continue
        origin = ", ".join(answer["training_origin"].get(part, [])) or "unknown"
        table = Table(
            "", "candidate", "probability", "code",
            title=f"{part} diseases, confidence {section['confidence']}, learned from: {origin}",
        )  # fmt: skip
        for rank, candidate in enumerate(section["candidates"], start=1):
            code = candidate.get("disease_id") or candidate.get("icd10") or ""
            table.add_row(str(rank), candidate[label], number(candidate["probability"]), code)
        out.print(table)
        if section["abstain"]:
            out.print(f"  abstains: {section['reason']}")
    out.print(f"prediction {answer['prediction_id']}  bundle {answer['versions']['bundle']}", highlight=False)
    out.print(f"[italic]{answer['notice']}[/italic]")
