"""Which parts go to which store.

What belongs here: the plan of a migration. What does not: how a part is moved (the modules beside this one).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medassets.orchestration.instance import instance_folder
from medassets.orchestration.migration.parts import MigrationError, Part
from medassets.settings import Settings

_POSTGRES = ("predictions", "documents", "dagster")


def plan(settings: Settings, target: str, names: tuple[str, ...] = ()) -> dict[str, Callable[[], Part]]:
    """Give the parts to move, each opened when its turn comes.

    Args:
        settings: the installation as it is now.
        target: ``postgresql://...``, ``s3://bucket/prefix``, ``mongodb://...`` (documents) or ``local``: back
            to SQLite and folders in the installation's home.
        names: only these; default: all that the target can hold. MLflow's store needs a database of its own,
            so it goes only where it is named alone.

    Raises:
        MigrationError: the target is no such address, or cannot hold a part.
    """
    if target.startswith("postgresql://"):
        known = _to_postgresql(settings, target)
        default = tuple(name for name in _POSTGRES if name in known)
    elif target.startswith("s3://"):
        known, default = _to_s3(settings, target), ("lake", "bundles")
    elif target.startswith("mongodb"):
        known, default = {"documents": lambda: _documents(settings, target)}, ("documents",)
    elif target == "local":
        known = _to_local(settings)
        default = tuple(known)
    else:
        raise MigrationError("a target is written postgresql://..., s3://..., mongodb://... or local")
    if wrong := [name for name in names if name not in known]:
        raise MigrationError(f"{wrong[0]} cannot go there; what can: {', '.join(known) or 'nothing'}")
    if "mlflow" in names and len(names) > 1:
        raise MigrationError("mlflow needs a database of its own: name it alone")
    return {name: known[name] for name in names or default}


def _to_postgresql(settings: Settings, url: str) -> dict[str, Callable[[], Part]]:
    from medassets.orchestration.migration.dagster_storage import dagster_part
    from medassets.orchestration.migration.databases import predictions_part
    from medassets.orchestration.migration.mlflow_store import mlflow_part

    sqlalchemy = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    parts: dict[str, Callable[[], Part]] = {}
    if settings.predictions_url is None:
        parts["predictions"] = lambda: predictions_part(settings.predictions_db, url)
    if settings.documents_url is None:
        parts["documents"] = lambda: _documents(settings, url)
    if settings.dagster_database is None and (instance_folder(settings) / "history" / "runs.db").exists():
        parts["dagster"] = lambda: dagster_part(instance_folder(settings), sqlalchemy)
    if settings.mlflow_url is None and _mlflow_file(settings).exists():
        parts["mlflow"] = lambda: mlflow_part(_mlflow_file(settings), sqlalchemy)
    return parts


def _to_s3(settings: Settings, url: str) -> dict[str, Callable[[], Part]]:
    from medassets.orchestration.migration.files import Folder, files_part, tree_at

    return {
        name: lambda name=name, folder=folder: files_part(  # type: ignore[misc]
            name, Folder(folder), tree_at(f"{url.rstrip('/')}/{name}")
        )
        for name, folder in (("lake", settings.lake_dir), ("bundles", settings.bundles_dir))
    }


def _to_local(settings: Settings) -> dict[str, Callable[[], Part]]:
    """Parts that lie elsewhere now; Dagster's and MLflow's storage do not come back."""
    from medassets.orchestration.migration.databases import predictions_part
    from medassets.orchestration.migration.files import Folder, files_part, tree_at

    parts: dict[str, Callable[[], Part]] = {}
    if predictions := settings.predictions_url:
        parts["predictions"] = lambda: predictions_part(predictions, settings.predictions_db)
        parts["documents"] = lambda: _documents(settings, None)
    if lake := settings.lake_url:
        parts["lake"] = lambda: files_part("lake", tree_at(lake), Folder(settings.lake_dir))
    if bundles := settings.bundles_url:
        parts["bundles"] = lambda: files_part("bundles", tree_at(bundles), Folder(settings.bundles_dir))
    return parts


def _documents(settings: Settings, url: str | None) -> Part:
    from medassets.orchestration.migration.databases import documents_part
    from medassets.stores.documents import SqliteDocuments, documents_at, open_documents

    target = documents_at(url) if url else SqliteDocuments(settings.home / "documents.db")
    return documents_part(open_documents(settings), target)


def _mlflow_file(settings: Settings) -> Path:
    return settings.home / "mlflow" / "mlflow.db"
