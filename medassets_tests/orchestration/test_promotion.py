from types import SimpleNamespace

import numpy as np
import pytest

from medassets.orchestration import promotion
from medassets.orchestration.promotion import CHAMPION, RARE_MODEL, promote_rare
from medassets.orchestration.tracking import NEWEST, ModelVersion

N = 200


class Registry:
    """A registry in memory: aliases to versions, and what each version is."""

    def __init__(self, models, **aliases):
        self.models, self.aliases = models, aliases

    def newest(self, name, alias=NEWEST):
        version = self.aliases.get(alias)
        return ModelVersion(name, version, "", "", False) if version else None

    def load(self, name, version=None, alias=NEWEST):
        model = self.models[self.aliases[alias]]
        if isinstance(model, Exception):
            raise model
        return model

    def client(self):
        return SimpleNamespace(
            set_registered_model_alias=lambda name, alias, version: self.aliases.update({alias: version})
        )


@pytest.fixture
def data():
    test = SimpleNamespace(case_ids=[f"case {i}" for i in range(N)], pmids=[(f"PMID:{i}",) for i in range(N)])
    return SimpleNamespace(test=test)


@pytest.fixture(autouse=True)
def ranks_are_the_rankers(monkeypatch):
    monkeypatch.setattr(promotion, "clean_ranks", lambda ranker, data: np.full(N, float(ranker)))


def test_the_first_ranker_becomes_the_champion(data):
    registry = Registry({"1": 2}, **{NEWEST: "1"})
    row = promote_rare(2, data, registry, 0).to_pylist()[0]
    assert row["passed"] and row["champion"] == "1" and registry.aliases[CHAMPION] == "1"
    assert row["model"] == RARE_MODEL


def test_a_worse_ranker_does_not_take_over_and_a_better_one_does(data):
    registry = Registry({"1": 2, "2": 4}, **{NEWEST: "2", CHAMPION: "1"})
    row = promote_rare(4, data, registry, 0).to_pylist()[0]
    assert not row["passed"] and row["champion"] == "1" and row["challenger"] == "2"
    assert registry.aliases[CHAMPION] == "1"
    assert promote_rare(1, data, registry, 0).to_pylist()[0]["champion"] == "2"


def test_a_champion_of_other_features_gives_way_and_that_is_said(data):
    registry = Registry({"1": ValueError("other features"), "2": 4}, **{NEWEST: "2", CHAMPION: "1"})
    rows = promote_rare(4, data, registry, 0).to_pylist()
    assert registry.aliases[CHAMPION] == "2"
    assert any("other features" in row["message"] for row in rows)


def test_without_a_trained_ranker_there_is_nothing_to_judge(data):
    with pytest.raises(LookupError, match=RARE_MODEL):
        promote_rare(1, data, Registry({}), 0)
