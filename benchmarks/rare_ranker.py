"""Fit the rare-disease ranker on the training part of the agreed split and judge it on the test part.

Usage: python benchmarks/rare_ranker.py all_phenopackets.zip [--mondo mondo.zip] [--profile full]

The test part is real published cases (origin ``published_case``); intervals are 95 %, bootstrap over
publications.
``clean``: annotation rows that cite a test publication are left out of everything, learning included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from agreed_split import agreed_split

from medassets.evaluation.rare import evaluate_ranker
from medassets.evaluation.rare_open import held_out_diseases, open_set, textbook_cases
from medassets.features.rare import RareKnowledge
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.serving.rare import RarePredictor

GROUPS = ("shots_5_50", "shots_1_4", "shots_0", "shots_over_50", "all")
METRICS = ("top1", "top3", "top10", "mrr")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="zip or folder of phenopackets")
    parser.add_argument("--mondo", type=Path, help="zip of MONDO's exact matches: merges equivalent diseases")
    parser.add_argument("--profile", choices=("quick", "full"), default="quick")
    parser.add_argument("--save", type=Path, help="folder to keep the fitted ranker in")
    chosen = parser.parse_args()

    split = agreed_split(chosen.path, chosen.mondo)
    ontology, train, test, knowledge, clean = split[:5]

    config = RankerConfig.full() if chosen.profile == "full" else RankerConfig.quick()
    wall, cpu = time.perf_counter(), time.process_time()
    ranker = RareRanker(config).fit(clean, train)
    print(
        f"{len(train)} training, {len(test)} test cases, {len(knowledge)} candidates; {chosen.profile} fit: "
        f"{time.perf_counter() - wall:.0f} s wall, {time.process_time() - cpu:.0f} s CPU"
    )
    if chosen.save:
        ranker.save(chosen.save)
    rows = evaluate_ranker(ranker.model, knowledge, test)
    found = {(r["protocol"], r["candidates"], r["group"], r["metric"]): r for r in rows}
    for protocol in ("clean", "published"):
        for group in GROUPS:
            own = [found[protocol, "own", group, metric] for metric in METRICS]
            values = "  ".join(
                f"{r['metric']} {r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in own
            )
            print(f"{protocol:10s}{group:15s}n {own[0]['n']:5d}  {values}")
    for row in open_set(ranker.model, test, held_out_diseases(ranker.model, test, config.seed)).rows():
        print(
            f"open set  {row['group']:24s}{row['metric']:18s}n {row['n']:5d}  "
            f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        )
    # Textbook cases are asked of what would be served: the memory of every known case and annotation.
    every = train.concatenate(test)
    known = RareKnowledge.build(ontology, split.annotations, every, crosswalk=split.crosswalk)
    predictor = RarePredictor(ranker.refit_memory(known, every).model)
    for disease, findings in textbook_cases(ontology):
        answer = predictor.answer(findings, [], None, "unknown", 10)
        ranked = [c["disease_id"] for c in answer["candidates"]]
        place = ranked.index(disease) + 1 if disease in ranked else "below 10"
        print(
            f"textbook  {predictor.candidate(disease)['name']:40s}rank {place}, unknown "
            f"{answer['unknown_probability']:.2f}, abstains {answer['abstain']}"
        )


if __name__ == "__main__":
    main()
