"""What any reader sets aside is found in one table, whenever it arrived."""

from medassets.cohorts.tables import TABLES
from medassets.ingest.quarantine import QuarantineRow, quarantine_table
from medassets.orchestration.assets.clinical import quarantine
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.lake import LakeTable
from medassets.orchestration.tables import QUARANTINES, QUARANTINES_BY_DAY


def rejected(source):
    return quarantine_table([QuarantineRow(source, "file", 1, None, "field", "x", "wrong", "right")])


def test_every_source_is_gathered_whether_or_not_anything_arrived(tmp_path):
    lake = DeltaIOManager(lake_dir=str(tmp_path))
    inputs = {key.split("/")[-1]: rejected(name) for name, key in QUARANTINES.items()}
    table = quarantine(io_manager=lake, **inputs)
    assert table.schema.equals(TABLES["clinical/quarantine"].schema)
    assert table.column("source").to_pylist() == list(QUARANTINES)

    ehr = QUARANTINES_BY_DAY[0]
    days = [rejected("ehr").add_column(0, "day", [[day]]) for day in ("2026-02-03", "2026-02-04")]
    for table in days:
        LakeTable(tmp_path / ehr, ["day"]).write(table)
    gathered = quarantine(io_manager=lake, **inputs).column("source").to_pylist()
    assert gathered == [*QUARANTINES, "ehr"]
