"""Supervised contrast: the loss of the Siamese encoder, and its pre-training on patients of other conditions.

What belongs here: the loss, and steps on labelled patients that need no publication folds. What does not: the
model that uses them (``siamese``).

Khosla et al., Supervised Contrastive Learning, NeurIPS 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import tokens
from medassets.learners.rare import encoder as nets
from medassets.learners.rare.config import FewShotConfig

_SHOWN = 5  # patients of each condition that one pre-training step shows


def contrastive_loss(query: Any, known: Any, query_class: Any, known_class: Any, temperature: Any) -> Any:
    """Return minus the log of the share of similarity that falls on the query's own disease, as a mean.

    Args:
        query: tensor (n_query, dimension), unit rows.
        known: tensor (n_known, dimension), unit rows.
        query_class: int tensor (n_query,); each class must have a known case.
        known_class: int tensor (n_known,).
        temperature: factor of the cosine.
    """
    import torch

    logits = temperature * query @ known.T
    same = query_class[:, None] == known_class[None, :]
    own = torch.logsumexp(logits.masked_fill(~same, float("-inf")), dim=1)
    return (torch.logsumexp(logits, dim=1) - own).mean()


def pretrain(
    parameters: nets.Parameters,
    context: nets.EncoderContext,
    patients: CaseSet,
    config: FewShotConfig,
    steps: int,
) -> list[float]:
    """Move the encoder in place by contrast between the patients' conditions; return the losses.

    Args:
        parameters: of the encoder.
        context: of the encoder.
        patients: labelled patients; conditions with fewer than two patients are passed over.
        config: queries, dropout and seed.
        steps: gradient steps.

    Raises:
        ValueError: no condition has two patients.
    """
    import torch

    names = np.array([d or "" for d in patients.disease_ids])
    _, labels, counts = np.unique(names, return_inverse=True, return_counts=True)
    usable = np.flatnonzero((counts[labels] > 1) & (names != ""))
    if not len(usable):
        raise ValueError("pre-training needs a condition with two patients or more")
    rows = tokens(patients, context.ontology)
    optimiser = nets.optimiser(parameters)
    rng = np.random.default_rng(config.seed + 1)
    losses = []
    for _ in range(steps):
        order = rng.permutation(usable)
        order = order[np.argsort(labels[order], kind="stable")]
        _, starts, found = np.unique(labels[order], return_index=True, return_counts=True)
        shown = np.concatenate(
            [order[s : s + min(_SHOWN, n - 1)] for s, n in zip(starts, found, strict=True)]
        )
        rest = np.setdiff1d(usable, shown)
        asked = rng.choice(rest, min(config.queries, len(rest)), replace=False)
        weights, _ = nets.token_weights(parameters, context)
        loss = contrastive_loss(
            nets.encode(nets.hide(rows[asked], config.dropout, rng), weights),
            nets.encode(rows[shown], weights),
            torch.from_numpy(labels[asked]),
            torch.from_numpy(labels[shown]),
            parameters["temperature"].exp(),
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses
