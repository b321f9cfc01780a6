"""Documents of a release: changes beside the release before, outcomes of checks, the data dictionary."""

import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from rich.console import Console

from medassets.cohorts.tables import TABLES
from medassets.orchestration.documents import changes, check_outcomes, release_file
from medassets.orchestration.instance import open_instance
from medassets.orchestration.run import run_graph
from medassets.serving.manifest import Manifest, ModelEntry
from medassets.settings import Settings

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def manifest(version: str, age: int, **models: str) -> Manifest:
    return Manifest(
        version=version,
        created=NOW - timedelta(days=age),
        settings_origin="bundled",
        profile="quick",
        parts=[],
        models=[ModelEntry(name=name, registry_version=number) for name, number in models.items()],
        data=[],
        sources=[],
        packages={},
        files={},
    )


def test_a_release_is_compared_with_the_one_made_before_it():
    old, last, new = manifest("a", 9, ranker="1"), manifest("b", 5, ranker="2"), manifest("c", 0, ranker="3")
    later = manifest("d", -1, ranker="4")
    [change] = changes(new, [later, new, old, last])
    assert (change.before, change.version) == ("2", "3") and "serves" in change.decision
    [same] = changes(manifest("e", 0, ranker="2"), [last])
    assert same.decision == "unchanged"
    [first] = changes(old, [old])
    assert first.before == "none"


def test_a_release_states_the_origins_of_patients_only(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(home=tmp_path, _env_file=None)
    made = manifest("", 0, ranker="1")
    made.version = made.content_version()
    bundle = settings.bundles_dir / made.version
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text(made.to_json(), encoding="utf-8")
    data = [
        {"name": name, "role": "training", "rows": rows, "origin": origin}
        for name, rows, origin in (("cases", 5, "published_case"), ("hpo", 18_000, "bundled"))
    ]
    card = {
        "model": "ranker", "version": "1", "method": "m", "missing_data": "u", "intended_use": "i",
        "limits": [], "data": data, "figures": [], "subgroups": [],
    }  # fmt: skip
    cards = pa.table({"json": [json.dumps(card)]})
    with open_instance(settings) as instance:
        report = release_file(bundle, cards, settings, instance)
    assert report.origins == {"published_case": 5} and made.version in report.to_markdown()


def test_the_dictionary_names_every_table_and_checks_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(home=tmp_path, _env_file=None)
    selection = (
        "key:evaluation/data_dictionary or key:sources/hpo_ontology or key:sources/disease_annotations"
    )
    summary = run_graph(
        settings,
        select=f"{selection} or key:clinical/disease_annotations",
        console=Console(file=io.StringIO()),
    )
    assert summary.success, summary.failed
    text = (tmp_path / "reports" / "data-dictionary.md").read_text()
    assert all(f"## {key}\n" in text for key in TABLES if not key.startswith("toys"))
    with open_instance(settings) as instance:
        outcomes = check_outcomes(settings, instance)
    assert outcomes["clinical/disease_annotations: schema"].passed
    assert not any(name.startswith("models/") for name in outcomes)
