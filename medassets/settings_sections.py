"""Sections of the settings, each of one subject: ``MEDASSETS_<SECTION>__<NAME>``.

What belongs here: what a site changes about one subject. What does not: the class that reads the environment
(``settings``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, model_validator


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


class StreamSettings(BaseModel):
    """How symptom and device events come in from Kafka or MQTT and go to Delta in micro-batches."""

    batch_rows: PositiveInt = Field(20_000, description="most events of one micro-batch, a Delta commit each")
    batch_bytes: PositiveInt = Field(16_000_000, description="most payload bytes of one micro-batch")
    batch_seconds: float = Field(2.0, gt=0, description="oldest that an unwritten event may grow")
    duplicate_hours: float = Field(48.0, gt=0, description="how far back a repeated event id is recognized")
    duplicate_ids: PositiveInt = Field(2_000_000, description="most event ids remembered, the newest ones")
    oldest_days: PositiveInt = Field(366, description="an event older than this on arrival is set aside")
    ahead_seconds: NonNegativeInt = Field(300, description="how far a device's clock may run ahead")
    compact_every: PositiveInt = Field(200, description="commits after which small files are joined")
    kafka_servers: str = Field("127.0.0.1:9092", description="bootstrap servers")
    kafka_topic: str = Field("symptom-events", description="topic with the events")
    kafka_dead_topic: str | None = Field(
        None, description="topic for messages that are no event; default: the topic's name and .dead"
    )
    kafka_group: str | None = Field(
        None, description="consumer group that shares the partitions out; none: one process reads them all"
    )
    kafka_partitions: PositiveInt | None = Field(
        None, description="make the topic with so many partitions where the broker lacks it; default: refuse"
    )
    kafka_options: dict[str, str] = Field(
        {}, description='further librdkafka options as JSON, such as {"security.protocol": "ssl"}'
    )
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = Field(1883, ge=1, le=65535)
    mqtt_topic: str = Field("medassets/+/events", description="topic filter with the events")
    mqtt_client: str = Field("medassets", description="client id; names the broker's durable session")
    mqtt_user: str | None = None
    mqtt_password: str | None = Field(None, repr=False)
    mqtt_tls: bool = Field(False, description="TLS with the system's certificate authorities")
    mqtt_in_flight: int = Field(
        2000, ge=1, le=65535, description="unacknowledged messages that the broker may send ahead"
    )
    spool_messages: PositiveInt = Field(
        1_000_000, description="spooled messages at which the broker is made to wait"
    )


class MonitoringSettings(BaseModel):
    """What is looked at of the running service, and where its metrics are."""

    window_days: PositiveInt = Field(28, description="days of predictions that drift and accuracy look at")
    min_predictions: PositiveInt = Field(50, description="predictions that a drift report needs")
    service_url: str | None = Field(
        None, description="address whose /metrics is read; default: api_host and api_port"
    )
    prometheus_url: str | None = Field(
        None, description="Prometheus server that is asked for latency instead of the service"
    )


class RetrainingSettings(BaseModel):
    """When models are trained again, and what must hold before and after a new bundle serves."""

    accuracy: float = Field(0.85, ge=0, le=1, description="accuracy below which models are trained again")
    min_labels: PositiveInt = Field(50, description="confirmed or rejected predictions that it needs")
    drifted: PositiveInt = Field(3, description="drifted features that start a retraining")
    new_cases: NonNegativeInt = Field(
        1, description="new confirmed rare cases that start the update of their memory; 0: never"
    )
    new_patients: NonNegativeInt = Field(
        100, description="new confirmed patients with common conditions that start a retraining; 0: never"
    )
    every_days: NonNegativeInt = Field(90, description="age of the served bundle that starts one; 0: never")
    cool_down_hours: float = Field(24.0, ge=0, description="rest after a retraining of the common models")
    replays: PositiveInt = Field(200, description="logged requests that a challenger answers in the shadow")
    shadow_agreement: float = Field(
        0.8, ge=0, le=1, description="share of replayed requests whose first candidate must stay"
    )
    ab_labels: NonNegativeInt = Field(
        0, description="verdicts on the challenger's own answers that promotion waits for; 0: none"
    )
    ab_share: float = Field(
        0.1, ge=0, le=1, description="share of the requests that a challenger answers while it waits for them"
    )
    trial_days: PositiveInt = Field(14, description="days in which a new bundle may be taken back by itself")
    trial_labels: PositiveInt = Field(20, description="verdicts that taking back needs")
    trial_margin: float = Field(0.05, ge=0, description="accuracy that a new bundle may lose in its trial")


class OidcSettings(BaseModel):
    """The identity provider whose bearer tokens open the API (OpenID Connect)."""

    issuer: str | None = Field(None, description="its address; https, except on this machine")
    audience: str | None = Field(None, description="what a token's `aud` must name")
    role_claim: str = Field(
        "roles", description="claim with the roles; dots go down, as in realm_access.roles"
    )
    roles: dict[str, Literal["clinician", "service", "auditor"]] = Field(
        {"clinician": "clinician", "service": "service", "auditor": "auditor"},
        description="the claim's values as JSON, each with the role that it stands for",
    )
    leeway_seconds: NonNegativeInt = Field(30, description="how far the provider's clock may be off")


class CacheSettings(BaseModel):
    """Answers kept to be given again to the same request; each time with an id and audit entry of its own."""

    entries: NonNegativeInt = Field(1000, description="most answers kept in the process; 0: no cache")
    url: str | None = Field(
        None, repr=False, description="redis://... or rediss://... that services share, instead"
    )
    seconds: PositiveInt = Field(3600, description="how long an answer is given again")


class ChallengerSettings(BaseModel):
    """A second bundle beside the served one; without it, `medassets bundle challenge` decides."""

    bundle: str | None = Field(None, description="version of the bundle that challenges the served one")
    share: float = Field(
        0.0, ge=0, le=1, description="share of the requests that the challenger answers; 0: shadow mode"
    )
    by: Literal["request", "caller"] = Field(
        "request", description="what is assigned: each request, or each caller with all its requests"
    )


class RetentionSettings(BaseModel):
    """How long what nobody needs any more is kept; what the audit log leads to always stays."""

    remove: bool = Field(True, description="false: the scheduled asset only lists what would go")
    version_days: PositiveInt = Field(30, description="days that a replaced version of a table stays")
    event_days: PositiveInt | None = Field(
        None, description="days that symptom and device events are kept; default: for ever"
    )
    inbox_days: PositiveInt | None = Field(
        None,
        description="days that an inbox keeps files that were read; their day cannot be read again then; "
        "default: for ever",
    )
    letter_days: PositiveInt | None = Field(
        None, description="days that dead letters in the document store are kept; default: for ever"
    )
    bundle_days: PositiveInt = Field(180, description="days that a bundle that answered nothing is kept")
    bundles: PositiveInt = Field(5, description="newest bundles that are kept in any case")
