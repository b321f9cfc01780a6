"""Tables that only the graph has: what each reader set aside, and simulated likes of clinical tables.

What belongs here: declarations derived from others'. What does not: tables with a meaning of their own, which are
declared beside their code and listed in ``cohorts.tables``.
"""

from __future__ import annotations

from dataclasses import replace

from medassets.cohorts.tables import TABLES, register

#: Reader to the table with what it set aside.
QUARANTINES = {
    name: f"clinical/{name}_quarantine" for name in ("phenopacket", "common_patient", "annotation", "mapping")
}


def declare() -> None:
    """Declare these tables; declaring them again is harmless."""
    gathered = TABLES["clinical/quarantine"]
    register(replace(gathered, key=key) for key in QUARANTINES.values())
    simulated = replace(
        TABLES["clinical/common_patients"],
        key="synthetic/simulated_common_patients",
        description="One simulated consultation for a common condition.",
    )
    register([simulated])

