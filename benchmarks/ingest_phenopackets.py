"""Ingest a phenopacket store to Delta tables with every check of a value; load the knowledge beside pyhpo.

Usage: python benchmarks/ingest_phenopackets.py all_phenopackets.zip

Measured in a process of its own, one core: zip to ``clinical/rare_cases``, ``clinical/case_phenotypes`` and
``clinical/quarantine`` on disk. The alternative for the knowledge (ontology and disease annotations), in the
same run: ``pyhpo.Ontology()``, which reads the same release's files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path


def ingest(path: Path, results: dict[str, float]) -> None:
    """Read, check and write; leave seconds, rows and peak memory (MB) in ``results``."""
    from medassets.cohorts.rare_cases import read_rare_cases
    from medassets.cohorts.rules import check_rare
    from medassets.knowledge.annotations import read_annotations
    from medassets.knowledge.ontology import Ontology, pyhpo_data_dir
    from medassets.orchestration.lake import LakeTable

    start = time.perf_counter()
    ontology = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    read_annotations(pyhpo_data_dir() / "phenotype.hpoa", ontology)
    results["knowledge_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    read = read_rare_cases(path, ontology)
    results["read_seconds"] = time.perf_counter() - start
    violations = check_rare(read.cases, read.phenotypes, ontology)
    with tempfile.TemporaryDirectory() as lake:
        for name, table in (("cases", read.cases), ("phenotypes", read.phenotypes), ("bad", read.quarantine)):
            LakeTable(Path(lake) / name).write(table)
    results["zip_to_delta_seconds"] = time.perf_counter() - start
    results["cases"], results["findings"] = read.cases.num_rows, read.phenotypes.num_rows
    results["set_aside"], results["rule_violations"] = read.quarantine.num_rows, violations.num_rows
    results["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pyhpo(results: dict[str, float]) -> None:
    """Load pyhpo's ontology and annotations."""
    start = time.perf_counter()
    from pyhpo import Ontology

    Ontology()
    results["pyhpo_seconds"] = time.perf_counter() - start
    results["pyhpo_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="zip or folder of phenopackets")
    path = parser.parse_args().path
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        for target, arguments in ((ingest, (path, results)), (pyhpo, (results,))):
            process = context.Process(target=target, args=arguments)
            process.start()
            process.join()
        print(json.dumps({name: round(value, 2) for name, value in results.items()}, indent=2))


if __name__ == "__main__":
    main()
