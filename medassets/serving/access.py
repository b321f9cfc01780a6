"""Who may ask what: API keys with roles, kept as hashes, revocable.

What belongs here: keys and what each role may do. What does not: HTTP headers (``http``) and the record of
who asked (``store``).

A key may do what its role may, or the part of it that its scopes name. It is 256 random bits, so its SHA-256
cannot be guessed back and needs no slow hash. The file holds no key, only hashes; a revoked entry stays, for
the audit log names its id.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from medassets.serving.files import PRIVATE, replace_file
from medassets.serving.store import now

Role = Literal["clinician", "service", "auditor"]
Right = Literal["ask", "look up", "give feedback", "audit", "browse"]

RIGHTS: dict[Role, frozenset[Right]] = {
    "clinician": frozenset({"ask", "look up", "give feedback", "browse"}),
    "service": frozenset({"ask", "give feedback", "browse"}),
    "auditor": frozenset({"look up", "audit", "browse"}),
}
#: How each API key begins.
KEY_PREFIX = "mak"


class Gate(Protocol):
    """Who may pass: the API keys, an identity provider's tokens, or both."""

    def check(self, token: str | None, right: Right) -> str:
        """The caller's name for the audit log; raises ``AccessError``."""

    def holder(self, token: str) -> str | None:
        """Whose token it is, told at once, without asking elsewhere; ``None`` where that is not known."""


class AccessError(Exception):
    """The caller may not do this.

    Attributes:
        known: whether the caller is known; without a valid key the answer is 401, with one 403.
    """

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


@dataclass(frozen=True)
class Key:
    """An API key as kept."""

    key_id: str
    name: str
    role: Role
    digest: str
    created: str
    revoked: str | None = None
    scopes: tuple[Right, ...] | None = None

    @property
    def rights(self) -> frozenset[Right]:
        """What its holder may do."""
        rights = RIGHTS[self.role]
        return rights if self.scopes is None else rights & frozenset(self.scopes)


class KeyRing:
    """The keys of an installation, in a JSON file that only its owner can read.

    The file is read again when it changes, so that a revoked key ends at once, without a restart.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def add(self, name: str, role: Role, scopes: Collection[Right] | None = None) -> tuple[Key, str]:
        """Make a key.

        Args:
            name: whom it is for.
            role: what it may do at most.
            scopes: the part of the role's rights that it has; ``None`` for all.

        Returns:
            What is kept, and the key itself, which is told this once.

        Raises:
            ValueError: no such role, or a scope that the role does not have.
        """
        if role not in RIGHTS:
            raise ValueError(f"role {role!r}: one of {', '.join(RIGHTS)}")
        if beyond := sorted(set(scopes or ()) - RIGHTS[role]):
            raise ValueError(f"scope {beyond[0]!r}: the role {role} has {', '.join(sorted(RIGHTS[role]))}")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        given = None if scopes is None else tuple(sorted(scopes))
        key = Key(key_id, name, role, _digest(secret), now(), scopes=given)
        with self._changing() as keys:
            keys[key_id] = key
        return key, f"{KEY_PREFIX}_{key_id}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """End a key.

        Raises:
            KeyError: no such key.
        """
        with self._changing() as keys:
            keys[key_id] = replace(keys[key_id], revoked=keys[key_id].revoked or now())
            return keys[key_id]

    @contextmanager
    def lent(self, name: str, role: Role, scopes: Collection[Right] | None = None) -> Iterator[str]:
        """A key that ends with the block."""
        key, token = self.add(name, role, scopes)
        try:
            yield token
        finally:
            self.revoke(key.key_id)

    def all(self) -> list[Key]:
        """All keys, oldest first."""
        return sorted(self._read().values(), key=lambda key: (key.created, key.key_id))

    def check(self, token: str | None, right: Right) -> str:
        """Who holds this token.

        Returns:
            The actor's name for the audit log.

        Raises:
            AccessError: no valid key, or its role does not have the right.
        """
        key = self._key(token)
        if key is None:
            raise AccessError("give a valid API key as `Authorization: Bearer mak_...`", known=False)
        if right not in key.rights:
            limits = "" if key.scopes is None else " with this key's scopes"
            raise AccessError(f"the role {key.role} may not {right}{limits}", known=True)
        return f"{key.role}:{key.key_id}"

    def holder(self, token: str) -> str | None:
        """The id of a valid key, ``None`` for anything else."""
        key = self._key(token)
        return None if key is None else key.key_id

    def _key(self, token: str | None) -> Key | None:
        prefix, _, rest = (token or "").partition("_")
        key_id, _, secret = rest.partition("_")
        key = self._read().get(key_id)
        # Compared also where there is no such key: the answer takes the same time.
        same = hmac.compare_digest(_digest(secret), key.digest if key else _digest(""))
        return None if prefix != KEY_PREFIX or key is None or not same or key.revoked else key

    def _read(self) -> dict[str, Key]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
            self._keys, self._stamp = {entry["key_id"]: _key_of(entry) for entry in entries}, stamp
        return self._keys

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys, written when the block ends well; other processes wait, so that no change is lost."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = dict(self._read())
            yield keys
            self._write(keys)

    def _write(self, keys: dict[str, Key]) -> None:
        content = json.dumps([asdict(key) for key in keys.values()], indent=1)
        replace_file(self.path, content.encode(), PRIVATE)


def _key_of(entry: dict[str, Any]) -> Key:
    scopes = entry.get("scopes")
    return Key(**entry | {"scopes": None if scopes is None else tuple(scopes)})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
