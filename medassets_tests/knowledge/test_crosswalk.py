from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.knowledge.crosswalk import EXACT, MAPPINGS, Crosswalk, normal_id, read_sssom
from medassets.knowledge.quarantine import SourceError
from medassets_tests.fixtures_rare import SSSOM


def mappings(*pairs: tuple[str, str], predicate: str = EXACT) -> pa.Table:
    rows = [
        {"subject_id": a, "object_id": b, "predicate_id": predicate, "subject_label": None} for a, b in pairs
    ]
    return pa.Table.from_pylist(rows, schema=MAPPINGS)


def test_identity_ties_nothing_and_says_so() -> None:
    crosswalk = Crosswalk.identity()
    assert crosswalk.origin == "identity"
    assert crosswalk.canonical("ORPHA:15") == "ORPHA:15"
    assert crosswalk.canonical("Orphanet:15") == "ORPHA:15"
    assert crosswalk.mondo("OMIM:1") is None
    assert crosswalk.equivalents("OMIM:1") == ("OMIM:1",)


def test_read_sssom(tmp_path: Path) -> None:
    path = tmp_path / "omim.sssom.tsv"
    path.write_text(SSSOM)
    table, rejected, version = read_sssom(path)
    assert (table.num_rows, rejected, version) == (4, [], "2026-08-04")
    crosswalk = Crosswalk(table, version)
    assert crosswalk.origin == "mondo"
    assert crosswalk.equivalents("ORPHA:91") == ("OMIM:900001", "ORPHA:91", "MONDO:0000001")
    assert crosswalk.mondo("OMIM:900001") == "MONDO:0000001"
    assert crosswalk.mondo("ORPHA:91") == "MONDO:0000001"
    assert crosswalk.codes("ORPHA:91", "ICD10CM") == ("ICD10CM:R26.0",)
    assert crosswalk.from_code("ICD10CM:R26.0") == ("OMIM:900001",)
    # A broad match is not the same disease.
    assert crosswalk.mondo("OMIM:900002") is None


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_bad_rows_are_set_aside(line_end: str) -> None:
    text = SSSOM + "MONDO:3\tx\tskos:exactMatch\t\tx\ty\n" + "no curie\tx\tskos:exactMatch\tOMIM:3\tx\ty\n"
    table, rejected, _ = read_sssom("x.sssom.tsv", ("\ufeff" + text.replace("\n", line_end)).encode())
    assert table.num_rows == 4
    assert [(row.row, row.field, row.value) for row in rejected] == [
        (7, "object_id", ""),
        (8, "subject_id", "no curie"),
    ]


def test_missing_column_is_named() -> None:
    with pytest.raises(SourceError, match=r"x\.sssom\.tsv: column 'object_id' is missing"):
        read_sssom("x.sssom.tsv", SSSOM.replace("object_id", "object").encode())


def test_not_utf8_is_refused() -> None:
    with pytest.raises(SourceError, match="UTF-8"):
        read_sssom("x.sssom.tsv", b"\xff\xfe\x00")


def test_omim_is_preferred_then_orphanet_then_the_smaller_number() -> None:
    crosswalk = Crosswalk(
        mappings(
            ("MONDO:1", "ORPHA:9"), ("MONDO:1", "OMIM:100"), ("MONDO:2", "ORPHA:30"), ("MONDO:2", "ORPHA:4"),
        )
    )  # fmt: skip
    assert crosswalk.canonical("MONDO:1") == "OMIM:100"
    assert crosswalk.canonical("ORPHA:30") == "ORPHA:4"


def test_entry_with_two_omim_diseases_ties_neither() -> None:
    crosswalk = Crosswalk(mappings(("MONDO:1", "OMIM:1"), ("MONDO:1", "OMIM:2"), ("MONDO:1", "ORPHA:7")))
    assert crosswalk.canonical("OMIM:1") == "OMIM:1"
    assert crosswalk.canonical("OMIM:2") == "OMIM:2"
    assert crosswalk.canonical("MONDO:1") == "ORPHA:7"
    (conflict,) = crosswalk.conflicts
    assert conflict.disease_ids == ("OMIM:1", "OMIM:2")
    assert conflict.through == "MONDO:1"


def test_chain_that_would_tie_two_omim_diseases_is_cut() -> None:
    crosswalk = Crosswalk(
        mappings(("MONDO:1", "OMIM:1"), ("MONDO:2", "OMIM:2"), ("MONDO:1", "ORPHA:7"), ("MONDO:2", "ORPHA:7"))
    )
    assert crosswalk.canonical("OMIM:1") != crosswalk.canonical("OMIM:2")
    assert [c.disease_ids for c in crosswalk.conflicts] == [("OMIM:1", "OMIM:2")]


def test_canonical_column_keeps_nulls() -> None:
    crosswalk = Crosswalk(mappings(("MONDO:1", "OMIM:1"), ("MONDO:1", "ORPHA:7")))
    column = crosswalk.canonical_column(pa.chunked_array([["ORPHA:7", None], ["OMIM:1"]]))
    assert column.to_pylist() == ["OMIM:1", None, "OMIM:1"]


_MONDO = st.integers(1, 6).map(lambda n: f"MONDO:{n}")
_OTHER = st.tuples(st.sampled_from(["OMIM", "ORPHA"]), st.integers(1, 6)).map(lambda p: f"{p[0]}:{p[1]}")


@given(st.lists(st.tuples(_MONDO, _OTHER), max_size=25), st.randoms())
def test_any_mappings_keep_omim_apart_and_do_not_depend_on_order(
    pairs: list[tuple[str, str]], shuffler: Random
) -> None:
    crosswalk = Crosswalk(mappings(*pairs))
    ids = sorted({name for pair in pairs for name in pair})
    for name in ids:
        members = crosswalk.equivalents(name)
        assert sum(member.startswith("OMIM:") for member in members) <= 1
        assert crosswalk.canonical(name) == members[0] == crosswalk.canonical(members[-1])
        assert name in members
    shuffled = list(pairs)
    shuffler.shuffle(shuffled)
    again = Crosswalk(mappings(*shuffled))
    assert [again.canonical(name) for name in ids] == [crosswalk.canonical(name) for name in ids]


def test_normal_id() -> None:
    assert [normal_id(i) for i in ("Orphanet:1", "SCTID:2", "ICD10WHO:B68", "OMIM:3")] == [
        "ORPHA:1",
        "SNOMEDCT:2",
        "ICD10:B68",
        "OMIM:3",
    ]
