"""Training on against training anew, on the same rows; and the chosen way in the registry's form."""

import pyarrow as pa
import pytest

from medassets.cohorts.simulate_common import simulate
from medassets.cohorts.tables import conform
from medassets.monitoring.tables import COMMON_COMPARISON
from medassets.monitoring.ways import compare
from medassets_tests.learners.common import small


@pytest.fixture(scope="module")
def confirmed() -> pa.Table:
    table = simulate(small.knowledge(), seed=78, per_condition=8, draw_values=True)
    ids = [f"prediction:{n}" for n in range(table.num_rows)]
    table = table.set_column(table.column_names.index("patient_id"), "patient_id", pa.array(ids))
    return table.set_column(table.column_names.index("origin"), "origin", pa.array(["ehr"] * table.num_rows))


@pytest.fixture(scope="module")
def comparison(confirmed):
    return compare(small.ensemble(), small.data(), confirmed, small.CONFIG, seed=1)


def test_both_ways_and_the_champion_are_judged_on_the_same_rows(comparison):
    table = conform(pa.Table.from_pylist(comparison.rows, schema=COMMON_COMPARISON.schema), COMMON_COMPARISON)
    counted = {(r["way"], r["group"]): r["n"] for r in table.to_pylist() if not r["finding"]}
    assert {way for way, _ in counted} == {"champion", "continued", "retrained"}
    for group in ("test part", "confirmed"):
        assert len({counted[way, group] for way in ("champion", "continued", "retrained")}) == 1
    assert 0 < counted["champion", "confirmed"] < 20
    found = {r["finding"] for r in table.to_pylist() if r["way"] == comparison.chosen and r["finding"]}
    assert found == {"accuracy", "critical misses"}


def test_continuing_costs_less_and_is_chosen_unless_retraining_is_better_for_certain(comparison):
    seconds = {row["way"]: row["cpu_seconds"] for row in comparison.rows}
    assert seconds["continued"] < seconds["retrained"]
    assert comparison.chosen == "continued" and comparison.ensemble is not None
    versions = {row["way"]: row["version"] for row in comparison.with_version("7").rows}
    assert versions == {"champion": None, "continued": "7", "retrained": None}


def test_without_new_patients_there_is_only_retraining(confirmed):
    made = compare(small.ensemble(), small.data(), confirmed.slice(0, 0), small.CONFIG, seed=1)
    assert {row["way"] for row in made.rows} == {"champion", "retrained"} and made.chosen == "retrained"
