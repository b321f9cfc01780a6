"""From a prediction one can walk to the sums of the source files, in text and in PROV-JSON."""

import json
from datetime import UTC, datetime

import pytest

from medassets.serving.manifest import DataEntry, Manifest, Metric, ModelEntry, SourceEntry
from medassets.serving.provenance import lineage, prov_json, tree
from medassets.serving.store import Record


@pytest.fixture
def manifest():
    return Manifest(
        version="v1",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        settings_origin="folder",
        profile="quick",
        parts=["rare"],
        models=[
            ModelEntry(
                name="rare_ranker", registry_version="3", mlflow_run_id="mlrun", dagster_run_id="dgrun",
                metrics={"top1": Metric(value=0.4, n=100, origin="published_case")},
                trained_on=["features/rare_split", "clinical/rare_cases"], training_origin=["published_case"],
            ),
            ModelEntry(name="common_ensemble", trained_on=["clinical/rare_cases"]),
        ],
        data=[
            DataEntry(asset="clinical/rare_cases", delta_version=2, derived_from=["sources/phenopackets"]),
            DataEntry(asset="features/rare_split", delta_version=5, derived_from=["clinical/rare_cases"]),
        ],
        sources=[
            SourceEntry(
                name="sources/phenopackets", origin="folder", location="a.zip", size=7, sha256="5ca1ab1e")
        ],
        packages={},
        files={},
    )  # fmt: skip


@pytest.fixture
def chain(manifest):
    return lineage(Record("p1", "2026-01-02T00:00:00+00:00", "v1", "diagnosis:9", {}, {}), manifest)


def test_the_tree_goes_from_the_prediction_to_the_sum(chain):
    lines = tree(chain).splitlines()
    kinds = [line.split()[0] for line in lines]
    assert kinds[:5] == ["prediction", "bento", "bundle", "model", "run"]
    assert any("source sources/phenopackets" in line and "sha256=5ca1ab1e" in line for line in lines)
    assert "model rare_ranker@3" in lines[3] and "n:100" in lines[3]
    assert sum("see above" in line for line in lines) == 2


def test_nested_json_has_the_same_chain(chain):
    nested = json.loads(json.dumps(chain.to_dict()))
    depth, node = 0, nested
    while node["derived_from"]:
        node, depth = node["derived_from"][0], depth + 1
    assert node["kind"] == "source" and node["sha256"] == "5ca1ab1e" and depth == 7


def test_prov_json_is_closed(chain):
    document = json.loads(json.dumps(prov_json(chain)))
    entities, activities = set(document["entity"]), set(document["activity"])
    assert document["entity"]["medassets:source/sources/phenopackets"]["medassets:sha256"] == "5ca1ab1e"
    for relation, (first, second) in {
        "wasGeneratedBy": ("prov:entity", "prov:activity"),
        "used": ("prov:activity", "prov:entity"),
        "wasDerivedFrom": ("prov:generatedEntity", "prov:usedEntity"),
    }.items():
        assert document[relation]
        for edge in document[relation].values():
            for end in (first, second):
                assert edge[end] in (activities if end == "prov:activity" else entities)
    assert "medassets:run/mlrun" in activities


def test_derivations_reach_the_source_from_the_prediction(chain):
    edges = prov_json(chain)["wasDerivedFrom"].values()
    reached, grown = {"medassets:prediction/p1"}, True
    while grown:
        more = {e["prov:usedEntity"] for e in edges if e["prov:generatedEntity"] in reached} - reached
        reached, grown = reached | more, bool(more)
    assert "medassets:source/sources/phenopackets" in reached


def test_another_bundles_manifest_is_refused(manifest):
    with pytest.raises(ValueError, match="is of bundle other, not v1"):
        lineage(Record("p1", "", "other", "", {}, {}), manifest)
