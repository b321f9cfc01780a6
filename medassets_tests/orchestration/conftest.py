"""Fixtures: a lake, a tracking store and a Dagster instance in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from medassets.orchestration.io_managers import DeltaIOManager, ModelIOManager, SourceIOManager
from medassets.orchestration.tracking import MlflowTracking
from medassets_tests.orchestration import toys


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
