"""The lineage as a graph: every step once, connected from the answer to the files' sums."""

import pytest

from medassets.page import graph
from medassets.page.client import Api


@pytest.fixture(scope="module")
def prov(api_address):
    api = Api(api_address)
    return api.lineage(api.diagnose({"observed": ["HP:0001250"]})["prediction_id"])


def test_a_path_leads_from_the_answer_to_the_source(prov):
    edges = graph.edges_of(prov)
    reached = {step.id for step in graph.steps_of(prov) if step.kind == "prediction"}
    for _ in edges:
        reached |= {b for a, b in edges if a in reached}
    assert reached == {step.id for step in graph.steps_of(prov)}
    # A model comes from its run, and the run from the tables: no edge passes the run by.
    assert not [1 for a, b in edges if "rare_ranker" in a and "/data/" in b]


@pytest.mark.parametrize("language", ["en", "es"])
def test_graph_and_table_name_the_sum(prov, language):
    assert "sha256: 5ca1ab1e" in graph.dot(prov, language)
    assert any("sha256 5ca1ab1e" in row["facts"] for row in graph.rows(prov, language))


def test_quotes_cannot_leave_a_label():
    text = graph.dot({"entity": {'medassets:source/a"b': {}}}, "en")
    assert 'a\\"b' in text
