"""Signing in with a Kubernetes token, and rights by Kubernetes' own rules.

The token lies in the session cookie, encrypted with a key that only web UIs have (AES-256-GCM; the key follows from the
session key, a Secret). So nothing is kept here: sessions survive a restart, and any of several replicas answers as long
as they share that Secret. The price is the cookie's size, hence `TOKEN_LIMIT`, and that signing out makes the browser
forget the cookie but cannot take it back: it ends with its token, or after `session_seconds`.

A token is asked about again every `TOKEN_SECONDS` (TokenReview), a right every `RIGHT_SECONDS` (SubjectAccessReview);
both answers are forgotten earlier when there are too many. What is remembered is named by a digest of the token. API
servers remember a good token for 10 s themselves, and an open stream looks every 15 s and stirs every 10: so a revoked
token shows nothing new after 55 s.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vedette_backends.cluster.resources import Identity
from vedette_webui import sessions
from vedette_webui.auth import GROUP, SEE, Right, Words
from vedette_webui.sessions import Session
from vedette_webui.settings import Settings

TOKEN_LIMIT: Final = 2_800
"""Characters: encrypted and encoded, with the cookie's name and attributes, they fit the 4,096 bytes of a cookie."""
TOKEN_SECONDS: Final = 20.0
RIGHT_SECONDS: Final = 10.0
TOKENS_KEPT: Final = 2_000
RIGHTS_KEPT: Final = 50_000
NAMESPACES_AT_ONCE: Final = 8
_NONCE: Final = 12
_PURPOSE: Final = b"vedette session"

ReviewToken = Callable[[str], Identity | None]
"""Who the bearer of a token is; None when it counts for nothing."""
ReviewAccess = Callable[[Identity, str, str, str, str, str], tuple[bool, str]]
"""(identity, verb, group, resource, namespace, name) → whether it is allowed, and what the authorizers say of it.

Namespace "" means in all, name "" any."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class KubernetesSession(Session):
    """Somebody whom the API server knows. `rights`: names what follows from this identity."""

    identity: Identity
    rights: str


class KubernetesAccounts:
    """Everybody whom the cluster knows; what they may do is asked of the cluster.

    Args:
        settings: with a session key that all replicas share.
        review_token: asks the API server.
        review_access: asks the API server.
        clock: steady seconds, for what is remembered.
    """

    words = Words(
        how="A token of the cluster; one of a ServiceAccount is made by `kubectl create token NAME -n NAMESPACE`.",
        unknown="The cluster does not know this token: it may have ended, or be meant for something else.",
        nothing=(
            "There is no namespace whose alerts you may list",
            "Whoever runs the cluster can bind you to the role of a viewer in a namespace.",
        ),
    )
    token_limit = TOKEN_LIMIT
    # Tokens cannot be guessed, and behind an ingress all clients look like one; this protects the API server.
    failures = 60

    def __init__(
        self,
        settings: Settings,
        review_token: ReviewToken,
        review_access: ReviewAccess,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._review_token = review_token
        self._review_access = review_access
        self._cipher = AESGCM(hashlib.blake2b(settings.session_key, digest_size=32, person=b"vedette cookie").digest())
        self._tokens: Remembered[str, Identity | None] = Remembered(TOKEN_SECONDS, TOKENS_KEPT, clock)
        self._rights: Remembered[tuple[str, Right, str, str], bool] = Remembered(RIGHT_SECONDS, RIGHTS_KEPT, clock)
        self._many = ThreadPoolExecutor(NAMESPACES_AT_ONCE, thread_name_prefix="reviews")

    def enter(self, token: str, now: float) -> str | None:
        """The cookie of a new session."""
        if not 0 < len(token) <= TOKEN_LIMIT or not token.isascii() or not token.isprintable():
            return None
        if self._identity(token) is None:
            return None
        kept = {"t": token, "e": int(now) + self._settings.session_seconds, "n": secrets.token_hex(8)}
        nonce = secrets.token_bytes(_NONCE)
        return sessions.encode(nonce + self._cipher.encrypt(nonce, json.dumps(kept).encode(), _PURPOSE))

    def read(self, cookie: str, now: float) -> Session | None:
        """The session in a cookie; None as soon as the cluster does not know its token any more."""
        raw = sessions.decode(cookie)
        if raw is None:
            return None
        try:
            kept = json.loads(self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _PURPOSE))
        except InvalidTag:
            return None
        if kept["e"] <= now:
            return None
        identity = self._identity(kept["t"])
        if identity is None:
            return None
        return KubernetesSession(
            user=identity.user,
            role="known to the cluster",
            token=_digest(kept["t"])[:16],
            expires=kept["e"],
            nonce=kept["n"],
            identity=identity,
            rights=_fingerprint(identity),
        )

    def visible(self, session: Session, names: Sequence[str]) -> list[str]:
        """Those whose alerts the person may list; one question where that is all of them."""
        if self.allows(session, SEE, ""):
            return list(names)
        answers = self._many.map(lambda name: self.allows(session, SEE, name), names)
        return [name for name, allowed in zip(names, answers, strict=True) if allowed]

    def allows(self, session: Session, right: Right, namespace: str, name: str = "") -> bool:
        """Whether the cluster's rules allow it."""
        assert isinstance(session, KubernetesSession)

        def ask() -> bool:
            allowed, _ = self._review_access(session.identity, right.verb, GROUP, right.resource, namespace, name)
            return allowed

        return self._rights.get((session.rights, right, namespace, name), ask)

    def refusal(self, _session: Session, right: Right, namespace: str) -> tuple[str, str]:
        """Names the right as a role would."""
        message = f"You may not {right} in {namespace}"
        hint = (
            f"It takes a role with the verb {right.verb} on {right.resource} of the group {GROUP}, "
            f"bound in the namespace {namespace}."
        )
        return message, hint

    def _identity(self, token: str) -> Identity | None:
        return self._tokens.get(_digest(token), lambda: self._review_token(token))


class Remembered(Generic[Key, Value]):
    """Answers of the last seconds; threads may share it.

    Args:
        seconds: that an answer counts.
        most: answers kept; the oldest are forgotten first.
        clock: steady seconds.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key, ask: Callable[[], Value]) -> Value:
        """The answer that is remembered, or a fresh one; what asking raises is not remembered."""
        with self._lock:
            found = self._answers.get(key)
        # The time before asking counts: what was taken away while the answer was on its way is not kept for longer.
        now = self._clock()
        if found is not None and now - found[0] < self._seconds:
            return found[1]
        answer = ask()
        with self._lock:
            self._answers.pop(key, None)
            self._answers[key] = (now, answer)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        return answer

    def __len__(self) -> int:
        return len(self._answers)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _fingerprint(identity: Identity) -> str:
    """Equal for identities that every authorizer must treat alike."""
    extra = sorted((name, list(values)) for name, values in identity.extra.items())
    return _digest(json.dumps([identity.user, identity.uid, sorted(identity.groups), extra]))
