import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medassets.ingest.packets import Finding, PacketReader
from medassets.ingest.phenopackets import PhenopacketRead, read_phenopackets
from medassets.ingest.quarantine import IngestError, QuarantineRow
from medassets.knowledge.ontology import Ontology
from medassets_tests.fixtures_rare import feature, ontology, packet, write_zip


@pytest.fixture(scope="module")
def small() -> Ontology:
    return ontology()


Read = Callable[..., PhenopacketRead]


@pytest.fixture
def read(tmp_path: Path, small: Ontology) -> Read:
    """Read packets from a zip, one member each, under ``store/GENE/<n>.json``."""

    def from_zip(*packets: Any) -> PhenopacketRead:
        members = {f"store/GENE/{n}.json": content for n, content in enumerate(packets)}
        return read_phenopackets(write_zip(tmp_path / "packets.zip", members), small)

    return from_zip


def only(rows: list[QuarantineRow]) -> QuarantineRow:
    assert len(rows) == 1, [row.message for row in rows]
    return rows[0]


def test_every_field_of_a_complete_packet(read: Read) -> None:
    result = read(packet())
    assert result.quarantine == []
    (case,) = result.packets
    assert case.case_id == "case_1"
    assert case.cohort == "GENE"
    assert case.source_file == "store/GENE/0.json"
    assert case.subject_id == "II-1"
    assert case.sex == "F"
    assert case.age_days == 1156
    assert (case.disease_id, case.disease_label) == ("OMIM:900001", "Wobble disease")
    assert case.genes == ["WOB1"]
    assert case.pmids == ["PMID:1"]
    assert case.hpo_version == "2025-01-16"
    assert case.findings == [
        Finding("HP:9000011", "HP:9000011", False, 365),
        Finding("HP:9000020", "HP:9000020", True, None),
    ]


def test_folder_zip_and_file_read_alike(tmp_path: Path, small: Ontology) -> None:
    folder = tmp_path / "folder"
    (folder / "GENE").mkdir(parents=True)
    file = folder / "GENE" / "a.json"
    file.write_text(json.dumps(packet()))
    archive = write_zip(tmp_path / "p.zip", {"GENE/a.json": packet()})
    reads = [read_phenopackets(path, small) for path in (folder, archive, file)]
    assert [r.packets[0].findings for r in reads] == [reads[0].packets[0].findings] * 3
    assert [r.packets[0].cohort for r in reads] == ["GENE", "GENE", None]


def test_byte_order_mark_is_no_matter(read: Read) -> None:
    result = read(b"\xef\xbb\xbf" + json.dumps(packet()).encode())
    assert (len(result.packets), result.quarantine) == (1, [])


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (json.dumps(packet("cut"))[:200].encode(), "document", "not valid JSON"),
        (b"", "document", "not valid JSON"),
        (b"\xff\xfe{}", "document", "not valid JSON"),
        (b"[1, 2]", "document", "not a JSON object"),
        (packet(id=None), "id", "the packet has no id"),
        (packet(id=""), "id", "the packet has no id"),
        (packet(id=12), "id", "the packet has no id"),
    ],
)
def test_unusable_packet_is_set_aside_and_the_others_arrive(
    read: Read, content: Any, field: str, reason: str
) -> None:
    result = read(packet("first"), content, packet("last"))
    assert [case.case_id for case in result.packets] == ["first", "last"]
    row = only(result.quarantine)
    assert (row.source_file, row.field) == ("store/GENE/1.json", field)
    assert row.reason.startswith(reason)
    assert row.allowed


def test_repeated_id_is_set_aside_and_told_apart(read: Read) -> None:
    result = read(packet(), packet(), packet(subject={"id": "other"}))
    assert [case.source_file for case in result.packets] == ["store/GENE/0.json"]
    assert [row.reason for row in result.quarantine] == [
        "the same packet stands in store/GENE/0.json",
        "another packet with this id stands in store/GENE/0.json",
    ]


@pytest.mark.parametrize(
    ("given", "hpo_id"),
    [("HP:9000911", "HP:9000011"), ("HP:9000030", "HP:9000011"), ("HP:9000011", "HP:9000011")],
)
def test_alternative_and_replaced_ids_are_mapped_and_the_source_id_kept(
    read: Read, given: str, hpo_id: str
) -> None:
    result = read(packet(phenotypicFeatures=[feature(given)]))
    (finding,) = result.packets[0].findings
    assert (finding.hpo_id, finding.source_hpo_id) == (hpo_id, given)
    assert result.quarantine == []


@pytest.mark.parametrize(
    ("bad", "value", "reason"),
    [
        (feature("HP:1234567"), "HP:1234567", "unknown HPO id"),
        (feature("HP:9000031"), "HP:9000031", "withdrawn .* HP:9000011, HP:9000012"),
        ({"type": {"label": "no id"}}, None, "no term"),
        ({"excluded": False}, None, "no term"),
    ],
)
def test_unknown_term_is_set_aside_and_the_rest_of_the_packet_kept(
    read: Read, bad: dict[str, Any], value: str | None, reason: str
) -> None:
    result = read(packet(phenotypicFeatures=[feature("HP:9000020"), bad]))
    assert [finding.hpo_id for finding in result.packets[0].findings] == ["HP:9000020"]
    row = only(result.quarantine)
    assert (row.record_id, row.row, row.field, row.value) == (
        "case_1",
        2,
        "phenotypicFeatures.type.id",
        value,
    )
    assert re.search(reason, row.reason)


@pytest.mark.parametrize("excluded_first", [True, False])
def test_term_both_observed_and_excluded_is_kept_as_observed(read: Read, excluded_first: bool) -> None:
    features = [
        feature("HP:9000011", excluded=excluded_first),
        feature("HP:9000911", excluded=not excluded_first),
    ]
    result = read(packet(phenotypicFeatures=features))
    (finding,) = result.packets[0].findings
    assert not finding.excluded
    row = only(result.quarantine)
    assert row.field == "phenotypicFeatures.excluded"
    assert "both observed and excluded" in row.reason


def test_repeated_term_keeps_the_earliest_onset(read: Read) -> None:
    onsets = [{"age": {"iso8601duration": text}} for text in ("P5Y", "P2Y")]
    features = [feature("HP:9000011"), *(feature("HP:9000011", onset=onset) for onset in onsets)]
    result = read(packet(phenotypicFeatures=features))
    (finding,) = result.packets[0].findings
    assert finding.onset_days == 730
    assert result.quarantine == []


@pytest.mark.parametrize(
    ("subject", "field", "value"),
    [
        (
            {"id": "x", "timeAtLastEncounter": {"age": {"iso8601duration": "P200Y"}}},
            "subject.timeAtLastEncounter",
            '{"age": {"iso8601duration": "P200Y"}}',
        ),
        ({"id": "x", "sex": "male"}, "subject.sex", "male"),
        ({"id": "x", "sex": ["MALE"]}, "subject.sex", '["MALE"]'),
        ("II-1", "subject", "II-1"),
    ],
)
def test_bad_subject_is_told_and_the_case_kept(read: Read, subject: Any, field: str, value: str) -> None:
    result = read(packet(subject=subject))
    (case,) = result.packets
    assert (case.age_days, case.sex) == (None, "unknown")
    row = only(result.quarantine)
    assert (row.field, row.value, row.record_id) == (field, value, "case_1")
    assert row.allowed


def test_age_from_timestamps_and_date_of_birth(read: Read) -> None:
    subject = {
        "id": "x",
        "dateOfBirth": "2010-05-01T00:00:00Z",
        "timeAtLastEncounter": {"timestamp": "2010-05-31T00:00:00Z"},
    }
    onset = {"timestamp": "2010-05-11T00:00:00Z"}
    result = read(
        packet("a", subject=subject, phenotypicFeatures=[feature("HP:9000011", onset=onset)]),
        packet("b", subject=subject | {"dateOfBirth": "unknown"}, phenotypicFeatures=[]),
    )
    assert (result.packets[0].age_days, result.packets[0].findings[0].onset_days) == (30, 10)
    assert result.packets[1].age_days is None
    assert [row.field for row in result.quarantine] == ["subject.dateOfBirth", "subject.timeAtLastEncounter"]


def test_bad_onset_is_told_and_the_finding_kept(read: Read) -> None:
    result = read(
        packet(phenotypicFeatures=[feature("HP:9000011", onset={"age": {"iso8601duration": "soon"}})])
    )
    assert result.packets[0].findings == [Finding("HP:9000011", "HP:9000011", False, None)]
    assert only(result.quarantine).field == "phenotypicFeatures.onset"


def test_diagnosis_stands_in_for_a_missing_disease_and_excluded_ones_do_not_count(read: Read) -> None:
    excluded = [{"term": {"id": "OMIM:900002", "label": "Heart disease"}, "excluded": True}]
    result = read(packet("a", diseases=None), packet("b", diseases=excluded), packet("c", interpretations=[]))
    assert [case.disease_id for case in result.packets] == ["OMIM:900001"] * 3
    assert [case.genes for case in result.packets] == [["WOB1"], ["WOB1"], []]


def test_disease_that_is_no_curie_is_told(read: Read) -> None:
    result = read(packet(diseases=[{"term": {"id": "wobble", "label": "x"}}], interpretations=None))
    assert result.packets[0].disease_id is None
    assert only(result.quarantine).value == "wobble"


def test_genes_of_rejected_interpretations_are_left_out_and_gene_only_ones_kept(read: Read) -> None:
    genomic = [
        {"interpretationStatus": "REJECTED", "gene": {"valueId": "HGNC:2", "symbol": "NOT1"}},
        {"interpretationStatus": "CONTRIBUTORY", "gene": {"valueId": "HGNC:3", "symbol": "GEN2"}},
    ]
    interpretations = [{"diagnosis": {"disease": {"id": "OMIM:1"}, "genomicInterpretations": genomic}}]
    assert read(packet(interpretations=interpretations)).packets[0].genes == ["GEN2"]


def test_bare_packet_is_read(read: Read) -> None:
    (case,) = read({"id": "bare"}).packets
    assert (case.sex, case.age_days, case.findings, case.pmids, case.disease_id) == (
        "unknown",
        None,
        [],
        [],
        None,
    )


def test_list_that_is_none_is_told(read: Read) -> None:
    result = read(packet(phenotypicFeatures={"a": 1}, diseases=["OMIM:900001"]))
    assert result.packets[0].findings == []
    assert {row.field for row in result.quarantine} == {"phenotypicFeatures", "diseases"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"no zip at all"), "the zip is corrupt"),
        (lambda path: write_zip(path, {"README.md": b"x"}), "holds no phenopacket"),
        (lambda path: path.mkdir(), "holds no phenopacket"),
    ],
)
def test_unusable_source_is_named(
    tmp_path: Path, small: Ontology, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "packets.zip"
    make(path)
    with pytest.raises(IngestError, match=rf"packets\.zip: .*{message}|packets\.zip: {message}"):
        read_phenopackets(path, small)


def test_damaged_member_names_zip_and_member(tmp_path: Path, small: Ontology) -> None:
    path = write_zip(tmp_path / "packets.zip", {"a.json": packet("a"), "b.json": packet("b")})
    content = bytearray(path.read_bytes())
    second = content.rindex(b"b.json", 0, content.index(b"PK\x01\x02"))
    content[second + 60 : second + 70] = b"\x00" * 10
    path.write_bytes(content)
    with pytest.raises(IngestError, match=r"packets\.zip, member b\.json: the zip is corrupt"):
        read_phenopackets(path, small)


def test_truncated_zip_is_named(tmp_path: Path, small: Ontology) -> None:
    path = write_zip(tmp_path / "packets.zip", {"a.json": packet("a")})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(IngestError, match=r"packets\.zip: the zip is corrupt"):
        read_phenopackets(path, small)


def test_other_schema_versions_are_set_aside_because_they_negate_findings_differently(read: Read) -> None:
    meta = packet()["metaData"]
    result = read(
        packet("one", metaData=meta | {"phenopacketSchemaVersion": "1.0.0"}),
        packet("two", metaData=meta | {"phenopacketSchemaVersion": "2.0.2"}),
    )
    assert [case.case_id for case in result.packets] == ["two"]
    row = only(result.quarantine)
    assert (row.field, row.value, row.record_id) == ("metaData.phenopacketSchemaVersion", "1.0.0", "one")


@pytest.mark.parametrize("member", ["proband", "members"])
def test_families_and_cohorts_are_no_phenopackets(read: Read, member: str) -> None:
    result = read({"id": "family", member: packet()})
    assert result.packets == []
    assert only(result.quarantine).field == member


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"id": ' + b"9" * 5000 + b"}"])
def test_hostile_json_is_set_aside(read: Read, content: bytes) -> None:
    assert only(read(content).quarantine).field == "document"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "age", "type"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values under a JSON node."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in items for place in [(*path, key), *places(value, (*path, key))]]


PLACES = [place for place in places(packet()) if place != ("id",)]


@given(st.sampled_from(PLACES), JSON)
@example(("phenotypicFeatures", 0, "onset"), {"ontologyClass": {"id": []}})
def test_any_value_in_any_place_leaves_a_case_and_the_rest_of_it(place: tuple[Any, ...], value: Any) -> None:
    document = packet()
    node: Any = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    rejected: list[QuarantineRow] = []
    case = PacketReader(document, "a.json", ontology_once(), rejected).read()
    assert case.case_id == "case_1"
    assert case.sex in ("M", "F", "unknown")
    assert all(row.field and row.reason and row.allowed for row in rejected)
    if place[0] != "phenotypicFeatures":
        assert [finding.hpo_id for finding in case.findings] == ["HP:9000011", "HP:9000020"]


@cache
def ontology_once() -> Ontology:
    return ontology()
