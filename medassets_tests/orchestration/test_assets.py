"""The real graph on small releases written by hand: from files to features, with every check, twice."""

import io

import pyarrow.compute as pc
import pytest
from rich.console import Console

from medassets.orchestration.build import resources_for
from medassets.orchestration.run import RunSummary, run_graph
from medassets.orchestration.training import RARE_INPUTS, rare_data
from medassets.settings import Settings
from medassets.settings_sections import SimulationSettings
from medassets_tests.orchestration import releases

#: Everything up to the models, but for the embeddings: reading all of HPO with a language model takes a
#: minute.
SELECTION = (
    "(group:sources or group:clinical or group:features or key:synthetic/simulated*)"
    " and not key:features/term_embeddings"
)


class Installation:
    """A folder of releases and what the graph made of it."""

    def __init__(self, folder) -> None:
        self.releases = releases.write(folder / "releases")
        self.settings = Settings(
            home=folder / "home",
            data_dir=self.releases,
            simulation=SimulationSettings(
                common_per_condition=3, rare_diseases=3, rare_min_cases=5, rare_max_cases=6
            ),
            _env_file=None,
        )

    def run(self, select: str = SELECTION) -> RunSummary:
        return run_graph(self.settings, select=select, console=Console(file=io.StringIO()))

    def table(self, key: str):
        return resources_for(self.settings)["io_manager"].table(key).read()

    def source(self, name: str):
        import json

        from medassets.orchestration.source_files import SourceFile

        return SourceFile.from_json(
            json.loads((self.settings.home / "records" / "sources" / f"{name}.json").read_text())
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    made = Installation(tmp_path_factory.mktemp("installation"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        made.first = made.run()
        yield made


def test_everything_is_made_and_every_source_says_where_it_is_from(installation):
    assert installation.first.success, installation.first.failed
    assert installation.first.sources == {
        "phenopackets": "folder",
        "ddxplus_patients": "folder",
        "hpo_ontology": "bundled",
        "disease_annotations": "bundled",
        "common_reference": "bundled",
        "mondo_mappings": "absent",
        "fhir_bundles": "absent",
        "orphadata": "absent",
        "pubmed_articles": "absent",
        "pubmed_search": "absent",
    }


def test_good_rows_arrive_and_bad_ones_are_set_aside_with_their_reason(installation):
    assert installation.table("clinical/rare_cases").num_rows == 8
    assert installation.table("clinical/common_patients").num_rows >= 3
    quarantine = installation.table("clinical/quarantine").to_pylist()
    assert {"HP:9999999", "E_99999"} <= {row["value"] for row in quarantine}
    assert all(row["reason"] and row["source_file"] for row in quarantine)


def test_every_row_says_its_origin(installation):
    for key, origin in (
        ("clinical/rare_cases", "published_case"),
        ("clinical/common_patients", "ddxplus"),
        ("synthetic/simulated_rare_cases", "simulated"),
        ("synthetic/simulated_common_patients", "simulated"),
        ("features/phenotype_profiles", "published_case"),
        ("features/common_features", "ddxplus"),
    ):
        assert pc.unique(installation.table(key).column("origin")).to_pylist() == [origin]


def test_records_are_learned_from_where_there_are_any(installation):
    cases = set(installation.table("clinical/rare_cases").column("case_id").to_pylist())
    assert set(installation.table("features/rare_split").column("case_id").to_pylist()) == cases


def test_a_second_run_looks_at_sources_only(installation):
    again = installation.run()
    assert again.success
    assert {line.layer for line in again.executed} == {"sources"}
    assert len(again.up_to_date) == len(installation.first.executed) - len(again.executed)


def test_training_holds_nothing_of_a_test_publication(installation):
    inputs = {
        name: installation.source(name)
        if item.key.path[0] == "sources"
        else installation.table(item.key.to_user_string())
        for name, item in RARE_INPUTS.items()
    }
    split = inputs["rare_split"]
    # Put one publication into the test part by hand: with so few, the hash may put none there.
    marked = {"PMID_0_case_0", "PMID_0_case_1"}
    parts = ["test" if case in marked else "train" for case in split.column("case_id").to_pylist()]
    inputs["rare_split"] = split.set_column(2, split.schema.field("part"), [parts])
    data = rare_data(inputs)
    assert set(data.test.case_ids) == marked
    assert marked.isdisjoint(data.train.case_ids)
    assert data.test_publications == {"PMID:0"}
    assert not any("PMID:0" in pmids for pmids in data.train.pmids)
    assert not any("PMID:0" in cited for cited in data.clean_knowledge.references)
    assert data.origin == "published_case"


def test_a_source_as_a_whole_too_incomplete_fails_before_anything_learns(tmp_path, monkeypatch):
    import json

    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    made = Installation(tmp_path)
    for path in (made.releases / "phenopackets").rglob("*.json"):
        bare = json.loads(path.read_text())
        bare["subject"] = {"id": bare["id"]}
        bare["interpretations"] = []
        bare["phenotypicFeatures"] = [{"type": {"id": "HP:0001166"}}]
        bare["metaData"]["resources"] = []
        path.write_text(json.dumps(bare))
    summary = made.run("+key:features/rare_split or +key:features/phenotype_profiles")
    assert not summary.success
    assert "clinical/rare_cases: completeness" in dict(summary.failed)
    assert "features/rare_split" in summary.skipped and "features/phenotype_profiles" in summary.skipped
