"""A small ontology, annotations, mappings and phenopackets in the official formats, made for the tests.

The ontology keeps real HPO ids where code names them; everything under HP:9… is invented.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from medassets.knowledge.ontology import Ontology, parse_obo

OBO = r"""format-version: 1.2
data-version: hp/releases/2025-01-16
ontology: hp.obo

[Term]
id: HP:0000001
name: All

[Term]
id: HP:0000118
name: Phenotypic abnormality
is_a: HP:0000001 ! All

[Term]
id: HP:0000119
name: Abnormality of the genitourinary system
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0010460
name: Abnormality of the female genitalia
is_a: HP:0000119 ! Abnormality of the genitourinary system

[Term]
id: HP:0010461
name: Abnormality of the male genitalia
is_a: HP:0000119 ! Abnormality of the genitourinary system

[Term]
id: HP:0000028
name: Cryptorchidism
is_a: HP:0010461 ! Abnormality of the male genitalia

[Term]
id: HP:0000707
name: Abnormality of the nervous system
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:9000010
name: Unsteadiness
is_a: HP:0000707 ! Abnormality of the nervous system

[Term]
id: HP:9000011
name: Unsteady gait
alt_id: HP:9000911
alt_id: HP:9000912
def: "Walking that is \"unsteady\"." [made:up]
synonym: "Wobbly walking" EXACT layperson [made:up]
synonym: "Gait trouble" BROAD []
is_a: HP:9000010 ! Unsteadiness

[Term]
id: HP:9000012
name: Unsteady arms
is_a: HP:9000010 {source="made:up"} ! Unsteadiness

[Term]
id: HP:9000013
name: Unsteady gait and arms
is_a: HP:9000011 ! Unsteady gait
is_a: HP:9000012 ! Unsteady arms

[Term]
id: HP:0031936
name: Delayed ability to walk
is_a: HP:0000707 ! Abnormality of the nervous system

[Term]
id: HP:0001626
name: Abnormality of the cardiovascular system
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:9000020
name: Slow heart
is_a: HP:0001626 ! Abnormality of the cardiovascular system

[Term]
id: HP:9000021
name: Fast heart
is_a: HP:0001626 ! Abnormality of the cardiovascular system

[Term]
id: HP:9000030
name: obsolete Wobble
is_obsolete: true
replaced_by: HP:9000911

[Term]
id: HP:9000031
name: obsolete Shakes
is_obsolete: true
consider: HP:9000011
consider: HP:9000012

[Term]
id: HP:0000005
name: Mode of inheritance
is_a: HP:0000001 ! All

[Term]
id: HP:0001475
name: Male-limited expression
is_a: HP:0000005 ! Mode of inheritance

[Term]
id: HP:0003674
name: Onset
is_a: HP:0000001 ! All

[Term]
id: HP:0003577
name: Congenital onset
is_a: HP:0003674 ! Onset

[Term]
id: HP:0003581
name: Adult onset
is_a: HP:0003674 ! Onset

[Typedef]
id: part_of
name: part of
"""

HPOA_HEADER = (
    '#description: "HPO annotations for rare diseases"\n#version: 2025-01-16\n'
    "database_id\tdisease_name\tqualifier\thpo_id\treference\tevidence\tonset\tfrequency\tsex\tmodifier\taspect\t"
    "biocuration\n"
)
HPOA_ROWS = (
    "OMIM:900001\tWobble disease\t\tHP:9000011\tPMID:1;PMID:2\tPCS\t\t3/4\t\t\tP\tme",
    "OMIM:900001\tWobble disease\t\tHP:9000020\tPMID:1\tPCS\tHP:0003577\tHP:0040281\t\t\tP\tme",
    "OMIM:900001\tWobble disease\tNOT\tHP:9000021\tPMID:3\tTAS\t\t\t\t\tP\tme",
    "OMIM:900001\tWobble disease\t\tHP:0003581\tPMID:1\tTAS\t\t\t\t\tC\tme",
    "ORPHA:91\tWobble of Orphanet\t\tHP:9000912\tORPHA:91\tTAS\t\t50%\tMALE\tHP:0003577;HP:0003581\tP\tme",
    "OMIM:900002\tHeart disease\t\tHP:9000021\tOMIM:900002\tIEA\t\t\t\t\tP\tme",
    "OMIM:900002\tHeart disease\t\tHP:0001475\tOMIM:900002\tIEA\t\t\t\t\tI\tme",
)

SSSOM = """# mapping_set_version: http://example.org/releases/2026-08-04/mondo_exactmatch_omim.sssom.tsv
subject_id\tsubject_label\tpredicate_id\tobject_id\tobject_label\tmapping_justification
MONDO:0000001\twobble\tskos:exactMatch\tOMIM:900001\twobble\tsemapv:ManualMappingCuration
MONDO:0000001\twobble\tskos:exactMatch\tOrphanet:91\twobble\tsemapv:ManualMappingCuration
MONDO:0000001\twobble\tskos:exactMatch\tICD10CM:R26.0\twobble\tsemapv:ManualMappingCuration
MONDO:0000002\theart\tskos:broadMatch\tOMIM:900002\theart\tsemapv:ManualMappingCuration
"""


def ontology() -> Ontology:
    """The small ontology, parsed."""
    return Ontology(*parse_obo(OBO))


def write_hpoa(folder: Path, *rows: str, header: str = HPOA_HEADER, newline: str = "\n") -> Path:
    """Write ``phenotype.hpoa`` and return its path."""
    path = folder / "phenotype.hpoa"
    text = header + "".join(f"{row}\n" for row in rows)
    path.write_bytes(text.replace("\n", newline).encode())
    return path


def feature(hpo_id: str, *, excluded: bool = False, onset: dict[str, Any] | None = None) -> dict[str, Any]:
    """A phenotypic feature."""
    made: dict[str, Any] = {"type": {"id": hpo_id, "label": hpo_id}}
    if excluded:
        made["excluded"] = True
    if onset is not None:
        made["onset"] = onset
    return made


def packet(case_id: str = "case_1", **changes: Any) -> dict[str, Any]:
    """A complete phenopacket; ``changes`` replace its top-level fields, None removes one."""
    disease = {"id": "OMIM:900001", "label": "Wobble disease"}
    descriptor = {"id": "var_1", "geneContext": {"valueId": "HGNC:1", "symbol": "WOB1"}}
    made: dict[str, Any] = {
        "id": case_id,
        "subject": {
            "id": "II-1",
            "sex": "FEMALE",
            "timeAtLastEncounter": {"age": {"iso8601duration": "P3Y2M"}},
        },
        "phenotypicFeatures": [
            feature("HP:9000011", onset={"age": {"iso8601duration": "P1Y"}}),
            feature("HP:9000020", excluded=True),
        ],
        "diseases": [{"term": disease}],
        "interpretations": [
            {
                "id": "i",
                "progressStatus": "SOLVED",
                "diagnosis": {
                    "disease": disease,
                    "genomicInterpretations": [
                        {
                            "interpretationStatus": "CAUSATIVE",
                            "variantInterpretation": {"variationDescriptor": descriptor},
                        }
                    ],
                },
            }
        ],
        "metaData": {
            "resources": [{"id": "hp", "namespacePrefix": "HP", "version": "2025-01-16"}],
            "externalReferences": [{"id": "PMID:1", "description": "a paper"}],
        },
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not None}


def write_zip(path: Path, members: dict[str, Any]) -> Path:
    """Write a zip; bytes are written as they are, everything else as JSON."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path
