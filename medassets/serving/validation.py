"""External validation: the latest bundle on files that nobody trained on; the returned JSON is a contract.

What belongs here: asking the bundle, and the figures. What does not: reading patients' files (``ingest``),
how figures are computed (``evaluation.metrics``, ``evaluation.inquiry``) and evaluation on a split
(``evaluation``).

``clean`` follows the argument that published benchmarks measure the annotation of the very case: annotation
rows and known cases that cite a publication of the validated cases are left out first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from medassets.cohorts.rare_cases import read_rare_cases
from medassets.cohorts.simulate_common import mask
from medassets.cohorts.splits import publication_groups
from medassets.evaluation.common import conformal_report
from medassets.evaluation.metrics import classification_metrics, mean_ci, rank_metrics, ranks_of
from medassets.evaluation.rare import known_case_groups, rank_cases
from medassets.features.cases import CaseSet
from medassets.features.pooling import CommonPrediction
from medassets.ingest.quarantine import QuarantineRow, reasons
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.serving.bundle import load_bundle
from medassets.serving.overlap import SEEN, read_seen, shared_cases, shared_patients
from medassets.serving.predictor import COMMON, INQUIRY, RARE

#: Nominal coverage of the conformal sets.
COVERAGE = 0.95
#: Shares of unknown and of wrong answers that ``validate common`` reports.
NOISE = {
    "unknown_20": (0.2, 0.0),
    "unknown_50": (0.5, 0.0),
    "wrong_5": (0.0, 0.05),
    "wrong_10": (0.0, 0.1),
    "unknown_20_wrong_5": (0.2, 0.05),
}
_SEED = 20260101


class RareScorer(Protocol):
    """What validation asks of the rare-disease ranker."""

    ontology: Ontology
    shots: np.ndarray
    annotated: np.ndarray

    @property
    def candidates(self) -> Sequence[str]:
        """Canonical ids, in the order of the scores."""

    def canonical(self, disease_id: str) -> str:
        """Id under which a disease is a candidate."""

    def score(self, cases: CaseSet) -> np.ndarray:
        """(n_cases, n_candidates), higher is better."""

    def without_publications(self, pmids: Collection[str]) -> RareScorer:
        """The same ranker without rows and cases that cite one of these."""


class CommonScorer(Protocol):
    """What validation asks of the common-disease ensemble."""

    @property
    def conditions(self) -> Sequence[str]:
        """Names, in the order of the probabilities."""

    def predict(self, table: pa.Table) -> Mapping[str, np.ndarray]:
        """``probabilities`` and ``differential`` (n, conditions), ``sets`` bool (n, conditions)."""


def validate_rare(bundle_dir: Path, path: Path, *, clean: bool = False) -> dict[str, Any]:
    """Rank the diagnosis of each published case in a zip or folder of phenopackets.

    Args:
        bundle_dir: the bundle to validate.
        path: phenopackets.
        clean: leave out what cites a publication of these cases.

    Raises:
        BundleError: the bundle is not sound, or ranks no rare diseases.
        IngestError: nothing can be read.
    """
    from medassets.serving.rare import RarePredictor

    bundle = load_bundle(bundle_dir)
    predictor = RarePredictor.load(bundle.part(RARE))
    read = read_rare_cases(path, predictor.ontology)
    cases = CaseSet.from_tables(read.cases, read.phenotypes, predictor.ontology)
    overlap = shared_cases(predictor.model.cases, cases)
    if not clean:
        # The head learned for annotations that may cite the very case, where there is one; only cases of
        # these publications are left out of the memory, so that no case is compared with itself.
        predictor = predictor.as_published({p for pmids in cases.pmids for p in pmids})
    report = rare_report(predictor, cases, clean=clean)
    return {
        "task": RARE,
        "bundle": bundle.version,
        "clean": clean,
        "head": predictor.protocol,
        "overlap": overlap,
        **report,
        **_set_aside(read.rejected),
    }


def rare_report(predictor: RareScorer, cases: CaseSet, *, clean: bool = False) -> dict[str, Any]:
    """Figures by number of known cases.

    The groups of the contract are ranked among the candidates of the databases that the diagnoses come from
    (OMIM for the published phenopackets); ``full`` holds the same over all candidates. Intervals draw whole
    publication groups. Cases without an observed term have no rank, as in the baseline, and are counted in
    ``without_terms``.

    Args:
        predictor: the ranker.
        cases: the validated cases, with their diagnoses.
        clean: leave out what cites one of their publications.
    """
    usable = np.array(
        [len(o) > 0 and d is not None for o, d in zip(cases.observed, cases.disease_ids, strict=True)]
    )
    without_terms = int((~usable).sum())
    cases = cases[usable.astype(bool)]
    if clean:
        predictor = predictor.without_publications({p for pmids in cases.pmids for p in pmids})
    column = {disease: i for i, disease in enumerate(predictor.candidates)}
    diagnoses = [predictor.canonical(disease or "") for disease in cases.disease_ids]
    truth = np.array([column.get(disease, -1) for disease in diagnoses], dtype=np.int64)
    databases = sorted({disease.split(":")[0] for disease in diagnoses})
    own = np.array([c.split(":")[0] in databases for c in predictor.candidates], dtype=bool)
    ranks = rank_cases(predictor.score, cases, truth, own, np.ones(len(own), dtype=bool))
    groups = np.array(publication_groups(cases.case_ids, cases.pmids))
    masks = known_case_groups(truth, np.asarray(predictor.shots), np.asarray(predictor.annotated))
    masks["shots_0_all"] = ~(masks["shots_1_4"] | masks["shots_5_50"] | masks["shots_over_50"])
    among_own, among_all = (
        {group: rank_metrics(r[mask], groups=groups[mask]) for group, mask in masks.items()} for r in ranks
    )
    return {
        "candidates": int(own.sum()),
        "databases": databases,
        "groups": among_own,
        "full": {"candidates": len(own), "groups": among_all},
        "without_terms": without_terms,
        "not_candidates": int((truth < 0).sum()),
    }


def validate_common(
    bundle_dir: Path, patients: pa.Table, rejected: Sequence[QuarantineRow] = ()
) -> dict[str, Any]:
    """Ask for the condition of each patient.

    Args:
        bundle_dir: the bundle to validate.
        patients: rows of ``clinical/common_patients``, as ``ingest.ddxplus`` reads them.
        rejected: rows that could not be read, for the report.

    Raises:
        BundleError: the bundle is not sound, or has no common-disease model.
    """
    from medassets.serving.common import CommonPredictor

    bundle = load_bundle(bundle_dir)
    predictor = CommonPredictor.load(bundle.part(COMMON))
    report = common_report(predictor, patients, CommonKnowledge.bundled())
    if INQUIRY in bundle.manifest.parts:
        from medassets.evaluation.inquiry import inquiry_metrics
        from medassets.serving.inquiry import Inquiry

        report["inquiry"] = inquiry_metrics(Inquiry.load(bundle.part(INQUIRY)).engine, patients)
    # Bundles of before fingerprints cannot tell: null, not zero.
    known = read_seen(bundle.part(SEEN)) if SEEN in bundle.manifest.parts else None
    overlap = None if known is None else shared_patients(known, patients)
    return {
        "task": COMMON,
        "bundle": bundle.version,
        "overlap": overlap,
        **report,
        **_set_aside(rejected),
    }


def common_report(predictor: CommonScorer, patients: pa.Table, knowledge: CommonKnowledge) -> dict[str, Any]:
    """Figures with complete evidence, with hidden and falsified answers, and of the conformal sets.

    Args:
        predictor: the ensemble.
        patients: rows of ``clinical/common_patients``, with conditions and, where known, differentials.
        knowledge: what the answers mean, for hiding and falsifying them.
    """
    conditions = list(predictor.conditions)
    column = {name: i for i, name in enumerate(conditions)}
    truth = np.array([column[name] for name in patients.column("condition").to_pylist()], dtype=np.int64)
    predicted = predictor.predict(patients)
    report = classification_metrics(
        predicted["probabilities"],
        truth,
        predicted_differential=predicted["differential"],
        reference_differential=_differentials(patients, column),
    )
    sets = predicted.get("sets")
    report["inquiry"] = None
    report["noise"] = _noise(predictor.predict, patients, truth, knowledge)
    report["conformal"] = None if sets is None else _conformal(predicted, truth, patients)
    return report


def _noise(
    predict: Callable[[pa.Table], Mapping[str, np.ndarray]],
    patients: pa.Table,
    truth: np.ndarray,
    knowledge: CommonKnowledge,
) -> dict[str, Any]:
    found = {}
    for name, (unknown, wrong) in NOISE.items():
        noisy = mask(patients, knowledge, seed=_SEED, unknown_rate=unknown, wrong_rate=wrong)
        hit = ranks_of(predict(noisy)["probabilities"], truth) <= 1
        mean, limits = mean_ci(hit[:, None])
        found[name] = {
            "top1": float(mean[0]),
            "ci95": limits[0].tolist(),
            "unknown_rate": unknown,
            "wrong_rate": wrong,
        }
    return found


def _conformal(predicted: Mapping[str, np.ndarray], truth: np.ndarray, patients: pa.Table) -> dict[str, Any]:
    """Coverage and size of the sets, overall and by sex and age group; shown sets always keep the leader."""
    made = CommonPrediction(
        probabilities=predicted["probabilities"],
        differential=predicted["differential"],
        sets=np.asarray(predicted["sets"], dtype=bool),
        shown=np.asarray(predicted.get("shown_sets", predicted["sets"]), dtype=bool),
        models={},
    )
    return conformal_report(made, truth, patients, coverage=COVERAGE)


def _differentials(patients: pa.Table, column: Mapping[str, int]) -> np.ndarray:
    """(n, conditions) mass of the reference differentials, zero where a patient has none."""
    mass = np.zeros((patients.num_rows, len(column)))
    for row, differential in enumerate(patients.column("differential").to_pylist()):
        for entry in differential or []:
            mass[row, column[entry["condition"]]] = entry["probability"]
    return mass


def _set_aside(rejected: Sequence[QuarantineRow]) -> dict[str, Any]:
    """How many rows could not be used, by reason: nothing is dropped in silence."""
    return {"quarantined": {"n": len(rejected), "reasons": dict(reasons(rejected))}}
