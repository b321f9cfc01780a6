"""What monitoring and retraining read: the service's store, the served bundle, tables that may not exist yet.

What belongs here: opening these. What does not: what is made of them (``medassets.monitoring``) and the
assets (``assets.monitoring``, ``assets.retraining``).

On a fresh installation nothing was asked yet: then there is no store, no log and no feedback, and
everything here says so by an empty table or ``None``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from medassets.cohorts.tables import TABLES, conform
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.lake import Partition
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.monitoring.latency import Latency
    from medassets.monitoring.samples import Sample
    from medassets.serving.bundle import Bundle
    from medassets.serving.store import PredictionStore

LOG, FEEDBACK = "monitoring/prediction_log", "monitoring/clinician_feedback"
#: Column by which the log and the feedback are partitioned.
DAY = "day"
#: Tables that the training data of each part may be: records first, else simulated patients.
COMMON_REFERENCE = ("clinical/common_patients", "synthetic/simulated_common_patients")
RARE_REFERENCE = (
    ("clinical/rare_cases", "clinical/case_phenotypes"),
    ("synthetic/simulated_rare_cases", "synthetic/simulated_case_phenotypes"),
)


@contextmanager
def service_store(settings: Settings) -> Iterator[PredictionStore | None]:
    """The store of the service, or None while nothing was asked."""
    from medassets.serving.answering import open_store
    from medassets.serving.store import NoPredictionError

    try:
        store = open_store(settings)
    except NoPredictionError:
        yield None
        return
    try:
        yield store
    finally:
        store.close()


def served_bundle(settings: Settings) -> Bundle | None:
    """The bundle that is served, verified; None while there is none."""
    from medassets.serving.bundle import BundleError, latest_bundle, load_bundle

    try:
        directory = latest_bundle(settings.bundles_dir)
    except BundleError:
        return None
    return load_bundle(directory)


def table_or_empty(lake: DeltaIOManager, key: str, partition: Partition | None = None) -> pa.Table:
    """A table of the lake; no rows where it was never made."""
    table = lake.table(key)
    return conform(table.read(partition=partition), TABLES[key]) if table.exists() else TABLES[key].empty()


def window_of(lake: DeltaIOManager, last: date, days: int) -> pa.Table:
    """Answers that were given in the window that ends with ``last``."""
    wanted = tuple((last - timedelta(days=back)).isoformat() for back in range(days))
    return table_or_empty(lake, LOG, Partition({DAY: wanted}))


def as_learned_from(lake: DeltaIOManager, bundle: Bundle, key: str) -> pa.Table | None:
    """A table at the Delta version that a bundle learned from; None where it did not, or from no row.

    Raises:
        FileNotFoundError: the lake holds that version no more.
    """
    entry = next((entry for entry in bundle.manifest.data if entry.asset == key), None)
    if entry is None or entry.delta_version is None or not entry.rows:
        return None
    return lake.table(key).read(entry.delta_version)


def samples(
    lake: DeltaIOManager, bundle: Bundle, log: pa.Table, earlier: pa.Table
) -> dict[str, tuple[Sample, Sample, Sample | None]]:
    """Reference, window and earlier rows of each part that the bundle answers.

    Args:
        lake: the lake.
        bundle: the served one; its manifest names the versions of the reference.
        log: rows of the window.
        earlier: rows before it.
    """
    from medassets.monitoring import samples as forms

    found: dict[str, tuple[Sample, Sample, Sample | None]] = {}
    patients = _first_of(as_learned_from(lake, bundle, key) for key in COMMON_REFERENCE)
    if patients is not None and "common" in bundle.manifest.parts:
        from medassets.serving.common import CommonPredictor

        predictor = CommonPredictor.load(bundle.part("common"))
        space, words = predictor.space, predictor.labels
        reference = forms.common_reference(
            patients, space, words, predictor.conditions, lambda m: predictor.predict_matrix(m).probabilities
        )
        found["common"] = (reference, forms.common_window(log, space, words), None)
    cases = _first_of(
        None if (table := as_learned_from(lake, bundle, key)) is None else (table, findings)
        for key, findings in RARE_REFERENCE
    )
    if cases is not None and "rare" in bundle.manifest.parts:
        from medassets.features.cases import CaseSet
        from medassets.features.rare_store import load_knowledge

        ontology = load_knowledge(bundle.part("rare") / "knowledge").ontology
        findings = as_learned_from(lake, bundle, cases[1])
        known = CaseSet.from_tables(cases[0], findings if findings is not None else cases[0], ontology)
        window, before = (forms.rare_window(rows, ontology) for rows in (log, earlier))
        found["rare"] = (forms.rare_reference(known, ontology), window, before)
    return found


def drift_of(
    lake: DeltaIOManager, settings: Settings, day: date
) -> tuple[pa.Table, dict[str, dict[str, Any]], dict[str, str]]:
    """The drift report of a window, Evidently's summaries and the places of its pages, by part."""
    from medassets.monitoring import drift
    from medassets.monitoring.drift_pages import write_pages
    from medassets.monitoring.samples import most_frequent

    bundle, days = served_bundle(settings), settings.monitoring.window_days
    log = window_of(lake, day, days)
    if bundle is None or not log.num_rows:
        return TABLES["monitoring/drift_report"].empty(), {}, {}
    earlier = window_of(lake, day - timedelta(days=days), days)
    limits = drift.DriftLimits(min_n=settings.monitoring.min_predictions)
    parts, summaries, pages = {}, {}, {}
    for part, (reference, window, before) in samples(lake, bundle, log, earlier).items():
        chosen = most_frequent(reference, window)
        reference, window = reference.columns(chosen), window.columns(chosen)
        before = None if before is None else before.columns(chosen)
        parts[part] = drift.compare(reference, window, limits, before)
        if parts[part]:
            made = write_pages(reference, window, part, day.isoformat(), _pages_dir(settings))
            summaries[part], pages[f"{part}_page"] = made.summary, str(made.html)
    return drift.report(day.isoformat(), bundle.version, parts, limits), summaries, pages


def newest_day(lake: DeltaIOManager, key: str) -> pa.Table:
    """The rows of the last day that a table by day holds."""
    import pyarrow.compute as pc

    table = table_or_empty(lake, key)
    if not table.num_rows:
        return table
    return table.filter(pc.equal(table.column(DAY), pc.max(table.column(DAY))))


def latency_now(settings: Settings) -> tuple[Latency | None, str]:
    """Latency of the running service, and where it is from or why it is not known."""
    from medassets.monitoring.latency import LatencyError, read_latency

    own = settings.monitoring.service_url or f"http://{settings.api_host}:{settings.api_port}"
    try:
        found = read_latency(own, settings.monitoring.prometheus_url)
    except LatencyError as error:
        return None, f"not known: {error}"
    return found, f"read from {settings.monitoring.prometheus_url or own}"


def _pages_dir(settings: Settings) -> Path:
    return settings.reports_dir / "drift"


def _first_of(found: Iterator[Any]) -> Any:
    return next((value for value in found if value is not None), None)
