"""The last step of a day of deliveries: files to done or failed, and the table that says so.

What belongs here: what hospital records and symptom forms share of it. What does not: moving
(``ingest.inbox``) and reading (``cohorts.ehr``, ``cohorts.forms``). It follows the commit of the day's
tables: a run that dies before leaves the files waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa

from medassets.cohorts.tables import TABLES
from medassets.cohorts.tables_live import table_of
from medassets.ingest.inbox import Inbox
from medassets.knowledge.quarantine import QUARANTINE_FIELDS, QuarantineRow


def acknowledge(
    inbox: Inbox, day: str, good: Mapping[str, int], quarantine: pa.Table, origin: str, key: str
) -> pa.Table:
    """Move a day's files, with a report of what was wrong beside each; give the table ``key`` of deliveries.

    Args:
        inbox: the drop folder.
        day: ISO day.
        good: label of each file that was read to its usable parts; other files came later and stay.
        quarantine: what was set aside of them.
        origin: origin of the records.
        key: table to make, declared like ``clinical/ehr_deliveries``.
    """
    rejected = [
        QuarantineRow(**{name: row[name] for name in QUARANTINE_FIELDS}) for row in quarantine.to_pylist()
    ]
    wrong = Counter(row.source_file.partition("#")[0] for row in rejected)
    failed = {label for label, n in good.items() if not n and wrong[label]}
    used = [delivery for delivery in inbox.deliveries(day) if delivery.label in good]
    inbox.finish(day, used, failed, rejected)
    rows = (
        {
            "day": day,
            "file": label,
            "state": "failed" if label in failed else "done",
            "resources": n,
            "rejected": wrong[label],
            "origin": origin,
        }
        for label, n in sorted(good.items())
    )
    return table_of(TABLES[key], rows)
