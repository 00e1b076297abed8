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
from vedette_webui.endpoints import Endpoints
from vedette_webui.errors import explain
from vedette_webui.guard import Guard
from vedette_webui.live import Live
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
        to.post("/signout", to.gate.leave, "viewer"),
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/live", to.stream, methods=["GET"]),
        to.get("/alerts", alerts.index),
        to.post("/alerts/actions", alerts.actions),
        to.post("/alerts/undo", alerts.undo),
        to.post("/alerts/escalate", incidents.escalate),
        to.get("/alerts/{id}", alerts.show),
        to.get("/alerts/{id}/json", alerts.raw),
        to.get("/search", events.index),
        to.get("/search/filter", events.narrow),
        to.get("/search/field", events.field),
        to.get("/search/complete", events.complete),
        to.get("/events/{id}", events.show),
        to.get("/rules", rules.index),
        to.get("/rules/{name}", rules.show),
        to.get("/sources", sources.index),
        to.get("/dead-letters", deadletters.index),
        to.post("/dead-letters/actions", deadletters.actions, "engineer"),
        to.get("/incidents", incidents.index),
        to.post("/incidents", incidents.create),
        to.get("/incidents/{name}", incidents.show),
        to.post("/incidents/{name}/change", incidents.change),
        to.post("/incidents/{name}/notes", incidents.note),
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
