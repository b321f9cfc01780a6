"""Deployment: one table of the processes, and what is generated from it."""
