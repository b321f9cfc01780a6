"""Lines that a collector can read: JSON, with the ids that they are about, and nothing of the patient."""

import io
import json
import logging
import re
from pathlib import Path

import dagster as dg
import pytest
import yaml

from medassets.serving.logs import LOGGER, log_as_json
from medassets.serving.requests import parse_request

LOGGING = Path(__file__).parents[2] / "deployment" / "logging"


@pytest.fixture
def lines():
    logger = logging.getLogger(LOGGER)
    before = (logger.handlers, logger.level, logger.propagate)
    stream = io.StringIO()
    log_as_json(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.handlers, logger.level, logger.propagate = before


def test_an_answer_is_logged_with_its_prediction_and_bundle_and_nothing_of_the_patient(lines, desk):
    answer = desk.diagnose(parse_request({"observed": ["HP:0001250"], "age": 7}))
    (line,) = lines()
    assert line["prediction_id"] == answer["prediction_id"] and line["bundle"] == answer["versions"]["bundle"]
    assert line["message"] == "answered" and line["level"] == "info" and line["bento"] == "diagnosis:test"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line["time"])
    assert "HP:0001250" not in json.dumps(line)


def test_an_exception_stays_one_line(lines):
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("medassets").exception("failed: %s", "é")
    (line,) = lines()
    assert line["message"] == "failed: é" and "ValueError: first\nsecond" in line["exception"]


def test_runs_write_lines_with_their_run_and_step(tmp_path):
    config = yaml.safe_load((LOGGING / "dagster.yaml").read_text())
    config["python_logs"]["dagster_handler_config"]["handlers"]["lines"]["filename"] = str(
        tmp_path / "runs.jsonl"
    )
    config["telemetry"] = {"enabled": False}

    @dg.asset
    def made(context: dg.AssetExecutionContext) -> None:
        context.log.info("counted")
        logging.getLogger("medassets").warning("seen by the domain")

    with dg.instance_for_test(overrides=config, temp_dir=str(tmp_path)) as instance:
        run = dg.materialize([made], instance=instance).run_id
    found = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    by_text = {line["message"]: line for line in found}
    for text in ("counted", "seen by the domain"):
        assert (by_text[text]["run_id"], by_text[text]["step"]) == (run, "made")


def test_the_collectors_configuration_reads_what_we_write():
    vector = yaml.safe_load((LOGGING / "vector.yaml").read_text())
    runs = yaml.safe_load((LOGGING / "dagster.yaml").read_text())
    written = runs["python_logs"]["dagster_handler_config"]["handlers"]["lines"]["filename"]
    assert written in vector["sources"]["runs"]["include"]
    assert vector["sinks"]["loki"]["inputs"] == ["lines"]
    assert yaml.safe_load((LOGGING / "loki.yaml").read_text())["analytics"] == {"reporting_enabled": False}
