"""A cohort of six conditions and an ensemble over it: small enough to train in seconds."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

from medassets.cohorts.simulate_common import simulate
from medassets.cohorts.splits import stratified_split
from medassets.cohorts.tables_common import COMMON_PATIENTS
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.base import BASE_NAMES, train_base
from medassets.learners.common.config import (
    BoostingConfig,
    CommonConfig,
    DifferentialConfig,
    ForestConfig,
    NetworkConfig,
    TuningConfig,
)
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.training import TrainingData, prepare

CONFIG = CommonConfig(
    seed=3,
    threads=1,
    folds=2,
    records_per_condition=40,
    simulated_per_condition=10,
    copies=1,
    boosting=BoostingConfig(rounds=6, depth=3),
    forest=ForestConfig(trees=8),
    network=NetworkConfig(width=8, hidden=8, epochs=2),
    differential=DifferentialConfig(rounds=8, mass_rounds=4, depth=3),
    tuning=TuningConfig(trials=3, timeout_s=60, startup_trials=1),
)


@lru_cache(maxsize=1)
def knowledge() -> CommonKnowledge:
    """Six conditions of the bundled table, two of them alike, with all evidences."""
    whole = CommonKnowledge.bundled()
    names = (
        "Acute rhinosinusitis",
        "Anemia",
        "Chronic rhinosinusitis",
        "GERD",
        "Influenza",
        "Unstable angina",
    )
    rows = [whole.condition_index[name] for name in names]
    return CommonKnowledge(tuple(whole.conditions[r] for r in rows), whole.evidences, whole.recorded[rows])


def records(per_condition: int = 40, seed: int = 5) -> pa.Table:
    """Patients that pass for a site's records: values given, a differential of two conditions."""
    table = simulate(knowledge(), seed=seed, per_condition=per_condition, draw_values=True)
    names = knowledge().condition_names
    differential = []
    for name in table.column("condition").to_pylist():
        other = names[(names.index(name) + 1) % len(names)]
        differential.append(
            [{"condition": name, "probability": 0.7}, {"condition": other, "probability": 0.3}]
        )
    kind = COMMON_PATIENTS.schema.field("differential").type
    table = table.set_column(
        table.column_names.index("differential"), "differential", pa.array(differential, kind)
    )
    return table.set_column(
        table.column_names.index("origin"), "origin", pa.array(["ddxplus"] * table.num_rows)
    )


def split_of(table: pa.Table, seed: int = 1) -> pa.Table:
    """80/10/10 by condition."""
    ids = table.column("patient_id").to_pylist()
    parts = stratified_split(table.column("condition").to_pylist(), ids, seed)
    return pa.table({"patient_id": ids, "part": list(parts)})


@lru_cache(maxsize=1)
def data() -> TrainingData:
    """Records with simulated extras."""
    table = records()
    extra = simulate(knowledge(), seed=9, per_condition=12, missing_rate=0.05)
    return prepare(table, split_of(table), knowledge(), CONFIG, extra)


@lru_cache(maxsize=1)
def ensemble() -> CommonEnsemble:
    """Trained on ``data``."""
    return CommonEnsemble.fit({name: train_base(name, data(), CONFIG) for name in BASE_NAMES}, data(), CONFIG)


def rows(n: int = 60, unknown: float = 0.2, seed: int = 11) -> np.ndarray:
    """Symptom matrix of patients that nobody was trained on, some answers unknown."""
    table = simulate(knowledge(), seed=seed, total=n, missing_rate=unknown, draw_values=True)
    return data().space.encode_table(table)
