"""Figures of the common-disease ensemble: trained in this process, judged on rows that it was not trained on.

    python benchmarks/common_ensemble.py RELEASE             # records (80/10/10) and simulated extras
    python benchmarks/common_ensemble.py RELEASE --bundled   # no record in training, all of them in the test
    ... --mix-ablation  --imbalance  --threads 1

Prints JSON. DDXPlus patients were synthesized by its authors: a benchmark, not people.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import pyarrow.compute as pc

from medassets.cohorts.simulate_common import simulate
from medassets.cohorts.splits import common_split
from medassets.evaluation.common import evaluate, mix_ablation
from medassets.evaluation.robustness import robustness_report
from medassets.ingest.ddxplus import read_patients
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.base import BASE_NAMES, train_base
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.onnx_export import check_export, measure_latency
from medassets.learners.common.preprocessing import compare_imbalance
from medassets.learners.common.training import prepare
from medassets.serving.common import CommonPredictor

GRID = ((0.5, 0.0), (0.0, 0.05), (0.0, 0.1), (0.2, 0.05))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=Path, help="folder with release_train_patients.zip")
    parser.add_argument("--bundled", action="store_true", help="train on simulated patients alone")
    parser.add_argument("--mix-ablation", action="store_true", help="also compare what models are trained on")
    parser.add_argument("--imbalance", action="store_true", help="also compare SMOTE and ADASYN with weights")
    parser.add_argument("--profile", choices=("quick", "full"), default="quick")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    knowledge = CommonKnowledge.bundled()
    config = getattr(CommonConfig, options.profile)(threads=options.threads)
    records, _ = read_patients(options.release / "release_train_patients.zip", knowledge, duplicates="keep")
    simulated = simulate(knowledge, seed=config.seed, per_condition=1000, missing_rate=0.05, noise_rate=0.01)
    patients, extra = (simulated, None) if options.bundled else (records, simulated)
    split = common_split(patients, config.seed)
    test_ids = split.filter(pc.equal(split["part"], "test"))["patient_id"]
    test = records if options.bundled else records.filter(pc.is_in(records["patient_id"], test_ids))

    seconds, start = {}, time.perf_counter()
    ensemble, data = _train(patients, split, knowledge, config, extra, seconds)
    seconds["all"] = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        ensemble.export_bundle(Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        predictor = CommonPredictor.load(Path(folder))
    judged = evaluate(predictor, test, knowledge)
    space, compared = data.space, data.space.encode_table(simulated.slice(0, 1000))

    def predict(table):
        made = predictor.predict_matrix(space.encode_table(table))
        return {"ensemble": made.probabilities, **made.models}

    grid = robustness_report(predict, test, knowledge, grid=GRID)
    found = {
        "test": judged.metrics | {"origin": "ddxplus"},
        "conformal": judged.conformal,
        "robustness": [
            {k: row[k] for k in ("model", "unknown_rate", "wrong_rate", "value", "low", "high", "n")}
            for row in grid.to_pylist()
            if row["metric"] == "top1" and row["model"] in ("ensemble", "naive_bayes")
        ],
        "export_difference": check_export(ensemble, predictor, compared),
        "latency": vars(measure_latency(ensemble, predictor, space.encode_table(test))),
        "bundle_mb": size / 1e6,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "cpu_s": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ensemble": ensemble.metadata,
    }
    if options.mix_ablation:
        table = mix_ablation(
            lambda mix: _train(patients, split, knowledge, config.model_copy(update={"mix": mix}), extra, {})[
                0
            ],
            test,
            knowledge,
        )
        found["mix"] = table.to_pylist()
    if options.imbalance:
        found["imbalance"] = compare_imbalance(data, config).to_pylist()
    print(json.dumps(found, indent=1))


def _train(patients, split, knowledge, config, extra, seconds):
    data = prepare(patients, split, knowledge, config, extra)
    bases = {}
    for name in BASE_NAMES:
        start = time.perf_counter()
        bases[name] = train_base(name, data, config)
        seconds[name] = time.perf_counter() - start
    return CommonEnsemble.fit(bases, data, config), data


if __name__ == "__main__":
    main()
