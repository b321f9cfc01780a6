"""Open-set test of the rare-disease ranker: does it notice that a disease is unknown to it?

What belongs here: holding diseases out whole, the ROC of "none that I know", how often known diseases are
refused, and textbook cases, on which a ranker should never abstain. What does not: fitting the threshold
(``learners.rare.calibration``) and the page (``report_rare``).

Textbook cases are the cardinal findings of well-known diseases, as any textbook lists them. They are no
patients and enter no figure of accuracy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.figures import Finding
from medassets.evaluation.metrics import bootstrap_ci, mean_ci
from medassets.features.cases import CaseSet
from medassets.features.rare_model import RareModel
from medassets.knowledge.ontology import Ontology

#: Shares of known cases refused, at which the report says how many unknown ones are noticed.
OPERATING_POINTS = (0.01, 0.02, 0.05, 0.1, 0.2)
#: Share of the test cases' diseases that the report's test holds out.
HELD_OUT = 0.5
#: Share of textbook cases that are answered with their disease in the first three, at least.
FEWEST_TEXTBOOK = 0.6
#: Disease to its cardinal findings.
TEXTBOOK: dict[str, tuple[str, ...]] = {
    "OMIM:154700": ("Ectopia lentis", "Aortic root aneurysm", "Arachnodactyly", "Tall stature"),
    "OMIM:143100": ("Chorea", "Dementia", "Depression", "Personality changes"),
    "OMIM:219700": (
        "Bronchiectasis", "Exocrine pancreatic insufficiency", "Elevated sweat chloride", "Meconium ileus",
    ),
    "OMIM:162200": ("Cafe-au-lait spot", "Neurofibroma", "Lisch nodules", "Axillary freckling"),
    "OMIM:277900": (
        "Kayser-Fleischer ring", "Decreased circulating ceruloplasmin concentration", "Cirrhosis", "Dystonia",
    ),
    "OMIM:100800": (
        "Rhizomelia", "Frontal bossing", "Trident hand", "Macrocephaly",
        "Disproportionate short-limb short stature",
    ),
    "OMIM:310200": (
        "Calf muscle pseudohypertrophy", "Gowers sign", "Proximal muscle weakness",
        "Highly elevated creatine kinase",
    ),
    "OMIM:191100": (
        "Angiofibromas", "Hypomelanotic macule", "Cortical tubers", "Renal angiomyolipoma", "Seizure",
    ),
    "OMIM:261600": ("Hyperphenylalaninemia", "Intellectual disability", "Fair hair", "Eczematoid dermatitis"),
    "OMIM:301500": (
        "Angiokeratoma corporis diffusum", "Acroparesthesia", "Cornea verticillata", "Proteinuria",
        "Hypohidrosis",
    ),
    "OMIM:166200": (
        "Blue sclerae", "Recurrent fractures", "Hearing impairment", "Dentinogenesis imperfecta",
    ),
    "OMIM:229300": ("Ataxia", "Areflexia", "Hypertrophic cardiomyopathy", "Pes cavus", "Dysarthria"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class OpenSet:
    """What the ranker says of cases of known and of unknown diseases.

    Attributes:
        unknown: float64 (n,) probability of "none that I know".
        known: bool (n,) whether a case or an annotation row of the disease was left.
        threshold: probability above which the ranker abstains.
        groups: publication group of each case.
        origin: origins of the cases.
    """

    unknown: np.ndarray
    known: np.ndarray
    threshold: float
    groups: np.ndarray
    origin: str

    def auroc(self, weight: np.ndarray | None = None) -> float:
        """Return the area under the ROC curve, cases weighted; nan where only one kind has weight."""
        w = np.ones(len(self.known)) if weight is None else weight
        order = np.argsort(self.unknown, kind="stable")
        values, known, w = self.unknown[order], self.known[order], w[order]
        # Ties count one half: the weight of known cases strictly below, and half of that beside.
        start = np.searchsorted(values, values, side="left")
        end = np.searchsorted(values, values, side="right")
        below = np.append(0.0, np.cumsum(w * known))
        pairs = (w * ~known) @ (below[start] + below[end]) / 2
        total = (w * known).sum() * (w * ~known).sum()
        return float(pairs / total) if total else float("nan")

    def rows(self, seed: int = 0) -> Iterator[dict[str, Any]]:
        """Yield figures with 95 % intervals over publication groups, in the columns of the rare report."""
        refused = self.unknown > self.threshold
        low, high = bootstrap_ci(self.auroc, len(self.known), groups=self.groups, seed=seed)
        yield self._row("held out whole", "auroc", self.auroc(), low, high, len(self.known))
        for metric, chosen in (("false_abstention", self.known), ("noticed", ~self.known)):
            values = refused[chosen].astype(float)[:, None]
            mean, interval = mean_ci(values, groups=self.groups[chosen], seed=seed)
            low, high = interval[0].tolist()
            yield self._row("held out whole", metric, float(mean[0]), low, high, int(chosen.sum()))
        for share in OPERATING_POINTS:
            bound = np.quantile(self.unknown[self.known], 1 - share)
            values = (self.unknown[~self.known] > bound).astype(float)[:, None]
            mean, interval = mean_ci(values, groups=self.groups[~self.known], seed=seed)
            low, high = interval[0].tolist()
            group = f"{100 * share:.0f} % of known refused"
            yield self._row(group, "noticed", float(mean[0]), low, high, len(values))

    def _row(self, group: str, metric: str, value: float, low: float, high: float, n: int) -> dict[str, Any]:
        return {
            "protocol": "open_set", "method": "ranker", "candidates": "all", "group": group, "metric": metric,
            "value": value, "low": low, "high": high, "n": n, "origin": self.origin,
        }  # fmt: skip


def open_set(model: RareModel, test: CaseSet, held_out: Collection[str], protocol: str = "clean") -> OpenSet:
    """Hold diseases out whole - cases and annotation rows - and ask for the test cases.

    Args:
        model: the ranker. Its memory is renewed, its heads are not: they may have learned the general scale
            from episodes of these diseases.
        test: the test cases.
        held_out: canonical ids of the diseases.
        protocol: the head that is asked.

    Raises:
        ValueError: there is no case of a known or none of an unknown disease.
    """
    left_out = np.array([c in held_out for c in model.knowledge.candidates], dtype=bool)
    labels = model.knowledge.labels(model.cases)
    kept_cases = model.cases[(labels < 0) | ~left_out[labels]]
    renewed = model.with_memory(model.knowledge.without_diseases(left_out), kept_cases)
    truth = renewed.knowledge.labels(test)
    informed = (renewed.memory.shots > 0) | renewed.knowledge.has_annotation
    known = (truth >= 0) & informed[truth]
    if known.all() or not known.any():
        raise ValueError("the open-set test needs cases of known and of unknown diseases")
    unknown = np.array([r.unknown for r in renewed.rankings(test, protocol)])
    threshold = float(model.heads[protocol].calibration.threshold[0])
    groups = np.array(publication_groups(test.case_ids, test.pmids))
    return OpenSet(unknown, known, threshold, groups, "+".join(sorted(set(test.origins))))


def held_out_diseases(model: RareModel, test: CaseSet, seed: int, share: float = HELD_OUT) -> set[str]:
    """Draw a share of the diseases of the test cases: their canonical ids."""
    columns = np.unique(model.knowledge.labels(test))
    columns = columns[columns >= 0]
    drawn = np.random.default_rng(seed).permutation(columns)[: round(share * len(columns))]
    return {model.knowledge.candidates[int(column)] for column in drawn}


def textbook_ranks(model: RareModel, protocol: str = "clean") -> dict[str, tuple[int, bool]]:
    """Rank each textbook case: by name of the disease its rank, 0 off the list, and whether it is refused."""
    columns, threshold = model.knowledge.index, float(model.heads[protocol].calibration.threshold[0])
    found = {}
    for disease, findings in textbook_cases(model.knowledge.ontology):
        if disease not in columns:
            continue
        case = CaseSet.single(model.knowledge.ontology, findings)
        ranking = next(model.rankings(case, protocol))
        place = np.flatnonzero(ranking.candidates == columns[disease])
        name = model.knowledge.names[columns[disease]]
        found[name] = (int(place[0]) + 1 if len(place) else 0, ranking.unknown > threshold)
    return found


def check_textbook(ranks: Mapping[str, tuple[int, bool]]) -> Finding:
    """Pass where enough textbook cases are answered, not refused, with their disease in the first three."""
    answered = sum(1 <= rank <= 3 and not refused for rank, refused in ranks.values())
    refused = [name for name, (_, abstains) in ranks.items() if abstains]
    below = [f"{name} {rank or 'off the list'}" for name, (rank, _) in ranks.items() if not 1 <= rank <= 3]
    message = (
        f"{answered} of {len(ranks)} textbook cases are answered with their disease in the first three; "
        f"below: {', '.join(below) or 'none'}; refused: {', '.join(refused) or 'none'}"
    )
    return Finding(answered >= FEWEST_TEXTBOOK * len(ranks), message)


def textbook_cases(ontology: Ontology) -> Iterator[tuple[str, list[str]]]:
    """Yield each textbook case whose findings the ontology names: disease and ids of its findings."""
    place = {name: i for i, name in enumerate(ontology.names)}
    for disease, findings in TEXTBOOK.items():
        if all(name in place for name in findings):
            yield disease, [ontology.terms[place[name]] for name in findings]
