import hashlib
from pathlib import Path

import pytest

from medassets.ingest.folder import SOURCES, find, locate
from medassets.ingest.quarantine import IngestError


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def names(found: dict) -> dict[str, list[str]]:
    return {source: [path.name for path in paths] for source, paths in found.items() if paths}


def test_a_folder_a_source(tmp_path) -> None:
    put(
        tmp_path,
        "phenopackets/all.zip",
        "ddxplus/release_train_patients.zip",
        "ddxplus/release_conditions.json",
    )
    put(
        tmp_path,
        "ddxplus/release_evidences.json",
        "mondo/a.sssom.tsv",
        "mondo/b.sssom.tsv",
        "fhir/bundle.json",
    )
    assert names(find(tmp_path)) == {
        "phenopackets": ["all.zip"],
        "ddxplus_patients": ["release_train_patients.zip"],
        "ddxplus_knowledge": ["release_conditions.json", "release_evidences.json"],
        "mondo": ["a.sssom.tsv", "b.sssom.tsv"],
        "fhir": ["bundle.json"],
    }


def test_everything_flat(tmp_path) -> None:
    put(tmp_path, "all_phenopackets.zip", "release_train_patients", "hp.obo", "phenotype.hpoa", "notes.txt")
    assert names(find(tmp_path)) == {
        "phenopackets": ["all_phenopackets.zip"],
        "ddxplus_patients": ["release_train_patients"],
        "hpo": ["hp.obo", "phenotype.hpoa"],
    }


def test_size_and_sum_are_those_of_the_file(tmp_path) -> None:
    put(tmp_path, "fhir/a.ndjson")
    found = locate(tmp_path)
    assert set(found) == set(SOURCES)
    assert found["mondo"] is None
    (file,) = found["fhir"]
    assert (file.size, file.sha256) == (13, hashlib.sha256(b"fhir/a.ndjson").hexdigest())


def test_an_unfinished_download_is_no_source(tmp_path) -> None:
    put(tmp_path, "ddxplus/release_train_patients.zip.part")
    assert names(find(tmp_path)) == {}


def test_half_a_pair_is_an_error(tmp_path) -> None:
    put(tmp_path, "hpo/hp.obo")
    with pytest.raises(IngestError, match=r"hpo: phenotype\.hpoa is missing beside hp\.obo"):
        find(tmp_path)


def test_a_missing_folder_is_named(tmp_path) -> None:
    with pytest.raises(IngestError, match="none is not a folder"):
        find(tmp_path / "none")


def test_the_releases_are_found(shared_data) -> None:
    found = names(find(shared_data))
    assert found["phenopackets"] == ["all_phenopackets.zip"]
    assert found["ddxplus_patients"] == ["release_train_patients.zip"]
