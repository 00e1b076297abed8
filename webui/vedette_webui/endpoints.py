"""From a request to a page's handler: the session, the namespace, the form with its CSRF token, the right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vedette_webui import sessions
from vedette_webui.auth import Right
from vedette_webui.live import Live
from vedette_webui.pages import streams
from vedette_webui.signin import Gate
from vedette_webui.visit import Desk, PageError, Visit

FORM_FIELDS = 2_000
FORM_BYTES = 256 * 1024

Handler = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """Makes routes of handlers; handlers run in worker threads, since stores answer synchronously."""

    def __init__(self, desk: Desk, live: Live) -> None:
        self._desk = desk
        self._live = live
        self.gate = Gate(desk)

    def get(self, path: str, handler: Handler, right: Right) -> Route:
        """A page for somebody with this right; on the object that the address names, where it is a custom resource."""
        return Route(path, self._page(handler, right), methods=["GET"])

    def post(self, path: str, handler: Handler, right: Right | None) -> Route:
        """A write by somebody with this right; None for what everybody may, or where the handler looks at the form."""

        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            if visit is None:
                raise PageError(401, "You are not signed in any more", "Sign in again; nothing was changed.")
            await _read_form(visit)
            return await run_in_threadpool(_checked, visit, handler, right)

        return Route(path, endpoint, methods=["POST"])

    async def home(self, request: Request) -> Response:
        """The first page, or the end of a sign-in link."""
        if "token" in request.query_params:
            return await self.gate.enter(request, request.query_params["token"])
        return await self._page(lambda visit: visit.redirect("/alerts"), None)(request)

    async def stream(self, request: Request) -> Response:
        """The live stream."""
        visit = await self._visit(request)
        if visit is None:
            return PlainTextResponse("sign in first\n", 401)
        return await streams.open_stream(visit, self._live)

    def _page(self, handler: Handler, right: Right | None) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            if visit is None:
                return self.gate.bounce(request)
            return await run_in_threadpool(_checked, visit, handler, right)

        return endpoint

    async def _visit(self, request: Request) -> Visit | None:
        return await run_in_threadpool(self._recognise, request)

    def _recognise(self, request: Request) -> Visit | None:
        desk = self._desk
        session = desk.session(request)
        if session is None:
            return None
        names = desk.auth.visible(session, desk.namespaces())
        asked = request.query_params.get("ns", "")
        if asked and asked not in names:
            # The same words for one that is not there and one that is not theirs to know of.
            raise PageError(404, f"There is no namespace {asked[:63]}", "Choose one at the top left.")
        return Visit(desk, request, session, asked or (names[0] if names else ""), names)


def _checked(visit: Visit, handler: Handler, right: Right | None) -> Response:
    if right is not None:
        visit.need(*right, visit.named(right))
    return handler(visit)


async def _read_form(visit: Visit) -> None:
    length = visit.request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > FORM_BYTES:
        raise PageError(413, "The form is too large", f"At most {FORM_BYTES // 1024} KiB are accepted.")
    visit.form = await visit.request.form(max_files=0, max_fields=FORM_FIELDS)
    token = visit.request.headers.get("x-csrf-token") or str(visit.form.get("csrf", ""))
    if not sessions.csrf_holds(visit.desk.settings, visit.session, token):
        raise PageError(403, "This page is too old to write from", "Reload it and try again; nothing was changed.")
