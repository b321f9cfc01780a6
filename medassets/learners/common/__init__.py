"""Learners for common conditions: thousands of examples a condition."""
