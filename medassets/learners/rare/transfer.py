"""Transfer: what related rare diseases and common conditions lend to a disease with few cases.

What belongs here: which diseases are related, prototypes that borrow from them, and common-condition patients
written in HPO terms for pre-training. What does not: the paired comparison with and without
(``evaluation.few_shot``).

Related means: a shared gene, a common MONDO parent, or similar annotations. A prototype takes the mean
patient of its relatives as a further part of its prior, as a hierarchical model would (empirical Bayes); how
much is chosen on publication folds inside the training part, and may be nothing. Common conditions are
simulated from the bundled figures of DDXPlus (synthesized by its authors), so their rows carry ``origin =
simulated``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import PhenotypeEncoder, prototypes, unit_rows
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import load_array, save_array
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology, information_content
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.episodes import RetrievalSteps
from medassets.learners.rare.prototypical import PrototypicalNetwork

#: Yes/no evidences of the common conditions that mean one HPO term without doubt; the rest is left out.
EVIDENCE_TERMS = {
    "E_9": "HP:0002716", "E_14": "HP:0100749", "E_16": "HP:0000739", "E_19": "HP:0000836",
    "E_20": "HP:0001370", "E_21": "HP:0002107", "E_22": "HP:0001654", "E_23": "HP:0002104",
    "E_24": "HP:0001903", "E_30": "HP:0003270", "E_32": "HP:0004396", "E_34": "HP:0002664",
    "E_39": "HP:0001289", "E_43": "HP:0001250", "E_45": "HP:0002105", "E_50": "HP:0000975",
    "E_51": "HP:0002014", "E_52": "HP:0000651", "E_63": "HP:0001260", "E_64": "HP:0002875",
    "E_65": "HP:0002015", "E_66": "HP:0002094", "E_69": "HP:0000819", "E_70": "HP:0001513",
    "E_71": "HP:0003124", "E_74": "HP:0025337", "E_76": "HP:0002321", "E_80": "HP:0000716",
    "E_83": "HP:0030319", "E_84": "HP:0003690", "E_89": "HP:0012378", "E_91": "HP:0001945",
    "E_94": "HP:0025143", "E_95": "HP:0001300", "E_97": "HP:0033050", "E_98": "HP:0002036",
    "E_103": "HP:0000458", "E_104": "HP:0000822", "E_106": "HP:0001635", "E_107": "HP:0001297",
    "E_109": "HP:0002625", "E_113": "HP:0012622", "E_114": "HP:0000737", "E_119": "HP:0011109",
    "E_120": "HP:0100582", "E_121": "HP:0004411", "E_123": "HP:0006510", "E_124": "HP:0002099",
    "E_125": "HP:0002020", "E_126": "HP:0001394", "E_127": "HP:0009926", "E_129": "HP:0011121",
    "E_140": "HP:0002249", "E_144": "HP:0003326", "E_145": "HP:0000132", "E_148": "HP:0002018",
    "E_151": "HP:0000969", "E_154": "HP:0000980", "E_155": "HP:0001962", "E_156": "HP:0010628",
    "E_159": "HP:0007185", "E_162": "HP:0001824", "E_164": "HP:0011675", "E_172": "HP:0000508",
    "E_177": "HP:0003401", "E_178": "HP:0001892", "E_179": "HP:0002573", "E_181": "HP:0001742",
    "E_186": "HP:0010535", "E_188": "HP:0011985", "E_193": "HP:0003394", "E_194": "HP:0010307",
    "E_197": "HP:0000100", "E_201": "HP:0012735", "E_205": "HP:0000211", "E_206": "HP:0000155",
    "E_210": "HP:0002248", "E_211": "HP:0002013", "E_212": "HP:0001609", "E_214": "HP:0030828",
    "E_227": "HP:0002721",
}  # fmt: skip

_SHARED_GENE, _SHARED_PARENT = 1.0, 0.5
_NEIGHBOURS, _LEAST_SIMILARITY = 5, 0.4
_BORROWED_CASES = (0.0, 0.25, 0.5, 1.0)


def common_cases(common: CommonKnowledge, ontology: Ontology, *, per_condition: int, seed: int) -> CaseSet:
    """Return simulated patients of the common conditions in HPO terms, for pre-training an encoder.

    Asked and absent evidences become excluded terms for one in four, since a chart seldom writes down every
    no.

    Args:
        common: conditions and P(evidence given condition).
        ontology: whose terms the indices mean; evidences whose term it does not hold are left out.
        per_condition: patients for each condition.
        seed: of every draw.
    """
    columns, terms = [], []
    for code, term in EVIDENCE_TERMS.items():
        resolved = ontology.resolve(term)
        if resolved is not None and code in common.evidence_index:
            columns.append(common.evidence_index[code])
            terms.append(ontology.index[resolved])
    index = np.array(terms, dtype=np.int32)
    probability = common.probability[:, columns]
    rng = np.random.default_rng(seed)
    ids: list[str] = []
    diseases: list[str | None] = []
    observed: list[np.ndarray] = []
    excluded: list[np.ndarray] = []
    for condition, chances in zip(common.condition_names, probability, strict=True):
        for number in range(per_condition):
            shown = rng.random(len(index)) < chances
            noted = ~shown & (rng.random(len(index)) < 0.25)
            ids.append(f"common:{condition}:{number}")
            diseases.append(f"common:{condition}")
            observed.append(np.unique(index[shown]))
            excluded.append(np.setdiff1d(index[noted], index[shown]).astype(np.int32))
    n = len(ids)
    return CaseSet(
        ids, diseases, observed, excluded, np.full(n, np.nan), ["unknown"] * n, [()] * n, ["simulated"] * n
    )


def relatedness(knowledge: RareKnowledge, parents: Mapping[str, set[str]] | None = None) -> sp.csr_matrix:
    """Return float32 (n_candidates, n_candidates): how related two candidates are; the diagonal is 0.

    Args:
        knowledge: genes and annotations of the candidates.
        parents: MONDO parents of each candidate, where known.
    """
    n = len(knowledge)
    parts = [_SHARED_GENE * _shared([set(genes) for genes in knowledge.genes])]
    if parents:
        parts.append(_SHARED_PARENT * _shared([set(parents.get(c, ())) for c in knowledge.candidates]))
    weights = information_content(knowledge.raw_profiles(), knowledge.ontology)
    weighted = (knowledge.profiles() @ sp.diags(weights)).tocsr()
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    unit = (sp.diags(1 / np.maximum(norms, 1e-9)) @ weighted).astype(np.float32).tocsr()
    rows, columns, values = [], [], []
    for start in range(0, n, 512):
        block = (unit[start : start + 512] @ unit.T).toarray()
        block[np.arange(len(block)), np.arange(start, start + len(block))] = 0
        k = min(_NEIGHBOURS, n - 1)
        best = np.argpartition(-block, k, axis=1)[:, :k] if k < n - 1 else np.argsort(-block, axis=1)[:, :k]
        similar = np.take_along_axis(block, best, axis=1)
        keep = similar >= _LEAST_SIMILARITY
        rows.append(np.broadcast_to(start + np.arange(len(block))[:, None], best.shape)[keep])
        columns.append(best[keep])
        values.append(similar[keep])
    positions = (np.concatenate(rows), np.concatenate(columns))
    parts.append(sp.csr_matrix((np.concatenate(values), positions), shape=(n, n)))
    total = sum(parts[1:], parts[0]).tolil()
    total.setdiag(0)
    result = total.tocsr().astype(np.float32)
    result.eliminate_zeros()
    return result


class TransferPrototypes:
    """Ranks candidates by prototypes that borrow from the cases of related diseases.

    Attributes:
        name: ``transfer``.
        candidates: ids of the candidates, in the order of the score's columns.
        borrowed_cases: what the relatives' mean patient weighs, in patients; 0 where borrowing did not help.
    """

    name = "transfer"

    def __init__(
        self,
        config: FewShotConfig | None = None,
        *,
        network: PrototypicalNetwork | None = None,
        parents: Mapping[str, set[str]] | None = None,
    ) -> None:
        """Args:
        config: training budget; quick when None.
        network: a network fitted on the same cases, whose encoder is used; one is fitted when None.
        parents: MONDO parents of each candidate, where known.
        """
        self.config = config or FewShotConfig.quick()
        self.candidates: list[str] = []
        self.borrowed_cases = 0.0
        self.gain_by_weight: dict[str, float] = {}
        self._network = network
        self._parents = parents
        self._prototypes = np.empty((0, 0), np.float32)

    @property
    def metadata(self) -> dict[str, Any]:
        """What was chosen and why, for the registry."""
        chosen = {"borrowed_cases": self.borrowed_cases, "mrr_by_borrowed_cases": self.gain_by_weight}
        return {"params": self.config.metadata | chosen}

    @property
    def encoder(self) -> PhenotypeEncoder:
        """The encoder of patients.

        Raises:
            RuntimeError: not fitted.
        """
        if self._network is None:
            raise RuntimeError(f"{self.name} is not fitted: call fit or load first")
        return self._network.encoder

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Choose how much to borrow on publication folds of ``cases``, then build every prototype."""
        if self._network is None:
            self._network = PrototypicalNetwork(self.config).fit(knowledge, cases)
        cases = cases[np.flatnonzero(knowledge.labels(cases) >= 0)]
        related = relatedness(knowledge, self._parents)
        annotation_cases = self._network.annotation_cases
        steps = RetrievalSteps(knowledge, cases, folds=self.config.inner_folds, seed=self.config.seed)
        encoded = self.encoder.encode(cases)
        gains = np.zeros(len(_BORROWED_CASES))
        for fold in range(self.config.inner_folds):
            asked = np.flatnonzero(steps.fold == fold)
            shown = np.flatnonzero(steps.fold != fold)
            annotation = self.encoder.encode_profiles(steps.profiles(fold))
            for i, borrowed in enumerate(_BORROWED_CASES):
                table = _borrowing(
                    annotation, encoded[shown], steps.labels[shown], related, annotation_cases, borrowed
                )
                scores = encoded[asked] @ table.T
                own = scores[np.arange(len(asked)), steps.labels[asked]][:, None]
                gains[i] += (1 / (scores >= own).sum(axis=1)).sum()
        gains /= len(cases)
        self.gain_by_weight = {
            str(b): round(float(g), 6) for b, g in zip(_BORROWED_CASES, gains, strict=True)
        }
        self.borrowed_cases = _BORROWED_CASES[int(gains.argmax())]
        self.candidates = list(knowledge.candidates)
        annotation = self.encoder.encode_profiles(knowledge.profiles())
        self._prototypes = _borrowing(
            annotation, encoded, steps.labels, related, annotation_cases, self.borrowed_cases
        )
        return self

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_candidates): cosine to each prototype."""
        return self.encoder.encode(cases) @ self._prototypes.T

    def save(self, directory: Path) -> None:
        """Write the network in ``network/``, the prototypes as ``.npy`` and the rest as ``transfer.json``."""
        if self._network is None:
            raise RuntimeError(f"{self.name} is not fitted: call fit or load first")
        self._network.save(directory / "network")
        save_array(directory, "prototypes", self._prototypes)
        meta = {
            "config": self.config.metadata,
            "candidates": self.candidates,
            "borrowed_cases": self.borrowed_cases,
            "mrr_by_borrowed_cases": self.gain_by_weight,
        }
        (directory / "transfer.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, ontology: Ontology) -> Self:
        """Read what ``save`` wrote."""
        meta = json.loads((directory / "transfer.json").read_text(encoding="utf-8"))
        model = cls(
            FewShotConfig(**meta["config"]), network=PrototypicalNetwork.load(directory / "network", ontology)
        )
        model.candidates, model.borrowed_cases = meta["candidates"], meta["borrowed_cases"]
        model.gain_by_weight = meta["mrr_by_borrowed_cases"]
        model._prototypes = load_array(directory, "prototypes")
        return model


def _borrowing(
    annotation: np.ndarray,
    encoded: np.ndarray,
    labels: np.ndarray,
    related: sp.csr_matrix,
    annotation_cases: float,
    borrowed_cases: float,
) -> np.ndarray:
    """Return the prototypes (n_candidates, dimension): annotation, relatives and own cases, unit rows."""
    total = np.zeros_like(annotation)
    np.add.at(total, labels, encoded)
    shots = np.bincount(labels, minlength=len(annotation)).astype(np.float32)
    known = sp.diags((shots > 0).astype(np.float32))
    lent = unit_rows(related @ known @ unit_rows(total))
    has_relative = (np.abs(lent).sum(axis=1) > 0).astype(np.float32)
    return prototypes(
        annotation, total + borrowed_cases * lent, shots + borrowed_cases * has_relative, annotation_cases
    )


def _shared(sets: list[set[str]]) -> sp.csr_matrix:
    """Return float32 (n, n): 1 where two sets share a member."""
    names = {name: j for j, name in enumerate(sorted(set().union(*sets)))}
    rows = [i for i, members in enumerate(sets) for _ in members]
    columns = [names[name] for members in sets for name in sorted(members)]
    member = sp.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, columns)), shape=(len(sets), max(len(names), 1))
    )
    shared = (member @ member.T).tocsr()
    shared.data[:] = 1.0
    return shared
