"""The Dagster instance of an installation: where runs, events and schedules are kept.

What belongs here: finding it. What does not: its settings for ``dagster dev``, which stand in
``dagster.yaml`` at the root of the repository; for the default home (``var``) both mean the same place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance.config import DAGSTER_CONFIG_YAML_FILENAME
from dagster._core.instance.ref import InstanceRef

from medassets.settings import Settings

#: Variable with the address of Dagster's PostgreSQL database.
DATABASE = "MEDASSETS_DAGSTER_DATABASE"


def instance_folder(settings: Settings) -> Path:
    """Give the folder of the instance: ``DAGSTER_HOME`` where the site sets it, else ``<home>/dagster``."""
    own = os.environ.get("DAGSTER_HOME")
    return Path(own).expanduser().absolute() if own else settings.home / "dagster"


def instance_config(folder: Path, *, postgres: bool = False) -> dict[str, Any]:
    """Give an instance's configuration; the repository's ``dagster.yaml`` says the same for ``var``.

    Args:
        folder: the instance's folder.
        postgres: keep runs, events and schedules in the PostgreSQL database that ``DATABASE`` names; the
            address is in no file, for it may hold a password.
    """
    sqlite, database = {"sqlite": {"base_dir": str(folder)}}, {"postgres_url": {"env": DATABASE}}
    return {
        "telemetry": {"enabled": False},
        # No invitation to the vendor's community over a hospital's screen.
        "nux": {"enabled": False},
        "storage": {"postgres": database} if postgres else sqlite,
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(folder)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(folder / "logs")},
        },
        "concurrency": {"runs": {"max_concurrent_runs": 1}, "pools": {"default_limit": 1}},
        # Knows whether a run's process still lives, so that a power cut leaves none running for ever.
        "run_launcher": {"module": "medassets.orchestration.launching", "class": "WatchedRunLauncher"},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 20},
        "run_retries": {"enabled": True, "max_retries": 1},
        "freshness": {"enabled": True},
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 7, "failure": 30, "success": 90}},
        },
    }


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the instance, made if it is not there yet; close it with ``with`` or ``dispose``.

    A ``dagster.yaml`` that a site wrote is honoured as it stands. With ``DAGSTER_HOME`` set to the folder,
    ``dagster dev`` shows the same runs.
    """
    folder = write_instance(settings)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder)))


def generated(file: Path) -> bool:
    """Say whether a ``dagster.yaml`` is this software's own, not a site's."""
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found in (instance_config(file.parent), instance_config(file.parent, postgres=True))


def write_instance(settings: Settings) -> Path:
    """Write the configuration of the instance, unless a site wrote its own.

    Returns:
        The instance's folder.
    """
    folder = instance_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / DAGSTER_CONFIG_YAML_FILENAME
    if settings.dagster_database is not None:
        # The file names the variable, and the setting may have come from elsewhere.
        os.environ[DATABASE] = settings.dagster_database
    if not file.exists() or generated(file):
        config = instance_config(folder, postgres=settings.dagster_database is not None)
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return folder
