"""The figures of the few-shot methods, gathered for one table.

What belongs here: asking ``evaluation.few_shot`` for each figure and naming it. What does not: measuring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from medassets.orchestration.training import RareData


def few_shot_rows(models: Mapping[str, Any], data: RareData, episodes: int) -> list[dict[str, Any]]:
    """Measure the few-shot methods on the test part; what the cases cannot make is left out.

    Args:
        models: ``rare_prototypes``, ``rare_siamese``, ``rare_maml`` and ``rare_transfer``.
        data: cases and knowledge.
        episodes: episodes a setting.

    Returns:
        Rows of ``evaluation/few_shot_report``.
    """
    labels = data.clean_knowledge.labels(data.test)
    named = [
        *_encoders(models, data, labels, episodes),
        *_adaptation(models["rare_maml"], data, labels, min(episodes, 50)),
        *_known_cases(models["rare_prototypes"], data),
        *_transfer(models, data),
    ]
    return [{"origin": data.origin, **row} for row in named if row["value"] is not None]


def _row(
    method: str, group: str, metric: str, value: float, n: int, low: Any = None, high: Any = None
) -> dict[str, Any]:
    return {
        "method": method,
        "group": group,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "n": int(n),
    }


def _encoders(
    models: Mapping[str, Any], data: RareData, labels: np.ndarray, episodes: int
) -> Iterator[dict[str, Any]]:
    from medassets.evaluation.few_shot import episode_table, prototype_similarity

    repeated = len(np.unique(labels[labels >= 0])) > 1
    for method in ("rare_prototypes", "rare_siamese"):
        encoder = models[method].encoder
        for e in episode_table(encoder, data.test, labels, n_episodes=episodes):
            group = f"{e.way}-way {e.shot}-shot"
            yield _row(method, group, "episode_accuracy", e.accuracy, e.n_episodes, e.low, e.high)
        if repeated:
            for name, value in prototype_similarity(encoder, data.test, labels).items():
                yield _row(method, "overall", f"similarity_{name}", float(value), len(data.test))


def _adaptation(model: Any, data: RareData, labels: np.ndarray, episodes: int) -> Iterator[dict[str, Any]]:
    from medassets.evaluation.few_shot import adaptation_curve
    from medassets.learners.rare.episodes import EpisodeError

    try:
        curve = adaptation_curve(model, data.test, labels, n_episodes=episodes)
    except EpisodeError:
        return
    for point in curve:
        group = f"{int(point['step']):02d} gradient steps"
        accuracy, low, high = point["accuracy"], point.get("low"), point.get("high")
        yield _row("rare_maml", group, "episode_accuracy", accuracy, episodes, low, high)


def _known_cases(network: Any, data: RareData) -> Iterator[dict[str, Any]]:
    from medassets.evaluation.few_shot import rank_over_cases

    try:
        curve = rank_over_cases(network, data.clean_knowledge, data.train, data.test, most=5)
    except ValueError:  # no held-out case has a disease with so many known cases: there is no curve to draw
        return
    for point in curve:
        group = f"{int(point['known_cases']):02d} known cases"
        for metric in ("top1", "top10", "mrr"):
            yield _row("rare_prototypes", group, metric, point[metric], int(point["n"]))


def _transfer(models: Mapping[str, Any], data: RareData) -> Iterator[dict[str, Any]]:
    from medassets.evaluation.few_shot import transfer_gain

    borrowed, plain = models["rare_transfer"], models["rare_prototypes"]
    gains = transfer_gain(borrowed.score, plain.score, data.clean_knowledge, data.test, plain.shots)
    for group, gain in gains.items():
        yield _row("rare_transfer", group, "mrr_gain", gain.difference, gain.n, gain.low, gain.high)
