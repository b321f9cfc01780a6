"""Ingest a million patients in DDXPlus format to features/common_features; compare with plain pandas.

Usage: python benchmarks/ingest_ddxplus_million.py [--rows 1000000] [--keep FOLDER]

The file is simulated from the reference table (values drawn, differentials of naive Bayes) and zipped like
the release. It is ingested in a process of its own: zip to Delta, with every check. The alternative, on the
first 20,000 rows of the same file in the same run: ``pandas.read_csv``, ``ast.literal_eval`` for each list,
scikit-learn's ``MultiLabelBinarizer``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

COLUMNS = "AGE,DIFFERENTIAL_DIAGNOSIS,SEX,PATHOLOGY,EVIDENCES,INITIAL_EVIDENCE\r\n"


def write_file(path: Path, rows: int, seed: int = 1) -> None:
    """Write simulated patients as the release does."""
    from medassets.cohorts.simulate_common import simulate
    from medassets.features.common import PRESENT, EvidenceSpace
    from medassets.knowledge.common_conditions import CommonKnowledge

    knowledge = CommonKnowledge.bundled()
    space = EvidenceSpace.from_knowledge(knowledge)
    chance = np.clip(knowledge.probability[:, knowledge.measured], 1e-3, 1 - 1e-3)
    names = np.array(knowledge.condition_names)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("release_train_patients", "w", force_zip64=True) as stream,
    ):
        stream.write(COLUMNS.encode())
        for start in range(0, rows, 50_000):
            patients = simulate(
                knowledge, total=min(50_000, rows - start), seed=seed + start, draw_values=True
            )
            x = (space.encode_table(patients)[:, space.base] == PRESENT)[:, knowledge.measured].astype(
                np.float64
            )
            score = x @ np.log(chance).T + (1 - x) @ np.log(1 - chance).T + np.log(knowledge.prior)
            posterior = np.exp(score - score.max(axis=1, keepdims=True))
            posterior /= posterior.sum(axis=1, keepdims=True)
            order = np.argsort(-posterior, axis=1)[:, :8]
            lines = []
            for i, row in enumerate(
                patients.select(["age", "sex", "condition", "evidence", "initial_evidence"]).to_pylist()
            ):
                pairs = [[str(names[j]), float(posterior[i, j])] for j in order[i]]
                lines.append(
                    f'{row["age"]},"{pairs}",{row["sex"]},{row["condition"]},"{row["evidence"]}",{row["initial_evidence"]}\r\n'
                )
            stream.write("".join(lines).encode())


def ingest(path: Path, folder: Path, result: multiprocessing.Queue) -> None:
    """Zip to Delta, in a process of its own so that the peak memory is its own."""
    import deltalake

    from medassets.features.common import EvidenceSpace
    from medassets.features.common_features import reader
    from medassets.ingest.ddxplus import read_batches
    from medassets.knowledge.common_conditions import CommonKnowledge

    start = time.perf_counter()
    knowledge = CommonKnowledge.bundled()
    space = EvidenceSpace.from_knowledge(knowledge)
    faults = 0

    def patients():
        nonlocal faults
        for batch in read_batches(path, knowledge):
            faults += len(batch.quarantined)
            yield batch.patients

    deltalake.write_deltalake(str(folder), reader(patients(), space), mode="overwrite")
    seconds = time.perf_counter() - start
    rows = deltalake.DeltaTable(str(folder)).count()
    result.put(
        {
            "rows": rows,
            "faults": faults,
            "seconds": round(seconds, 1),
            "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
            "delta_mb": round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6, 1),
        }
    )


def alternative(path: Path, rows: int) -> float:
    """Seconds that the plain pandas way takes for the first rows, without any check or write."""
    import ast

    import pandas as pd
    from sklearn.preprocessing import MultiLabelBinarizer

    start = time.perf_counter()
    frame = pd.read_csv(path, nrows=rows)
    evidence = frame["EVIDENCES"].map(ast.literal_eval)
    frame["DIFFERENTIAL_DIAGNOSIS"].map(ast.literal_eval)
    MultiLabelBinarizer(sparse_output=True).fit_transform(evidence)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="keep the file here and use it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"release_train_patients_{arguments.rows}.zip"
        if not path.is_file():
            write_file(path, arguments.rows)
        context = multiprocessing.get_context("spawn")
        result: multiprocessing.Queue = context.Queue()
        process = context.Process(target=ingest, args=(path, Path(scratch) / "common_features", result))
        process.start()
        figures = result.get()
        process.join()
        sample = min(20_000, arguments.rows)
        plain = alternative(path, sample)
        figures["file_mb"] = round(path.stat().st_size / 1e6, 1)
        figures["pandas_literal_eval_seconds_per_million"] = round(plain / sample * 1e6, 1)
        ours = figures["seconds"] / (figures["rows"] + figures["faults"]) * 1e6
        figures["times_faster_per_row"] = round(plain / sample * 1e6 / ours, 1)
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
