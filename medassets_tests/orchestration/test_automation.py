"""Automation conditions: changed content starts what hangs on it; unchanged content starts nothing."""

import dagster as dg
import pytest

from medassets_tests.orchestration.graph import World, definitions


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_only_changed_content_starts_what_hangs_on_it(world, tmp_path, instance):
    def defs():
        return definitions(world, tmp_path, conditions=True)

    def look(cursor):
        return dg.evaluate_automation_conditions(defs=defs(), instance=instance, cursor=cursor)

    def make(*keys):
        job = defs().resolve_implicit_global_asset_job_def()
        chosen = [dg.AssetKey(key.split("/")) for key in keys]
        assert job.execute_in_process(instance=instance, asset_selection=chosen).success

    make("sources/text", "toy/letters", "toy/copy", "toy/report")
    cursor = look(None).cursor
    result = look(cursor)
    assert result.total_requested == 0

    make("sources/text")  # looked at, unchanged
    result = look(result.cursor)
    assert result.total_requested == 0

    world.file.write_text("q r")
    make("sources/text")
    result = look(result.cursor)
    assert result.get_num_requested(dg.AssetKey(["toy", "letters"])) == 1
    assert result.get_num_requested(dg.AssetKey(["toy", "report"])) == 1
    assert result.get_num_requested(dg.AssetKey(["sources", "text"])) == 0


def test_sources_are_looked_at_by_the_clock(world, tmp_path, instance):
    from datetime import UTC, datetime

    defs = definitions(world, tmp_path, conditions=True)
    before = datetime(2026, 1, 1, 4, 59, tzinfo=UTC)
    first = dg.evaluate_automation_conditions(defs=defs, instance=instance, evaluation_time=before)
    assert first.get_num_requested(dg.AssetKey(["sources", "text"])) == 0
    after = datetime(2026, 1, 1, 5, 1, tzinfo=UTC)
    second = dg.evaluate_automation_conditions(
        defs=defs, instance=instance, evaluation_time=after, cursor=first.cursor
    )
    assert second.get_num_requested(dg.AssetKey(["sources", "text"])) == 1
