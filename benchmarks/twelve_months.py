"""Twelve months of a service, simulated: what monitoring and retraining notice, and what that is worth.

    python benchmarks/twelve_months.py --seeds 3 --plot twelve_months.png

Every week patients come (drawn from the reference table of common conditions; simulated, so the figures say
how the loop behaves, not how good the models are), half of them are confirmed two weeks later. The year has
seasons from the beginning, and three events: a new disease that no training patient had (week 12), a device
that starts lying (week 26) and a clinic with another population (week 38). The same year is played with the
loop and without it; a quiet year without seasons and events counts false alarms. Drift tests, decision,
held-out comparison and cool-down are those of ``medassets.monitoring`` and
``medassets.evaluation.promotion``; the model is the gradient boosting of ``medassets.learners.common`` with
few rounds, retrained on the first training rows and three of four confirmed patients.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.cohorts.simulate_common import simulate
from medassets.evaluation.metrics import mean_ci
from medassets.evaluation.promotion import not_worse, paired_difference
from medassets.evaluation.safety import exact_interval
from medassets.features.common import UNKNOWN, EvidenceSpace
from medassets.features.model_inputs import ModelInputs
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.boosting import BoostingModel
from medassets.learners.common.config import BoostingConfig, CommonConfig
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.preprocessing import RelevanceSelector
from medassets.monitoring import drift
from medassets.monitoring.decision import Evidence, Limits, decide
from medassets.monitoring.samples import MOST_TERMS, Sample, common_reference, most_frequent

WEEKS, PATIENTS, LABELLED, DELAY, WINDOW = 52, 200, 0.5, 2, 4
TRAINING = 5000
NEW_DISEASE, LYING, NEW_CLINIC = 12, 26, 38
EVENTS = {"new disease": NEW_DISEASE, "lying device": LYING, "new clinic": NEW_CLINIC}
#: Withheld from training; then a sixth of all patients have it.
EMERGING, EMERGED = "Chagas", 1 / 6
WINTER = ("Influenza", "Bronchitis", "URTI", "Pneumonia", "Acute otitis media", "Viral pharyngitis")
SUMMER = ("Allergic sinusitis", "Acute rhinosinusitis", "Anaphylaxis")
#: What the device reports: from its week on, yes and no by chance.
DEVICE = ("E_91", "E_66", "E_88")
#: Of the new clinic: its share of patients, and of answers that it does not give; children only.
CLINIC_SHARE, CLINIC_UNKNOWN = 0.4, 0.5
START = datetime(2026, 1, 5, tzinfo=UTC)
CONFIG = CommonConfig(threads=1, boosting=BoostingConfig(rounds=12, depth=4, learning_rate=0.3))


@dataclass
class World:
    """Who comes in a week."""

    seed: int
    seasons: bool = True
    events: bool = True
    knowledge: CommonKnowledge = field(default_factory=CommonKnowledge.bundled)

    def __post_init__(self) -> None:
        self.space = EvidenceSpace.from_knowledge(self.knowledge)
        self.emerging = self.knowledge.condition_index[EMERGING]

    def training(self) -> CommonPatients:
        """Patients of the time before, without the new disease."""
        rows = self._drawn(self._prevalence(week=26, emerged=False), 10_000 + self.seed, TRAINING)
        return rows.take(rows.labels != self.emerging)

    def week(self, number: int) -> tuple[CommonPatients, np.ndarray]:
        """Patients of a week and the site of each."""
        rng = np.random.default_rng([self.seed, number])
        emerged = self.events and number >= NEW_DISEASE
        rows = self._drawn(self._prevalence(number, emerged), 100 * self.seed + number, PATIENTS)
        matrix, sites = rows.matrix.copy(), np.full(len(rows), "first clinic", dtype=object)
        if self.events and number >= LYING:
            for code in DEVICE:
                matrix[:, self.space.codes.index(code)] = rng.random(len(rows)) < 0.5
        if self.events and number >= NEW_CLINIC:
            other = rng.random(len(rows)) < CLINIC_SHARE
            sites[other] = "new clinic"
            matrix[other, self.space.age] = rng.integers(0, 15, other.sum())
            hidden = other[:, None] & (rng.random((len(rows), len(self.space.codes))) < CLINIC_UNKNOWN)
            matrix[:, self.space.base][hidden] = UNKNOWN
        return rows.with_matrix(matrix), sites

    def _prevalence(self, week: int, emerged: bool) -> np.ndarray:
        prior = self.knowledge.prior.copy()
        prior[self.emerging] = 0
        if self.seasons:
            cold = np.cos(2 * np.pi * week / WEEKS)
            for names, direction in ((WINTER, 1), (SUMMER, -1)):
                for name in names:
                    if name in self.knowledge.condition_index:
                        prior[self.knowledge.condition_index[name]] *= np.exp(0.5 * direction * cold)
        prior /= prior.sum()
        if emerged:
            prior = prior * (1 - EMERGED)
            prior[self.emerging] = EMERGED
        return prior

    def _drawn(self, prior: np.ndarray, seed: int, n: int) -> CommonPatients:
        counts = np.rint(prior * 1_000_000).astype(int)
        conditions = tuple(
            replace(condition, patients=int(count))
            for condition, count in zip(self.knowledge.conditions, counts, strict=True)
        )
        table: pa.Table = simulate(
            replace(self.knowledge, conditions=conditions),
            seed=seed,
            total=n,
            missing_rate=0.05,
            noise_rate=0.01,
        )
        return CommonPatients.from_table(table, self.space, self.knowledge)

    def sample(self, rows: CommonPatients, sites: np.ndarray | None, p: np.ndarray) -> Sample:
        """The rows as drift compares them."""
        base = rows.matrix[:, self.space.base].astype(np.float32)
        base[base == UNKNOWN] = np.nan
        words = {e.code: e.label_en for e in self.knowledge.evidences}
        empty = common_reference(_no_patients(), self.space, words)
        ages = rows.matrix[:, self.space.age].astype(float)
        groups = {} if sites is None else {"site": sites}
        names = np.array(self.knowledge.condition_names, dtype=object)
        return replace(
            empty, values=base, age=ages, groups=groups, first=names[p.argmax(1)], probability=p.max(1)
        )


@dataclass
class Year:
    """What happened.

    Attributes:
        right: (weeks, patients) whether the first candidate was right.
        alarms: week to names of what drifted.
        retrained: week to reasons.
    """

    right: np.ndarray
    alarms: dict[int, list[str]] = field(default_factory=dict)
    retrained: dict[int, list[str]] = field(default_factory=dict)


def play(world: World, loop: bool) -> Year:
    """Play a year."""
    training = world.training()
    model = _fit(training, world)
    year = Year(np.zeros((WEEKS, PATIENTS)))
    seen: list[tuple[CommonPatients, np.ndarray, np.ndarray]] = []
    verdicts: list[dict[str, Any]] = []
    confirmed: list[CommonPatients] = []
    served_since, last = START, None
    for week in range(WEEKS):
        rows, sites = world.week(week)
        p = model.predict_proba(rows.matrix)
        year.right[week] = p.argmax(1) == rows.labels
        seen.append((rows, sites, p))
        if week >= DELAY:
            verdicts += _verdicts(world, week - DELAY, *seen[week - DELAY][::2])
            confirmed.append(seen[week - DELAY][0].take(_labelled(world, week - DELAY)))
        if week < WINDOW or not loop:
            continue
        found = _drifted(world, training, model, seen[-WINDOW:])
        if found:
            year.alarms[week] = found
        evidence = Evidence(
            now=START + timedelta(weeks=week + 1),
            verdicts=verdicts,
            drifted=[f"common {name}" for name in found],
            bundle_made=served_since,
            last_retrained=last,
        )
        decision = decide(evidence, Limits(every_days=0, cool_down_hours=24 * 28))
        if not decision.reasons:
            continue
        challenger, together = _retrained(world, confirmed)
        year.retrained[week] = [reason.trigger for reason in decision.reasons]
        last = evidence.now
        if _may_serve(model, challenger, confirmed):
            model, training, served_since = challenger, together, evidence.now
    return year


def _fit(rows: CommonPatients, world: World) -> BoostingModel:
    inputs: ModelInputs = RelevanceSelector(world.space, 5).fit(rows.matrix).inputs_
    return BoostingModel.fit(rows, inputs, len(world.knowledge.conditions), CONFIG)


def _retrained(world: World, confirmed: list[CommonPatients]) -> tuple[BoostingModel, CommonPatients]:
    """A model of the first training rows and three of four confirmed patients."""
    new = CommonPatients.concat(confirmed)
    rows = CommonPatients.concat([world.training(), new.take(np.arange(len(new)) % 4 != 0)])
    return _fit(rows, world), rows


def _may_serve(champion: BoostingModel, challenger: BoostingModel, confirmed: list[CommonPatients]) -> bool:
    """Whether the challenger is not worse on confirmed patients of late that neither learned from."""
    new = CommonPatients.concat(confirmed)
    held = new.take(np.arange(len(new)) % 4 == 0)
    held = held.take(np.arange(max(0, len(held) - 2 * PATIENTS), len(held)))
    old, better = (
        (model.predict_proba(held.matrix).argmax(1) == held.labels).astype(float)
        for model in (champion, challenger)
    )
    return not_worse(paired_difference(old, better)).passed


def _drifted(
    world: World, training: CommonPatients, model: BoostingModel, window: list[tuple[Any, Any, Any]]
) -> list[str]:
    """Names of what drifted in the last weeks, as the drift report has them."""
    rows = CommonPatients.concat([rows for rows, _, _ in window])
    p = np.concatenate([p for _, _, p in window])
    chosen = np.random.default_rng(world.seed).permutation(len(training))[:2000]
    before = training.take(chosen)
    reference = world.sample(before, None, model.predict_proba(before.matrix))
    current = world.sample(rows, np.concatenate([sites for _, sites, _ in window]), p)
    columns = most_frequent(reference, current, MOST_TERMS)
    found = drift.compare(reference.columns(columns), current.columns(columns))
    limits = drift.DriftLimits()
    return sorted({f"{item.kind} {item.feature}" for item in found if item.drifted(limits)})


def _labelled(world: World, week: int) -> np.ndarray:
    return np.random.default_rng([world.seed, week, 1]).random(PATIENTS) < LABELLED


def _verdicts(world: World, week: int, rows: CommonPatients, p: np.ndarray) -> list[dict[str, Any]]:
    names = world.knowledge.condition_names
    return [
        {
            "part": "common",
            "verdict": "confirmed",
            "diagnosis": names[rows.labels[i]],
            "first": names[int(p[i].argmax())],
            "rank": 1 if p[i].argmax() == rows.labels[i] else 2,
            "predicted_at": START + timedelta(weeks=week),
        }
        for i in np.flatnonzero(_labelled(world, week))
    ]


def _no_patients() -> pa.Table:
    from medassets.cohorts.tables_common import COMMON_PATIENTS

    return COMMON_PATIENTS.schema.empty_table()


def detection(year: Year) -> dict[str, str]:
    """Weeks from each event to the first alarm that was not there in the four weeks before."""
    found = {}
    for name, begin in EVENTS.items():
        end = min([other for other in EVENTS.values() if other > begin], default=WEEKS)
        before = {what for week in range(begin - 4, begin) for what in year.alarms.get(week, [])}
        new = [(w, sorted(set(year.alarms.get(w, [])) - before)) for w in range(begin, end)]
        first = next(((w, what) for w, what in new if what), None)
        if first is None:
            found[name] = "not noticed"
        else:
            found[name] = f"{first[0] - begin} weeks: {', '.join(first[1][:4])}"
    return found


def report(years: dict[str, list[Year]], quiet: list[Year]) -> None:
    """Print what was noticed and what it was worth."""
    periods = {
        "before any event": (0, NEW_DISEASE),
        "new disease": (NEW_DISEASE, LYING),
        "lying device": (LYING, NEW_CLINIC),
        "new clinic": (NEW_CLINIC, WEEKS),
    }
    print(f"{'top-1 by period':22}{'without the loop':>28}{'with the loop':>28}{'difference':>28}   n")
    for name, (begin, end) in periods.items():
        rows = {arm: np.concatenate([y.right[begin:end].ravel() for y in of]) for arm, of in years.items()}
        cells = []
        for arm in ("without", "with"):
            low, high = exact_interval(int(rows[arm].sum()), len(rows[arm]))
            cells.append(f"{rows[arm].mean():.3f} [{low:.3f}, {high:.3f}]")
        mean, interval = mean_ci((rows["with"] - rows["without"])[:, None])
        cells.append(f"{mean[0]:+.3f} [{interval[0, 0]:+.3f}, {interval[0, 1]:+.3f}]")
        print(f"{name:22}" + "".join(f"{cell:>28}" for cell in cells) + f"   {len(rows['with'])}")
    for number, year in enumerate(years["with"]):
        print(f"year {number}: retrained in weeks {year.retrained}")
        for name, what in detection(year).items():
            print(f"  {name} (week {EVENTS[name]}): {what}")
    judged = len(quiet) * (WEEKS - WINDOW)
    alarms = sum(len(year.alarms) for year in quiet)
    low, high = exact_interval(alarms, judged)
    retrained = sum(len(year.retrained) for year in quiet)
    print(f"false alarms in quiet years: {alarms} of {judged} weekly reports [{low:.3f}, {high:.3f}]")
    print(f"retrainings in quiet years: {retrained}")
    season = sum(week < NEW_DISEASE for year in years["with"] for week in year.alarms)
    reports = len(years["with"]) * (NEW_DISEASE - WINDOW)
    print(f"alarms by the season alone, before any event: {season} of {reports} weekly reports")


def plot(years: dict[str, list[Year]], path: Path) -> None:
    """Draw weekly accuracy of both arms, with the events and retrainings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for arm, colour in (("without", "#D55E00"), ("with", "#0072B2")):
        weekly = np.mean([year.right.mean(1) for year in years[arm]], axis=0)
        axes.plot(weekly, color=colour, label=f"{arm} the loop")
    for name, week in EVENTS.items():
        axes.axvline(week, color="grey", linewidth=0.8, linestyle="--")
        axes.text(week + 0.3, axes.get_ylim()[0], name, fontsize=8, va="bottom")
    axes.set_ylim(top=1.02)
    weeks = sorted({week for year in years["with"] for week in year.retrained})
    axes.plot(weeks, [1.01] * len(weeks), marker="v", color="#0072B2", markersize=5, linestyle="none")
    axes.axhline(0.85, color="black", linewidth=0.6)
    axes.set(
        xlabel="week",
        ylabel="top-1",
        title=f"simulated patients, {len(years['with'])} seeds; triangles: retrained",
    )
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    began = time.process_time()
    years: dict[str, list[Year]] = {"without": [], "with": []}
    quiet = []
    for seed in range(arguments.seeds):
        for arm in years:
            years[arm].append(play(World(seed), loop=arm == "with"))
        quiet.append(play(World(seed, seasons=False, events=False), loop=True))
    report(years, quiet)
    if arguments.plot:
        plot(years, arguments.plot)
    print(f"{time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
