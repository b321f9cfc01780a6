"""The registry of all declared tables.

What belongs here: finding a declaration by its key and adding one. What does not: the declarations
(``tables_rare``, ``tables_common``, ``tables_live``, ``tables_registry``; later layers, such as evaluation,
declare their own beside their code and ``register`` them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from medassets.cohorts.schema import SchemaError, Table, column, conform, data_dictionary, duplicated_keys
from medassets.cohorts.tables_common import COMMON_TABLES
from medassets.cohorts.tables_live import FORM_DELIVERIES, LIVE_TABLES, by_day
from medassets.cohorts.tables_rare import RARE_TABLES
from medassets.cohorts.tables_registry import REGISTRY_TABLES

__all__ = [
    "TABLES",
    "SchemaError",
    "Table",
    "column",
    "conform",
    "data_dictionary",
    "duplicated_keys",
    "register",
]

#: Every declared table by its key, ``layer/name``.
TABLES: dict[str, Table] = {}


def register(tables: Iterable[Table]) -> None:
    """Add declarations to the registry; declaring the same table twice in the same way is harmless.

    Raises:
        SchemaError: a key is already declared otherwise.
    """
    for table in tables:
        if TABLES.setdefault(table.key, table) != table:
            raise SchemaError(f"{table.key} is declared twice, with different schemas")


register(RARE_TABLES)
register(COMMON_TABLES)
register([*LIVE_TABLES, FORM_DELIVERIES])
register(by_day(TABLES["clinical/quarantine"], f"clinical/{name}_quarantine") for name in ("ehr", "form"))
register(REGISTRY_TABLES)
register(
    replace(TABLES["clinical/quarantine"], key=f"clinical/{name}_quarantine")
    for name in ("orphanet", "report")
)
