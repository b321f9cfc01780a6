"""A small bundle and models that answer from it, so that the service is tested without training."""

import json

import pytest

from medassets.features.common import EvidenceSpace
from medassets.ingest.text import TextMatcher
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.serving.answering import Desk
from medassets.serving.bundle import write_bundle
from medassets.serving.manifest import DataEntry, ModelEntry, SourceEntry
from medassets.serving.predictor import Diagnoser
from medassets.serving.signing import open_signer
from medassets.serving.store import PredictionStore
from medassets.settings import Settings

OBO = """format-version: 1.2
data-version: hp/releases/2026-01-01

[Term]
id: HP:0000001
name: All

[Term]
id: HP:0000118
name: Phenotypic abnormality
is_a: HP:0000001

[Term]
id: HP:0001250
name: Seizure
alt_id: HP:0002125
synonym: "Epileptic fit" EXACT []
is_a: HP:0000118

[Term]
id: HP:0007359
name: Focal-onset seizure
is_a: HP:0001250

[Term]
id: HP:0000252
name: Microcephaly
is_a: HP:0000118

[Term]
id: HP:0000005
name: Mode of inheritance
is_a: HP:0000001
"""


class FakeRare:
    """Ranks two diseases by the number of findings."""

    def __init__(self, ontology):
        self.ontology = ontology
        self.asked = None

    def answer(self, observed, excluded, age_days, sex, top):
        self.asked = (observed, excluded, age_days, sex, top)
        reasons = [
            {"hpo_id": t, "label": self.ontology.names[self.ontology.index[t]], "state": "observed",
             "direction": "for", "log_ratio": 1.5}
            for t in observed
        ]  # fmt: skip
        candidate = {"disease_id": "OMIM:1", "name": "First", "probability": 0.9, "n_known_cases": 3}
        similar = {
            "case_id": "c1",
            "disease_id": "OMIM:1",
            "disease": "First",
            "pmids": ["PMID:1"],
            "similarity": 0.8,
        }
        return {
            "candidates": [candidate | {"explanation": reasons}][:top],
            "confidence": "high",
            "abstain": False,
            "reason": None,
            "similar_cases": [similar],
            "look_for_next": [],
        }


class FakeCommon:
    """Says the same of everyone."""

    def __init__(self, knowledge):
        self.space = EvidenceSpace.from_knowledge(knowledge)
        self.asked = None

    def answer(self, evidence, unknown, absent, age, sex, top):
        self.space.encode(evidence, unknown, age, sex, absent=absent)
        self.asked = (evidence, unknown, absent, age, sex, top)
        return {
            "candidates": [
                {
                    "condition": "Bronchitis",
                    "icd10": "J20",
                    "severity": 4,
                    "probability": 0.7,
                    "explanation": [],
                }
            ],
            "confidence": "moderate",
            "abstain": False,
            "reason": None,
            "conformal_set": ["Bronchitis"],
            "coverage": 0.95,
            "red_flags": [],
        }


def fake_bundle(bundles_dir, **overrides):
    arguments = {
        "parts": {
            "rare": lambda d: (d / "x.json").write_text("{}"),
            "cards": lambda d: (d / "rare.json").write_text(json.dumps({"intended_use": "decision support"})),
        },
        "settings_origin": "folder",
        "profile": "quick",
        "models": [
            ModelEntry(
                name="rare_ranker", registry_version="4", mlflow_run_id="ml1", dagster_run_id="dg1",
                trained_on=["clinical/rare_cases"], training_origin=["published_case"],
            ),
            ModelEntry(name="common_ensemble", registry_version="2", training_origin=["simulated"]),
        ],
        "data": [
            DataEntry(asset="clinical/rare_cases", delta_version=7, derived_from=["sources/phenopackets"]),
        ],
        "sources": [
            SourceEntry(name="sources/phenopackets", origin="folder", location="a.zip", sha256="5ca1ab1e")
        ],
        # The layout of an installation, so that a service over this folder trusts it.
        "sign": open_signer(Settings(home=bundles_dir.parent)).sign,
    } | overrides  # fmt: skip
    return write_bundle(bundles_dir, **arguments)


@pytest.fixture(scope="session")
def ontology(tmp_path_factory):
    path = tmp_path_factory.mktemp("hpo") / "hp.obo"
    path.write_text(OBO)
    return Ontology.from_obo(path)


@pytest.fixture(scope="session")
def common_knowledge():
    return CommonKnowledge.bundled()


@pytest.fixture
def bundle(tmp_path):
    return fake_bundle(tmp_path / "bundles")


@pytest.fixture
def diagnoser(bundle, ontology, common_knowledge):
    matcher = TextMatcher.from_ontology(ontology)
    return Diagnoser(bundle, rare=FakeRare(ontology), common=FakeCommon(common_knowledge), matcher=matcher)


@pytest.fixture
def desk(diagnoser, tmp_path):
    store = PredictionStore(tmp_path / "predictions.db")
    yield Desk(diagnoser, store, bento="diagnosis:test", bundles_dir=tmp_path / "bundles")
    store.close()
