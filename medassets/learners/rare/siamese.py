"""Patients like this one: a Siamese encoder trained by supervised contrast.

What belongs here: training on pairs, scoring a candidate by its most similar known case, and listing those
cases with their publications. What does not: prototypes (``prototypical``).

Both twins are the same set encoder. The loss is supervised contrastive (Khosla et al., NeurIPS 2020): a query
must lie closer to the cases of its disease than to all other cases; query and cases never share a
publication.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import NO_CASE, nearest_scores, tokens
from medassets.features.rare import RareKnowledge
from medassets.learners.rare import encoder as nets
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.contrastive import contrastive_loss, pretrain
from medassets.learners.rare.episodes import RetrievalSteps
from medassets.learners.rare.method import FewShotMethod


@dataclass(frozen=True)
class SimilarCase:
    """A known case that resembles the query. ``similarity`` is a cosine, -1 to 1."""

    case_id: str
    disease_id: str
    pmids: tuple[str, ...]
    similarity: float


class SiameseNetwork(FewShotMethod):
    """Ranks candidates by the known cases that lie nearest to the query.

    Attributes:
        name: ``siamese``.
        candidates: ids of the candidates, in the order of the score's columns.
        encoder: the frozen encoder.
        losses: training loss of each step.
    """

    name = file = "siamese"
    arrays = ("memory", "spread", "labels")

    def __init__(
        self,
        config: FewShotConfig | None = None,
        *,
        features: np.ndarray | None = None,
        pretraining: CaseSet | None = None,
    ) -> None:
        """Args:
        config: training budget; quick when None.
        features: (n_terms, n) term embeddings (``embeddings``); the encoder does without when None.
        pretraining: labelled patients of other conditions to contrast first (``transfer.common_cases``).
        """
        super().__init__(config)
        self._features = features
        self._pretraining = pretraining
        self._memory = np.empty((0, 0), np.float32)
        self._spread = sp.csr_matrix((0, 0), dtype=np.float32)
        self._labels = np.empty(0, np.int64)
        self._case_ids: list[str] = []
        self._pmids: list[tuple[str, ...]] = []

    @property
    def metadata(self) -> dict[str, Any]:
        """What was run and what it learned from, for the registry."""
        return {
            "params": self.config.metadata | self._facts(),
            "curves": {"loss": self.losses},
        }

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Train the encoder on ``cases`` and remember them.

        Args:
            knowledge: candidates, and annotations for the information content.
            cases: known cases; those whose diagnosis is no candidate are passed over.
        """
        import torch

        torch.set_num_threads(self.config.threads)
        cases = cases[np.flatnonzero(knowledge.labels(cases) >= 0)]
        rows = tokens(cases, knowledge.ontology)
        parameters, context = nets.start(
            knowledge, cases.implied_matrix(knowledge.ontology), self.config, self._features
        )
        steps = RetrievalSteps(knowledge, cases, folds=self.config.inner_folds, seed=self.config.seed)
        if self._pretraining is not None:
            pretrain(parameters, context, self._pretraining, self.config, self.config.encoder_steps // 3)
        optimiser = nets.optimiser(parameters)
        rng = np.random.default_rng(self.config.seed)
        self.losses = []
        for number in range(self.config.encoder_steps):
            step = steps.sample(
                rng, number % self.config.inner_folds, self.config.queries, self.config.max_support
            )
            weights, _ = nets.token_weights(parameters, context)
            share = 2 * self.config.dropout * rng.random()
            query = nets.encode(nets.hide(rows[step.query], share, rng), weights)
            known = nets.encode(nets.hide(rows[step.support], self.config.dropout / 2, rng), weights)
            loss = contrastive_loss(
                query,
                known,
                torch.from_numpy(step.query_class),
                torch.from_numpy(step.support_class),
                parameters["temperature"].exp(),
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            self.losses.append(float(loss.detach()))
        self._encoder = nets.freeze(parameters, context)
        self.candidates = list(knowledge.candidates)
        return self.remember(knowledge, cases)

    def remember(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Replace the known cases without training again (the served memory holds every known case).

        Raises:
            ValueError: the knowledge ranks other candidates than the model was fitted for.
        """
        self._require_candidates(knowledge)
        labels = knowledge.labels(cases)
        kept = cases[np.flatnonzero(labels >= 0)]
        # Sorted by candidate, so that the best case of each is one reduction over a run of columns.
        order = np.argsort(labels[labels >= 0], kind="stable")
        kept, self._labels = kept[order], labels[labels >= 0][order]
        self._memory = self.encoder.encode(kept)
        self._spread = self.encoder.spread(kept.implied_matrix(knowledge.ontology))
        self._case_ids, self._pmids = kept.case_ids, kept.pmids
        return self

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_candidates): how near the nearest known cases of each candidate lie.

        The mean of the nearest and of the mean of the three nearest.

        A candidate without a known case gets -1. A case never counts itself as known (same case id).
        """
        return nearest_scores(self._similarity(cases), self._labels, len(self.candidates))

    def similar(self, cases: CaseSet, n: int = 5) -> list[list[SimilarCase]]:
        """Return for each case its ``n`` most similar known cases, most similar first."""
        similarity = self._similarity(cases)
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :n]
        return [
            [
                SimilarCase(
                    self._case_ids[j],
                    self.candidates[self._labels[j]],
                    self._pmids[j],
                    float(similarity[i, j]),
                )
                for j in row
            ]
            for i, row in enumerate(best)
        ]

    def _state(self) -> dict[str, Any]:
        return {"case_ids": self._case_ids, "pmids": [list(p) for p in self._pmids]}

    def _restore(self, meta: dict[str, Any], directory: Path) -> None:
        self._case_ids, self._pmids = meta["case_ids"], [tuple(p) for p in meta["pmids"]]

    def _facts(self) -> dict[str, Any]:
        """Return counts and which inputs were used."""
        return {
            "n_candidates": len(self.candidates),
            "n_cases": len(self._case_ids),
            "term_features": self._features is not None,
            "pretrained": self._pretraining is not None,
        }

    def _similarity(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_known): mean cosine of both views; a case is not similar to itself."""
        spread = self.encoder.spread(cases.implied_matrix(self.encoder.ontology)) @ self._spread.T
        similarity = 0.5 * (self.encoder.encode(cases) @ self._memory.T + spread.toarray())
        position = {case_id: j for j, case_id in enumerate(self._case_ids)}
        for i, case_id in enumerate(cases.case_ids):
            if case_id in position:
                similarity[i, position[case_id]] = NO_CASE
        return similarity
