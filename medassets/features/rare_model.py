"""The rare-disease ranker as it is used: knowledge, known cases, their memory, and the learned heads.

What belongs here: scoring, calibrated answers, renewal of the memory. What does not: learning the heads
(``learners.rare.ranker``) and the words of an answer (``serving.rare``). It is on the serving path: numpy,
scipy and pyarrow only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_evidence import FEATURES, CandidateList, Evidence
from medassets.features.rare_memory import CaseMemory
from medassets.features.rare_network import Calibration, RankNetwork, case_description
from medassets.features.rare_store import load_cases, load_knowledge, save_cases, save_knowledge

#: Candidates outside a case's list stand this far below those on it, in the order of the short score.
_UNLISTED = -1000.0
_TOGETHER = 16
#: Counts up when what a saved model holds means something else.
_FORMAT = 2
_HAS_CASE = FEATURES.index("has_case")


@dataclass(frozen=True)
class Head:
    """What was learned under one protocol."""

    network: RankNetwork
    calibration: Calibration

    def save(self, directory: Path) -> None:
        """Write network and calibration."""
        self.network.save(directory)
        self.calibration.save(directory)

    @classmethod
    def load(cls, directory: Path) -> Head:
        """Read what ``save`` wrote."""
        return cls(RankNetwork.load(directory), Calibration.load(directory))


@dataclass(frozen=True, eq=False)
class Ranking:
    """The answer for one case.

    Attributes:
        candidates: (k,) columns, most probable first.
        scores: (k,) calibrated log scores, descending.
        probabilities: (k,) of each candidate; with ``unknown`` they sum to 1.
        unknown: probability that none of the known diseases is the cause.
        listed: the evidence rows, in the order of ``candidates``.
    """

    candidates: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray
    unknown: float
    listed: CandidateList


@dataclass(frozen=True, eq=False)
class RareModel:
    """Ranks all candidates for each case.

    Attributes:
        knowledge: annotations of the candidates.
        cases: known cases that the memory was made of.
        memory: what both say, as arrays.
        heads: learned heads by protocol; ``clean`` is the one that answers users.
        revision: how often cases were added since the heads were learned.
    """

    knowledge: RareKnowledge
    cases: CaseSet
    memory: CaseMemory
    heads: Mapping[str, Head]
    revision: int = 0

    @classmethod
    def of(cls, knowledge: RareKnowledge, cases: CaseSet, heads: Mapping[str, Head]) -> RareModel:
        """Make the memory of knowledge and cases (seconds) and put the heads on it."""
        return cls(knowledge, cases, CaseMemory.fit(knowledge, cases), heads)

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence computed against this memory."""
        return Evidence(self.memory, self.knowledge.ontology)

    def rankings(
        self, cases: CaseSet, protocol: str = "clean", *, similar: bool = False
    ) -> Iterator[Ranking]:
        """Yield the ranking of each case, in order; with ``similar`` also its similarity to known cases.

        Raises:
            KeyError: no head was learned under ``protocol``.
        """
        head = self.heads[protocol]
        for listed, logits in self._with_logits(self.evidence.lists(cases, similar=similar), head.network):
            has_case = listed.features[:, _HAS_CASE] > 0.5
            description = case_description(listed.features, FEATURES)
            scores = head.calibration.adjusted(logits, has_case)
            probabilities, unknown = head.calibration.probabilities(scores, description)
            order = np.lexsort((listed.candidates, -scores))
            listed = replace(listed, candidates=listed.candidates[order], features=listed.features[order])
            yield Ranking(listed.candidates, scores[order], probabilities[order], unknown, listed)

    @staticmethod
    def _with_logits(
        lists: Iterator[CandidateList], network: RankNetwork
    ) -> Iterator[tuple[CandidateList, np.ndarray]]:
        """Yield each list with its logits; the network reads several lists at once."""
        while batch := list(islice(lists, _TOGETHER)):
            ends = np.cumsum([0, *(len(listed.candidates) for listed in batch)])
            features = np.concatenate([listed.features for listed in batch])
            logits = network.quick_logits(features, ends[:-1])
            yield from zip(batch, np.split(logits, ends[1:-1]), strict=True)

    def score(self, cases: CaseSet, protocol: str = "clean") -> np.ndarray:
        """Return float32 (n_cases, n_candidates); higher is more probable.

        Candidates on a case's list have their calibrated log score, the others follow by the short score.
        """
        result = np.empty((len(cases), len(self.knowledge)), np.float32)
        for row, ranking in zip(result, self.rankings(cases, protocol), strict=True):
            row[:] = _UNLISTED + ranking.listed.short
            row[ranking.candidates] = ranking.scores
        return result

    def without_publications(self, pmids: Collection[str], *, annotations: bool = True) -> RareModel:
        """Return the model as it was before these publications (seconds).

        Args:
            pmids: publications whose cases are left out.
            annotations: whether annotation rows that cite them are left out as well.
        """
        left_out = frozenset(pmids)
        keep = np.array([left_out.isdisjoint(p) for p in self.cases.pmids], bool)
        if keep.all() and not annotations:
            return self
        knowledge = self.knowledge.without_publications(left_out) if annotations else self.knowledge
        return RareModel.of(knowledge, self.cases[keep], self.heads)

    def with_memory(self, knowledge: RareKnowledge, cases: CaseSet) -> RareModel:
        """Return the same heads over a memory of other knowledge and cases."""
        return RareModel.of(knowledge, cases, self.heads)

    def add_cases(self, cases: CaseSet) -> RareModel:
        """Return the next revision, which also knows these confirmed cases; the learned heads stay.

        Raises:
            ValueError: a case has no diagnosis among the candidates, or an id that is already known.
        """
        known = set(self.cases.case_ids)
        for case_id, label in zip(cases.case_ids, self.knowledge.labels(cases), strict=True):
            if case_id in known:
                raise ValueError(f"case {case_id} is known already")
            if label < 0:
                raise ValueError(
                    f"case {case_id}: its diagnosis is not among the {len(self.knowledge)} candidates"
                )
        together = self.cases.concatenate(cases)
        memory = CaseMemory.fit(self.knowledge, together)
        return RareModel(self.knowledge, together, memory, self.heads, self.revision + 1)

    def save(self, directory: Path) -> None:
        """Write everything that scoring and renewal need: ``.npy``, Parquet and JSON files."""
        save_knowledge(self.knowledge, directory / "knowledge")
        save_cases(self.cases, directory / "cases")
        self.memory.save(directory / "memory")
        for protocol, head in self.heads.items():
            head.save(directory / f"head_{protocol}")
        meta = {"protocols": sorted(self.heads), "revision": self.revision, "features": list(FEATURES)}
        meta["format"] = _FORMAT
        (directory / "rare.json").write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> RareModel:
        """Read what ``save`` wrote.

        Raises:
            ValueError: another version of the software wrote it, or learned on other features.
        """
        meta = json.loads((directory / "rare.json").read_text(encoding="utf-8"))
        if tuple(meta["features"]) != FEATURES or meta.get("format") != _FORMAT:
            raise ValueError(
                f"{directory}: learned on features of another version of the software; materialize "
                "models/rare_ranker and serving/diagnosis_bundle again"
            )
        heads = {p: Head.load(directory / f"head_{p}") for p in meta["protocols"]}
        return cls(
            load_knowledge(directory / "knowledge"), load_cases(directory / "cases"),
            CaseMemory.load(directory / "memory"), heads, meta["revision"],
        )  # fmt: skip
