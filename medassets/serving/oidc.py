"""Bearer tokens of the site's identity provider (OpenID Connect), beside or instead of API keys.

What belongs here: the provider's keys, what makes a token valid, and which role it stands for. What does not:
what a role may do (``access``) and HTTP headers (``http_parts``).

Followed: OpenID Connect Discovery 1.0 for the keys' address, RFC 7517 for the keys, RFC 7519 for the claims,
RFC 8725 for what to refuse: the algorithm is one of two and must suit the key's own type, so that neither
``none`` nor a public key used as a shared secret passes; issuer, audience, expiry and subject must be there.
The keys' address never comes from a token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from medassets.serving.access import KEY_PREFIX, RIGHTS, AccessError, Gate, KeyRing, Right, Role
from medassets.settings import Settings
from medassets.settings_sections import OidcSettings

#: Signature algorithm to the key type that it may be used with.
ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
DISCOVERY = "/.well-known/openid-configuration"
#: Seconds that fetched keys are used for before they are fetched anew.
KEYS_LAST = 3600.0
#: Seconds that they are still used for where that fails.
KEYS_SURVIVE = 86_400.0
#: Fewest seconds between two fetches for the sake of an unknown key: anyone can make up a key's name.
COOLDOWN = 10.0
#: Seconds to wait after a failed fetch: doubled each time, from the first to the second.
BACK_OFF = (1.0, 60.0)
_TIMEOUT = 3.0
_LONGEST_TOKEN = 16_384
_LONGEST_NAME = 128
_LEAST_RSA_BITS = 2048
_REASONS: tuple[tuple[type[jwt.InvalidTokenError], str], ...] = (
    (jwt.ExpiredSignatureError, "has expired"),
    (jwt.ImmatureSignatureError, "is not valid yet"),
    (jwt.InvalidIssuedAtError, "is not valid yet"),
    (jwt.InvalidAudienceError, "is not meant for this service"),
    (jwt.InvalidIssuerError, "does not come from this site's identity provider"),
    (jwt.MissingRequiredClaimError, "lacks a claim: iss, aud, sub and exp are needed"),
    (jwt.InvalidSignatureError, "has a wrong signature"),
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ProviderError(Exception):
    """The identity provider's keys cannot be had, so nobody's token can be checked."""


class ProviderKeys:
    """The identity provider's public keys, fetched when needed and kept.

    Args:
        issuer: the provider's address.
        clock: seconds, never going back.
        transport: in place of the network.
    """

    def __init__(
        self,
        issuer: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._issuer, self._clock = issuer, clock
        self._http = httpx.Client(timeout=_TIMEOUT, transport=transport)
        self._lock = threading.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._not_before, self._failures = 0.0, 0

    def find(self, name: str | None, *, fetch: bool = True) -> jwt.PyJWK | None:
        """The key of this name (``kid``), ``None`` where the provider has none.

        Args:
            name: as the token says; ``None`` where it does not, which does if there is but one key.
            fetch: whether the provider may be asked, which can take seconds.

        Raises:
            ProviderError: the provider cannot be asked, and its keys are not known.
        """
        if fetch:
            self._refresh(name)
        if self._fetched is None or self._clock() - self._fetched > KEYS_SURVIVE:
            if fetch:
                raise ProviderError(f"the keys of the identity provider {self._issuer} cannot be fetched now")
            return None
        return self._keys.get(name)

    def _refresh(self, name: str | None) -> None:
        with self._lock:
            at = self._clock()
            age = None if self._fetched is None else at - self._fetched
            due = age is None or age > KEYS_LAST or (name not in self._keys and age > COOLDOWN)
            if not due or at < self._not_before:
                return
            try:
                self._keys = self._fetch()
            except (httpx.HTTPError, ValueError, KeyError, TypeError, jwt.PyJWTError):
                self._not_before = at + min(BACK_OFF[0] * 2**self._failures, BACK_OFF[1])
                self._failures = min(self._failures + 1, 10)
            else:
                self._fetched, self._failures = at, 0

    def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        about = self._http.get(self._issuer.rstrip("/") + DISCOVERY).raise_for_status().json()
        if about["issuer"] != self._issuer:
            raise ValueError("the provider calls itself otherwise")
        listed = self._http.get(safe_address(about["jwks_uri"])).raise_for_status().json()["keys"]
        usable = [key for key in map(_usable, listed) if key is not None]
        if not usable:
            raise ValueError("the provider lists no key that can be used")
        keys: dict[str | None, jwt.PyJWK] = {key.key_id: key for key in usable if key.key_id}
        return keys | {None: usable[0]} if len(usable) == 1 else keys


class TokenGate:
    """Lets in who holds a valid token that names a role.

    Args:
        settings: of the provider.
        keys: the provider's keys; by default fetched from its address.

    Raises:
        ValueError: the provider's address is neither https nor on this machine.
    """

    def __init__(self, settings: OidcSettings, keys: ProviderKeys | None = None) -> None:
        if not settings.issuer or not settings.audience:
            raise ValueError("an identity provider needs issuer and audience")
        self._issuer, self._audience = safe_address(settings.issuer), settings.audience
        self._settings = settings
        self._keys = keys or ProviderKeys(self._issuer)

    def check(self, token: str | None, right: Right) -> str:
        """Who holds this token.

        Returns:
            Role and subject, for the audit log.

        Raises:
            AccessError: the token is not valid, or none of its roles has the right.
            ProviderError: it cannot be checked now.
        """
        claims = self._claims(token or "", fetch=True)
        roles = self._roles(claims)
        if not roles:
            raise AccessError("the token names no role that this service knows", known=True)
        for role in roles:
            if right in RIGHTS[role]:
                return f"{role}:oidc:{claims['sub'][:_LONGEST_NAME]}"
        raise AccessError(f"the role {roles[0]} may not {right}", known=True)

    def holder(self, token: str) -> str | None:
        """The subject of a token that keys at hand verify, ``None`` for anything else."""
        try:
            return f"oidc:{self._claims(token, fetch=False)['sub'][:_LONGEST_NAME]}"
        except AccessError:
            return None

    def _claims(self, token: str, *, fetch: bool) -> dict[str, Any]:
        if len(token) > _LONGEST_TOKEN:
            raise _invalid("is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _invalid("is not a token") from None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise _invalid(f"is signed otherwise than with {' or '.join(ALGORITHMS)}")
        key = self._keys.find(header.get("kid"), fetch=fetch)
        if key is None or key.key_type != ALGORITHMS[algorithm]:
            raise _invalid("is signed with a key that the identity provider does not list")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._settings.leeway_seconds,
                options={"require": ["iss", "aud", "sub", "exp"]},
            )
        except jwt.InvalidTokenError as error:
            found = [reason for kind, reason in _REASONS if isinstance(error, kind)]
            raise _invalid(found[0] if found else "cannot be verified") from None
        if not claims["sub"].isprintable():
            raise _invalid("has a subject that cannot be printed")
        return claims

    def _roles(self, claims: Mapping[str, Any]) -> list[Role]:
        given = _claim(claims, self._settings.role_claim)
        names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        known = self._settings.roles
        return [known[name] for name in names if isinstance(name, str) and name in known]


class Gates:
    """API keys and tokens side by side; a key is known by its beginning."""

    def __init__(self, keys: Gate, tokens: Gate) -> None:
        self._keys, self._tokens = keys, tokens

    def check(self, token: str | None, right: Right) -> str:
        """The caller's name; see both."""
        return self._for(token or "").check(token, right)

    def holder(self, token: str) -> str | None:
        """Whose key or token it is."""
        return self._for(token).holder(token)

    def _for(self, token: str) -> Gate:
        return self._keys if not token or token.startswith(f"{KEY_PREFIX}_") else self._tokens


def open_gate(settings: Settings) -> Gate | None:
    """What opens the API of this installation; ``None`` where everyone may come in.

    Raises:
        ValueError: the identity provider's address is neither https nor on this machine.
    """
    if settings.auth == "off":
        return None
    if settings.auth == "keys":
        return KeyRing(settings.api_keys)
    tokens = TokenGate(settings.oidc)
    return tokens if settings.auth == "oidc" else Gates(KeyRing(settings.api_keys), tokens)


def safe_address(url: str) -> str:
    """The same address.

    Raises:
        ValueError: keys fetched from there could be exchanged on the way.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"the identity provider's address {url} must begin with https")
    return url


def _usable(listed: Any) -> jwt.PyJWK | None:
    """A listed key, ``None`` for those that are not for such signatures."""
    if not isinstance(listed, dict) or listed.get("use", "sig") != "sig":
        return None
    kind = listed.get("kty")
    algorithm = next((name for name, needed in ALGORITHMS.items() if needed == kind), None)
    if algorithm is None or listed.get("alg", algorithm) != algorithm:
        return None
    if kind == "EC" and listed.get("crv") != "P-256":
        return None
    key = jwt.PyJWK.from_dict(listed, algorithm)
    return None if kind == "RSA" and key.key.key_size < _LEAST_RSA_BITS else key


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by name, or by a path into nested ones."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _invalid(reason: str) -> AccessError:
    return AccessError(f"the bearer token {reason}", known=False)
