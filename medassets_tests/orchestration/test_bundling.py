"""What goes into a bundle beside the models: the prior by prevalence, where a setting wants it."""

import numpy as np
import pyarrow as pa
import pytest

from medassets.cohorts.tables import TABLES
from medassets.cohorts.tables_live import table_of
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.orchestration.bundling import export_rare
from medassets.serving.rare import RarePredictor
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology

SMALL = RankerConfig("quick", ("clean",), 2, 1, ListwiseConfig(hidden=8, epochs=1, batch=8, negatives=10))


@pytest.fixture(scope="module")
def ranker() -> RareRanker:
    ontology = made_ontology()
    cases = made_cases(ontology)
    return RareRanker(SMALL).fit(made_knowledge(ontology, cases), cases)


def prevalences(*figures: tuple[str, float]) -> pa.Table:
    rows = [
        {
            "orpha_id": disease,
            "number": 1,
            "type": "Point prevalence",
            "geography": "Worldwide",
            "validated": True,
            "per_million": figure,
            "pmids": [],
            "origin": "orphanet",
            "source_file": "en_product9_prev.xml",
        }
        for disease, figure in figures
    ]
    return table_of(TABLES["clinical/orphanet_prevalences"], rows)


def test_the_prior_goes_with_the_ranker_only_if_it_has_a_weight(ranker, tmp_path):
    known = prevalences((ranker.candidates[0], 1.0), (ranker.candidates[1], 100.0))
    for weight in (0.0, 0.5):
        folder = tmp_path / str(weight)
        folder.mkdir()
        export_rare(ranker, known, weight, folder)
        prior = RarePredictor.load(folder).prior
        if not weight:
            assert prior is None
        else:
            assert prior[1] - prior[0] == pytest.approx(0.5 * np.log(100)) and not prior[2:].any()


def test_a_weight_without_a_prevalence_is_an_error(ranker, tmp_path):
    with pytest.raises(ValueError, match="en_product9_prev"):
        export_rare(ranker, prevalences(("ORPHA:999999", 1.0)), 0.5, tmp_path)
