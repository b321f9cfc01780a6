"""Whether validated patients are strangers to the bundle."""

import numpy as np
import pyarrow as pa

from medassets.cohorts.simulate_common import simulate
from medassets.features.cases import CaseSet
from medassets.serving.overlap import fingerprints, read_seen, shared_cases, shared_patients, write_seen


def case_set(ids, pmids):
    nothing = [np.empty(0, dtype=np.int32)] * len(ids)
    return CaseSet(
        case_ids=ids, disease_ids=[None] * len(ids), observed=nothing, excluded=nothing,
        age_days=np.full(len(ids), np.nan), sex=["F"] * len(ids), pmids=pmids,
        origins=["published_case"] * len(ids),
    )  # fmt: skip


def test_cases_and_publications_that_both_hold_are_counted_once():
    known = case_set(["a", "b"], [("PMID:1",), ("PMID:2", "PMID:3")])
    new = case_set(["b", "c", "d"], [("PMID:2", "PMID:3"), ("PMID:3",), ("PMID:9",)])
    assert shared_cases(known, new) == {"cases": 1, "publications": 2}
    assert shared_cases(known, case_set(["z"], [()])) == {"cases": 0, "publications": 0}


def test_a_row_is_known_whatever_the_order_of_its_answers(common_knowledge, tmp_path):
    patients = simulate(common_knowledge, seed=3, total=40)
    write_seen(patients.slice(0, 30), tmp_path)
    reversed_answers = pa.array([list(reversed(e)) for e in patients.column("evidence").to_pylist()])
    shuffled = patients.set_column(patients.schema.get_field_index("evidence"), "evidence", reversed_answers)
    known = read_seen(tmp_path)
    assert shared_patients(known, shuffled.slice(0, 30))["cases"] == 30
    older = patients.set_column(
        patients.schema.get_field_index("age"), "age",
        pa.array([age + 1 for age in patients.column("age").to_pylist()], type=pa.int16()),
    )  # fmt: skip
    assert shared_patients(known, older)["cases"] == 0
    assert len(np.unique(fingerprints(patients))) > 30
