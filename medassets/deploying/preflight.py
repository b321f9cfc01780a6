"""What would make a service only half work, found before it starts, each with what to do.

What belongs here: looking at what the settings name: databases, brokers, certificates, the disk, the clock,
the lake's format. What does not: what a running service does when one of them fails later (it refuses the
request and says so), and repairs.
"""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from medassets.deploying.health import fault
from medassets.deploying.native import LEAST_FREE
from medassets.settings import Settings

#: Two clocks of one site may differ by this much.
CLOCK_SLACK = timedelta(minutes=5)
#: A certificate with less time left than this is named before it expires.
CERTIFICATE_WARNING = timedelta(days=14)
#: After so long without a record, a clock that runs ahead is as likely as an installation that rested.
LONG_IDLE = timedelta(days=180)
SET_CLOCK = "set the clock (`timedatectl set-ntp true`)"
CONNECT_SECONDS = 5
#: A file that an S3 store is asked for; whether it is there does not matter.
PROBE = "format.json"
Purpose = Literal["serve", "run", "up"]


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Attributes:
        what: what it concerns.
        detail: what is wrong and what to do, in one sentence.
        stops: whether nothing may start; else it is only worth knowing.
    """

    what: str
    detail: str
    stops: bool = True


def faults(settings: Settings, purpose: Purpose, now: datetime | None = None) -> list[Fault]:
    """Everything that is wrong for a purpose.

    Args:
        settings: of the installation.
        purpose: ``serve`` looks at the stores of answers, ``run`` at those of data, ``up`` at neither: it
            starts them itself.
        now: the time, for tests.
    """
    now = now or datetime.now(UTC)
    found = [*_disk(settings.home), *_clock(settings, now), *_certificates(settings, now)]
    if purpose != "serve":
        found += _lake(settings)
    if purpose == "serve":
        found += _database("MEDASSETS_PREDICTIONS_URL", settings.predictions_url, now)
        found += _cache(settings.cache.url)
    if purpose == "run":
        found += _objects("MEDASSETS_LAKE_URL", settings.lake_url)
        found += _objects("MEDASSETS_BUNDLES_URL", settings.bundles_url)
        found += _database("MEDASSETS_DAGSTER_DATABASE", settings.dagster_database, now)
        found += _database("MEDASSETS_MLFLOW_URL", settings.mlflow_url, now)
    return found


def _disk(home: Path) -> Iterator[Fault]:
    place = home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        yield Fault(
            "disk",
            f"{free / 1e9:.1f} GB free at {place}, {LEAST_FREE / 1e9:.0f} GB needed: remove old bundles "
            "(`medassets bundle list`) or logs, or move MEDASSETS_HOME to a larger disk",
        )


def _clock(settings: Settings, now: datetime) -> Iterator[Fault]:
    known = newest_known(settings)
    if known is None:
        return
    if now < known - CLOCK_SLACK:
        yield Fault(
            "clock",
            f"the clock says {_minute(now)} UTC, but this installation worked at {_minute(known)}: "
            f"{SET_CLOCK}, or answers and audit entries would lie in a wrong order; where it is right now "
            "and ran ahead then, set MEDASSETS_CLOCK_CHECK=off until that time has come",
            stops=settings.clock_check == "on",
        )
    elif now > known + LONG_IDLE:
        yield Fault(
            "clock",
            f"the clock says {now:%Y-%m-%d}, and nothing was recorded since {known:%Y-%m-%d}: if it runs "
            f"ahead, {SET_CLOCK} before anything is recorded at a wrong time",
            stops=False,
        )


def newest_known(settings: Settings) -> datetime | None:
    """The latest instant at which this installation is known to have worked, by its own records."""
    from medassets.serving.bundle import BundleError, latest_bundle, read_manifest
    from medassets.serving.store import PredictionStore, StoreError

    instants: list[datetime] = []
    # What is wrong with bundle or store is said where they are used.
    with suppress(BundleError):
        instants.append(read_manifest(latest_bundle(settings.bundles_dir)).created)
    if settings.predictions_url or settings.predictions_db.exists():
        with suppress(StoreError):
            store = PredictionStore(settings.predictions_url or settings.predictions_db)
            newest = store.database.read("SELECT at FROM audit ORDER BY seq DESC LIMIT 1")
            instants += [datetime.fromisoformat(at) for (at,) in newest]
            store.close()
    return max((i if i.tzinfo else i.replace(tzinfo=UTC) for i in instants), default=None)


def _certificates(settings: Settings, now: datetime) -> Iterator[Fault]:
    for name, file in certificates(settings):
        if not file.is_file():
            yield Fault(f"certificate of {name}", f"{file} is not there: put it there or correct the setting")
            continue
        try:
            until = expires(file)
        except ValueError as error:
            yield Fault(f"certificate of {name}", f"{file} holds no certificate: {error}")
            continue
        if until < now:
            yield Fault(
                f"certificate of {name}", f"{file} expired on {until:%Y-%m-%d}: renew it, then start again"
            )
        elif until < now + CERTIFICATE_WARNING:
            yield Fault(
                f"certificate of {name}", f"{file} expires on {until:%Y-%m-%d}: renew it", stops=False
            )


def certificates(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Certificate files that the settings name, with the setting's variable."""
    from psycopg import conninfo

    for name in ("predictions_url", "dagster_database", "mlflow_url"):
        url = getattr(settings, name)
        if url and url.startswith("postgresql"):
            parts = conninfo.conninfo_to_dict(url.replace("+psycopg2", ""))
            for part in ("sslcert", "sslrootcert"):
                if (file := parts.get(part)) and file != "system":
                    yield f"MEDASSETS_{name.upper()}", Path(str(file))
    for option in ("ssl.ca.location", "ssl.certificate.location"):
        if file := settings.stream.kafka_options.get(option):
            yield "MEDASSETS_STREAM__KAFKA_OPTIONS", Path(file)


def expires(file: Path) -> datetime:
    """When the first certificate of a PEM file to expire does.

    Raises:
        ValueError: it holds none.
    """
    from cryptography import x509

    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(file.read_bytes()))


def _database(variable: str, url: str | None, now: datetime) -> Iterator[Fault]:
    """Connect once, as the service would; the server's clock is the one to compare with."""
    if url is None or not url.startswith("postgres"):
        return
    import psycopg
    from psycopg import conninfo

    name = f"database of {variable}"
    try:
        address = url.replace("+psycopg2", "")
        limit = conninfo.conninfo_to_dict(address).get("connect_timeout") or CONNECT_SECONDS
        with psycopg.connect(conninfo.make_conninfo(address, connect_timeout=limit)) as connection:
            ((theirs,),) = connection.execute("SELECT clock_timestamp()")
    except psycopg.Error as error:
        yield Fault(name, f"{_first_line(error)}: {database_advice(str(error), variable)}")
        return
    if abs(theirs - now) > CLOCK_SLACK:
        yield Fault(
            "clock",
            f"the clock says {_minute(now)} UTC, that of the {name} {_minute(theirs.astimezone(UTC))}: "
            f"on the machine that is wrong, {SET_CLOCK}",
        )


def database_advice(message: str, variable: str) -> str:
    """What to do about a failed connection, by libpq's message."""
    text = message.lower()
    if "certificate" in text or "ssl error" in text:
        return "renew the server's certificate, or correct sslrootcert in the address"
    if "authentication failed" in text or "no password" in text or "role" in text:
        return f"correct user and password in {variable}"
    if "database" in text and "does not exist" in text:
        return f"make the database, or correct its name in {variable}"
    return f"start the server, or correct host and port in {variable}"


def _cache(url: str | None) -> Iterator[Fault]:
    if url is None:
        return
    import redis

    try:
        client = redis.Redis.from_url(
            url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS
        )
        client.ping()
        client.close()
    except redis.AuthenticationError as error:
        yield Fault("cache of MEDASSETS_CACHE__URL", f"{error}: correct user and password in the address")
    except (redis.RedisError, ValueError, ssl.SSLError) as error:
        yield Fault("cache of MEDASSETS_CACHE__URL", f"{error}: start the server, or correct the address")


def _lake(settings: Settings) -> Iterator[Fault]:
    from medassets.orchestration.lake_format import LakeFormatError, refuse_newer

    if settings.lake_url is None:
        try:
            refuse_newer(settings.lake_dir)
        except LakeFormatError as error:
            yield Fault("lake", str(error))


def _objects(variable: str, url: str | None) -> Iterator[Fault]:
    """Ask an S3 store for one small file, as the first step of a run would."""
    if url is None:
        return
    from medassets.stores.objects import ObjectError, ObjectStore

    name = f"store of {variable}"
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    # First: the client itself would try for a minute.
    if endpoint.port and (wrong := fault(f"tcp:{endpoint.hostname}:{endpoint.port}")) is not None:
        yield Fault(name, f"{wrong}: start it, or correct AWS_ENDPOINT_URL")
        return
    try:
        ObjectStore(url).get_bytes(PROBE)
    except ObjectError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            advice = "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what they may do"
            yield Fault(name, f"{_first_line(error)}: {advice}")


def brokers(settings: Settings) -> Iterator[Fault]:
    """Brokers that do not answer; who does not stream needs none, so they stop nothing."""
    for server in settings.stream.kafka_servers.split(","):
        address = urlsplit(f"//{server.strip().split('://')[-1]}")
        yield from _broker("MEDASSETS_STREAM__KAFKA_SERVERS", address.hostname, address.port or 9092)
    yield from _broker("MEDASSETS_STREAM__MQTT_HOST", settings.stream.mqtt_host, settings.stream.mqtt_port)


def _broker(variable: str, host: str | None, port: int) -> Iterator[Fault]:
    if (wrong := fault(f"tcp:{host}:{port}")) is not None:
        yield Fault(f"broker of {variable}", f"{wrong}: start it, or correct the address", stops=False)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
