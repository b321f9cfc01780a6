"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

#: Fixtures that start servers.
pytest_plugins = ["medassets_tests.servers"]

#: Examples are the same in every run, and no busy machine makes one fail.
settings.register_profile(
    "medassets", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("medassets")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder in the layout of the public releases; tests on it add to those on small files of their own."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDASSETS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no release data: set MEDASSETS_TEST_DATA or put them at ../shared/data")
    return folder
