"""Learners for rare diseases: 0 to 50 published cases a disease."""
