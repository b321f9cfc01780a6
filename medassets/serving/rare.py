"""The rare-disease part of the bundle: a ranked, explained and calibrated answer for one patient.

What belongs here: turning a request into an answer with reasons, similar published patients, and what to
look for next.
What does not: scoring (``features.rare_model``), which training shares, and HTTP. Decision support: the
answer ranks and explains, it does not diagnose.

Sources: pre-test and post-test probability after LIRICAL (Robinson et al., AJHG 2020); abstention and the
probability that no known disease is the cause are calibrated on held-out publications
(``features.rare_network``).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.prevalence import load_prior, with_prior
from medassets.features.rare_model import Ranking, RareModel
from medassets.serving.rare_explain import LEADING, discriminating_phenotypes, term_evidence

#: Probability of the first candidate from which the answer is called high, and moderate.
HIGH, MODERATE = 0.8, 0.4
_SIMILAR = 5
_NEXT = 5


class RarePredictor:
    """Answers from one bundle.

    Attributes:
        candidates: canonical ids of the diseases that are ranked, in the order of the score's columns.
        names: their names.
        shots: int64 (n_candidates,), known published cases of each.
        annotated: bool (n_candidates,), whether the disease's own annotation rows are known.
        ontology: the ontology that requests are read with.
        metadata: revision, counts and origins.
    """

    def __init__(self, model: RareModel, protocol: str = "clean", prior: np.ndarray | None = None) -> None:
        """Args: model: the ranker. protocol: which learned head scores; ``clean`` for users. prior: log prior
        of each candidate by prevalence; without it all are equally frequent.
        """
        self.model, self.protocol, self.prior = model, protocol, prior
        self.ontology = model.knowledge.ontology
        self.candidates = model.knowledge.candidates
        self.names = model.knowledge.names
        self.shots = model.memory.shots
        self.annotated = model.knowledge.has_annotation
        self._columns = model.knowledge.index
        self.metadata: dict[str, Any] = {
            "revision": model.revision,
            "n_candidates": len(self.candidates),
            "n_known_cases": len(model.cases),
            "training_origin": sorted(set(model.cases.origins)),
            "protocol": protocol,
        }

    @classmethod
    def load(cls, directory: Path) -> RarePredictor:
        """Read the rare part of a bundle.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: the bundle's ranker was learned on other features than this version computes.
        """
        model = RareModel.load(directory)
        predictor = cls(model, prior=load_prior(directory, model.knowledge.candidates))
        described = directory / "ranker.json"
        if described.exists():
            predictor.metadata["learned"] = json.loads(described.read_text(encoding="utf-8"))["learned"]
        return predictor

    @property
    def abstains_above(self) -> float:
        """The answer abstains when "none that I know" is more probable: few known diseases are refused so."""
        return float(self.model.heads[self.protocol].calibration.threshold[0])

    def canonical(self, disease_id: str) -> str:
        """Return the id under which a disease is ranked, the id itself where it is not."""
        column = self._columns.get(disease_id)
        return disease_id if column is None else self.candidates[column]

    def candidate(self, disease_id: str) -> dict[str, Any]:
        """Return what is known of one candidate.

        Raises:
            KeyError: the disease is not ranked.
        """
        column = self._columns[disease_id]
        knowledge = self.model.knowledge
        return {
            "disease_id": self.candidates[column],
            "name": self.names[column],
            "equivalents": list(knowledge.equivalents[column]),
            "genes": list(knowledge.genes[column]),
            "n_known_cases": int(self.shots[column]),
            "n_annotations": int((knowledge.disease == column).sum()),
        }

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_candidates); higher is more probable."""
        scores = self.model.score(cases, self.protocol)
        return scores if self.prior is None else scores + self.prior.astype(np.float32)

    def without_publications(self, pmids: Collection[str]) -> RarePredictor:
        """Return the predictor before these publications: no case and no annotation row of theirs."""
        return RarePredictor(self.model.without_publications(pmids), "clean", self.prior)

    def as_published(self, pmids: Collection[str]) -> RarePredictor:
        """Return the predictor for figures as other papers give them: no case of theirs, all annotation rows.

        It scores with the head learned for such annotations, or with the clean one where the bundle has no
        other (the quick profile): ``protocol`` says which.
        """
        protocol = "published" if "published" in self.model.heads else "clean"
        model = self.model.without_publications(pmids, annotations=False)
        return RarePredictor(model, protocol, self.prior)

    def add_cases(self, cases: CaseSet) -> RarePredictor:
        """Return the next revision, which also knows these cases (seconds, nothing learned again)."""
        return RarePredictor(self.model.add_cases(cases), self.protocol, self.prior)

    def rank(
        self, observed: list[str], excluded: list[str], age_days: float | None = None, sex: str = "unknown",
        top: int = 10,
    ) -> dict[str, Any]:  # fmt: skip
        """Return the calibrated ranking alone, without explanations.

        Raises:
            ValueError: an id is not an HPO term of the bundle's release.
        """
        case = CaseSet.single(self.ontology, observed, excluded, age_days=age_days, sex=sex)
        ranking = self._ranking(case)
        return {"candidates": self._candidates(ranking, top), "unknown_probability": ranking.unknown}

    def answer(
        self, observed: list[str], excluded: list[str], age_days: float | None, sex: str, top: int
    ) -> dict[str, Any]:
        """Return the differential with reasons.

        Args:
            observed: HPO ids of findings.
            excluded: HPO ids of findings that were looked for and not found.
            age_days: age in days, None where unknown.
            sex: ``M``, ``F`` or ``unknown``.
            top: number of candidates.

        Raises:
            ValueError: an id is not an HPO term of the bundle's release.
        """
        case = CaseSet.single(self.ontology, observed, excluded, age_days=age_days, sex=sex)
        ranking = self._ranking(case, similar=True)
        candidates = self._candidates(ranking, top)
        frequency = self.model.evidence.frequencies(ranking.candidates[: max(top, LEADING)])
        for row, own in zip(candidates, frequency, strict=False):
            row["explanation"] = term_evidence(self.model, case, own)
        abstain = ranking.unknown > self.abstains_above
        first = float(ranking.probabilities[0]) if len(ranking.probabilities) else 0.0
        return {
            "candidates": candidates,
            "similar_cases": self._similar_cases(ranking.listed.similar),
            "look_for_next": discriminating_phenotypes(self.model, case, ranking, frequency, _NEXT),
            "unknown_probability": ranking.unknown,
            "abstain": abstain,
            "reason": f"not among the diseases that I know, with probability {ranking.unknown:.2f}"
            if abstain
            else None,
            "confidence": "low" if abstain or first < MODERATE else ("high" if first >= HIGH else "moderate"),
        }

    def _ranking(self, case: CaseSet, *, similar: bool = False) -> Ranking:
        ranking = next(self.model.rankings(case, self.protocol, similar=similar))
        return ranking if self.prior is None else with_prior(ranking, self.prior)

    def _similar_cases(self, similarity: np.ndarray | None, n: int = _SIMILAR) -> list[dict[str, Any]]:
        """Return the published cases most like the one asked, with their publications."""
        if similarity is None or len(similarity) == 0:
            return []
        known = self.model.cases
        least = np.partition(similarity, -n)[-n] if len(similarity) > n else -np.inf
        leading = np.flatnonzero(similarity >= least)
        rows = []
        for place in leading[np.argsort(-similarity[leading], kind="stable")][:n]:
            i = int(self.model.memory.case_position[place])
            disease = self.canonical(known.disease_ids[i] or "")
            rows.append(
                {
                    "case_id": known.case_ids[i],
                    "disease_id": disease,
                    "disease": self.names[self._columns[disease]],
                    "pmids": list(known.pmids[i]),
                    "origin": known.origins[i],
                    "similarity": float(similarity[place]),
                }
            )
        return rows

    def _candidates(self, ranking: Ranking, top: int) -> list[dict[str, Any]]:
        weights = np.ones(len(self.candidates)) if self.prior is None else np.exp(self.prior)
        pre_test = weights / weights.sum()
        return [
            {
                "disease_id": self.candidates[column],
                "name": self.names[column],
                "probability": float(probability),
                "pre_test": float(pre_test[column]),
                "score": float(score),
                "n_known_cases": int(self.shots[column]),
            }
            for column, probability, score in zip(
                ranking.candidates[:top], ranking.probabilities[:top], ranking.scores[:top], strict=True
            )
        ]
