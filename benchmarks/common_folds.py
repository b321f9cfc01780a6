"""Figures of the common ensemble on every row of a DDXPlus sample, in five outer folds.

    python benchmarks/common_folds.py RELEASE [--models naive_bayes] [--no-inquiry] [--threads 1]

Each row is predicted by an ensemble that learned from the other four fifths (and simulated extras), as the
graph trains it: a tenth of those rows validates, base models are pooled on inner out-of-fold predictions. The
interview's tables come from the same four fifths. Prints JSON. DDXPlus patients were synthesized by its
authors: a benchmark, not people.
"""

import argparse
import json
import resource
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import f1_score

from medassets.cohorts.simulate_common import mask, simulate
from medassets.cohorts.splits import common_split
from medassets.evaluation.common import conformal_report, differentials, true_conditions
from medassets.evaluation.inquiry import inquiry_figures, interview_patients
from medassets.evaluation.metrics import bootstrap_ci, classification_metrics, mean_ci, ranks_of
from medassets.features.pooling import CommonPrediction
from medassets.ingest.ddxplus import read_patients
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.base import BASE_NAMES, train_base
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.training import prepare, stratified_folds
from medassets.serving.inquiry_build import fit_inquiry
from medassets.serving.validation import NOISE

FOLDS = 5
FEWEST = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=Path, help="folder with release_train_patients.zip")
    parser.add_argument("--models", nargs="+", default=list(BASE_NAMES), choices=BASE_NAMES)
    parser.add_argument("--profile", choices=("quick", "full"), default="quick")
    parser.add_argument("--no-inquiry", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    knowledge = CommonKnowledge.bundled()
    config = getattr(CommonConfig, options.profile)(threads=options.threads)
    records, _ = read_patients(options.release / "release_train_patients.zip", knowledge, duplicates="keep")
    simulated = simulate(knowledge, seed=config.seed, per_condition=1000, missing_rate=0.05, noise_rate=0.01)
    truth = true_conditions(records, knowledge)
    outer = stratified_folds(truth, FOLDS, config.seed)
    noisy = {
        name: mask(records, knowledge, seed=config.seed, unknown_rate=unknown, wrong_rate=wrong)
        for name, (unknown, wrong) in NOISE.items()
    }
    made, order, weights, interviews = {name: [] for name in ("clean", *NOISE)}, [], [], {False: [], True: []}
    for fold in range(FOLDS):
        held = np.flatnonzero(outer == fold)
        order.append(held)
        rest = records.take(pa.array(np.flatnonzero(outer != fold)))
        model = _train(rest, simulated, knowledge, config, options.models)
        weights.append(model.metadata["params"]["weights"])
        for name, table in (("clean", records), *noisy.items()):
            made[name].append(model.predict(model.space.encode_table(table.take(pa.array(held)))))
        if not options.no_inquiry:
            engine = fit_inquiry(knowledge, rest, seed=config.seed).engine
            for safety in interviews:
                interviews[safety].append(_interview(engine, records.take(pa.array(held)), safety))
    rows = np.concatenate(order)
    judged = {name: _joined(parts) for name, parts in made.items()}
    report = _figures(judged, truth[rows], records.take(pa.array(rows)), knowledge)
    report["weights"] = weights
    if not options.no_inquiry:
        report["inquiry"] = {
            "information" if not safety else "safety_first": _interview_figures(parts)
            for safety, parts in interviews.items()
        }
    report["cpu_s"] = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    print(json.dumps(report, indent=1))


def _train(rest, simulated, knowledge, config, names):
    """Train on these rows as the graph does; the part that the split calls test joins training here."""
    split = common_split(rest, config.seed)
    part = pc.replace_with_mask(
        split["part"].combine_chunks(), pc.equal(split["part"], "test").combine_chunks(), "train"
    )
    split = split.set_column(split.column_names.index("part"), "part", part)
    data = prepare(rest, split, knowledge, config, simulated)
    return CommonEnsemble.fit({name: train_base(name, data, config) for name in names}, data, config)


def _joined(parts):
    """Predictions of the folds, one after another."""
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(CommonPrediction)
        if field.name != "models"
    }
    names = parts[0].models
    return CommonPrediction(
        **arrays, models={name: np.concatenate([part.models[name] for part in parts]) for name in names}
    )


def _figures(judged, truth, patients, knowledge):
    clean = judged["clean"]
    measured = classification_metrics(
        clean.probabilities,
        truth,
        predicted_differential=clean.differential,
        reference_differential=differentials(patients, knowledge),
    )
    frequent = np.flatnonzero(np.bincount(truth, minlength=len(knowledge.conditions)) >= FEWEST)
    predicted = clean.probabilities.argmax(1)

    def macro(w):
        return f1_score(truth, predicted, labels=frequent, average="macro", sample_weight=w, zero_division=0)

    low, high = bootstrap_ci(macro, len(truth), seed=0, resamples=200)
    names = knowledge.condition_names
    return {
        "n": len(truth),
        "ensemble": measured,
        "macro_f1_of_conditions_with_5_rows": {"value": macro(None), "ci95": [low, high], "n": len(frequent)},
        "base_top1": {name: float((p.argmax(1) == truth).mean()) for name, p in clean.models.items()},
        "noise": {name: _top1(made, truth) for name, made in judged.items()},
        "conformal": conformal_report(clean, truth, patients, coverage=0.95),
        "conformal_under_noise": {
            name: {
                k: v
                for k, v in conformal_report(made, truth, patients, coverage=0.95).items()
                if k != "groups"
            }
            for name, made in judged.items()
            if name != "clean"
        },
        "wrong": [
            {
                "true": names[truth[row]],
                "leading": names[predicted[row]],
                "p_true": round(float(clean.probabilities[row, truth[row]]), 4),
                "p_leading": round(float(clean.probabilities[row, predicted[row]]), 4),
                "models": {name: names[p[row].argmax()] for name, p in clean.models.items()},
                "patient": patients["patient_id"][int(row)].as_py(),
            }
            for row in np.flatnonzero(predicted != truth)
        ],
    }


def _top1(made, truth):
    found = {}
    for name, p in (("ensemble", made.probabilities), *made.models.items()):
        mean, limits = mean_ci((ranks_of(p, truth) <= 1)[:, None])
        found[name] = {"top1": float(mean[0]), "ci95": limits[0].tolist()}
    return found


def _interview(engine, patients, safety_first):
    settings = replace(engine.settings, safety_first=safety_first)
    asked = interview_patients(engine.with_settings(settings), patients, max_questions=settings.max_questions)
    return asked, settings


def _interview_figures(parts):
    figures = [inquiry_figures(asked, settings) for asked, settings in parts]
    n = np.array([figure["n"] for figure in figures])
    return {
        "n": int(n.sum()),
        **{
            name: float(np.average([figure[name] for figure in figures], weights=n))
            for name in ("top1", "mean_questions")
        },
        "by_fold": [{k: figure[k] for k in ("n", "top1", "mean_questions", "ci95")} for figure in figures],
    }


if __name__ == "__main__":
    main()
