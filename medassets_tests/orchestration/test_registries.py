"""Orphanet and PubMed in the real graph: with files of theirs, and without."""

import gzip
import json

import dagster as dg
import pyarrow as pa
import pytest

from medassets.cohorts import registry
from medassets.cohorts.tables import TABLES, conform
from medassets.orchestration.build import WHOLE_GRAPH, build_definitions, resources_for
from medassets.settings import Settings
from medassets_tests.ingest.fixtures_xml import article, article_set, orphadata

CATALOGUE = {
    "disease_id": ["OMIM:154700"],
    "name": ["Marfan syndrome"],
    "equivalents": [["OMIM:154700", "ORPHA:558"]],
    "kind": ["rare"],
    "n_annotations": [0],
    "origin": ["identity"],
}


class Site:
    """An installation with a catalogue of one disease."""

    def __init__(self, **settings) -> None:
        self.settings = Settings(_env_file=None, **settings)
        self.manager = resources_for(self.settings)["io_manager"]
        spec = TABLES["clinical/disease_catalogue"]
        self.manager.table(spec.key).write(conform(pa.table(CATALOGUE), spec))
        made = build_definitions(self.settings, modules=["sources", "registries", "literature"])
        kept = dg.AssetSpec(dg.AssetKey(spec.key.split("/")))
        self.defs = dg.Definitions.merge(made, dg.Definitions(assets=[kept]))

    def run(self) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            return self.defs.resolve_job_def(WHOLE_GRAPH).execute_in_process(instance=instance)

    def rows(self, key: str) -> list[dict]:
        return self.manager.table(key).read().to_pylist()


@pytest.fixture(autouse=True)
def own_instance(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def test_their_files_become_tables(tmp_path):
    data = tmp_path / "data"
    orphadata(data / "orphanet")
    (data / "pubmed").mkdir()
    abstract = "<AbstractText>A boy with Marfan syndrome had arachnodactyly but no scoliosis.</AbstractText>"
    reports = article_set(
        article("1", "A case", abstract), article("2", "Cold", "<AbstractText>x</AbstractText>")
    )
    (data / "pubmed" / "pubmed26n0001.xml.gz").write_bytes(gzip.compress(reports))
    site = Site(home=tmp_path / "home", data_dir=data)
    done = site.run()
    assert all(evaluation.passed for evaluation in done.get_asset_check_evaluations())
    assert [r["orpha_id"] for r in site.rows("clinical/orphanet_diseases")] == ["ORPHA:558"]
    assert len(site.rows("clinical/orphanet_quarantine")) == 6
    (report,) = site.rows("clinical/case_reports")
    assert "OMIM:154700" in report["disease_ids"] and report["origin"] == "pubmed"
    found = {(r["hpo_id"], r["negated"]) for r in site.rows("clinical/report_phenotypes")}
    assert {("HP:0001166", False), ("HP:0002650", True)} <= found


def test_without_them_the_tables_are_empty_and_say_so(tmp_path):
    site = Site(home=tmp_path)
    done = site.run()
    states = [e.event_specific_data.materialization.metadata for e in done.get_asset_materialization_events()]
    told = [str(found["state"].value) for found in states if "state" in found]
    assert len(told) == 10 and all(text.startswith("not configured: ") for text in told)
    for key in (*registry.ORPHANET_TABLES.values(), *registry.REPORT_TABLES.values()):
        assert site.rows(key) == [], key
    record = json.loads((tmp_path / "records" / "sources" / "pubmed_search.json").read_text())
    assert record["origin"] == "absent" and record["path"] is None
