"""From a request to a page's handler: the session, the namespace, the form with its CSRF token, the role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vedette_webui import sessions
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

    def get(self, path: str, handler: Handler) -> Route:
        """A page."""
        return Route(path, self._page(handler), methods=["GET"])

    def post(self, path: str, handler: Handler, role: str = "responder") -> Route:
        """A write, by somebody with this role or more."""

        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            if visit is None:
                raise PageError(401, "You are not signed in any more", "Sign in again; nothing was changed.")
            await _read_form(visit)
            visit.need(role)
            return await run_in_threadpool(handler, visit)

        return Route(path, endpoint, methods=["POST"])

    async def home(self, request: Request) -> Response:
        """The first page, or the end of a sign-in link."""
        if "token" in request.query_params:
            return self.gate.enter(request, request.query_params["token"])
        return await self._page(lambda visit: visit.redirect("/alerts"))(request)

    async def stream(self, request: Request) -> Response:
        """The live stream."""
        visit = await self._visit(request)
        if visit is None:
            return PlainTextResponse("sign in first\n", 401)
        return await streams.open_stream(visit, self._live)

    def _page(self, handler: Handler) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            return self.gate.bounce(request) if visit is None else await run_in_threadpool(handler, visit)

        return endpoint

    async def _visit(self, request: Request) -> Visit | None:
        settings = self._desk.settings
        session = sessions.read(settings, request.cookies.get(settings.cookie, ""), self._desk.clock())
        if session is None:
            return None
        names = await run_in_threadpool(self._desk.objects.namespaces)
        asked = request.query_params.get("ns", "")
        if asked and asked not in names:
            raise PageError(404, f"There is no namespace {asked[:63]}", "Choose one at the top left.")
        return Visit(self._desk, request, session, asked or (names[0] if names else ""))


async def _read_form(visit: Visit) -> None:
    length = visit.request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > FORM_BYTES:
        raise PageError(413, "The form is too large", f"At most {FORM_BYTES // 1024} KiB are accepted.")
    visit.form = await visit.request.form(max_files=0, max_fields=FORM_FIELDS)
    token = visit.request.headers.get("x-csrf-token") or str(visit.form.get("csrf", ""))
    if not sessions.csrf_holds(visit.desk.settings, visit.session, token):
        raise PageError(403, "This page is too old to write from", "Reload it and try again; nothing was changed.")
