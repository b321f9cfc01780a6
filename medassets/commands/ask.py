"""``medassets diagnose`` and ``medassets lineage``: a question, and the way back from its answer.

What belongs here: reading the file, printing. What does not: answering (``serving.answering``).
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from medassets.commands.output import AsJson, emit, failures, out, settings


class LineageFormat(StrEnum):
    """How a lineage is written."""

    TREE = "tree"
    JSON = "json"
    PROV_JSON = "prov-json"


def diagnose(
    file: Annotated[str, typer.Argument(help="A phenopacket or request as JSON; - reads standard input.")],
    bundle: Annotated[
        str | None, typer.Option(help="Version of the bundle to ask; default: the latest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the latest bundle, without a server; the answer is kept like any other."""
    config = settings()
    with failures(as_json):
        request = read_request(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
        from medassets.serving.answering import open_desk

        desk = open_desk(config, config.bundles_dir / bundle if bundle else None)
        answer = desk.diagnose(request, actor="command line")
    if as_json:
        emit(answer)
        return
    from medassets.commands.run import show_answer

    for mapped in answer["mapped"]:
        out.print(f"{mapped['field']}: {mapped['given']} read as {mapped['used']}: {mapped['reason']}")
    show_answer(answer)


def read_request(body: bytes) -> Any:
    """A request, from a request's or a phenopacket's JSON.

    Raises:
        RequestError: neither; the message names the field.
    """
    from medassets.serving.phenopacket import is_phenopacket, request_of
    from medassets.serving.requests import load_object, parse_request

    content = load_object(body)
    return request_of(content) if is_phenopacket(content) else parse_request(content)


def lineage(
    prediction_id: Annotated[str, typer.Argument(help="As in the answer.")],
    form: Annotated[LineageFormat, typer.Option("--format", help="How to write it.")] = LineageFormat.TREE,
    as_json: AsJson = False,
) -> None:
    """Walk from a prediction to the sums of its source files."""
    config = settings()
    form = LineageFormat.JSON if as_json and form is LineageFormat.TREE else form
    with failures(form is not LineageFormat.TREE):
        from medassets.serving.answering import open_store, stored_lineage
        from medassets.serving.provenance import prov_json, tree

        chain = stored_lineage(open_store(config).get(prediction_id), config.bundles_dir)
    if form is LineageFormat.PROV_JSON:
        typer.echo(json.dumps(prov_json(chain), ensure_ascii=False, indent=1))
    elif form is LineageFormat.JSON:
        emit(chain.to_dict())
    else:
        typer.echo(tree(chain))
