"""Medical rules that a table must not break, as data and as functions from tables to tables of violations.

What belongs here: what cannot be true of a patient (age, sex, findings that contradict each other). What does
not: the shape of a table (``schema``) and what a check does with a violation
(``medassets.orchestration.checks``).

Every rule returns rows of ``clinical/rule_violations``. ``Rule.tolerated`` is the share of rows that may
break the rule before what follows would be wrong: a published series has its slips of the pen, an impossible
age is never one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.cohorts.tables import TABLES, conform
from medassets.ingest.time_element import MAX_AGE_YEARS, YEAR
from medassets.knowledge.ontology import Ontology

#: HPO branches of which an observed term implies one sex; terms under branches of both imply none.
SEX_BRANCHES = {"HP:0010460": "F", "HP:0010461": "M", "HP:0000140": "F"}
#: HPO inheritance terms of diseases that show in one sex only.
SEX_LIMITED = {"HP:0001475": "M", "HP:0034344": "F"}
#: Least age in years at which an observed term, or one under it, can be told.
LEAST_AGE = {
    "HP:0000141": 8.0,  # Amenorrhea
    "HP:0000789": 10.0,  # Infertility
    "HP:0008209": 8.0,  # Premature ovarian insufficiency
    "HP:0000750": 0.5,  # Delayed speech and language development
    "HP:0031936": 1.0,  # Delayed ability to walk
}


@dataclass(frozen=True)
class Rule:
    """A rule that rows may break.

    Attributes:
        name: name of the rule, as it stands in the violations.
        description: what must hold.
        tolerated: share of rows (0 to 1) that may break it before the table as a whole is unfit.
    """

    name: str
    description: str
    tolerated: float


#: Row, rule, field, value and reason.
Violation = tuple[str, Rule, str, str | None, str]

AGE_POSSIBLE = Rule("age_possible", f"the age is 0 to {MAX_AGE_YEARS} years", 0.0)
TERM_RESOLVABLE = Rule("term_resolvable", "every term is a current term of the ontology", 0.0)
ONE_STATE = Rule("observed_or_excluded", "no term is both observed and excluded", 0.0)
NO_EXCLUDED_ANCESTOR = Rule("no_excluded_ancestor", "no observed term has an ancestor that is excluded", 0.01)
TERM_FITS_SEX = Rule("term_fits_sex", "no observed term belongs to the other sex alone", 0.01)
DISEASE_FITS_SEX = Rule("disease_fits_sex", "no disease limited to one sex is diagnosed in the other", 0.01)
ONSET_BEFORE_AGE = Rule("onset_before_age", "no finding begins after the last encounter", 0.05)
TERM_FITS_AGE = Rule("term_fits_age", "no observed term that cannot be told at this age", 0.05)

RARE_RULES = (
    AGE_POSSIBLE, TERM_RESOLVABLE, ONE_STATE, NO_EXCLUDED_ANCESTOR, TERM_FITS_SEX, DISEASE_FITS_SEX,
    ONSET_BEFORE_AGE, TERM_FITS_AGE,
)  # fmt: skip


def check_rare(
    cases: pa.Table,
    phenotypes: pa.Table,
    ontology: Ontology,
    limited_diseases: Mapping[str, str] | None = None,
) -> pa.Table:
    """Return every violation of ``RARE_RULES`` in rare cases and their findings.

    Args:
        cases: ``clinical/rare_cases`` or its simulated like.
        phenotypes: the findings of these cases.
        ontology: the ontology of the findings.
        limited_diseases: disease -> sex that it is limited to, from ``sex_limited_diseases``; None checks
            none.

    Returns:
        ``clinical/rule_violations``, ordered by rule and then as the rows stand.
    """
    findings = _Findings(cases, phenotypes, ontology)
    limits = limited_diseases or {}
    diseases = zip(*(cases.column(c).to_pylist() for c in ("case_id", "disease_id", "sex")), strict=True)
    rows = [
        *impossible_ages(cases, "case_id", "age_days", YEAR),
        *findings.unresolvable(),
        *findings.two_states(),
        *findings.excluded_ancestors(),
        *findings.wrong_sex(),
        *(
            (
                case_id,
                DISEASE_FITS_SEX,
                "disease_id",
                disease,
                f"limited to {limits[disease]}, diagnosed in {sex}",
            )
            for case_id, disease, sex in diseases
            if disease in limits and sex not in (limits[disease], "unknown")
        ),
        *findings.late_onset(),
        *findings.too_young(),
    ]
    return violations_table(rows)


def check_ages(table: pa.Table, key: str, column: str, units_per_year: float = 1.0) -> pa.Table:
    """Return the rows of any table whose age is outside 0 to 130 years; a missing age breaks nothing.

    Args:
        table: any table of people.
        key: column that names the row.
        column: column with the age.
        units_per_year: 1 where the age is in years, 365.25 where it is in days.
    """
    return violations_table(impossible_ages(table, key, column, units_per_year))


def sex_limited_diseases(annotations: pa.Table) -> dict[str, str]:
    """Return the diseases whose annotated inheritance is limited to one sex: disease -> ``M`` or ``F``."""
    rows = annotations.filter(pc.is_in(annotations.column("hpo_id"), pa.array(list(SEX_LIMITED))))
    rows = rows.filter(pc.is_null(rows.column("qualifier")))
    found: dict[str, set[str]] = {}
    for disease, term in zip(
        rows.column("disease_id").to_pylist(), rows.column("hpo_id").to_pylist(), strict=True
    ):
        found.setdefault(disease, set()).add(SEX_LIMITED[term])
    return {disease: next(iter(sexes)) for disease, sexes in found.items() if len(sexes) == 1}


def rows_breaking(violations: pa.Table, rule: Rule) -> int:
    """Return how many different rows break a rule."""
    chosen = violations.filter(pc.equal(violations.column("rule"), rule.name))
    return len(set(chosen.column("row_id").to_pylist()))


class _Findings:
    """Findings of cases as aligned arrays, with the rules over them."""

    def __init__(self, cases: pa.Table, phenotypes: pa.Table, ontology: Ontology) -> None:
        self._ontology = ontology
        self._case = phenotypes.column("case_id").to_pylist()
        self._hpo = phenotypes.column("hpo_id").to_pylist()
        self._term = np.array([ontology.index.get(hpo_id, -1) for hpo_id in self._hpo], dtype=np.int64)
        self._excluded = phenotypes.column("excluded").to_numpy(zero_copy_only=False).astype(bool)
        self._onset = phenotypes.column("onset_days").to_numpy(zero_copy_only=False).astype(np.float64)
        ids = cases.column("case_id").to_pylist()
        ages = cases.column("age_days").to_numpy(zero_copy_only=False).astype(np.float64)
        age_of, sex_of = (
            dict(zip(ids, ages, strict=True)),
            dict(zip(ids, cases.column("sex").to_pylist(), strict=True)),
        )
        self._age = np.array([age_of.get(case_id, np.nan) for case_id in self._case], dtype=np.float64)
        self._sex = np.array([sex_of.get(case_id, "unknown") for case_id in self._case], dtype=object)
        self._observed = ~self._excluded & (self._term >= 0)

    def _mark(self, rows: Iterable[int], rule: Rule, reason: Callable[[int], str]) -> list[Violation]:
        return [(self._case[i], rule, "hpo_id", self._hpo[i], reason(i)) for i in rows]

    def _name(self, term: int) -> str:
        return f"{self._ontology.terms[term]} {self._ontology.names[term]}"

    def unresolvable(self) -> list[Violation]:
        """Terms that the ontology does not hold, or holds as obsolete."""
        obsolete = np.append(self._ontology.obsolete, True)[self._term]
        release = self._ontology.version
        return self._mark(
            np.flatnonzero(obsolete), TERM_RESOLVABLE, lambda i: f"not a current term of HPO {release}"
        )

    def two_states(self) -> list[Violation]:
        """Terms that a case states both as observed and as excluded."""
        observed = {(self._case[i], self._hpo[i]) for i in np.flatnonzero(~self._excluded)}
        rows = [
            i for i in np.flatnonzero(self._excluded).tolist() if (self._case[i], self._hpo[i]) in observed
        ]
        return self._mark(rows, ONE_STATE, lambda i: "observed and excluded at once")

    def excluded_ancestors(self) -> list[Violation]:
        """Excluded terms that an observed term of the same case implies."""
        observed: dict[str, list[int]] = {}
        for i in np.flatnonzero(self._observed):
            observed.setdefault(self._case[i], []).append(int(self._term[i]))
        found: list[Violation] = []
        for i in np.flatnonzero(self._excluded & (self._term >= 0)):
            ancestor = int(self._term[i])
            implying = [
                t
                for t in observed.get(self._case[i], ())
                if t != ancestor and ancestor in self._ontology.ancestors(t)
            ]
            if implying:
                reason = f"excluded, but observed {self._name(implying[0])} implies it"
                found.append((self._case[i], NO_EXCLUDED_ANCESTOR, "hpo_id", self._hpo[i], reason))
        return found

    def wrong_sex(self) -> list[Violation]:
        """Observed terms that belong to the other sex alone."""
        female, male = (
            np.logical_or.reduce(
                [np.zeros(len(self._ontology), bool)]
                + [
                    self._ontology.under(b)
                    for b, s in SEX_BRANCHES.items()
                    if s == sex and b in self._ontology.index
                ]
            )
            for sex in ("F", "M")
        )
        other_of = {"F": "M", "M": "F"}
        found: list[Violation] = []
        for sex, only in (("F", female & ~male), ("M", male & ~female)):
            rows = np.flatnonzero(
                self._observed & np.append(only, False)[self._term] & (self._sex == other_of[sex])
            )
            found += self._mark(rows, TERM_FITS_SEX, self._sex_reason)
        return found

    def _sex_reason(self, i: int) -> str:
        return f"{self._name(int(self._term[i]))} in a person of sex {self._sex[i]}"

    def late_onset(self) -> list[Violation]:
        """Findings that begin after the age at last encounter."""
        rows = np.flatnonzero(self._onset > self._age)
        return self._mark(
            rows, ONSET_BEFORE_AGE,
            lambda i: f"onset at {self._onset[i]:.0f} days, last encounter at {self._age[i]:.0f} days",
        )  # fmt: skip

    def too_young(self) -> list[Violation]:
        """Observed terms that cannot be told at the age at last encounter."""
        least = np.zeros(len(self._ontology) + 1)
        for branch, years in LEAST_AGE.items():
            if branch in self._ontology.index:
                least[:-1] = np.maximum(least[:-1], self._ontology.under(branch) * years)
        required = least[self._term]
        rows = np.flatnonzero(self._observed & (required > 0) & (self._age < required * YEAR))
        return self._mark(
            rows, TERM_FITS_AGE,
            lambda i: f"{self._name(int(self._term[i]))} at {self._age[i] / YEAR:.2f} years, "
                      f"told from {required[i]:g} years",
        )  # fmt: skip


def impossible_ages(table: pa.Table, key: str, column: str, units_per_year: float) -> list[Violation]:
    """Return a violation for each row whose age is outside 0 to 130 years."""
    ages = table.column(column).to_numpy(zero_copy_only=False).astype(np.float64)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((ages < 0) | (ages > MAX_AGE_YEARS * units_per_year))
    names = table.column(key)
    return [
        (
            str(names[int(i)].as_py()),
            AGE_POSSIBLE,
            column,
            f"{ages[i]:g}",
            f"outside 0 to {MAX_AGE_YEARS} years",
        )
        for i in rows
    ]


def violations_table(rows: Iterable[Violation]) -> pa.Table:
    """Return violations as ``clinical/rule_violations``."""
    spec = TABLES["clinical/rule_violations"]
    plain = [(row_id, rule.name, field, value, reason) for row_id, rule, field, value, reason in rows]
    arrays = [pa.array([row[i] for row in plain], type=field.type) for i, field in enumerate(spec.schema)]
    return conform(pa.Table.from_arrays(arrays, names=spec.schema.names), spec)
