"""Signed session cookies, CSRF tokens, and the brake on guessing: pure, the clock is an argument."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from vedette_webui.settings import Account, Settings

_MAC = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in. `expires`: seconds since the epoch; `token`: of the token's digest; `role`: for people."""

    user: str
    role: str
    token: str
    expires: int
    nonce: str


def account_of(settings: Settings, token: str) -> Account | None:
    """The account with this token; takes equally long for every wrong one."""
    digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    found = None
    for account in settings.accounts:
        if hmac.compare_digest(account.sha256, digest):
            found = account
    return found


def issue(settings: Settings, account: Account, now: float) -> str:
    """The cookie's value for a new session."""
    session = {
        "u": account.user,
        "r": account.role,
        "t": account.sha256[:16],
        "e": int(now) + settings.session_seconds,
        "n": secrets.token_hex(8),
    }
    payload = json.dumps(session, separators=(",", ":")).encode()
    return encode(_mac(settings, b"session", payload) + payload)


def read(settings: Settings, cookie: str, now: float) -> Session | None:
    """The session in a cookie; None when it is forged, has expired, or its token or role was taken away."""
    raw = decode(cookie)
    if raw is None or not hmac.compare_digest(raw[:_MAC], _mac(settings, b"session", raw[_MAC:])):
        return None
    fields = json.loads(raw[_MAC:])
    session = Session(fields["u"], fields["r"], fields["t"], fields["e"], fields["n"])
    still = any(
        (account.user, account.role, account.sha256[:16]) == (session.user, session.role, session.token)
        for account in settings.accounts
    )
    return session if still and session.expires > now else None


def csrf_token(settings: Settings, session: Session) -> str:
    """A token for this session's forms, masked anew each time so that compressed pages do not give it away."""
    secret = _mac(settings, b"csrf", session.nonce.encode())
    pad = secrets.token_bytes(_MAC)
    return encode(pad + bytes(a ^ b for a, b in zip(pad, secret, strict=True)))


def csrf_holds(settings: Settings, session: Session, token: str) -> bool:
    """Whether `csrf_token` made this token for this session."""
    raw = decode(token)
    if raw is None or len(raw) != 2 * _MAC:
        return False
    secret = bytes(a ^ b for a, b in zip(raw[:_MAC], raw[_MAC:], strict=True))
    return hmac.compare_digest(secret, _mac(settings, b"csrf", session.nonce.encode()))


class Brake:
    """Counts failures per key in a sliding window; above the limit, the key has to wait.

    Args:
        limit: failures permitted within `window` seconds.
        window: seconds.
        keys: keys remembered at most; the oldest are forgotten first.
    """

    def __init__(self, limit: int = 10, window: float = 60.0, keys: int = 10_000) -> None:
        self._limit = limit
        self._window = window
        self._keys = keys
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Seconds to wait before the next try; 0 when it may be made."""
        recent = [at for at in self._failures.get(key, ()) if at > now - self._window]
        return max(recent[-self._limit] + self._window - now, 0.0) if len(recent) >= self._limit else 0.0

    def failed(self, key: str, now: float) -> None:
        """Remember one failure."""
        recent = [at for at in self._failures.pop(key, ()) if at > now - self._window]
        self._failures[key] = [*recent[-self._limit :], now]
        while len(self._failures) > self._keys:
            self._failures.popitem(last=False)


def _mac(settings: Settings, purpose: bytes, payload: bytes) -> bytes:
    return hmac.digest(settings.session_key, purpose + b"\0" + payload, "sha256")


def encode(raw: bytes) -> str:
    """Bytes as a cookie or a form can hold them."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes | None:
    """What `encode` made; None for what it cannot have made, or is too short to carry a seal."""
    if len(text) > 4096:
        return None
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return raw if len(raw) > _MAC else None
