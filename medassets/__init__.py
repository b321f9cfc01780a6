"""medassets: decision support for common and rare diseases, from source files to a served differential.

Every dataset, feature table, model and report is a Dagster asset; see ``medassets.orchestration``.
The domain packages (knowledge, ingest, cohorts, features, learners, evaluation, serving) know nothing of
Dagster.
"""

__version__ = "0.1.0"
