"""The installation's definitions: they load fast, carry nothing heavy, and describe every asset in full."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from medassets.cohorts.tables import TABLES
from medassets.orchestration import automation
from medassets.orchestration.build import LAYERS, build_definitions, code_hash, settings_hash
from medassets.orchestration.instance import instance_config, open_instance
from medassets.settings import Settings

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("definitions_snapshot.json")
HEAVY = (
    "torch",
    "mlflow",
    "sklearn",
    "great_expectations",
    "xgboost",
    "pandas",
    "sdv",
    "shap",
    "dagster_mlflow",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), _env_file=None)


@pytest.fixture(scope="module")
def defs(settings) -> dg.Definitions:
    return build_definitions(settings)


@pytest.fixture(scope="module")
def specs(defs) -> list[dg.AssetSpec]:
    return sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)


def _clean_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MEDASSETS_", "DAGSTER_"))}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


def test_definitions_load_without_anything_heavy(tmp_path):
    code = (
        "import resource, sys; from medassets.definitions import defs; defs.resolve_all_asset_specs();"
        f"print([m for m in {HEAVY!r} if m in sys.modules]);"
        "u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=_clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    heavy, seconds = done.stdout.strip().splitlines()
    assert heavy == "[]"
    assert float(seconds) < 5  # processor time: the wall clock is the machine's


def test_definitions_module_is_under_ten_lines():
    assert len((ROOT / "medassets" / "definitions.py").read_text().splitlines()) < 10


def test_every_asset_is_fully_described(specs):
    assert {spec.key.path[0] for spec in specs} == set(LAYERS)
    for spec in specs:
        name = spec.key.to_user_string()
        assert spec.description and len(spec.description) > 20, name
        assert spec.owners and spec.owners[0].startswith("team:"), name
        assert spec.kinds, name
        assert {"domain", "layer", "resource"} <= set(spec.tags), name
        assert spec.code_version, name
        assert spec.freshness_policy, name
        # A retraining starts by decision, never by changed content.
        assert (spec.automation_condition is None) == (spec.key.path[0] == "retraining"), name
        assert spec.group_name == spec.key.path[0], name


def test_every_table_is_declared_and_described(defs, specs):
    graph = defs.resolve_asset_graph()
    tables = [
        s.key
        for s in specs
        if graph.get(s.key).assets_def.get_io_manager_key_for_asset_key(s.key) == "io_manager"
    ]
    assert len(tables) > 20
    for key in tables:
        spec = TABLES[key.to_user_string()]
        assert spec.description and all(spec.describe(name) for name in spec.schema.names), key


def test_blocking_checks_guard_what_is_learned_from(defs):
    graph = defs.resolve_asset_graph()
    blocking = {
        (key.asset_key.to_user_string(), key.name)
        for key in graph.asset_check_keys
        if graph.get_check_spec(key).blocking
    }
    for check in (
        "schema",
        "required_fields",
        "unique_key",
        "completeness",
        "age_possible",
        "observed_or_excluded",
    ):
        assert ("clinical/rare_cases", check) in blocking
    assert ("features/rare_split", "no_publication_on_both_sides") in blocking
    assert ("clinical/common_patients", "class_counts") not in blocking


def test_changed_settings_change_the_code_version_of_what_they_change(settings):
    def versions(**changes):
        changed = settings.model_copy(update=changes)
        return {
            s.key.to_user_string(): s.code_version
            for s in build_definitions(changed).resolve_all_asset_specs()
        }

    before, after = versions(), versions(seed=7)
    changed = {key for key in before if before[key] != after[key]}
    assert "synthetic/simulated_rare_cases" in changed and "models/rare_ranker" in changed
    assert "clinical/rare_cases" not in changed and "features/rare_split" not in changed
    assert versions(api_port=9999) == before
    with pytest.raises(ValueError, match="no setting is named 'colour'"):
        settings_hash(settings, ["colour"])


def test_overrides_replace_resources_and_layers(settings):
    defs = build_definitions(settings, modules=["sources"], resources={"io_manager": dg.mem_io_manager})
    assert {s.key.path[0] for s in defs.resolve_all_asset_specs()} == {"sources"}
    assert defs.resources["io_manager"] is dg.mem_io_manager


def test_jobs_schedules_and_sensors(defs):
    assert {job.name for job in defs.resolve_all_job_defs()} >= {
        automation.WHOLE_GRAPH,
        automation.SOURCES_JOB,
    }
    job = defs.resolve_job_def(automation.WHOLE_GRAPH)
    # What arrives by day and what follows the running service have jobs of their own.
    assert job.asset_layer.executable_asset_keys == {
        s.key
        for s in defs.resolve_all_asset_specs()
        if s.partitions_def is None and s.key.path[0] not in automation.LIVE
    }
    assert job.executor_def.name == "in_process"


def test_the_graph_is_the_one_in_the_snapshot(specs, defs):
    """A change of the graph is seen in review: delete the file and run again to take a new snapshot."""
    graph = defs.resolve_asset_graph()
    found = {
        spec.key.to_user_string(): {
            "inputs": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "checks": sorted(key.name for key in graph.get(spec.key).check_keys),
            "kinds": sorted(spec.kinds),
            "owner": spec.owners[0],
        }
        for spec in specs
    }
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        pytest.fail(f"{SNAPSHOT.name} was missing and has been written: look at it and commit it")
    assert found == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_the_repositorys_instance_is_the_installations():
    written = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert written == instance_config(Path("var/dagster"))
    assert written["telemetry"] == {"enabled": False}
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["module_name"] == "medassets.definitions"


def test_an_instance_is_made_where_the_settings_say(settings, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(settings) as instance:
        assert instance.telemetry_enabled is False
        assert instance.get_runs() == []
    assert (settings.home / "dagster").is_dir()


def test_dagster_home_wins(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    with open_instance(settings):
        pass
    assert any((tmp_path / "own").iterdir())


@pytest.mark.parametrize(
    "command", [["dagster", "definitions", "validate"], ["dg", "check", "defs"]], ids=["dagster", "dg"]
)
def test_plain_commands_accept_the_definitions(command, tmp_path):
    binary = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(binary), *command[1:]],
        cwd=ROOT,
        env=_clean_environment()
        | {"MEDASSETS_HOME": str(tmp_path), "PATH": f"{binary.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("executor", ["in_process", "multiprocess", "k8s"])
def test_the_executor_is_a_setting(executor, settings):
    made = build_definitions(settings.model_copy(update={"executor": executor}))
    assert made.resolve_job_def(automation.WHOLE_GRAPH).executor_def.name == executor


def test_the_code_that_makes_an_asset_is_part_of_its_version(specs):
    versions = {spec.key.to_user_string(): spec.code_version for spec in specs}
    # Code of one domain's learners leaves the other domain's models alone; a further module counts where
    # named.
    assert code_hash("models", "rare") in versions["models/rare_ranker"]
    assert code_hash("models", "rare") not in versions["models/common_forest"]
    assert code_hash("features", "rare") in versions["features/rare_split"]
    assert (
        code_hash("features", "rare", ("learners/rare/embeddings.py",))
        in versions["features/term_embeddings"]
    )
    assert code_hash("features", "rare") not in versions["features/term_embeddings"]
