"""Fixtures: a lake, a tracking store and a Dagster instance in a temporary folder."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine

from medassets.orchestration.io_managers import DeltaIOManager, ModelIOManager, SourceIOManager
from medassets.orchestration.tracking import MlflowTracking
from medassets_tests.orchestration import toys


@pytest.fixture(autouse=True, scope="package")
def quick_databases() -> Iterator[None]:
    """SQLite files of Dagster and MLflow that do not wait for the disk, and their migrations read once.

    Each run makes a database of its own. What a process wrote outlives the process all the same: only a power
    cut could take it.
    """

    def connected(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    read, scripts = ScriptDirectory.from_config, {}

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in scripts:
            scripts[place] = read(config)
        return scripts[place]

    sqlalchemy.event.listen(Engine, "connect", connected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield
    sqlalchemy.event.remove(Engine, "connect", connected)


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracking:
    """One MLflow store for the whole session: making its schema takes seconds."""
    home = tmp_path_factory.mktemp("mlflow")
    return MlflowTracking(tracking_uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "artifacts"))


@pytest.fixture
def resources(tmp_path: Path, tracking: MlflowTracking) -> dict[str, object]:
    return {
        "io_manager": DeltaIOManager(lake_dir=str(tmp_path / "lake")),
        "model_io_manager": ModelIOManager(tracking=tracking),
        "source_io_manager": SourceIOManager(records_dir=str(tmp_path / "sources")),
    }


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture(autouse=True, scope="package")
def toy_tables() -> Iterator[None]:
    toys.declare()
    yield
    toys.forget()
