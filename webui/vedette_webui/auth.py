"""Who may sign in and what they may do: the protocol, and the accounts of the embedded mode.

Pages ask for rights as Kubernetes names them, a verb and a resource of the group `vedette.dev`, wherever they run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from vedette_webui import sessions
from vedette_webui.sessions import Session
from vedette_webui.settings import ROLES, Settings

GROUP: Final = "vedette.dev"


class Right(NamedTuple):
    """`acknowledge` `alerts`. Resources are those of the custom resources, and events, alerts, deadletters, notes."""

    verb: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


SEE: Final = Right("list", "alerts")
"""Whoever has it in a namespace is offered the namespace."""


@dataclass(frozen=True, slots=True)
class Words:
    """What people are told.

    Attributes:
        how: below the sign-in form: where a token comes from.
        unknown: a token that counts for nothing.
        nothing: there is no namespace to show, and what to do.
    """

    how: str
    unknown: str
    nothing: tuple[str, str]


class Authenticator(Protocol):
    """Decides about people. Called from several threads; may raise BackendError, which ends no session."""

    @property
    def words(self) -> Words:
        """What people are told."""

    @property
    def token_limit(self) -> int:
        """Characters of the longest token."""

    @property
    def failures(self) -> int:
        """Wrong tokens that one client may send in a minute."""

    def enter(self, token: str, now: float) -> str | None:
        """The cookie of a new session; None when the token counts for nothing."""

    def read(self, cookie: str, now: float) -> Session | None:
        """The session in a cookie; None when it is forged or over. `now`: seconds since the epoch."""

    def visible(self, session: Session, names: Sequence[str]) -> list[str]:
        """Those of the namespaces that the person may see."""

    def allows(self, session: Session, right: Right, namespace: str, name: str = "") -> bool:
        """Whether the person has a right in a namespace, on one object when it is named."""

    def refusal(self, session: Session, right: Right, namespace: str) -> tuple[str, str]:
        """What to say to somebody who lacks the right, and what they can do."""


_READ: Final = frozenset(
    Right(verb, resource)
    for verb in ("get", "list")
    for resource in ("events", "alerts", "deadletters", "notes", "incidents", "alertrules", "logsources")
)
_WORK: Final = frozenset(
    {
        Right("acknowledge", "alerts"),
        Right("dispose", "alerts"),
        Right("create", "notes"),
        Right("create", "incidents"),
        Right("update", "incidents"),
        Right("patch", "incidents"),
    }
)
_MEND: Final = frozenset({Right("replay", "deadletters"), Right("dispose", "deadletters")})
RIGHTS: Final[Mapping[str, frozenset[Right]]] = {
    "viewer": _READ,
    "responder": _READ | _WORK,
    "engineer": _READ | _WORK | _MEND,
}
"""Role of an account → rights, in every namespace."""


class Accounts:
    """The accounts in the settings: a token each, and a role that counts everywhere."""

    words = Words(
        how="The link that `vedette up` prints signs you in by itself.",
        unknown="This token is not known. `vedette up` prints a link with the right one.",
        nothing=("There is no namespace yet", "Put manifests into the folder that `vedette up` watches."),
    )
    token_limit = 512
    failures = 10

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def enter(self, token: str, now: float) -> str | None:
        """The cookie of a new session."""
        account = sessions.account_of(self._settings, token[: self.token_limit])
        return None if account is None else sessions.issue(self._settings, account, now)

    def read(self, cookie: str, now: float) -> Session | None:
        """The session in a cookie."""
        return sessions.read(self._settings, cookie, now)

    def visible(self, _session: Session, names: Sequence[str]) -> list[str]:
        """All."""
        return list(names)

    def allows(self, session: Session, right: Right, _namespace: str, _name: str = "") -> bool:
        """Whether the role has the right."""
        return right in RIGHTS[session.role]

    def refusal(self, session: Session, right: Right, _namespace: str) -> tuple[str, str]:
        """Names the role."""
        role = next(role for role in ROLES if right in RIGHTS[role])
        message = f"This needs the role {role}, and you are {session.role}"
        return message, "Whoever runs Vedette can give you a token with that role."
