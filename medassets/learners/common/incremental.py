"""Learning on from where a served ensemble stands: further rounds, trees and epochs instead of a new
beginning.

What belongs here: the continued ensemble. What does not: when to continue (``medassets.monitoring``) and
whether the result may serve (``medassets.evaluation.promotion``).

Rows that are new come together with as many old ones again (a rehearsal), because a model that sees new
rows only forgets the old (McCloskey and Cohen, 1989). Pool, calibration and conformal thresholds stay the
champion's: they belong to how the base models err, which a few new rows do not change much. Naive Bayes is
counted anew, which takes a second.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medassets.learners.common.boosting import BoostingModel
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.forest import ForestModel
from medassets.learners.common.naive_bayes import NaiveBayes
from medassets.learners.common.network import NetworkModel
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.training import TrainingData, corrupted

#: What is added, as a share of what the first training had.
MORE = 0.25
#: Old rows of each condition that are seen again, at least; the forest needs each condition.
REHEARSED = 20
#: Of the first training's learning rate.
GENTLE = 0.25


def with_fresh(data: TrainingData, fresh: CommonPatients) -> TrainingData:
    """The training data with further rows, for a full retraining; folds stay those of the old rows."""
    extra = fresh if data.extra is None else CommonPatients.concat([data.extra, fresh])
    return replace(data, extra=extra)


def continue_ensemble(
    champion: CommonEnsemble, data: TrainingData, fresh: CommonPatients, config: CommonConfig
) -> CommonEnsemble:
    """The champion after it also learned from new rows.

    Args:
        champion: the served ensemble; it stays as it is.
        data: what it was trained on.
        fresh: rows that it has not seen.
        config: of the first training.

    Raises:
        ValueError: there are no new rows.
    """
    if not len(fresh):
        raise ValueError("there are no new rows to learn from")
    rng = np.random.default_rng([config.seed, 11])
    old = _rehearsal(data, len(fresh), rng)
    own = CommonPatients.concat([old, fresh])
    rows = CommonPatients.concat(
        [own, own.with_matrix(corrupted(data.space, own.matrix, config, salt="fresh"))]
    )
    classes = len(data.knowledge.conditions)
    models = dict(champion.models)
    for name, model in champion.models.items():
        if isinstance(model, BoostingModel):
            rounds = max(1, round(MORE * config.boosting.rounds))
            models[name] = model.continued(rows, classes, config, rounds=rounds)
        elif isinstance(model, ForestModel):
            trees = max(1, round(MORE * config.forest.trees))
            models[name] = model.continued(rows, classes, config, trees=trees)
        elif isinstance(model, NetworkModel):
            rate = GENTLE * config.network.learning_rate
            epochs = max(1, round(MORE * config.network.epochs))
            models[name] = model.continued(rows, config, epochs=epochs, learning_rate=rate)
        elif isinstance(model, NaiveBayes):
            counted = CommonPatients.concat([data.train, data.validation, fresh])
            models[name] = NaiveBayes.fit(data.knowledge, data.space, counted, config.naive_bayes)
    metadata = champion.metadata | {
        "training": champion.metadata["training"] | {"n_fresh": len(fresh), "continued": True}
    }
    return replace(champion, models=models, metadata=metadata)


def _rehearsal(data: TrainingData, wanted: int, rng: np.random.Generator) -> CommonPatients:
    """Old rows: as many as there are new ones, and some of every condition."""
    labels = data.train.labels
    order = rng.permutation(len(labels))
    chosen = set(order[:wanted].tolist())
    for label in np.unique(labels):
        chosen |= set(order[labels[order] == label][:REHEARSED].tolist())
    return data.train.take(np.array(sorted(chosen)))
