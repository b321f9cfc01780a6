"""``medassets bundle``: which bundles there are, which one is served, and the way back.

What belongs here: arguments and printing. What does not: the pointer (``serving.bundle``) and what a running
service makes of it (``serving.swap``).
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from medassets.commands.output import BAD_INPUT, AsJson, emit, failures, out, settings, stop
from medassets.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Bundles. A running service follows a change within seconds, without dropping a request.",
)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the bundles, newest first."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import latest_bundle, list_bundles

        known = list_bundles(config.bundles_dir)
        latest = latest_bundle(config.bundles_dir).name
    if as_json:
        emit(
            [
                {
                    "version": m.version, "created": m.created, "origin": m.settings_origin,
                    "profile": m.profile, "parts": m.parts, "latest": m.version == latest,
                }
                for m in known
            ]
        )  # fmt: skip
        return
    table = Table("", "version", "created", "origin", "profile", "parts")
    for m in known:
        mark = "served" if m.version == latest else ""
        table.add_row(mark, m.version, f"{m.created:%F %T}", m.settings_origin, m.profile, ", ".join(m.parts))
    out.print(table)


@app.command()
def use(
    version: Annotated[str, typer.Argument(help="As `medassets bundle list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Serve this bundle from now on, after verifying it."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import load_bundle, point_latest
        from medassets.serving.signing import pinned_keys

        load_bundle(config.bundles_dir / version)
        pinned_keys(config).check(config.bundles_dir / version)
        point_latest(config.bundles_dir, version)
        _end_challenge(config, of=version)
    _say(version, as_json)


@app.command()
def rollback(as_json: AsJson = False) -> None:
    """Serve the bundle that was served before the present one."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import roll_back
        from medassets.serving.signing import pinned_keys

        version = roll_back(config.bundles_dir, pinned_keys(config).check)
    _say(version, as_json)


@app.command()
def publish(
    version: Annotated[str | None, typer.Argument(help="Default: the latest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a bundle to MEDASSETS_BUNDLES_URL, where the machines that serve fetch it."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import latest_bundle, load_bundle
        from medassets.serving.bundle_store import publish_bundle

        directory = config.bundles_dir / version if version else latest_bundle(config.bundles_dir)
        bundle = load_bundle(directory)
        uploaded = publish_bundle(bundle, _store(config, as_json))
    if as_json:
        emit({"version": bundle.version, "uploaded": uploaded})
        return
    out.print(f"{bundle.version} is in {config.bundles_url}" + ("" if uploaded else ", and was before"))


@app.command()
def fetch(
    version: Annotated[str | None, typer.Argument(help="Default: the store's latest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a bundle from MEDASSETS_BUNDLES_URL, verify it, and serve it."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle_store import fetch_bundle

        bundle = fetch_bundle(_store(config, as_json), config.bundles_dir, version)
    _say(bundle.version, as_json)


def _store(config: Any, as_json: bool) -> Any:
    from medassets.stores.objects import ObjectStore

    if config.bundles_url is None:
        stop(BAD_INPUT, "MEDASSETS_BUNDLES_URL is not set: s3://bucket/prefix", as_json=as_json)
    return ObjectStore(config.bundles_url)


def _end_challenge(config: Settings, of: str) -> None:
    """A challenger that is served has nobody to challenge."""
    from medassets.serving.challenge import read_challenge, set_challenge

    challenge = read_challenge(config)
    if challenge is not None and challenge.bundle == of:
        set_challenge(config.bundles_dir, None)


class Assigned(StrEnum):
    """What is assigned to one of two bundles."""

    REQUEST = "request"
    CALLER = "caller"


@app.command()
def challenge(
    version: Annotated[str | None, typer.Argument(help="The challenger; none: show the challenge.")] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that it answers; 0: in the shadow.")
    ] = 0.0,
    by: Annotated[Assigned, typer.Option(help="Assign each request, or each caller.")] = Assigned.REQUEST,
    end: Annotated[bool, typer.Option("--end", help="End the challenge.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let another bundle answer beside the served one: a share of the requests, or all in the shadow."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import load_bundle
        from medassets.serving.challenge import Challenge, read_challenge, set_challenge
        from medassets.serving.signing import pinned_keys

        if (version or end) and config.challenger.bundle:
            stop(BAD_INPUT, "MEDASSETS_CHALLENGER__BUNDLE decides: change it there", as_json=as_json)
        if end:
            set_challenge(config.bundles_dir, None)
        elif version:
            load_bundle(config.bundles_dir / version)
            pinned_keys(config).check(config.bundles_dir / version)
            set_challenge(config.bundles_dir, Challenge(version, share, by.value))
        now = read_challenge(config)
    if as_json:
        emit(None if now is None else asdict(now))
    elif now is None:
        out.print("no bundle challenges the served one")
    else:
        what = "answers in the shadow" if now.in_shadow else f"answers {now.share:.0%}, assigned by {now.by}"
        out.print(f"{now.bundle} {what}", highlight=False)


VersionArgument = Annotated[
    str | None, typer.Argument(help="As `medassets bundle list` shows it; default: the served one.")
]


@app.command()
def verify(version: VersionArgument = None, as_json: AsJson = False) -> None:
    """Check a bundle: each file's sum, and who signed the manifest."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import load_bundle
        from medassets.serving.signing import pinned_keys

        bundle = load_bundle(_directory(config, version))
        key = pinned_keys(config).check(bundle.directory)
    files = len(bundle.manifest.files)
    if as_json:
        emit({"version": bundle.version, "files": files, "signed_by": key})
        return
    out.print(f"{bundle.version}: {files} files as its manifest says, signed with key {key}", highlight=False)


@app.command()
def sign(version: VersionArgument = None, as_json: AsJson = False) -> None:
    """Sign a bundle of this installation, after comparing its files with the manifest."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import load_bundle, sign_bundle
        from medassets.serving.signing import open_signer

        bundle = load_bundle(_directory(config, version))
        signer = open_signer(config)
        sign_bundle(bundle.directory, signer.sign)
    if as_json:
        emit({"version": bundle.version, "signed_by": signer.key_id})
        return
    out.print(f"{bundle.version} is signed with key {signer.key_id}", highlight=False)


@app.command("new-key")
def new_key(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Trust the old keys no more, also in bentos built before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new signing key, trust it, and sign anew each kept bundle that the old keys vouch for."""
    config = settings()
    with failures(as_json):
        from medassets.serving.signing import change_key

        done = change_key(config, drop_old=drop_old)
    if as_json:
        emit({"key": done.key_id, "signed": done.signed, "left": done.left, "dropped": done.dropped})
        return
    out.print(f"key {done.key_id} signs from now on; {len(done.signed)} bundles signed anew", highlight=False)
    for left, reason in done.left.items():
        out.print(f"  {left} was left: {reason}", highlight=False)
    kept = "" if drop_old else "; the old keys are still trusted, `--drop-old` ends that"
    out.print(f"restart services that run from a bento built before{kept}")


def _directory(config: Settings, version: str | None) -> Path:
    from medassets.serving.bundle import latest_bundle

    return config.bundles_dir / version if version else latest_bundle(config.bundles_dir)


def _say(version: str, as_json: bool) -> None:
    if as_json:
        emit({"version": version})
        return
    out.print(f"{version} is the latest: running services change to it within seconds")
