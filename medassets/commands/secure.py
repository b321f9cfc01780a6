"""``medassets keys`` and ``medassets audit``: who may ask, what seals the store, whether its chain is whole.

What belongs here: arguments and printing. What does not: the mechanisms (``serving.access``,
``serving.sealing``, ``serving.store``).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from medassets.commands.output import BAD_INPUT, AsJson, emit, err, failures, out, settings, stop

keys = typer.Typer(no_args_is_help=True, help="API keys, and the key that seals the store.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")


class RoleName(StrEnum):
    """What a key may do."""

    CLINICIAN = "clinician"
    SERVICE = "service"
    AUDITOR = "auditor"


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whom it is for, for example a ward or a system.")],
    role: Annotated[
        RoleName,
        typer.Option(
            help="clinician: ask, look up, feedback; service: ask, feedback; auditor: look up, audit."
        ),
    ] = RoleName.CLINICIAN,
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this of what the role may do; may be given repeatedly.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is printed this once; only its hash is kept."""
    from medassets.serving.access import KeyRing

    config = settings()
    try:
        key, token = KeyRing(config.api_keys).add(name, role.value, scope)  # type: ignore[arg-type]
    except ValueError as error:
        stop(BAD_INPUT, str(error), as_json=as_json)
    if as_json:
        emit({"key_id": key.key_id, "name": name, "role": role.value, "scopes": key.scopes, "token": token})
        return
    out.print(token, highlight=False, soft_wrap=True)
    if config.auth not in ("keys", "both"):
        err.print(f"MEDASSETS_AUTH={config.auth}: the service takes no keys as long as it is so")


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys, without the keys themselves."""
    from medassets.serving.access import KeyRing

    known = KeyRing(settings().api_keys).all()
    if as_json:
        emit([{"key_id": k.key_id, "name": k.name, "role": k.role, "scopes": k.scopes,
               "created": k.created, "revoked": k.revoked} for k in known])  # fmt: skip
        return
    table = Table("id", "name", "role", "scopes", "created", "revoked")
    for key in known:
        scopes = "all" if key.scopes is None else ", ".join(key.scopes)
        table.add_row(key.key_id, key.name, key.role, scopes, key.created, key.revoked or "")
    out.print(table)


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(help="As `medassets keys list` shows it.")]) -> None:
    """End a key at once, in running services as well."""
    from medassets.serving.access import KeyRing

    try:
        KeyRing(settings().api_keys).revoke(key_id)
    except KeyError:
        stop(BAD_INPUT, f"no key {key_id!r}")
    out.print(f"{key_id} is revoked")


@keys.command("new-secret")
def new_secret(
    file: Annotated[Path, typer.Argument(help="Key file; a new key goes before those it holds.")],
) -> None:
    """Write a key that seals the store; set MEDASSETS_KEY_FILE to the file, and keep a copy elsewhere."""
    from medassets.serving.files import PRIVATE, replace_file
    from medassets.serving.sealing import new_key, read_keys

    with failures():
        known = file.read_text(encoding="utf-8") if file.exists() and read_keys(file) else ""
    replace_file(file, f"{new_key()}\n{known}".encode(), PRIVATE)
    out.print(f"{file}: {len(read_keys(file))} keys, the first seals from now on")


@keys.command()
def rotate() -> None:
    """Seal everything kept anew with the first key of the file, after services were restarted with it."""
    config = settings()
    with failures():
        from medassets.serving.answering import open_store

        if config.key_file is None:
            stop(BAD_INPUT, "MEDASSETS_KEY_FILE is not set: `medassets keys new-secret FILE` writes one")
        count = open_store(config).rotate()
    out.print(
        f"{count} predictions sealed anew; older keys can leave the file once pseudonyms need them no more"
    )


@audit.command()
def verify(as_json: AsJson = False) -> None:
    """Walk the audit chain: is an entry changed, removed or reordered, or a prediction without one?"""
    config = settings()
    with failures(as_json):
        from medassets.serving.answering import open_store

        store = open_store(config)
        entries = store.verify()
        _, head = store.head()
    if as_json:
        emit({"entries": entries, "head": head, "whole": True})
        return
    out.print(f"{entries} entries, the chain is whole; head {head}", highlight=False, soft_wrap=True)
