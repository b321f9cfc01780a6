"""Small releases in the publishers' own formats, written by hand: phenopackets and DDXPlus patients."""

import json
from pathlib import Path

HEADER = "AGE,DIFFERENTIAL_DIAGNOSIS,SEX,PATHOLOGY,EVIDENCES,INITIAL_EVIDENCE\r\n"
#: Condition to evidences that it may have.
CONDITIONS = {
    "GERD": ["E_53", "E_54_@_V_29", "E_173"],
    "Influenza": ["E_91", "E_201", "E_144"],
    "Bronchitis": ["E_201", "E_77", "E_53"],
}
MARFAN, ACHOO = "OMIM:154700", "OMIM:100820"


def phenopacket(
    identifier: str, disease: str, pmid: str, observed: list[str], excluded: list[str], **more
) -> dict:
    """Lay out one phenopacket, version 2."""
    return {
        "id": identifier,
        "subject": {
            "id": identifier,
            "sex": "FEMALE",
            "timeAtLastEncounter": {"age": {"iso8601duration": "P24Y"}},
        },
        "phenotypicFeatures": [
            *(
                {"type": {"id": term, "label": term}, "onset": {"age": {"iso8601duration": "P2Y"}}}
                for term in observed
            ),
            *({"type": {"id": term, "label": term}, "excluded": True} for term in excluded),
        ],
        "interpretations": [
            {
                "id": identifier,
                "progressStatus": "SOLVED",
                "diagnosis": {
                    "disease": {"id": disease, "label": disease},
                    "genomicInterpretations": [
                        {
                            "subjectOrBiosampleId": identifier,
                            "interpretationStatus": "CAUSATIVE",
                            "variantInterpretation": {
                                "variationDescriptor": {
                                    "geneContext": {"valueId": "HGNC:3603", "symbol": "FBN1"}
                                }
                            },
                        }
                    ],
                },
            }
        ],
        "diseases": [{"term": {"id": disease, "label": disease}}],
        "metaData": {
            "created": "2026-01-01T00:00:00Z",
            "createdBy": "test",
            "phenopacketSchemaVersion": "2.0",
            "resources": [
                {
                    "id": "hp",
                    "name": "HPO",
                    "url": "http://purl.obolibrary.org/obo/hp.owl",
                    "version": "2025-01-16",
                    "namespacePrefix": "HP",
                    "iriPrefix": "http://purl.obolibrary.org/obo/HP_",
                }
            ],
            "externalReferences": [{"id": pmid}],
        },
        **more,
    }


def write(folder: Path, *, impossible_age: bool = False) -> Path:
    """Write a folder with phenopackets (one unknown term) and DDXPlus patients (one unknown evidence)."""
    packets = folder / "phenopackets" / "SOME"
    packets.mkdir(parents=True, exist_ok=True)
    for n in range(8):
        made = phenopacket(
            f"PMID_{n // 2}_case_{n}",
            MARFAN if n % 2 else ACHOO,
            f"PMID:{n // 2}",
            ["HP:0001166", "HP:0001083", *(["HP:9999999"] if n == 0 else [])],
            ["HP:0001249"],
        )
        (packets / f"case_{n}.json").write_text(json.dumps(made), encoding="utf-8")
    rows = [
        f'{20 + n},"[[\'{name}\', 0.9]]",{"MF"[n % 2]},{name},"{evidence}",{evidence[0]}\r\n'
        for name, evidence in CONDITIONS.items()
        for n in range(10)
    ]
    rows.append("30,\"[['GERD', 1.0]]\",F,GERD,\"['E_99999']\",E_53\r\n")
    if impossible_age:
        rows.append("231,\"[['GERD', 1.0]]\",F,GERD,\"['E_53']\",E_53\r\n")
    (folder / "ddxplus").mkdir(exist_ok=True)
    (folder / "ddxplus" / "release_train_patients.csv").write_text(
        "\ufeff" + HEADER + "".join(rows), newline=""
    )
    return folder
