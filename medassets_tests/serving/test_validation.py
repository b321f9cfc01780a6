"""External validation: the groups, the clean protocol, and the contract of the JSON."""

import json

import numpy as np
import pytest

from medassets.cohorts.simulate_common import simulate
from medassets.features.cases import CaseSet
from medassets.serving.validation import common_report, rare_report


class Ranker:
    """Gives each case the score of a planted diagnosis; knows which publication taught it what."""

    candidates = ("OMIM:1", "OMIM:2", "OMIM:3", "ORPHA:4")
    taught_by = ("PMID:1", "PMID:2", None, None)

    def __init__(self, ontology, left_out=frozenset()):
        self.ontology, self.left_out = ontology, left_out
        self.shots = np.array([60, 3, 0, 10])
        self.annotated = np.array([p not in left_out for p in self.taught_by])

    def canonical(self, disease_id):
        return {"ORPHA:1": "OMIM:1"}.get(disease_id, disease_id)

    def without_publications(self, pmids):
        return Ranker(self.ontology, frozenset(pmids))

    def score(self, cases):
        scores = np.zeros((len(cases), len(self.candidates)), dtype=np.float32)
        scores[:, 3] = 5
        for row, disease in enumerate(cases.disease_ids):
            column = {d: i for i, d in enumerate(self.candidates)}.get(self.canonical(disease))
            if column is not None and self.taught_by[column] not in self.left_out:
                scores[row, column] = 3
        return scores


@pytest.fixture
def cases(ontology):
    term = np.array([ontology.index["HP:0001250"]], dtype=np.int32)
    nothing = np.empty(0, dtype=np.int32)
    diseases = ["OMIM:1", "ORPHA:1", "OMIM:2", "OMIM:3", "OMIM:9", "OMIM:1"]
    pmids = [("PMID:1",), ("PMID:1",), ("PMID:2",), ("PMID:3",), ("PMID:4",), ("PMID:5",)]
    n = len(diseases)
    return CaseSet(
        case_ids=[f"c{i}" for i in range(n)], disease_ids=diseases,
        observed=[term] * (n - 1) + [nothing], excluded=[nothing] * n,
        age_days=np.full(n, np.nan), sex=["F"] * n, pmids=pmids, origins=["published_case"] * n,
    )  # fmt: skip


def test_groups_follow_the_known_cases_of_the_diagnosis(ontology, cases):
    report = rare_report(Ranker(ontology), cases)
    sizes = {group: figures["n"] for group, figures in report["groups"].items()}
    assert sizes == {
        "all": 5, "annotated": 4, "shots_0": 1, "shots_0_all": 2,
        "shots_1_4": 1, "shots_5_50": 0, "shots_over_50": 2,
    }  # fmt: skip
    assert report["without_terms"] == 1 and report["not_candidates"] == 1
    assert report["groups"]["shots_over_50"]["top1"] == 1.0
    assert report["groups"]["shots_5_50"]["top1"] is None


def test_the_contract_ranks_among_the_databases_of_the_diagnoses(ontology, cases):
    report = rare_report(Ranker(ontology), cases)
    assert report["databases"] == ["OMIM"] and report["candidates"] == 3
    assert report["full"]["candidates"] == 4
    # The Orphanet candidate outranks every diagnosis in the full list only.
    assert report["full"]["groups"]["annotated"]["top1"] == 0
    assert report["groups"]["annotated"]["top1"] == 1.0
    assert report["groups"]["all"]["top1"] == pytest.approx(4 / 5)


def test_clean_leaves_out_what_the_cases_own_publications_taught(ontology, cases):
    report = rare_report(Ranker(ontology), cases, clean=True)
    assert report["groups"]["annotated"]["n"] == 1
    assert report["groups"]["shots_1_4"]["top1"] == 0


def test_the_rare_report_is_json(ontology, cases):
    assert json.loads(json.dumps(rare_report(Ranker(ontology), cases)))["groups"]["all"]["ci95"]["mrr"]


class Sure:
    """Knows the condition of each patient in the order of the table it was made for."""

    def __init__(self, knowledge, patients):
        self.conditions = knowledge.condition_names
        truth = [self.conditions.index(name) for name in patients.column("condition").to_pylist()]
        self.answer = np.eye(len(self.conditions))[truth]

    def predict(self, table):
        wide = self.answer.astype(bool) | (np.arange(len(self.conditions)) == 0)
        return {"probabilities": self.answer, "differential": self.answer, "sets": wide}


def test_common_report_has_every_field_of_the_contract(common_knowledge):
    patients = simulate(common_knowledge, seed=1, total=60)
    report = common_report(Sure(common_knowledge, patients), patients, common_knowledge)
    assert {"n", "top1", "top3", "top5", "macro_f1", "differential_f1", "ece", "ci95"} <= set(report)
    assert report["n"] == patients.num_rows and report["top1"] == 1.0
    assert report["differential_f1"] is None or 0 <= report["differential_f1"] <= 1
    assert report["inquiry"] is None
    assert report["conformal"]["coverage"] == 1.0 and 1 < report["conformal"]["mean_size"] <= 2
    assert report["noise"]["wrong_10"]["top1"] == 1.0
    json.dumps(report, allow_nan=False)
