"""The gateway's routes.

========================================  ==========================================================================
`POST /events`                            an object, an array, NDJSON, or lines for a source of text; gzip
`POST|PUT /_bulk`, `/<index>/_bulk`       Elasticsearch's bulk requests, an answer per item
`POST|PUT /<index>/_doc[/<id>]` and such  one document
`GET /status`                             MozDef's question whether somebody is there
`GET /healthz`, `/readyz`, `/metrics`     for those who run the gateway
all others                                `elastic.py`
========================================  ==========================================================================

A request is taken whole or not at all, except that a bulk request may have items that are refused for themselves.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vedette_engine.wire import ALONE, Run, run_ids
from vedette_workers.gateway.answers import Json, elastic, elastic_refusal, error_body, native_refusal
from vedette_workers.gateway.bulk import MAX_ID, Item, answer, parse_bulk, written
from vedette_workers.gateway.elastic import Probes
from vedette_workers.gateway.errors import BadRequest, Refusal, TooLarge
from vedette_workers.gateway.gateway import Gateway
from vedette_workers.gateway.metrics import Metrics
from vedette_workers.gateway.publisher import Publisher
from vedette_workers.gateway.records import Key, Parsed, object_fault, parse_events
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import Source, SourceTable, digest

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    settings: Settings, sources: SourceTable, publisher: Publisher, metrics: Metrics | None = None
) -> Starlette:
    """The ASGI application; `app.state.gateway` is its `Gateway`, to swap sources and to read figures."""
    gateway = Gateway(settings, sources, publisher, metrics or Metrics())
    ingest = _Ingest(gateway)
    house = _House(gateway)
    probes = Probes(gateway)

    def counted(name: str, endpoint: Endpoint) -> Endpoint:
        async def inner(request: Request) -> Response:
            response = await endpoint(request)
            gateway.metrics.add("requests_total", name, str(response.status_code))
            return response

        return inner

    write = ["POST", "PUT"]
    bulk, document, events = (
        counted("bulk", ingest.bulk),
        counted("doc", ingest.document),
        counted("events", ingest.events),
    )
    routes = [
        Route("/events", events, methods=write),
        Route("/events/", events, methods=write),
        Route("/_bulk", bulk, methods=write),
        Route("/_bulk/", bulk, methods=write),
        Route("/status", house.status),
        Route("/healthz", house.healthz),
        Route("/readyz", house.readyz),
        Route("/metrics", house.metrics),
        *probes.routes(),
        Route("/{index}/_bulk", bulk, methods=write),
        Route("/{index}/{type}/_bulk", bulk, methods=write),
        Route("/{index}/{type}", document, methods=write),
        Route("/{index}/{type}/{id:path}", document, methods=write),
        *probes.index_routes(),
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.close()

    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _not_found, 405: _not_found})
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    return app


class _Ingest:
    """The routes that bring events."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def events(self, request: Request) -> Response:
        json_type = "json" in request.headers.get("content-type", "")

        def parse(source: Source, body: bytes, key: Key) -> Parsed:
            if not body.strip():
                raise BadRequest("the body holds no event")
            return parse_events(
                body,
                key,
                text=source.text,
                json_type=json_type,
                max_event_bytes=source.limits.max_event_bytes,
                settings=self._gateway.settings,
            )

        try:
            _, parsed = await self._gateway.receive(request, parse, lambda parsed: parsed)
        except Refusal as refusal:
            return native_refusal(refusal)
        return Json({"status": "ok", "accepted": len(parsed.records)})

    async def bulk(self, request: Request) -> Response:
        started = time.monotonic()
        index = request.path_params.get("index", "")

        def parse(source: Source, body: bytes, key: Key) -> tuple[Parsed, list[Item]]:
            return parse_bulk(
                body,
                key,
                default_index=index,
                max_event_bytes=source.limits.max_event_bytes,
                settings=self._gateway.settings,
            )

        try:
            source, (parsed, items) = await self._gateway.receive(request, parse, lambda result: result[0])
        except Refusal as refusal:
            return elastic_refusal(request, refusal)
        refused = len(items) - len(parsed.records)
        if refused:
            self._gateway.metrics.add("rejected_events_total", *source.key, by=refused)
        ids = run_ids(*source.key, [run for run in parsed.runs if run.first != ALONE])
        took = int((time.monotonic() - started) * 1000)
        return elastic(request, answer(items, ids, took, request.query_params.get("filter_path", "")))

    async def document(self, request: Request) -> Response:
        index, name = request.path_params["index"], request.path_params.get("id", "")

        def parse(source: Source, body: bytes, key: Key) -> Parsed:
            if len(name.encode()) > MAX_ID:
                raise BadRequest(f"an id may have {MAX_ID} bytes")
            limit = source.limits.max_event_bytes
            if len(body) > limit:
                raise TooLarge(f"an event of this source may have {limit} bytes, this one has {len(body)}")
            if fault := object_fault(body, self._gateway.settings.max_depth):
                raise BadRequest(fault)
            run = Run(1, name, ALONE, keyed=True) if name else Run(1, key.text, 0, key.given)
            return Parsed("json", [body], [run])

        if index.startswith("_"):
            return await _not_found(request, None)
        try:
            source, parsed = await self._gateway.receive(request, parse, lambda parsed: parsed)
        except Refusal as refusal:
            return elastic_refusal(request, refusal)
        told = written(index, name or next(run_ids(*source.key, parsed.runs)))
        del told["status"]
        return elastic(request, told, 201)


class _House:
    """The routes for those who run the gateway; no token, and nothing about events but their number."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def status(self, _request: Request) -> Response:
        return Json({"status": "ok", "service": "vedette"})

    async def healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        if self._gateway.stopping:
            return PlainTextResponse("stopping\n", 503)
        if not self._gateway.ready:
            return PlainTextResponse("no bundle of sources yet\n", 503)
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        wanted = self._gateway.settings.metrics_token
        given = digest(request.headers.get("authorization", "").removeprefix("Bearer ")).hex()
        if wanted and not hmac.compare_digest(given, wanted):
            return PlainTextResponse("", 401, headers={"WWW-Authenticate": "Bearer"})
        return PlainTextResponse(self._gateway.render_metrics(), media_type="text/plain; version=0.0.4")


async def _not_found(request: Request, error: Exception | None) -> Response:
    status = getattr(error, "status_code", 404)
    reason = f"no handler for {request.method} {request.url.path[:200]}"
    return elastic(request, error_body(status, "illegal_argument_exception", reason), status)
