from pathlib import Path

import numpy as np
import pytest

from medassets.cohorts.rare_cases import read_rare_cases
from medassets.cohorts.tables import TABLES
from medassets.features.profiles import annotated_information, phenotype_profiles
from medassets.knowledge.annotations import read_annotations
from medassets.knowledge.crosswalk import Crosswalk
from medassets_tests.fixtures_rare import HPOA_ROWS, feature, ontology, packet, write_hpoa, write_zip


def test_information_counts_diseases_that_show_a_term(tmp_path: Path) -> None:
    hpo = ontology()
    annotations, _ = read_annotations(write_hpoa(tmp_path, *HPOA_ROWS), hpo)
    information = annotated_information(annotations, hpo)
    # Three diseases: the gait term stands in two; the fast heart in one, because NOT does not count.
    assert information[hpo.index["HP:9000011"]] == pytest.approx(np.log(3 / 2))
    assert information[hpo.index["HP:9000021"]] == pytest.approx(np.log(3))
    assert information[hpo.index["HP:0000118"]] == pytest.approx(0)


def test_profiles(tmp_path: Path) -> None:
    hpo = ontology()
    features = [feature("HP:9000013"), feature("HP:9000020"), feature("HP:9000021", excluded=True)]
    path = write_zip(
        tmp_path / "p.zip", {"a.json": packet("a", phenotypicFeatures=features), "b.json": {"id": "b"}}
    )
    read = read_rare_cases(path, hpo)
    information = np.zeros(len(hpo))
    information[[hpo.index["HP:9000013"], hpo.index["HP:9000020"]]] = [2.0, 0.5]
    table = phenotype_profiles(read.cases, read.phenotypes, hpo, information, Crosswalk.identity())
    assert table.schema.equals(TABLES["features/phenotype_profiles"].schema)
    full, bare = table.to_pylist()
    assert full == {
        "case_id": "a",
        "disease_id": "OMIM:900001",
        "sex": "F",
        "age_days": 1156,
        "observed": ["HP:9000013", "HP:9000020"],
        "excluded": ["HP:9000021"],
        "n_implied": 9,
        "information_content": 2.5,
        "organ_systems": ["HP:0000707", "HP:0001626"],
        "origin": "published_case",
    }
    assert (bare["observed"], bare["organ_systems"], bare["information_content"]) == ([], [], 0.0)
