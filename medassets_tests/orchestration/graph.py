"""A small graph of its own, in the shape of the real one, for tests of waves, staleness and progress."""

from collections.abc import Callable

import dagster as dg
import pyarrow as pa

from medassets.orchestration import automation
from medassets.orchestration.io_managers import DeltaIOManager, SourceIOManager
from medassets.orchestration.source_files import record
from medassets_tests.orchestration.toys import LETTERS


class World:
    """What the small graph reads, and how often each asset was computed."""

    def __init__(self, folder) -> None:
        self.file = folder / "source.txt"
        self.file.write_text("a b")
        self.calls: list[str] = []
        self.code = "1"
        self.fails: set[str] = set()
        self.check_passes = True

    def count(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise RuntimeError(f"{name} was told to fail")


def _letters(rows: list[str]) -> pa.Table:
    return pa.Table.from_pylist([{"id": r} for r in rows], schema=LETTERS.schema)


def definitions(world: World, home, conditions: bool = False) -> dg.Definitions:
    """text -> letters -> copy -> report; ``letters`` drops repetitions, so it may come out unchanged."""
    on_change: Callable[[str], dg.AutomationCondition | None] = (
        automation.condition_of if conditions else lambda layer: None
    )

    @dg.asset(
        key=["sources", "text"],
        io_manager_key="source_io_manager",
        code_version="1",
        automation_condition=on_change("sources"),
        group_name="sources",
    )
    def text():
        world.count("text")
        return record("text", "folder", world.file)

    def table(name: str, above: str, compute):
        @dg.asset(
            key=["toy", name],
            ins={"value": dg.AssetIn(above.split("/"))},
            code_version=world.code if name == "letters" else "1",
            automation_condition=on_change("clinical"),
            group_name="toy",
        )
        def made(value):
            world.count(name)
            return compute(value)

        return made

    words = table(
        "letters", "sources/text", lambda s: _letters(sorted(set(s.open_path().read_text().split())))
    )
    copy = table("copy", "toy/letters", lambda t: t)
    report = table("report", "toy/copy", lambda t: t.slice(0, 1))

    @dg.asset_check(asset=["toy", "letters"], blocking=True)
    def sound(letters) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=world.check_passes, description="told to fail")

    assets = [text, words, copy, report]
    return dg.Definitions(
        assets=assets,
        asset_checks=[sound],
        jobs=automation.jobs([key for asset in assets for key in asset.keys]),
        resources={
            "io_manager": DeltaIOManager(lake_dir=str(home / "lake")),
            "source_io_manager": SourceIOManager(records_dir=str(home / "records")),
        },
    )
