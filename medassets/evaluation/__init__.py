"""Metrics, protocols, fairness, explanation, reports. Nothing here changes a model."""
