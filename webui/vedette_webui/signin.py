"""Signing in: a token, by link or by form, becomes a session cookie."""

from __future__ import annotations

import logging
import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vedette_webui import sessions
from vedette_webui.visit import Desk, Visit, inside

log = logging.getLogger(__name__)


class Gate:
    """The sign-in page and what leads to it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._per_client = sessions.Brake(limit=desk.auth.failures)
        self._all = sessions.Brake(limit=200)

    def bounce(self, request: Request) -> Response:
        """Answer somebody without a session.

        A link from another site brings no strict cookie: the page reloads itself once, and then comes from this site.
        """
        headers = request.headers
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") == "navigate":
            return HTMLResponse('<!doctype html><title>Vedette</title><meta http-equiv="refresh" content="0">')
        if headers.get("hx-request") == "true":
            return Response(status_code=401, headers={"hx-redirect": "/signin"})
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return self._page(here if here != "/" else "/alerts", "", 401)

    async def form(self, request: Request) -> Response:
        """The page with the token field."""
        return self._page(inside(request.query_params.get("next", "")), "")

    async def submit(self, request: Request) -> Response:
        """What that page sends."""
        form = await request.form(max_files=0, max_fields=10, max_part_size=4096)
        return await self.enter(request, str(form.get("token", "")).strip(), inside(str(form.get("next", ""))))

    async def enter(self, request: Request, token: str, target: str = "/alerts") -> Response:
        """Exchange a token for a session cookie."""
        settings, now = self._desk.settings, time.monotonic()
        client = request.client.host if request.client else "?"
        wait = max(self._per_client.wait(client, now), self._all.wait("", now))
        if wait:
            response = self._page(target, f"Too many wrong tokens. Try again in {int(wait) + 1} seconds.", 429)
            response.headers["retry-after"] = str(int(wait) + 1)
            return response
        auth = self._desk.auth
        cookie = await run_in_threadpool(auth.enter, token, self._desk.clock())
        if cookie is None:
            self._per_client.failed(client, now)
            self._all.failed("", now)
            log.warning("wrong token from %s", client)
            return self._page(target, auth.words.unknown, 403)
        response = RedirectResponse(target, 303)
        response.set_cookie(
            settings.cookie,
            cookie,
            max_age=settings.session_seconds,
            secure=settings.secure,
            httponly=True,
            samesite="strict",
        )
        return response

    def leave(self, visit: Visit) -> Response:
        """Sign out."""
        response = RedirectResponse("/signin", 303)
        response.delete_cookie(
            visit.desk.settings.cookie, secure=visit.desk.settings.secure, httponly=True, samesite="strict"
        )
        return response

    def _page(self, target: str, error: str, status: int = 200) -> Response:
        return self._desk.templates.response("signin.html", status, target=target, error=error, auth=self._desk.auth)
