"""``medassets doctor``: what of this installation works, and what to do about the rest.

What belongs here: checks that change nothing. What does not: repairs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

import typer
from rich.table import Table

from medassets.commands.output import FAILURE, AsJson, emit, out, settings
from medassets.settings import Settings

#: A run on the public releases keeps about 2 GB.
FREE_GIGABYTES = 5
Level = Literal["ok", "note", "failed"]


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    check: str
    level: Level
    detail: str


def doctor(as_json: AsJson = False) -> None:
    """Check Python, packages, sources, disk, ports, bundle, prediction store, access, keys, cache."""
    config = settings()
    findings = list(examine(config))
    if as_json:
        emit({"findings": [asdict(finding) for finding in findings]})
    else:
        table = Table("check", "", "detail")
        colour = {"ok": "green", "note": "yellow", "failed": "red"}
        for finding in findings:
            level = f"[{colour[finding.level]}]{finding.level}[/]"
            table.add_row(finding.check, level, finding.detail)
        out.print(table)
    if any(finding.level == "failed" for finding in findings):
        raise typer.Exit(FAILURE)


def examine(config: Settings) -> Iterator[Finding]:
    """Run all checks."""
    version = sys.version.split()[0]
    right = sys.version_info[:2] == (3, 11)
    yield Finding(
        "python", "ok" if right else "failed", version if right else f"{version}: medassets needs 3.11"
    )
    trains = find_spec("dagster") is not None
    yield _packages("platform" if trains else "")
    yield from _servers()
    if trains:
        yield from _sources(config)
    else:
        yield Finding(
            "training", "note", "not installed: this machine only answers, from bundles made elsewhere"
        )
    yield _disk(config)
    yield from _faults(config)
    yield from _ports(config)
    yield _bundle(config)
    yield _store(config)
    yield _seal(config)
    yield from _access(config)
    yield from _cache(config)
    yield from _challenger(config)


def _servers() -> Iterator[Finding]:
    """Programs of `medassets up`, by profile."""
    from medassets.deploying.native import missing_programs
    from medassets.deploying.stack import STACK_PROFILES

    for profile in STACK_PROFILES:
        lost = missing_programs(profile)
        detail = f"missing: {', '.join(lost)}" if lost else "all there"
        yield Finding(f"programs of profile {profile}", "note" if lost else "ok", detail)


def _packages(extra: str) -> Finding:
    from packaging.requirements import Requirement

    wrong = []
    for text in metadata.requires("medassets") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    if wrong:
        return Finding("packages", "failed", "; ".join(wrong) + ": run `make install`")
    return Finding("packages", "ok", "as pyproject.toml asks for")


def _sources(config: Settings) -> Iterator[Finding]:
    from medassets.ingest.sources import resolve
    from medassets.knowledge.quarantine import SourceError

    if config.origin == "download":
        yield Finding(
            "sources", "note", f"origin download: fetched into {config.download_dir} by `medassets run`"
        )
        return
    try:
        found = resolve(config, show_progress=False)
    except SourceError as error:
        yield Finding("sources", "failed", str(error))
        return
    for name, source in found.items():
        detail = source.origin if source.path is None else f"{source.origin}: {source.path}"
        yield Finding(f"source {name}", "note" if source.origin == "absent" else "ok", detail)


def _disk(config: Settings) -> Finding:
    place = config.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    detail = f"{free:.0f} GB free at {place}"
    enough = free >= FREE_GIGABYTES
    return Finding(
        "disk", "ok" if enough else "failed", detail if enough else f"{detail}: {FREE_GIGABYTES} GB needed"
    )


def _faults(config: Settings) -> Iterator[Finding]:
    """What would keep the service or a run from starting, and brokers that do not answer."""
    from medassets.deploying.preflight import Fault, brokers, faults

    both = [*faults(config, "serve"), *faults(config, "run")]
    found: dict[Fault, None] = dict.fromkeys(fault for fault in both if fault.what != "disk")
    for fault in (*found, *brokers(config)):
        yield Finding(fault.what, "failed" if fault.stops else "note", fault.detail)
    if not found:
        yield Finding("clock, certificates, lake, stores", "ok", "nothing that would keep it from starting")


def _ports(config: Settings) -> Iterator[Finding]:
    from medassets.commands.server import port_is_free

    for name, port in (("API", config.api_port), ("Dagster UI", config.ui_port)):
        free = port_is_free(config.api_host, port)
        yield Finding(
            f"port of the {name}", "ok" if free else "note", f"{port} is {'free' if free else 'in use'}"
        )


def _bundle(config: Settings) -> Finding:
    from medassets.serving.bundle import BundleError, latest_bundle, load_bundle
    from medassets.serving.signing import pinned_keys

    if not config.bundles_dir.exists():
        return Finding("bundle", "note", "none yet: `medassets run` makes one")
    try:
        bundle = load_bundle(latest_bundle(config.bundles_dir))
        key = pinned_keys(config).check(bundle.directory)
    except BundleError as error:
        return Finding("bundle", "failed", str(error))
    count = len(bundle.manifest.files)
    return Finding("bundle", "ok", f"{bundle.version}, {count} files as its manifest says, signed with {key}")


def _store(config: Settings) -> Finding:
    from medassets.serving.answering import open_store
    from medassets.serving.store import NoPredictionError, StoreError

    kind = "PostgreSQL" if config.predictions_url else "SQLite"
    try:
        entries = open_store(config).verify()
    except NoPredictionError:
        return Finding("predictions", "note", f"none yet ({kind})")
    except StoreError as error:
        return Finding("predictions", "failed", str(error))
    return Finding("predictions", "ok", f"{entries} audit entries in {kind}, chain whole")


def _seal(config: Settings) -> Finding:
    from medassets.serving.answering import open_sealer
    from medassets.serving.store import StoreError

    try:
        sealer = open_sealer(config)
    except StoreError as error:
        return Finding("sealing", "failed", str(error))
    if sealer is None:
        return Finding(
            "sealing", "note", "no MEDASSETS_KEY_FILE: what is kept lies open, and no patient can be named"
        )
    return Finding("sealing", "ok", f"what is kept is sealed with {config.key_file}")


def _access(config: Settings) -> Iterator[Finding]:
    from medassets.serving.access import KeyRing

    if config.auth == "off":
        yield Finding("access", "note", "MEDASSETS_AUTH=off: everyone may ask; for development only")
    if config.auth in ("keys", "both"):
        count = sum(not key.revoked for key in KeyRing(config.api_keys).all())
        detail = f"{count} API keys" if count else "no API key yet: `medassets keys add NAME` makes one"
        yield Finding("access by key", "ok" if count else "note", detail)
    if config.auth in ("oidc", "both"):
        yield _provider(str(config.oidc.issuer))


def _provider(issuer: str) -> Finding:
    from medassets.serving.oidc import ProviderError, ProviderKeys, safe_address

    try:
        ProviderKeys(safe_address(issuer)).find(None)
    except (ProviderError, ValueError) as error:
        return Finding("access by token", "failed", str(error))
    return Finding("access by token", "ok", f"{issuer} gives its keys")


def _cache(config: Settings) -> Iterator[Finding]:
    from medassets.serving.cache import Shared, UnavailableError

    own = config.cache
    if own.url is None:
        detail = f"in the process, at most {own.entries} answers" if own.entries else "off"
        yield Finding("cache", "ok", detail)
        return
    try:
        Shared(own.url, own.seconds, None).get("doctor")
    except ValueError:
        yield Finding("cache", "failed", "MEDASSETS_CACHE__URL is no address of Redis")
    except UnavailableError:
        yield Finding("cache", "note", "Redis does not answer: services compute each answer meanwhile")
    else:
        sealed = "sealed" if config.key_file else "not sealed: there is no MEDASSETS_KEY_FILE"
        yield Finding("cache", "ok" if config.key_file else "note", f"in Redis, {sealed}")


def _challenger(config: Settings) -> Iterator[Finding]:
    from medassets.serving.bundle import BundleError, load_bundle
    from medassets.serving.challenge import read_challenge
    from medassets.serving.signing import pinned_keys

    try:
        challenge = read_challenge(config)
        if challenge is None:
            return
        load_bundle(config.bundles_dir / challenge.bundle)
        pinned_keys(config).check(config.bundles_dir / challenge.bundle)
    except BundleError as error:
        yield Finding("challenger", "failed", str(error))
        return
    what = "in the shadow" if challenge.in_shadow else f"{challenge.share:.0%} by {challenge.by}"
    yield Finding("challenger", "ok", f"{challenge.bundle}, {what}")
