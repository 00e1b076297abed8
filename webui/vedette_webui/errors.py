"""What went wrong, told to people: a page, or a toast where htmx asked; faults of ours get an id that is in the log."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vedette_backends.errors import BackendError, ConflictError, NotFoundError
from vedette_webui.visit import Desk, PageError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What a person reads of an error; `number` is set for those that are not theirs to mend."""

    status: int
    message: str
    hint: str = ""
    number: str = ""


def tell(error: Exception) -> Told:
    """What a person reads of this error."""
    match error:
        case PageError():
            return Told(error.status, error.message, error.hint)
        case HTTPException(status_code=404):
            return Told(404, "There is no such page")
        case HTTPException():
            return Told(error.status_code, error.detail)
        case ConflictError():
            return Told(409, "Somebody else changed this meanwhile", "Reload, and decide again.")
        case NotFoundError():
            return Told(404, "This does not exist any more")
        case BackendError():
            status, message = 503, "The store or the cluster does not answer"
        case _:
            status, message = 500, "Something is broken in Vedette"
    hint = "Try again; if it stays, look for the id in the log of the web UI."
    return Told(status, message, hint, secrets.token_hex(4))


def explain(desk: Desk) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The application's handler of everything that is raised."""

    async def handler(request: Request, error: Exception) -> Response:
        told = tell(error)
        if told.number:
            log.error("error %s at %s %s", told.number, request.method, request.url.path, exc_info=error)
        if request.headers.get("hx-request") == "true":
            toast = {"text": f"{told.message}. {told.hint}".strip(), "error": True, "id": told.number}
            headers = {"hx-trigger": json.dumps({"toast": toast}), "hx-reswap": "none"}
            return Response(status_code=told.status, headers=headers)
        return desk.templates.response("error.html", told.status, told=told, settings=desk.settings)

    return handler
