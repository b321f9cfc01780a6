"""Declared tables of common conditions: clinical patients, features and splits."""

from __future__ import annotations

from medassets.cohorts.schema import Table

COMMON_TABLES: tuple[Table, ...] = ()
