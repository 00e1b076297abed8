"""`Resources`: objects of a Kubernetes cluster that are not ours, as plain manifests, and questions about people.

Only what runs in a cluster needs it: the operator makes Deployments, the web UI asks what somebody may do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the API server knows by a token.

    Attributes:
        user: `system:serviceaccount:shop:vedette-responder`, `jane@example.org`.
        uid: tells users of one name apart over time; may be empty.
        extra: what else the authenticator said, for reviews of access.
    """

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Lease(Protocol):
    """A Lease of coordination.k8s.io, for what only one process may do. One thread uses it.

    A process that holds it renews it every third of its duration and stops working when `held` is false. Nobody's wall
    clock counts: a rival takes it over after it saw no renewal for the whole duration, by its own steady clock.
    """

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else holds it now."""

    @property
    def holder(self) -> str:
        """Who held it when it was looked at last, "" for nobody."""

    def acquire(self) -> bool:
        """Try once to become or stay the holder. Raises UnavailableError, RefusedError."""

    def renew(self) -> bool:
        """Stay the holder; false when somebody else is. Raises UnavailableError, RefusedError; `held` still counts."""

    def release(self) -> None:
        """Let others have it at once; no error when it is not held. Raises UnavailableError, RefusedError."""


class Resources(Protocol):
    """Any object, by apiVersion and kind.

    All methods may raise UnavailableError (no connection, 429, 5xx) and RefusedError (the server's message says why:
    rights, a schema, an admission policy). `namespace` is "" for what belongs to none.
    """

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        """Create or change by server-side apply; returns what the object is now.

        Fields that `manager` applied before and now leaves out are removed; those of others stay.

        Raises:
            ConflictError: another manager owns a field and `force` is false, or `metadata.resourceVersion` is given and
                not the current one.
            NotFoundError: the namespace or the kind does not exist.
        """

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object; None when it, or its kind, does not exist."""

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind, of all namespaces for None, by namespace and name; `labels` is a selector, `a=b,c`.

        Raises:
            NotFoundError: the kind does not exist.
        """

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Remove; what it owns goes in the background. No error when there is none."""

    def patch(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        type: Literal["merge", "json"] = "merge",  # noqa: A002 # the API's own word
        manager: str = ...,
    ) -> dict[str, Any]:
        """A JSON merge patch (RFC 7396) or JSON patch (RFC 6902); returns what the object is now.

        Raises:
            NotFoundError: the object does not exist.
            ConflictError: the body names a resourceVersion that is not the current one.
        """

    def record_event(
        self,
        regarding: Mapping[str, Any],
        *,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002 # the API's own word
        action: str = "Reconcile",
        reporter: str = ...,
    ) -> None:
        """An Event that `kubectl describe` shows with the object `regarding`; a repeated one is counted up."""

    def review_token(self, token: str, audiences: Sequence[str] = ()) -> Identity | None:
        """Who the bearer of a token is; None when the token counts for nothing, or for none of the audiences."""

    def review_access(
        self,
        identity: Identity,
        verb: str,
        group: str,
        resource: str,
        namespace: str,
        name: str = "",
        subresource: str = "",
    ) -> tuple[bool, str]:
        """Whether somebody may do it, and why (the authorizer's words, often none). `namespace` "" means in all."""

    def lease(self, namespace: str, name: str, *, holder: str, seconds: int = 15) -> Lease:
        """A Lease of that name, for a holder with this identity; makes no request."""

    def close(self) -> None:
        """Release connections."""
