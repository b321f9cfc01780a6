"""Prototypical networks: every disease is one vector, from its annotation alone or moved by its known cases.

What belongs here: training the encoder against prototypes, zero-shot prototypes, and updating one disease by
one case. What does not: the encoder (``encoder``) and nearest patients (``siamese``).

Snell, Swersky and Zemel, NeurIPS 2017, with cosine distance. A disease without a case still has a prototype,
the encoded annotation; each known case then moves it as one more patient (``phenotype_encoder.prototypes``).
Training ranks queries of held-out publications twice: against prototypes of 1 to n cases of other
publications, and against annotated profiles that do not cite the queries' publications.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import NO_CASE, prototypes, tokens, unit_rows
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import unit_rows as unit_rows_sparse
from medassets.learners.rare import encoder as nets
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.episodes import RetrievalStep, RetrievalSteps
from medassets.learners.rare.method import FewShotMethod

_SMOOTHING = 0.02
_ZERO_SHOT_SHARE = 0.5  # weight of the zero-shot loss beside that of the cases
_ANNOTATION_CASES = (0.25, 0.5, 1.0, 2.0, 4.0)


class PrototypicalNetwork(FewShotMethod):
    """Ranks candidates by the cosine between the query and each prototype.

    Attributes:
        name: ``prototypical``.
        candidates: ids of the candidates, in the order of the score's columns.
        annotation_cases: what an annotation weighs against known cases, in patients; chosen in training.
        losses: training loss of each step.
        updates: one record for each case added after the fit; its length is the memory's version.
    """

    name = file = "prototypical"
    arrays = ("annotation", "case_sum", "shots", "annotation_spread", "case_spread")

    def __init__(self, config: FewShotConfig | None = None, *, features: np.ndarray | None = None) -> None:
        """Args:
        config: training budget; quick when None.
        features: (n_terms, n) term embeddings (``embeddings``); the encoder does without when None.
        """
        super().__init__(config)
        self.annotation_cases = 1.0
        self.updates: list[dict[str, str]] = []
        self._features = features
        self._annotation = np.empty((0, 0), np.float32)
        self._case_sum = np.empty((0, 0), np.float32)
        self._shots = np.empty(0, np.float32)
        # The same halves in the sparse view of the encoder, (n_candidates, n_terms).
        self._annotation_spread = sp.csr_matrix((0, 0), dtype=np.float32)
        self._case_spread = sp.csr_matrix((0, 0), dtype=np.float32)

    @property
    def shots(self) -> np.ndarray:
        """Known cases of each candidate, float32 (n_candidates,)."""
        return self._shots

    @property
    def metadata(self) -> dict[str, Any]:
        """What was run and what it learned from, for the registry."""
        facts = {
            "n_candidates": len(self.candidates),
            "n_cases": int(self._shots.sum()),
            "annotation_cases": self.annotation_cases,
            "memory_version": len(self.updates),
        }
        return {"params": self.config.metadata | facts, "curves": {"loss": self.losses}}

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Train the encoder on ``cases``, then build every prototype.

        Args:
            knowledge: candidates and their annotations.
            cases: known cases; those whose diagnosis is no candidate are passed over.
        """
        import torch

        torch.set_num_threads(self.config.threads)
        cases = cases[np.flatnonzero(knowledge.labels(cases) >= 0)]
        rows = tokens(cases, knowledge.ontology)
        parameters, context = nets.start(
            knowledge, cases.implied_matrix(knowledge.ontology), self.config, self._features
        )
        parameters["zero_shot_temperature"] = parameters["temperature"].clone()
        steps = RetrievalSteps(knowledge, cases, folds=self.config.inner_folds, seed=self.config.seed)
        optimiser = nets.optimiser(parameters)
        rng = np.random.default_rng(self.config.seed)
        self.losses = []
        for number in range(self.config.encoder_steps):
            step = steps.sample(
                rng, number % self.config.inner_folds, self.config.queries, self.config.max_support
            )
            loss = self._loss(parameters, context, rows, steps, step, rng)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            self.losses.append(float(loss.detach()))
        self._encoder = nets.freeze(parameters, context)
        self.candidates = list(knowledge.candidates)
        self.annotation_cases = self._choose_annotation_cases(steps, cases, rng)
        return self.remember(knowledge, cases)

    def remember(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Rebuild every prototype from annotations and cases without training again.

        Raises:
            ValueError: the knowledge ranks other candidates than the model was fitted for.
        """
        self._require_candidates(knowledge)
        labels = knowledge.labels(cases)
        known = np.flatnonzero(labels >= 0)
        profiles = knowledge.profiles()
        self._annotation = self.encoder.encode_profiles(profiles)
        self._case_sum = np.zeros_like(self._annotation)
        np.add.at(self._case_sum, labels[known], self.encoder.encode(cases[known]))
        self._annotation_spread = self.encoder.spread(profiles)
        self._case_spread = self._by_candidate(labels[known], cases[known])
        self._shots = np.bincount(labels[known], minlength=len(self.candidates)).astype(np.float32)
        self.updates = []
        return self

    def update_with_case(self, disease_id: str, case: CaseSet) -> int:
        """Move one disease's prototype by confirmed cases, in milliseconds; nothing is retrained.

        Args:
            disease_id: a candidate.
            case: the confirmed cases, usually one.

        Returns:
            The new version of the memory, 0 right after the fit.

        Raises:
            KeyError: the disease is no candidate.
        """
        if disease_id not in self.candidates:
            raise KeyError(disease_id)
        column = self.candidates.index(disease_id)
        self._case_sum[column] += self.encoder.encode(case).sum(axis=0)
        self._case_spread = self._case_spread + self._by_candidate(np.full(len(case), column), case)
        self._shots[column] += len(case)
        self.updates += [{"disease_id": disease_id, "case_id": case_id} for case_id in case.case_ids]
        return len(self.updates)

    def prototypes(self) -> np.ndarray:
        """Return float32 (n_candidates, dimension): every prototype, length 1 (0 where nothing is known)."""
        return prototypes(self._annotation, self._case_sum, self._shots, self.annotation_cases)

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_candidates): mean cosine to each prototype in both views."""
        has_annotation = np.diff(self._annotation_spread.indptr) > 0
        weight = self.annotation_cases * has_annotation
        share = sp.diags((weight / np.maximum(weight + self._shots, 1e-6)).astype(np.float32))
        rest = sp.diags((1 / np.maximum(weight + self._shots, 1e-6)).astype(np.float32))
        moved = share @ self._annotation_spread + rest @ self._case_spread
        spread = unit_rows_sparse(moved.tocsr())
        return self._mean_cosine(cases, self.prototypes(), spread)

    def parts(self, cases: CaseSet) -> dict[str, np.ndarray]:
        """Return the two halves of the score, each float32 (n_cases, n_candidates).

        ``annotation``: cosine to the zero-shot prototype. ``cases``: cosine to the mean known case, -1
        without a case.
        """
        spread = unit_rows_sparse(self._case_spread)
        from_cases = self._mean_cosine(cases, unit_rows(self._case_sum), spread)
        from_cases[:, self._shots == 0] = NO_CASE
        return {
            "annotation": self._mean_cosine(cases, self._annotation, self._annotation_spread),
            "cases": from_cases,
        }

    def _state(self) -> dict[str, Any]:
        return {"annotation_cases": self.annotation_cases, "updates": self.updates}

    def _restore(self, meta: dict[str, Any], directory: Path) -> None:
        self.annotation_cases, self.updates = meta["annotation_cases"], meta["updates"]

    def _mean_cosine(self, cases: CaseSet, learned: np.ndarray, spread: sp.csr_matrix) -> np.ndarray:
        """Return float32 (n_cases, n_candidates): mean cosine to candidates given in both views."""
        sparse = self.encoder.spread(cases.implied_matrix(self.encoder.ontology)) @ spread.T
        mean: np.ndarray = 0.5 * (self.encoder.encode(cases) @ learned.T + sparse.toarray())
        return mean.astype(np.float32)

    def _by_candidate(self, labels: np.ndarray, cases: CaseSet) -> sp.csr_matrix:
        """Return float32 (n_candidates, n_terms): sums of the cases' sparse views."""
        ones = np.ones(len(cases), np.float32)
        shape = (len(self.candidates), len(cases))
        member = sp.csr_matrix((ones, (labels, np.arange(len(cases)))), shape=shape)
        return (member @ self.encoder.spread(cases.implied_matrix(self.encoder.ontology))).tocsr()

    def _loss(
        self,
        parameters: nets.Parameters,
        context: nets.EncoderContext,
        rows: Any,
        steps: RetrievalSteps,
        step: RetrievalStep,
        rng: np.random.Generator,
    ) -> Any:
        """Return the loss of one step: queries against prototypes of cases and against annotated profiles."""
        import torch

        weights, annotation_weights = nets.token_weights(parameters, context)
        query = nets.encode(nets.hide(rows[step.query], 2 * self.config.dropout * rng.random(), rng), weights)
        known = nets.encode(nets.hide(rows[step.support], self.config.dropout / 2, rng), weights)
        shown = torch.zeros(len(step.candidates), known.shape[1])
        shown = nets.unit(shown.index_add(0, torch.from_numpy(step.support_class), known))
        logits = parameters["temperature"].exp() * query @ shown.T
        target = torch.from_numpy(step.query_class)
        from_cases = torch.nn.functional.cross_entropy(logits, target, label_smoothing=_SMOOTHING)
        return from_cases + _ZERO_SHOT_SHARE * self._zero_shot_loss(
            parameters, annotation_weights, weights, steps, step, query.detach(), rng
        )

    def _zero_shot_loss(
        self,
        parameters: nets.Parameters,
        annotation_weights: Any,
        weights: Any,
        steps: RetrievalSteps,
        step: RetrievalStep,
        query: Any,
        rng: np.random.Generator,
    ) -> Any:
        """Return the loss of real and of simulated queries against annotated profiles.

        The encoder of patients is held fixed here: the annotation tower comes to the patients. Simulated
        queries are annotated profiles seen through a keyhole; with real ones alone the tower would learn
        which diseases are the published ones, and fail at all others.
        """
        import torch

        profiles = steps.profiles(step.fold)
        drawn = rng.choice(profiles.shape[0], min(self.config.negatives, profiles.shape[0]), replace=False)
        rivals = np.setdiff1d(drawn, step.candidates)
        shortlist = profiles[np.concatenate([step.candidates, rivals])].tocsr()
        described = np.diff(shortlist.indptr) > 0
        asked = np.flatnonzero(described[step.query_class])
        told = np.flatnonzero(described)
        told = rng.choice(told, min(self.config.queries, len(told)), replace=False)
        glimpse = nets.hide(shortlist[told], 0.5 + 0.4 * rng.random(), rng)
        glimpse.data = (rng.random(glimpse.nnz) < glimpse.data).astype(np.float32)
        simulated = nets.encode(glimpse, weights[: profiles.shape[1]].detach())
        zero_shot = nets.encode(shortlist, annotation_weights)
        target = torch.from_numpy(np.concatenate([step.query_class[asked], told]))
        queries = torch.cat([query[torch.from_numpy(asked)], simulated])
        logits = parameters["zero_shot_temperature"].exp() * queries @ zero_shot.T
        loss: Any = torch.nn.functional.cross_entropy(logits, target, label_smoothing=_SMOOTHING)
        return loss

    def _choose_annotation_cases(
        self, steps: RetrievalSteps, cases: CaseSet, rng: np.random.Generator
    ) -> float:
        """Return the weight of the annotation that ranks the folds' queries best."""
        encoded = self.encoder.encode(cases)
        gains = np.zeros(len(_ANNOTATION_CASES))
        for fold in range(self.config.inner_folds):
            step = steps.sample(rng, fold, self.config.queries, 3)
            annotation = self.encoder.encode_profiles(steps.profiles(fold)[step.candidates])
            total = np.zeros_like(annotation)
            np.add.at(total, step.support_class, encoded[step.support])
            shots = np.bincount(step.support_class, minlength=len(step.candidates))
            for i, weight in enumerate(_ANNOTATION_CASES):
                scores = encoded[step.query] @ prototypes(annotation, total, shots, weight).T
                own = scores[np.arange(len(scores)), step.query_class][:, None]
                gains[i] += (1 / (scores >= own).sum(axis=1)).sum()
        return _ANNOTATION_CASES[int(gains.argmax())]
