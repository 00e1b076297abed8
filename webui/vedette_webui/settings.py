"""What the web UI is told from outside: who may sign in, where it is reached, which build it is."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

ROLES = ("viewer", "responder", "engineer")
"""From least to most: a viewer reads, a responder works on alerts and incidents, an engineer also on dead letters."""


class Account(NamedTuple):
    """One person (or robot) who may sign in with a token.

    Attributes:
        user: the name that is written beside what they do.
        role: one of `ROLES`.
        sha256: hex digest of the token; the token itself is kept nowhere.
    """

    user: str
    role: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one web UI process.

    Attributes:
        accounts: who may sign in.
        public_url: scheme, host and port that people type; decides the cookie's name and whether it is `Secure`.
        version: shown in the page's foot.
        build: short id of the build, shown beside the version.
        hosts: further host names (without port) under which the page may be reached.
        session_key: signs the session cookies; keep it across restarts, or everybody signs in again.
        session_seconds: how long a session lasts.
        assets: folder that `scripts/assets` fills.
        embedded: whether this is `vedette up`; empty pages say what to do there.
    """

    accounts: Sequence[Account]
    public_url: str = "http://127.0.0.1:8420"
    version: str = "0"
    build: str = "dev"
    hosts: Sequence[str] = ()
    session_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    session_seconds: int = 12 * 3600
    assets: Path = Path(__file__).parent / "static" / "dist"
    embedded: bool = True

    @property
    def secure(self) -> bool:
        """Whether people reach the page by TLS."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host names a request may name; everything else is DNS rebinding."""
        public = urlsplit(self.public_url).hostname
        return frozenset({"localhost", "127.0.0.1", "::1", *self.hosts, *([public] if public else [])})

    @property
    def cookie(self) -> str:
        """Name of the session cookie; browsers share cookies between ports, so the address is part of it."""
        digest = hashlib.blake2b(self.public_url.encode(), digest_size=4).hexdigest()
        return f"__Host-vedette-{digest}" if self.secure else f"vedette-{digest}"
