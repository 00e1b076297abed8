"""The web UI as one ASGI application, put together from what it is given."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from vedette_backends.cluster.protocol import Cluster
from vedette_backends.errors import BackendError, ConflictError, NotFoundError
from vedette_backends.store.protocol import Store
from vedette_crds.problems import Problem
from vedette_webui import sessions, signin
from vedette_webui.guard import Guard
from vedette_webui.live import Live
from vedette_webui.pages import alerts, deadletters, events, incidents, rules, sources, streams
from vedette_webui.render import Templates
from vedette_webui.settings import Settings
from vedette_webui.visit import Desk, Objects, PageError, Replay, Visit

log = logging.getLogger(__name__)

FORM_FIELDS = 2_000
FORM_BYTES = 256 * 1024

Handler = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class _Assets(StaticFiles):
    """Files whose names carry a hash of what they hold: browsers keep them for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def create_app(
    settings: Settings,
    stores: Callable[[str], Store],
    cluster: Cluster,
    *,
    replay: Replay | None = None,
    problems: Callable[[], Sequence[Problem]] = tuple,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """The web UI.

    Args:
        settings: who may sign in, under which address.
        stores: the store of a namespace; asked only for namespaces that hold objects. Called from several threads, and
            so is what it returns.
        cluster: sources, rules and incidents of all namespaces.
        replay: sends dead letters again; without it they can be dismissed only.
        problems: what is wrong in the manifests' folder, shown on the rules page.
        clock: seconds since the epoch.

    Raises:
        AssetsMissingError: the front-end assets were not built.
    """
    desk = Desk(settings, stores, Objects(cluster), Templates(settings), replay, problems, clock)
    live = Live()
    gate = signin.Gate(desk)

    def page(handler: Handler, role: str = "viewer") -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await _visit(desk, request)
            if visit is None:
                return gate.bounce(request)
            visit.need(role)
            return await run_in_threadpool(handler, visit)

        return endpoint

    def act(handler: Handler, role: str = "responder") -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await _visit(desk, request)
            if visit is None:
                raise PageError(401, "You are not signed in any more", "Sign in again; nothing was changed.")
            await _read_form(visit)
            visit.need(role)
            return await run_in_threadpool(handler, visit)

        return endpoint

    async def stream(request: Request) -> Response:
        visit = await _visit(desk, request)
        return PlainTextResponse("sign in first\n", 401) if visit is None else await streams.open_stream(visit, live)

    def get(path: str, handler: Handler) -> Route:
        return Route(path, page(handler), methods=["GET"])

    def post(path: str, handler: Handler, role: str = "responder") -> Route:
        return Route(path, act(handler, role), methods=["POST"])

    async def home(request: Request) -> Response:
        if "token" in request.query_params:
            return gate.enter(request, request.query_params["token"])
        return await page(lambda visit: visit.redirect("/alerts"))(request)

    routes = [
        Route("/", home, methods=["GET"]),
        Route("/signin", gate.form, methods=["GET"]),
        Route("/signin", gate.submit, methods=["POST"]),
        post("/signout", gate.leave, "viewer"),
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/live", stream, methods=["GET"]),
        get("/alerts", alerts.index),
        post("/alerts/actions", alerts.actions),
        post("/alerts/undo", alerts.undo),
        post("/alerts/escalate", incidents.escalate),
        get("/alerts/{id}", alerts.show),
        get("/alerts/{id}/json", alerts.raw),
        get("/search", events.index),
        get("/search/filter", events.narrow),
        get("/search/field", events.field),
        get("/search/fields", events.complete),
        get("/events/{id}", events.show),
        get("/rules", rules.index),
        get("/rules/{name}", rules.show),
        get("/sources", sources.index),
        get("/dead-letters", deadletters.index),
        post("/dead-letters/actions", deadletters.actions, "engineer"),
        get("/incidents", incidents.index),
        post("/incidents", incidents.create),
        get("/incidents/{name}", incidents.show),
        post("/incidents/{name}/change", incidents.change),
        post("/incidents/{name}/notes", incidents.note),
        Mount("/static", _Assets(directory=settings.assets), name="static"),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, settings=settings), Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)],
        exception_handlers={
            PageError: _explained(desk),
            HTTPException: _explained(desk),
            BackendError: _explained(desk),
            Exception: _explained(desk),
        },
    )
    app.state.live = live
    return app


def serve(app: Starlette, *, host: str = "127.0.0.1", port: int = 8420, log_level: str = "warning") -> None:
    """Answer requests until SIGINT or SIGTERM; open streams end at once."""
    config = uvicorn.Config(
        app, host=host, port=port, log_level=log_level, server_header=False, access_log=False,
        timeout_graceful_shutdown=3, limit_concurrency=1000,
    )  # fmt: skip
    Server(config, app.state.live).run()


class Server(uvicorn.Server):
    """uvicorn, which would otherwise wait for streams that never end by themselves."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: Any = None) -> None:
        """Close the streams, then everything else."""
        self._live.close()
        await super().shutdown(sockets)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _visit(desk: Desk, request: Request) -> Visit | None:
    cookie = request.cookies.get(desk.settings.cookie, "")
    session = sessions.read(desk.settings, cookie, desk.clock())
    if session is None:
        return None
    names = await run_in_threadpool(desk.objects.namespaces)
    asked = request.query_params.get("ns", "")
    if asked and asked not in names:
        raise PageError(404, f"There is no namespace {asked[:63]}", "Choose one at the top left.")
    return Visit(desk, request, session, asked or (names[0] if names else ""))


async def _read_form(visit: Visit) -> None:
    length = visit.request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > FORM_BYTES:
        raise PageError(413, "The form is too large", f"At most {FORM_BYTES // 1024} KiB are accepted.")
    visit.form = await visit.request.form(max_files=0, max_fields=FORM_FIELDS)
    token = visit.request.headers.get("x-csrf-token") or str(visit.form.get("csrf", ""))
    if not sessions.csrf_holds(visit.desk.settings, visit.session, token):
        raise PageError(403, "This page is too old to write from", "Reload it and try again; nothing was changed.")


def _explained(desk: Desk) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What went wrong as a page, or as a toast for htmx; faults of ours get an id that stands in the log too."""

    async def handler(request: Request, error: Exception) -> Response:
        number = ""
        hint = ""
        if isinstance(error, PageError):
            status, message, hint = error.status, error.message, error.hint
        elif isinstance(error, HTTPException):
            status, message = error.status_code, {404: "There is no such page"}.get(error.status_code, error.detail)
        elif isinstance(error, ConflictError):
            status, message, hint = 409, "Somebody else changed this meanwhile", "Reload, and decide again."
        elif isinstance(error, NotFoundError):
            status, message = 404, "This does not exist any more"
        else:
            number = secrets.token_hex(4)
            log.error("error %s at %s %s", number, request.method, request.url.path, exc_info=error)
            status, message = 500, "Something is broken in Vedette"
            if isinstance(error, BackendError):
                status, message = 503, "The store or the cluster does not answer"
            hint = "Try again; if it stays, look for the id in the log of the web UI."
        if request.headers.get("hx-request") == "true":
            toast = {"text": f"{message}. {hint}".strip(), "error": True, "id": number}
            return Response(status_code=status, headers={"hx-trigger": json.dumps({"toast": toast}), "hx-reswap": "none"})
        return desk.templates.response(
            "error.html", status, message=message, hint=hint, number=number, settings=desk.settings, status=status
        )

    return handler


