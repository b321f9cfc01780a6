"""Monitoring in the graph: a day's log, drift against the served bundle's own training data, performance."""

import uuid
from dataclasses import replace

import dagster as dg
import pyarrow as pa
import pytest

from medassets.cohorts.tables import TABLES, conform
from medassets.orchestration.build import MODULES, resources_for
from medassets.orchestration.monitoring import table_or_empty
from medassets.serving.answering import open_desk
from medassets.serving.bundle import write_bundle
from medassets.serving.manifest import DataEntry, ModelEntry
from medassets.serving.requests import parse_request
from medassets.serving.signing import open_signer
from medassets.serving.store import PredictionStore
from medassets_tests.fixtures_ranker import N_CHILDREN, N_SYSTEMS, typical_findings
from medassets_tests.orchestration.test_ehr import Site
from medassets_tests.orchestration.test_loop import small_ranker

JOB = "monitor_day"


class WatchedSite(Site):
    """A served bundle whose training data lies in the lake at the version that its manifest names."""

    def __init__(self, home) -> None:
        super().__init__(home, MODULES, monitoring={"min_predictions": 40})
        self.lake = resources_for(self.settings)["io_manager"]
        ranker, cases = small_ranker()
        ontology = ranker.model.knowledge.ontology
        rows = [
            {"case_id": case, "sex": sex, "age_days": 2000, "disease_id": disease, "genes": [], "pmids": [],
             "n_observed": 5, "n_excluded": 0, "completeness": 1.0, "complete_enough": True,
             "origin": "published_case", "source_file": "made"}
            for case, sex, disease in zip(cases.case_ids, cases.sex, cases.disease_ids, strict=True)
        ]  # fmt: skip
        found = [
            {"case_id": case, "hpo_id": ontology.terms[i], "source_hpo_id": ontology.terms[i], "label": "",
             "excluded": False, "origin": "published_case"}
            for case, terms in zip(cases.case_ids, cases.observed, strict=True) for i in terms
        ]  # fmt: skip
        versions = {}
        for key, content in (("clinical/rare_cases", rows), ("clinical/case_phenotypes", found)):
            table = conform(pa.Table.from_pylist(content, schema=TABLES[key].schema), TABLES[key])
            versions[key] = self.lake.table(key).write(table).version
            # The table goes on; the reference stays what the bundle learned from.
            self.lake.table(key).write(table.slice(0, 3))
        write_bundle(
            self.settings.bundles_dir,
            parts={"rare": ranker.export_bundle},
            settings_origin="folder",
            profile="quick",
            models=[ModelEntry(name="rare_ranker", training_origin=["published_case"])],
            data=[DataEntry(asset=key, delta_version=v, rows=len(rows)) for key, v in versions.items()],
            sources=[],
            sign=open_signer(self.settings).sign,
        )

    def ask(self, n: int, terms) -> None:
        """Keep ``n`` answers to people with these findings, each with another age."""
        desk = open_desk(self.settings)
        answer = desk.diagnose(parse_request({"observed": terms, "age": 20, "sex": "F"}))
        store: PredictionStore = desk.store
        record = store.get(answer["prediction_id"])
        self.day = record.at[:10]
        for number in range(n - 1):
            request = record.request | {"age": f"P{3000 + 100 * number}.0D", "sex": "FM"[number % 2]}
            store.append(replace(record, prediction_id=str(uuid.uuid4()), request=request))
        store.add_feedback(record.prediction_id, "confirmed", answer["rare"]["candidates"][0]["disease_id"])
        store.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        yield WatchedSite(tmp_path_factory.mktemp("watched") / "home")


def test_before_anything_was_asked_the_tables_are_empty_and_say_so(site):
    assert site.run("2026-01-05", JOB).success
    for key in ("prediction_log", "clinician_feedback", "drift_report", "performance_report"):
        assert site.table(f"monitoring/{key}").num_rows == 0
    said = site.instance.get_latest_materialization_event(dg.AssetKey(["monitoring", "prediction_log"]))
    assert said.asset_materialization.metadata["state"].value == "nothing was asked on this day"
    assert table_or_empty(site.lake, "clinical/confirmed_cases").num_rows == 0


def test_other_patients_than_the_training_data_are_named_by_the_check(site):
    unusual = [f"HP:92{N_SYSTEMS - 1:02d}{N_CHILDREN - 1:03d}", *typical_findings(3)[:2]]
    site.ask(60, unusual)
    done = site.run(site.day, JOB)
    assert done.success
    log = site.rows("monitoring/prediction_log")
    assert len(log) == 60 and {row["sex"] for row in log} == {"F", "M"}
    drifted = [row for row in site.rows("monitoring/drift_report") if row["drifted"]]
    assert unusual[0] in {row["feature"] for row in drifted}
    # The reference are the 72 cases of the bundle's version, not the three that the table holds now.
    assert {row["n_reference"] for row in drifted if row["group"] == "all"} == {72}
    (check,) = [e for e in done.get_asset_check_evaluations() if e.check_name == "no_drift"]
    assert not check.passed and unusual[0] in check.description
    pages = site.settings.reports_dir / "drift"
    assert (pages / "rare.html").exists() and (pages / "rare" / f"{site.day}.json").exists()
    made = site.instance.get_latest_materialization_event(dg.AssetKey(["monitoring", "drift_report"]))
    assert made.asset_materialization.metadata["evidently_rare"].value["columns"] > 3


def test_feedback_becomes_performance_and_a_case_with_its_origin(site):
    (accuracy,) = [
        row
        for row in site.rows("monitoring/performance_report")
        if (row["week"], row["part"], row["group"], row["metric"]) == ("all", "rare", "all", "accuracy")
    ]
    assert (accuracy["value"], accuracy["n"]) == (1.0, 1) and accuracy["low"] < 0.1
    (case,) = site.rows("clinical/confirmed_cases")
    assert case["origin"] == "ehr" and case["provenance"].startswith("prediction:")


def test_a_day_made_again_changes_nothing(site):
    before = site.lake.table("monitoring/prediction_log").version()
    assert site.run(site.day, JOB).success
    assert site.lake.table("monitoring/prediction_log").version() == before
