from pathlib import Path

import pytest

from medassets.ingest.quarantine import IngestError
from medassets.ingest.sources import resolve
from medassets.settings import Settings
from medassets_tests.ingest.test_folder import put


def settings(**values) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch) -> None:
    for name in ("ORIGIN", "DATA_DIR", "HPO_DIR", "DOWNLOAD_BASE_URL"):
        monkeypatch.delenv(f"MEDASSETS_{name}", raising=False)


def origins(sources: dict) -> dict[str, str]:
    return {name: source.origin for name, source in sources.items()}


def test_bundled_knowledge_needs_nothing_and_has_no_patients() -> None:
    sources = resolve(settings(origin="bundled"))
    assert origins(sources) == {
        "hpo_ontology": "bundled",
        "disease_annotations": "bundled",
        "phenopackets": "absent",
        "ddxplus_patients": "absent",
        "common_reference": "bundled",
        "mondo_mappings": "absent",
        "orphadata": "absent",
        "pubmed_articles": "absent",
        "fhir_bundles": "absent",
    }
    assert sources["hpo_ontology"].path.name == "hp.obo"
    assert sources["common_reference"].files and sources["phenopackets"].path is None
    assert all(source.licence and source.url for source in sources.values())


def test_a_folder_with_some_sources_leaves_the_rest_bundled(tmp_path) -> None:
    put(tmp_path, "ddxplus/release_train_patients.zip", "ddxplus/release_test_patients.zip")
    sources = resolve(settings(data_dir=tmp_path))
    assert sources["ddxplus_patients"].path == tmp_path / "ddxplus" / "release_train_patients.zip"
    assert sources["ddxplus_patients"].files == (sources["ddxplus_patients"].path,)
    assert (sources["ddxplus_patients"].origin, sources["common_reference"].origin) == ("folder", "bundled")
    assert sources["phenopackets"].origin == "absent"


def test_files_of_one_source_are_read_as_their_folder(tmp_path) -> None:
    put(tmp_path, "mondo/a.sssom.tsv", "mondo/b.sssom.tsv", "fhir/x/a.json", "fhir/b.json")
    sources = resolve(settings(data_dir=tmp_path))
    assert sources["mondo_mappings"].path == tmp_path / "mondo"
    assert sources["fhir_bundles"].path == tmp_path / "fhir"
    assert len(sources["fhir_bundles"].files) == 2


def test_hpo_dir_goes_before_all(tmp_path) -> None:
    put(tmp_path, "data/hpo/hp.obo", "data/hpo/phenotype.hpoa", "own/hp.obo", "own/phenotype.hpoa")
    sources = resolve(settings(data_dir=tmp_path / "data"))
    assert sources["hpo_ontology"].path == tmp_path / "data" / "hpo" / "hp.obo"
    sources = resolve(settings(data_dir=tmp_path / "data", hpo_dir=tmp_path / "own"))
    assert sources["disease_annotations"].path == tmp_path / "own" / "phenotype.hpoa"
    with pytest.raises(IngestError, match=r"hp\.obo: file is missing"):
        resolve(settings(hpo_dir=Path(tmp_path / "none")))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("phenopackets/a.zip", "phenopackets/b.zip"), "several archives, keep one"),
        (("ddxplus/release_test_patients.zip",), "no release_train_patients"),
        (
            ("ddxplus/release_train_patients.zip", "ddxplus/release_train_patients.csv"),
            "several training files",
        ),
    ],
)
def test_what_is_ambiguous_is_an_error(tmp_path, names: tuple[str, ...], message: str) -> None:
    put(tmp_path, *names)
    with pytest.raises(IngestError, match=message):
        resolve(settings(data_dir=tmp_path))
