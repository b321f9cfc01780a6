"""OpenLineage events of real runs: whole and valid, with inputs and versions; a dead catalogue only warns."""

import importlib
import io
import json
import logging
import pkgutil
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attr
import jsonschema
import pytest
from openlineage.client import generated
from openlineage.client.generated.base import InputDataset, Job, OutputDataset, Run, RunEvent
from rich.console import Console

from medassets.orchestration import openlineage
from medassets.orchestration.run import run_graph
from medassets.settings import Settings
from medassets_tests.orchestration.graph import World, definitions

#: What the specification (openlineage.io/spec/2-0-2) requires of the events that are sent here.
DATASET = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {
        "facets": {
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["_producer", "_schemaURL"]},
        }
    },
}
RUN_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"type": "string", "pattern": "^https://openlineage.io/spec/.*RunEvent$"},
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "format": "uuid"}},
        },
        "job": {"type": "object", "required": ["namespace", "name"]},
        "inputs": {"type": "array", "items": DATASET},
        "outputs": {"type": "array", "items": DATASET},
    },
}


#: Facets that the specification leaves to integrations: dagster-openlineage's own, which come without a file.
OF_DAGSTER = "/dagster-openlineage-"


@cache
def official() -> dict[str, type]:
    """The classes that the OpenLineage project makes of its own schema files, by the schema's address."""
    modules = [
        importlib.import_module(f"{generated.__name__}.{module.name}")
        for module in pkgutil.iter_modules(generated.__path__)
    ]
    classes = {
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and attr.has(found) and hasattr(found, "_get_schema")
    }
    return {found._get_schema(): found for found in classes}


def rebuilt(event: dict) -> RunEvent:
    """Make an event and its facets again by those classes, which refuse missing and unknown fields."""

    def facets(owner: dict, name: str = "facets") -> dict:
        found = {}
        for key, facet in owner.get(name, {}).items():
            fields = {k: v for k, v in facet.items() if not k.startswith("_")}
            if OF_DAGSTER not in facet["_schemaURL"]:
                found[key] = official()[facet["_schemaURL"]](**fields)
        return found

    def dataset(kind: type, given: dict, further: str) -> object:
        return kind(
            given["namespace"], given["name"], facets=facets(given), **{further: facets(given, further)}
        )

    assert event["schemaURL"] == RunEvent._get_schema()
    return RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        eventType=event["eventType"],
        run=Run(event["run"]["runId"], facets(event["run"])),
        job=Job(event["job"]["namespace"], event["job"]["name"], facets(event["job"])),
        inputs=[dataset(InputDataset, given, "inputFacets") for given in event.get("inputs", [])],
        outputs=[dataset(OutputDataset, given, "outputFacets") for given in event.get("outputs", [])],
    )


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return World(tmp_path)


def _run(world, tmp_path, url):
    settings = Settings(home=tmp_path / "home", openlineage_url=url, _env_file=None)
    return run_graph(
        settings, console=Console(file=io.StringIO()), definitions=definitions(world, tmp_path / "home")
    )


def test_a_run_is_told_whole_with_inputs_and_versions(world, tmp_path):
    place = tmp_path / "events.jsonl"
    summary = _run(world, tmp_path, place.as_uri())
    events = [json.loads(line) for line in place.read_text().splitlines()]
    checker = jsonschema.Draft202012Validator(RUN_EVENT, format_checker=jsonschema.FormatChecker())
    for event in events:
        checker.validate(event)
        rebuilt(event)
    assert {event["run"]["runId"] for event in events} == set(summary.run_ids)
    made = {e["outputs"][0]["name"]: e for e in events if e["eventType"] == "COMPLETE" and e.get("outputs")}
    assert [i["name"] for i in made["toy/copy"]["inputs"]] == ["toy/letters"]
    facets = made["toy/letters"]["outputs"][0]["facets"]
    assert len(facets["version"]["datasetVersion"]) == 20
    assert [field["name"] for field in facets["schema"]["fields"]] == ["id", "age", "tags"]
    assert events[0]["eventType"] == "START" and events[-1]["eventType"] == "COMPLETE"


def test_a_failed_run_is_told_as_failed(world, tmp_path):
    world.fails = {"copy"}
    place = tmp_path / "events.jsonl"
    assert not _run(world, tmp_path, place.as_uri()).success
    events = [json.loads(line) for line in place.read_text().splitlines()]
    failed = [e for e in events if e["eventType"] == "FAIL"]
    assert any(e.get("outputs", [{}])[0].get("name") == "toy/copy" for e in failed if e.get("outputs"))
    assert not any(
        e["outputs"][0]["name"] == "toy/copy"
        for e in events
        if e["eventType"] == "COMPLETE" and e.get("outputs")
    )


def test_events_reach_a_catalogue_over_http(world, tmp_path):
    received: list[dict] = []

    class Catalogue(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Catalogue) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        _run(world, tmp_path, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "toy/report" in {e["outputs"][0]["name"] for e in received if e.get("outputs")}


def test_a_catalogue_that_is_away_costs_a_warning(world, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="medassets"):
        summary = _run(world, tmp_path, "http://127.0.0.1:9")
    assert summary.success
    [message] = [r.getMessage() for r in caplog.records if "OpenLineage" in r.getMessage()]
    assert "did not reach http://127.0.0.1:9" in message


def test_an_address_of_another_kind_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match="openlineage_url"):
        Settings(home=tmp_path, openlineage_url="kafka://broker", _env_file=None)
    with pytest.raises(ValueError, match="is expected"):
        openlineage.transport("ftp://catalogue")


def test_sensors_stand_only_where_an_address_is_set(tmp_path):
    assert openlineage.sensors(Settings(home=tmp_path, _env_file=None)) == []
    named = openlineage.sensors(
        Settings(home=tmp_path, openlineage_url="https://catalogue.example.org", _env_file=None)
    )
    assert [sensor.name for sensor in named] == ["openlineage_success", "openlineage_failure"]
