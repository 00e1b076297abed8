"""What the modules around Elasticsearch need of a client, and what its answers mean.

`elasticsearch.py` implements `Api` with the client library; everything else speaks JSON bytes through it. An answer
that is no success becomes one of the program's errors here, so that nothing above knows a status code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from vedette_backends.errors import BackendError, RefusedError, UnavailableError

WRITE_SECONDS: Final = 30.0
READ_SECONDS: Final = 30.0
ADMIN_SECONDS: Final = 60.0
MAX_REASON: Final = 600

_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
_BLOCKED: Final = "cluster_block_exception"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status and the JSON bytes of the body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body. Raises UnavailableError for what is no JSON: something between us and the server answered."""
        try:
            return orjson.loads(self.body or b"null")
        except orjson.JSONDecodeError as error:
            raise UnavailableError(f"Elasticsearch answered {self.status} without JSON") from error


class Api(Protocol):
    """One cluster, as one user."""

    def call(
        self, method: str, target: str, body: bytes | None = None, *, seconds: float = READ_SECONDS, once: bool = False
    ) -> Answer:
        """Ask; any status comes back as an answer.

        Args:
            method: of HTTP.
            target: path and query, encoded.
            body: JSON, or lines of JSON where the path ends in `_bulk`.
            seconds: how long to wait.
            once: never ask a second node after a first one failed.

        Raises:
            UnavailableError: nobody answered.
            RefusedError: the server's certificate is not trusted, or the connection was closed by us.
        """


def good(answer: Answer) -> Any:
    """The JSON of a success; raises what `problem` makes of anything else."""
    if not answer.ok:
        raise problem(answer)
    return answer.json()


def found(answer: Answer) -> Any | None:
    """As `good`, and None for 404."""
    return None if answer.status == 404 else good(answer)


def problem(answer: Answer) -> BackendError:
    """The program's error for an answer that is no success."""
    kind, reason = error_of(answer)
    return problem_of(answer.status, kind, reason)


def problem_of(status: int, kind: str, reason: str) -> BackendError:
    """The program's error for a status, a type of Elasticsearch's exceptions, and its words."""
    said = f"Elasticsearch answers {status} {kind}: {reason}".rstrip(": ")
    if status in _LATER and not (kind == _BLOCKED and status == 429):
        # A full disk blocks an index with 429; that does not pass by itself. 503 is a cluster that has no master yet.
        return UnavailableError(said)
    return RefusedError(said)


def error_of(answer: Answer) -> tuple[str, str]:
    """(type, reason) of the error in an answer; the most telling ones, bounded."""
    try:
        body = orjson.loads(answer.body or b"null")
    except orjson.JSONDecodeError:
        return "", ""
    error = body.get("error") if isinstance(body, dict) else None
    return describe(error)


def describe(error: Any) -> tuple[str, str]:
    """(type, reason) of one error object, with the words of its root or cause where they say more."""
    if isinstance(error, str):
        return "", error[:MAX_REASON]
    if not isinstance(error, Mapping):
        return "", ""
    kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
    roots = error.get("root_cause")
    if kind.endswith("phase_execution_exception") and isinstance(roots, list) and roots:
        return describe(roots[0])
    cause = error.get("caused_by")
    if isinstance(cause, Mapping) and cause.get("reason") and str(cause["reason"]) not in reason:
        reason = f"{reason} ({cause['reason']})"
    return kind, reason[:MAX_REASON]


def quoted(text: str) -> str:
    """A name as part of a path."""
    return quote(text, safe="", errors="replace")


def dumps(value: Any) -> bytes:
    """JSON."""
    return orjson.dumps(value)
