"""The small service of serving's tests, for alerts on it."""

from medassets_tests.serving.conftest import bundle, common_knowledge, desk, diagnoser, ontology

__all__ = ["bundle", "common_knowledge", "desk", "diagnoser", "ontology"]
