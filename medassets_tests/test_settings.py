"""Settings: paths stay true in another folder, and a child process gets the same settings."""

import os
import subprocess
import sys

import pytest

from medassets.settings import Settings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MEDASSETS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_relative_paths_become_absolute(folder):
    settings = Settings(home="var", data_dir="data", key_file="keys", hpo_dir="data")
    for path in (settings.home, settings.data_dir, settings.key_file, settings.hpo_dir):
        assert path.is_absolute() and path.is_relative_to(folder)


def test_a_process_in_another_folder_has_the_same_settings(folder):
    settings = Settings(
        home="var", data_dir="data", cors_origins=["https://ehr.example.org"], simulation={"noise_rate": 0.25}
    )
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "from medassets.settings import Settings; print(Settings().model_dump_json())",
        ],
        cwd=elsewhere,
        env={"PATH": os.environ["PATH"]} | settings.as_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == settings.model_dump_json()


def test_a_missing_data_folder_is_named(folder):
    with pytest.raises(ValueError, match="MEDASSETS_DATA_DIR=nowhere is not a folder"):
        Settings(data_dir="nowhere")
