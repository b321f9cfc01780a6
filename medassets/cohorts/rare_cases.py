"""From phenopackets to the clinical tables of rare diseases.

What belongs here: laying packets out as ``clinical/rare_cases`` and ``clinical/case_phenotypes``, how
complete a case is, and the profiles that the methods read. What does not: the format
(``medassets.ingest.phenopackets``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from medassets.cohorts.tables import TABLES, conform
from medassets.ingest.packets import Packet
from medassets.ingest.phenopackets import read_phenopackets
from medassets.ingest.quarantine import QuarantineRow, quarantine_table
from medassets.knowledge.ontology import Ontology

COMPLETE_ENOUGH = 0.7
#: Fields that a published case is expected to state; completeness is the share of them that is filled.
EXPECTED_FIELDS = (
    "subject_id", "sex", "age_days", "disease_id", "genes", "pmids", "hpo_version", "observed", "excluded",
    "onset",
)  # fmt: skip


@dataclass(frozen=True)
class RareCases:
    """The clinical tables of one source, each conforming to its declaration, and what was set aside."""

    cases: pa.Table
    phenotypes: pa.Table
    quarantine: pa.Table
    rejected: list[QuarantineRow]


def read_rare_cases(path: Path | str, ontology: Ontology, *, origin: str = "published_case") -> RareCases:
    """Read a phenopacket zip or folder into the clinical tables.

    Raises:
        IngestError: the source as a whole cannot be read; the message names the file.
    """
    read = read_phenopackets(path, ontology)
    cases, phenotypes = packets_to_tables(read.packets, ontology, origin=origin)
    quarantine = conform(quarantine_table(read.quarantine), TABLES["clinical/quarantine"])
    return RareCases(cases, phenotypes, quarantine, read.quarantine)


def packets_to_tables(
    packets: Sequence[Packet], ontology: Ontology, *, origin: str
) -> tuple[pa.Table, pa.Table]:
    """Return ``clinical/rare_cases`` and ``clinical/case_phenotypes`` for packets, in their order."""
    n_observed = [sum(not finding.excluded for finding in packet.findings) for packet in packets]
    completeness = [_completeness(packet, n) for packet, n in zip(packets, n_observed, strict=True)]
    cases = {
        "case_id": [p.case_id for p in packets],
        "cohort": [p.cohort for p in packets],
        "subject_id": [p.subject_id for p in packets],
        "sex": [p.sex for p in packets],
        "age_days": [p.age_days for p in packets],
        "disease_id": [p.disease_id for p in packets],
        "disease_label": [p.disease_label for p in packets],
        "genes": [p.genes for p in packets],
        "pmids": [p.pmids for p in packets],
        "hpo_version": [p.hpo_version for p in packets],
        "n_observed": n_observed,
        "n_excluded": [len(p.findings) - n for p, n in zip(packets, n_observed, strict=True)],
        "completeness": completeness,
        "complete_enough": [share >= COMPLETE_ENOUGH for share in completeness],
        "origin": [origin] * len(packets),
        "source_file": [p.source_file for p in packets],
    }
    rows = [(packet.case_id, finding) for packet in packets for finding in packet.findings]
    phenotypes = {
        "case_id": [case_id for case_id, _ in rows],
        "hpo_id": [finding.hpo_id for _, finding in rows],
        "source_hpo_id": [finding.source_hpo_id for _, finding in rows],
        "label": [ontology.names[ontology.index[finding.hpo_id]] for _, finding in rows],
        "excluded": [finding.excluded for _, finding in rows],
        "onset_days": [finding.onset_days for _, finding in rows],
        "origin": [origin] * len(rows),
    }
    return (
        conform(pa.table(cases), TABLES["clinical/rare_cases"]),
        conform(pa.table(phenotypes), TABLES["clinical/case_phenotypes"]),
    )


def _completeness(packet: Packet, n_observed: int) -> float:
    """Return the share of ``EXPECTED_FIELDS`` that the packet fills, 0 to 1."""
    filled = (
        packet.subject_id is not None,
        packet.sex != "unknown",
        packet.age_days is not None,
        packet.disease_id is not None,
        bool(packet.genes),
        bool(packet.pmids),
        packet.hpo_version is not None,
        n_observed > 0,
        len(packet.findings) > n_observed,
        any(finding.onset_days is not None for finding in packet.findings),
    )
    return sum(filled) / len(EXPECTED_FIELDS)
