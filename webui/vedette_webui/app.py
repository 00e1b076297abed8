"""The web UI as one ASGI application, put together from what it is given."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from vedette_backends.cluster.protocol import Cluster
from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import Store
from vedette_crds.problems import Problem
from vedette_webui.auth import Accounts, Authenticator, Right
from vedette_webui.endpoints import Endpoints
from vedette_webui.errors import explain
from vedette_webui.guard import Guard
from vedette_webui.live import INTERVAL, Live
from vedette_webui.pages import alerts, deadletters, events, incidents, rules, sources
from vedette_webui.render import Templates
from vedette_webui.settings import Settings
from vedette_webui.visit import Desk, Objects, PageError, Replay


def create_app(
    settings: Settings,
    stores: Callable[[str], Store],
    cluster: Cluster,
    *,
    replay: Replay | None = None,
    problems: Callable[[], Sequence[Problem]] = tuple,
    clock: Callable[[], float] = time.time,
    auth: Authenticator | None = None,
    namespaces: Callable[[], Sequence[str]] | None = None,
    objects: Objects | None = None,
    interval: float = INTERVAL,
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
        auth: who may do what; by default the accounts in the settings.
        namespaces: all that there are; by default those that hold objects.
        objects: lists of the cluster's objects, `Mirror` in a cluster; by default made anew when something changed.
        interval: seconds between two looks for what is new, while a page is open.

    Raises:
        AssetsMissingError: the front-end assets were not built.
    """
    objects = objects or Objects(cluster)
    desk = Desk(
        settings=settings,
        stores=stores,
        objects=objects,
        templates=Templates(settings),
        auth=auth or Accounts(settings),
        namespaces=namespaces or objects.namespaces,
        replay=replay,
        problems=problems,
        clock=clock,
    )
    live = Live(interval)
    handler = explain(desk)
    app = Starlette(
        routes=[
            *_routes(Endpoints(desk, live)),
            Mount("/static", _Assets(directory=settings.assets), name="static"),
        ],
        middleware=[
            Middleware(Guard, settings=settings),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4),
        ],
        exception_handlers={PageError: handler, HTTPException: handler, BackendError: handler, Exception: handler},
    )
    app.state.live = live
    return app


def _routes(to: Endpoints) -> list[BaseRoute]:
    return [
        Route("/", to.home, methods=["GET"]),
        Route("/signin", to.gate.form, methods=["GET"]),
        Route("/signin", to.gate.submit, methods=["POST"]),
        to.post("/signout", to.gate.leave, None),
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/live", to.stream, methods=["GET"]),
        to.get("/alerts", alerts.index, Right("list", "alerts")),
        to.post("/alerts/actions", alerts.actions, None),
        to.post("/alerts/undo", alerts.undo, None),
        to.post("/alerts/escalate", incidents.escalate, Right("acknowledge", "alerts")),
        to.get("/alerts/{id}", alerts.show, Right("get", "alerts")),
        to.get("/alerts/{id}/json", alerts.raw, Right("get", "alerts")),
        to.get("/search", events.index, Right("list", "events")),
        to.get("/search/filter", events.narrow, Right("list", "events")),
        to.get("/search/field", events.field, Right("list", "events")),
        to.get("/search/complete", events.complete, Right("list", "events")),
        to.get("/events/{id}", events.show, Right("get", "events")),
        to.get("/rules", rules.index, Right("list", "alertrules")),
        to.get("/rules/{name}", rules.show, Right("get", "alertrules")),
        to.get("/sources", sources.index, Right("list", "logsources")),
        to.get("/dead-letters", deadletters.index, Right("list", "deadletters")),
        to.post("/dead-letters/actions", deadletters.actions, None),
        to.get("/incidents", incidents.index, Right("list", "incidents")),
        to.post("/incidents", incidents.create, Right("create", "incidents")),
        to.get("/incidents/{name}", incidents.show, Right("get", "incidents")),
        to.post("/incidents/{name}/change", incidents.change, Right("patch", "incidents")),
        to.post("/incidents/{name}/notes", incidents.note, Right("create", "notes")),
    ]


class _Assets(StaticFiles):
    """Files whose names carry a hash of what they hold: browsers keep them for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def serve(app: Starlette, *, host: str = "127.0.0.1", port: int = 8420, log_level: str = "warning") -> None:
    """Answer requests until SIGINT or SIGTERM; open streams end at once."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level=log_level,
        server_header=False,
        access_log=False,
        timeout_graceful_shutdown=3,
        limit_concurrency=1000,
    )
    Server(config, app.state.live).run()


class Server(uvicorn.Server):
    """uvicorn, which would otherwise wait for streams that never end by themselves."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then everything else."""
        self._live.close()
        await super().shutdown(sockets)
