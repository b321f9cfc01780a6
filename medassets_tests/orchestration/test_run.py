"""Running the graph: only what is stale, in waves, with a summary that says why and what failed."""

import io
import json
import shutil
import subprocess
import sys

import pytest
from rich.console import Console

from medassets.orchestration.run import RunInProgressError, run_graph
from medassets.settings import Settings
from medassets_tests.orchestration.graph import World, definitions


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for name in ("MEDASSETS_HOME", "MEDASSETS_DATA_DIR", "MEDASSETS_ORIGIN"):
        monkeypatch.delenv(name, raising=False)
    return World(tmp_path)


def _run(world, tmp_path, **options):
    world.calls.clear()
    console = Console(file=io.StringIO(), width=200)
    settings = Settings(home=tmp_path / "home", _env_file=None)
    summary = run_graph(
        settings, console=console, definitions=definitions(world, tmp_path / "home"), **options
    )
    return summary, console.file.getvalue()


def test_a_first_run_makes_everything_and_a_second_only_looks_at_sources(world, tmp_path):
    summary, printed = _run(world, tmp_path)
    assert summary.success and world.calls == ["text", "letters", "copy", "report"]
    assert [line.key for line in summary.executed] == [
        "sources/text",
        "toy/letters",
        "toy/copy",
        "toy/report",
    ]
    assert {line.reason for line in summary.executed if line.layer == "toy"} == {"never made"}
    assert summary.sources == {"text": "folder"} and len(summary.run_ids) == 1
    assert "toy/letters" in printed and "2 rows" in printed

    summary, _ = _run(world, tmp_path)
    assert summary.success and world.calls == ["text"]
    assert summary.up_to_date == ["toy/letters", "toy/copy", "toy/report"]
    assert json.loads(summary.to_json())["up_to_date"] == summary.up_to_date


def test_a_changed_source_runs_on_only_as_far_as_content_changes(world, tmp_path):
    _run(world, tmp_path)
    world.file.write_text("b a a")  # other bytes, same letters
    summary, _ = _run(world, tmp_path)
    assert world.calls == ["text", "letters"]
    assert summary.up_to_date == ["toy/copy", "toy/report"]
    assert summary.executed[-1].reason == "sources/text changed"

    world.file.write_text("a z")  # another letter, but the same first one
    _run(world, tmp_path)
    assert world.calls == ["text", "letters", "copy", "report"]
    world.file.write_text("a z z")
    _run(world, tmp_path)
    assert world.calls == ["text", "letters"]


def test_changed_code_is_made_again(world, tmp_path):
    _run(world, tmp_path)
    world.code = "2"
    summary, _ = _run(world, tmp_path)
    assert world.calls == ["text", "letters"]
    assert "code or settings changed (1 then, 2 now)" in [line.reason for line in summary.executed]


def test_a_removed_table_is_made_again(world, tmp_path):
    _run(world, tmp_path)
    shutil.rmtree(tmp_path / "home" / "lake" / "toy" / "copy")
    summary, _ = _run(world, tmp_path)
    assert world.calls == ["text", "copy"]
    assert summary.executed[-1].reason == "its stored value is gone"


def test_force_and_select(world, tmp_path):
    _run(world, tmp_path)
    _run(world, tmp_path, force=True)
    assert world.calls == ["text", "letters", "copy", "report"]
    summary, _ = _run(world, tmp_path, force=True, select='key:"toy/copy"')
    assert world.calls == ["copy"] and summary.up_to_date == []
    with pytest.raises(ValueError, match="no asset of the graph is selected"):
        _run(world, tmp_path, select='key:"toy/nothing"')


def test_a_failure_is_named_and_what_hangs_below_waits(world, tmp_path):
    world.fails = {"copy"}
    summary, printed = _run(world, tmp_path)
    assert not summary.success
    assert summary.failed == [("toy/copy", "RuntimeError: copy was told to fail")]
    assert summary.skipped == ["toy/report"]
    assert "copy was told to fail" in printed
    world.fails = set()
    _run(world, tmp_path)
    assert world.calls == ["text", "copy", "report"]


def test_a_failed_blocking_check_fails_the_run_and_is_not_forgotten(world, tmp_path):
    world.check_passes = False
    summary, printed = _run(world, tmp_path)
    assert summary.failed == [("toy/letters: sound", "told to fail")]
    assert world.calls == ["text", "letters"] and "check toy/letters: sound" in printed
    summary, _ = _run(world, tmp_path)
    assert not summary.success and world.calls == ["text", "letters"]
    world.check_passes = True
    summary, _ = _run(world, tmp_path)
    assert summary.success and world.calls == ["text", "letters", "copy", "report"]


def test_two_runs_at_once_are_refused(world, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(home / "run.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdin is not None
    other.stdout.readline()
    try:
        with pytest.raises(RunInProgressError, match="under way"):
            _run(world, tmp_path)
    finally:
        other.stdin.close()
        other.wait()
    assert _run(world, tmp_path)[0].success
