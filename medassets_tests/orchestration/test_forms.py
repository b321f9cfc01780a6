"""Symptom forms through the real graph by day: sensor, table, checks, errors beside the form."""

import json

from typer.testing import CliRunner

from medassets.cli import app
from medassets.ingest.forms import template
from medassets_tests.orchestration.test_ehr import Site


def test_a_dropped_form_reaches_its_table_and_its_sender(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    site = Site(tmp_path / "home", modules=("sources", "forms"), fhir_origin="simulated")
    text = template("csv")
    site.drop("ward.csv", (text + text.splitlines()[1] + "\r\n").encode(), folder=site.settings.forms_inbox)
    (asked,) = site.look("symptom_form_files")
    done = site.run(asked.partition_key, "symptom_forms_inbox")
    assert done.success and all(e.passed for e in done.get_asset_check_evaluations())
    rows = site.rows("clinical/symptom_forms")
    assert [(r["code"], r["answer"]) for r in rows] == [("HP:0001250", "yes"), ("E_91", "no")]
    assert rows[0]["origin"] == "simulated" and "12345" not in str(rows)
    assert site.rows("clinical/form_deliveries")[0]["state"] == "done"
    beside = site.settings.forms_inbox / "done" / asked.partition_key / "ward.csv.errors.json"
    (error,) = json.loads(beside.read_text())
    assert error["row"] == 3 and "stands already" in error["reason"]
    assert not site.look("symptom_form_files")


def test_the_example_is_a_command_away(tmp_path):
    printed = CliRunner().invoke(app, ["form-template"])
    assert printed.exit_code == 0 and printed.stdout.splitlines()[0].startswith("form_id,patient_id")
    target = tmp_path / "form.json"
    assert CliRunner().invoke(app, ["form-template", "json", "--out", str(target)]).exit_code == 0
    assert json.loads(target.read_text())[0]["answers"]
