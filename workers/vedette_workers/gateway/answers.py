"""Refusals as responses: our own short JSON, and the shape that Elasticsearch's clients read."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vedette_workers.gateway.auth import CHALLENGE
from vedette_workers.gateway.errors import Refusal

PRODUCT = {"X-Elastic-Product": "Elasticsearch"}


class Json(Response):
    """A JSON response by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Bytes of the content."""
        return orjson.dumps(content)


def elastic(request: Request, content: Any, status: int = 200) -> Json:
    """A response that Elasticsearch's clients accept: the product header, and the media type that they asked for."""
    return Json(content, status, headers=PRODUCT | _media(request))


def native_refusal(refusal: Refusal) -> Json:
    """What `/events` answers."""
    content: dict[str, Any] = {"status": refusal.status, "error": refusal.reason}
    if refusal.problems:
        content["problems"] = list(refusal.problems)
    return Json(content, refusal.status, headers=_headers(refusal))


def elastic_refusal(request: Request, refusal: Refusal) -> Json:
    """What the routes of Elasticsearch answer."""
    content = error_body(refusal.status, refusal.kind, refusal.reason)
    return Json(content, refusal.status, headers=_headers(refusal) | PRODUCT | _media(request))


def error_body(status: int, kind: str, reason: str) -> dict[str, Any]:
    """Elasticsearch's body of an error."""
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def _headers(refusal: Refusal) -> dict[str, str]:
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    if refusal.close:
        headers["Connection"] = "close"
    return headers


def _media(request: Request) -> dict[str, str]:
    """The client's versioned media type given back, where it is one of the two that exist."""
    accept = request.headers.get("accept", "")
    for version in ("9", "8"):
        if accept == f"application/vnd.elasticsearch+json; compatible-with={version}":
            return {"Content-Type": f"application/vnd.elasticsearch+json;compatible-with={version}"}
    return {}
