"""Simulated people with rare diseases, drawn from annotation frequencies.

What belongs here: the draw of one case (age, sex, findings) and of a cohort. What does not: synthetic cases
learned from published ones (``medassets.learners.rare``). Every row carries ``origin = simulated``.

Method, as SHEPHERD (Alsentzer et al. 2025) and PhEval (Bridges et al. 2025) do it: each annotated term is
present with its annotated frequency; of the present terms some go unrecorded, some are recorded as a parent
term; unrelated findings are added in proportion. What was looked for and is recorded as excluded does not
depend on the disease: if it did, a finding that a person does not have would speak for the diseases that list
it. A draw depends on the seed, the disease and the number of the case alone, so more diseases change no case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.cohorts.rare_cases import packets_to_tables
from medassets.cohorts.rules import LEAST_AGE, SEX_BRANCHES, sex_limited_diseases
from medassets.cohorts.tables import TABLES, conform
from medassets.ingest.packets import Finding, Packet
from medassets.ingest.time_element import MAX_AGE_YEARS, ONSET_TERMS, YEAR
from medassets.knowledge.annotations import UNSTATED_FREQUENCY
from medassets.knowledge.ontology import ONSET, Ontology
from medassets.settings_sections import SimulationSettings

ORIGIN = "simulated"
#: Mean number of findings that were looked for (Poisson); those that are not there are excluded.
MEAN_LOOKED_FOR = 5.0
#: Fewest distinct phenotype terms of a disease that cases are simulated for.
LEAST_TERMS = 5
#: Mean years from onset to the last encounter (exponential); published cases lie in that range.
MEAN_YEARS_OBSERVED = 8.0
_X_LINKED_RECESSIVE = "HP:0001419"
_MALE_SHARE_X_LINKED = 0.95


@dataclass(frozen=True)
class SimulatedCases:
    """``synthetic/simulated_rare_cases`` and ``synthetic/simulated_case_phenotypes``."""

    cases: pa.Table
    phenotypes: pa.Table


@dataclass(frozen=True)
class _Disease:
    """What the annotations say of one disease, as aligned arrays."""

    disease_id: str
    name: str
    terms: np.ndarray  # (n,) term indices, sorted
    frequency: np.ndarray  # (n,) share of patients
    onset: tuple[float, ...]  # first days of the annotated ages of onset; empty where none is
    male_share: float


def simulate_rare_cases(
    annotations: pa.Table,
    ontology: Ontology,
    settings: SimulationSettings,
    seed: int,
    disease_ids: Sequence[str] | None = None,
) -> SimulatedCases:
    """Simulate ``rare_min_cases`` to ``rare_max_cases`` cases for each disease.

    Args:
        annotations: table of ``medassets.knowledge.annotations.read_annotations``.
        ontology: ontology of the annotations.
        settings: numbers of diseases and cases; shares of imprecise, omitted and unrelated terms.
        seed: seed of every draw.
        disease_ids: diseases to simulate; None takes ``rare_diseases`` OMIM diseases with at least
            ``LEAST_TERMS`` annotated terms, chosen by a seeded hash of their id.

    Returns:
        Both tables, conforming to their declarations. Case ids are ``SIM_<disease>_<number>``; each case has
        a publication id of its own, ``SIM:<disease>:<number>``, so that splits by publication part cases
        singly.

    Raises:
        ValueError: a disease asked for has no phenotype annotation.
    """
    phenotypes = annotations.filter(pc.equal(annotations.column("aspect"), "P"))
    if disease_ids is None:
        disease_ids = _choose(phenotypes, settings.rare_diseases, seed)
    diseases = _diseases(phenotypes, annotations, ontology, disease_ids)
    draw = _Draw(ontology, settings, _pool_of_findings(phenotypes, ontology))
    packets: list[Packet] = []
    for disease in diseases:
        random = np.random.default_rng([seed, _number(disease.disease_id)])
        n = int(random.integers(settings.rare_min_cases, settings.rare_max_cases + 1))
        packets += [draw.case(disease, k, np.random.default_rng([seed, _number(disease.disease_id), k]))
                    for k in range(1, n + 1)]  # fmt: skip
    cases, findings = packets_to_tables(packets, ontology, origin=ORIGIN)
    return SimulatedCases(
        conform(cases, TABLES["synthetic/simulated_rare_cases"]),
        conform(findings, TABLES["synthetic/simulated_case_phenotypes"]),
    )


class _Draw:
    """Draws cases; holds what all draws share."""

    def __init__(
        self, ontology: Ontology, settings: SimulationSettings, pool: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self._ontology = ontology
        self._settings = settings
        self._pool, self._weights = pool
        self._cumulative = np.cumsum(self._weights)
        # Terms so general that a record would not name them: the root and the organ systems.
        self._too_general = {*ontology.organ_system_roots, *np.flatnonzero(~ontology.is_phenotype).tolist()}
        self._too_general |= {t for root in ontology.organ_system_roots for t in ontology.parents[root]}
        self._sex_only = {
            sex: np.logical_or.reduce(
                [np.zeros(len(ontology), bool)]
                + [ontology.under(b) for b, s in SEX_BRANCHES.items() if s == sex and b in ontology.index]
            )
            for sex in ("M", "F")
        }
        self._least_age = np.zeros(len(ontology))
        for branch, years in LEAST_AGE.items():
            if branch in ontology.index:
                self._least_age = np.maximum(self._least_age, ontology.under(branch) * years * YEAR)

    def case(self, disease: _Disease, number: int, random: np.random.Generator) -> Packet:
        """Draw one case."""
        sex = "M" if random.random() < disease.male_share else "F"
        onset, age = self._ages(disease, random)
        fits = self._fits(disease.terms, sex, age)
        present = fits & (random.random(len(disease.terms)) < disease.frequency)
        if not present.any():
            likely = np.where(fits, disease.frequency, -1.0)
            present[int(np.argmax(likely))] = True
        recorded = present & (random.random(len(present)) >= self._settings.omission_rate)
        if not recorded.any():
            recorded[int(random.choice(np.flatnonzero(present)))] = True
        observed = [self._recorded_as(int(t), random) for t in disease.terms[recorded]]
        # Findings that have nothing to do with the disease.
        unrelated = int(random.binomial(len(observed), self._settings.unrelated_rate))
        observed += self._common_findings(unrelated, sex, age, random)
        observed = self._ontology.most_specific(observed)
        # What the person has is not excluded, recorded or not, nor what stands above it in the ontology.
        has = self._ontology.implied([*observed, *disease.terms[present].tolist()])
        looked_for = self._common_findings(int(random.poisson(MEAN_LOOKED_FOR)), sex, age, random)
        excluded = sorted(set(looked_for) - set(has))
        ids = self._ontology.terms
        # The disease begins with some finding; which one is not known, so the first carries the onset.
        findings = [Finding(ids[t], ids[t], False, onset if i == 0 else None) for i, t in enumerate(observed)]
        findings += [Finding(ids[t], ids[t], True, None) for t in excluded]
        return Packet(
            case_id=f"SIM_{disease.disease_id.replace(':', '_')}_{number}",
            cohort=disease.disease_id,
            source_file="simulated from disease annotations",
            subject_id=str(number),
            sex=sex,
            age_days=age,
            disease_id=disease.disease_id,
            disease_label=disease.name,
            pmids=[f"SIM:{disease.disease_id}:{number}"],
            hpo_version=self._ontology.version,
            findings=findings,
        )

    @staticmethod
    def _ages(disease: _Disease, random: np.random.Generator) -> tuple[int | None, int]:
        """Return onset (None where the annotations state none) and age at last encounter, in days."""
        onset = float(random.choice(disease.onset)) if disease.onset else None
        years = random.exponential(MEAN_YEARS_OBSERVED)
        age = min((onset or 0.0) + years * YEAR, (MAX_AGE_YEARS - 30) * YEAR)
        return None if onset is None else int(onset), int(age)

    def _fits(self, terms: np.ndarray, sex: str, age: int) -> np.ndarray:
        """Return which terms a person of this sex and age can have."""
        other = "F" if sex == "M" else "M"
        wrong_sex = self._sex_only[other][terms] & ~self._sex_only[sex][terms]
        return ~wrong_sex & (self._least_age[terms] <= age)

    def _recorded_as(self, term: int, random: np.random.Generator) -> int:
        """Return the term, or with the imprecision rate one of its parents that still says something."""
        if random.random() >= self._settings.imprecision_rate:
            return term
        parents = [p for p in self._ontology.parents[term] if p not in self._too_general]
        return int(random.choice(parents)) if parents else term

    def _common_findings(self, number: int, sex: str, age: int, random: np.random.Generator) -> list[int]:
        """Draw findings of any disease, common ones more often; fewer where some do not fit the person."""
        drawn = self._pool[
            np.searchsorted(self._cumulative, random.random(number) * self._cumulative[-1], side="right")
        ]
        return [int(t) for t in drawn[self._fits(drawn, sex, age)]]


def _choose(phenotypes: pa.Table, n: int, seed: int) -> list[str]:
    """Return ``n`` OMIM diseases with at least ``LEAST_TERMS`` terms, chosen by a seeded hash, sorted."""
    positive = phenotypes.filter(pc.is_null(phenotypes.column("qualifier")))
    counts = positive.group_by("disease_id").aggregate([("hpo_id", "count_distinct")])
    counts = counts.filter(pc.greater_equal(counts.column("hpo_id_count_distinct"), LEAST_TERMS))
    enough = [disease for disease in counts.column("disease_id").to_pylist() if disease.startswith("OMIM:")]
    return sorted(sorted(enough, key=lambda disease: _number(f"{seed}|{disease}"))[:n])


def _diseases(
    phenotypes: pa.Table, annotations: pa.Table, ontology: Ontology, disease_ids: Sequence[str]
) -> list[_Disease]:
    """Gather what the annotations say of each disease, in the given order."""
    wanted = pa.array(list(disease_ids), type=pa.string())
    rows = phenotypes.filter(pc.is_in(phenotypes.column("disease_id"), wanted))
    stated: dict[str, dict[int, list[float]]] = {}
    names: dict[str, str] = {}
    columns = (rows.column(c).to_pylist() for c in ("disease_id", "name", "hpo_id", "frequency"))
    for disease, name, hpo_id, frequency in zip(*columns, strict=True):
        share = UNSTATED_FREQUENCY if frequency is None else frequency
        stated.setdefault(disease, {}).setdefault(ontology.index[hpo_id], []).append(share)
        names.setdefault(disease, name or disease)
    others = annotations.filter(pc.is_in(annotations.column("disease_id"), wanted))
    onsets = _onsets(others, ontology)
    limited = sex_limited_diseases(others)
    x_linked = set(
        others.filter(pc.equal(others.column("hpo_id"), _X_LINKED_RECESSIVE)).column("disease_id").to_pylist()
    )
    diseases = []
    for disease in disease_ids:
        if disease not in stated:
            raise ValueError(f"{disease} has no phenotype annotation to simulate cases from")
        terms = sorted(t for t in stated[disease] if ontology.is_phenotype[t])
        male = {"M": 1.0, "F": 0.0}.get(
            limited.get(disease, ""), _MALE_SHARE_X_LINKED if disease in x_linked else 0.5
        )
        frequency = np.array([np.mean(stated[disease][t]) for t in terms])
        diseases.append(
            _Disease(
                disease, names[disease], np.array(terms, np.int64), frequency, onsets.get(disease, ()), male
            )
        )
    return diseases


def _onsets(rows: pa.Table, ontology: Ontology) -> dict[str, tuple[float, ...]]:
    """Return the annotated ages of onset of each disease, in days, sorted."""
    is_onset = ontology.under(ONSET) if ONSET in ontology.index else np.zeros(len(ontology), bool)
    found: dict[str, set[float]] = {}
    for disease, hpo_id in zip(
        rows.column("disease_id").to_pylist(), rows.column("hpo_id").to_pylist(), strict=True
    ):
        if is_onset[ontology.index[hpo_id]] and hpo_id in ONSET_TERMS:
            found.setdefault(disease, set()).add(ONSET_TERMS[hpo_id])
    return {disease: tuple(sorted(days)) for disease, days in found.items()}


def _pool_of_findings(phenotypes: pa.Table, ontology: Ontology) -> tuple[np.ndarray, np.ndarray]:
    """Return all annotated phenotype terms and how many diseases' rows name each."""
    counted = phenotypes.column("hpo_id").value_counts()
    index = np.array([ontology.index[t] for t in counted.field("values").to_pylist()], dtype=np.int64)
    weights = counted.field("counts").to_numpy().astype(np.float64)
    order = np.argsort(index)
    order = order[ontology.is_phenotype[index[order]]]
    return index[order], weights[order]


def _number(text: str) -> int:
    """Return 63 bits that depend on the text alone, as a seed."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
