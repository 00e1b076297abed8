"""Why a request is refused: one class per answer, so that each route can tell it in its clients' dialect."""

from __future__ import annotations

from collections.abc import Sequence

MAX_TOLD = 20


class Refusal(Exception):  # noqa: N818 # an answer to the client, not a fault of the program
    """Root of all refusals; nothing of the request was taken.

    Attributes:
        status: of the HTTP answer.
        kind: Elasticsearch's name for the same failure, which its clients know.
        reason: what is wrong, one sentence.
        problems: details that name a line each, the first of them.
        retry_after: seconds after which the same request may succeed; None where it never will.
        close: the connection cannot be used again, because the body was not read to its end.
    """

    status = 400
    kind = "illegal_argument_exception"

    def __init__(
        self, reason: str, *, problems: Sequence[str] = (), retry_after: int | None = None, close: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problems = tuple(problems)
        self.retry_after = retry_after
        self.close = close


class BadRequest(Refusal):
    """The body or a header cannot be understood."""

    kind = "parse_exception"


class Unauthorized(Refusal):
    """No token, or one that no source has."""

    status = 401
    kind = "security_exception"


class Slow(Refusal):
    """The body did not arrive in time."""

    status = 408
    kind = "timeout_exception"


class TooLarge(Refusal):
    """The request, or one event in it, is larger than its limit."""

    status = 413
    kind = "content_too_long_exception"


class UnsupportedEncoding(Refusal):
    """A Content-Encoding that the gateway does not read."""

    status = 415
    kind = "media_type_header_exception"


class TooMany(Refusal):
    """The source exceeds its rate or its share, or the address failed to authenticate too often."""

    status = 429
    kind = "es_rejected_execution_exception"


class Unavailable(Refusal):
    """The gateway or the broker behind it cannot take more now."""

    status = 503
    kind = "unavailable_shards_exception"


def told(problems: Sequence[str], total: int) -> list[str]:
    """The first problems, and how many there are besides."""
    shown = list(problems[:MAX_TOLD])
    if total > len(shown):
        shown.append(f"and {total - len(shown)} more")
    return shown
