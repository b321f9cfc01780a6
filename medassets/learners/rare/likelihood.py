"""The plainest rare-disease method: likelihood ratios of phenotypes, with or without known cases.

What belongs here: one class that fits, scores, explains, saves. What does not: the arithmetic
(``features.rare``) and any learned weight. Follows LIRICAL (Robinson et al., AJHG 2020) in naming pre-test
and post-test probability.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import load_array, save_array
from medassets.features.rare_ratios import LogRatios, count_cases, log_ratios, update_with_cases

_CHUNK = 256
_TABLES = ("observed", "observed_base", "excluded", "excluded_base")


@dataclass(frozen=True)
class TermEvidence:
    """What one term says about one candidate: ``log_ratio`` above 0 speaks for it (nats)."""

    hpo_id: str
    label: str
    excluded: bool
    log_ratio: float


class RareLikelihood:
    """Ranks candidates by the summed log likelihood ratio of observed and excluded terms.

    Attributes:
        name: ``likelihood`` or ``likelihood_cases``.
        candidates: ids of the candidates, in the order of the score's columns.
    """

    def __init__(self, *, use_cases: bool = True) -> None:
        """Args: use_cases: whether known cases update the annotated frequencies."""
        self.use_cases = use_cases
        self.name = "likelihood_cases" if use_cases else "likelihood"
        self.candidates: list[str] = []
        self._ratios: LogRatios | None = None
        self._n_cases = 0

    @property
    def metadata(self) -> dict[str, Any]:
        """Parameters of the fitted model, for the registry."""
        return {
            "params": {
                "use_cases": self.use_cases,
                "n_candidates": len(self.candidates),
                "n_cases": self._n_cases,
            }
        }

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> RareLikelihood:
        """Take over the annotated frequencies, updated by the known cases."""
        profiles = knowledge.profiles()
        if self.use_cases:
            counts = count_cases(cases, knowledge.labels(cases), len(knowledge), knowledge.ontology)
            profiles = update_with_cases(profiles, counts)
            self._n_cases = int(counts.shots.sum())
        self.candidates = list(knowledge.candidates)
        self._ratios = log_ratios(profiles)
        return self

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_candidates): log likelihood ratio of the findings, disease against
        background.

        Raises:
            RuntimeError: not fitted.
        """
        ratios = self._fitted()
        n_terms = len(ratios.observed_base)
        result = np.empty((len(cases), len(self.candidates)), np.float32)
        for start in range(0, len(cases), _CHUNK):
            part = cases[start : start + _CHUNK]
            observed, excluded = ratios.score(part.matrix(n_terms), part.matrix(n_terms, excluded=True))
            result[start : start + len(part)] = observed + excluded
        return result

    def explain(
        self, cases: CaseSet, case: int, candidate: str, terms: list[str], names: list[str]
    ) -> list[TermEvidence]:
        """Return what each finding of one case says about one candidate, strongest first.

        Args:
            cases: the cases.
            case: position of the case.
            candidate: id of the candidate.
            terms: ids of all terms, as in the ontology.
            names: their names.

        Raises:
            KeyError: the candidate is not ranked.
        """
        ratios = self._fitted()
        if candidate not in self.candidates:
            raise KeyError(candidate)
        column = self.candidates.index(candidate)
        evidence = []
        for excluded, indices in ((False, cases.observed[case]), (True, cases.excluded[case])):
            values = ratios.of_candidate(indices, column, excluded=excluded)
            evidence += [
                TermEvidence(terms[t], names[t], excluded, float(v))
                for t, v in zip(indices, values, strict=True)
            ]
        return sorted(evidence, key=lambda e: (-abs(e.log_ratio), e.hpo_id))

    def save(self, directory: Path) -> None:
        """Write each table as files of its own and the rest as ``likelihood.json``."""
        ratios = self._fitted()
        for name in _TABLES:
            save_array(directory, name, getattr(ratios, name))
        meta = {"use_cases": self.use_cases, "n_cases": self._n_cases, "candidates": self.candidates}
        (directory / "likelihood.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> RareLikelihood:
        """Read what ``save`` wrote."""
        meta = json.loads((directory / "likelihood.json").read_text(encoding="utf-8"))
        model = cls(use_cases=meta["use_cases"])
        model.candidates, model._n_cases = meta["candidates"], meta["n_cases"]
        model._ratios = LogRatios(**{name: load_array(directory, name) for name in _TABLES})
        return model

    def _fitted(self) -> LogRatios:
        if self._ratios is None:
            raise RuntimeError(f"{self.name} is not fitted: call fit or load first")
        return self._ratios
