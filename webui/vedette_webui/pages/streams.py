"""The live stream of a page."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from vedette_webui.live import Live, Watch
from vedette_webui.pages import incidents
from vedette_webui.visit import Visit


async def open_stream(visit: Visit, live: Live) -> Response:
    """Server-sent events, resumed by `Last-Event-ID` (or `after`, for the first connection of a page)."""
    if live.full:
        return PlainTextResponse("too many open pages\n", 503, {"retry-after": "5"})
    if not visit.namespace:
        return PlainTextResponse("there is no namespace yet\n", 503, {"retry-after": "2"})
    if not await run_in_threadpool(_may, visit):
        return PlainTextResponse("you may not see this\n", 403)
    last = visit.request.headers.get("last-event-id") or visit.query.get("after", "")
    after = int(last) if last.isdigit() and len(last) < 19 else None
    store = await run_in_threadpool(lambda: visit.store)
    extra: Watch | None = None
    name = visit.query.get("incident", "")[:63]
    if name:
        extra = live.watch(f"incident {visit.namespace}/{name}", lambda: incidents.state(visit, name))
    stream = live.stream(visit.namespace, store, after, extra, visit.query.get("state", ""), lambda: _still(visit))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _may(visit: Visit) -> bool:
    name = visit.query.get("incident", "")[:63]
    return visit.can("list", "alerts") and (not name or visit.can("get", "incidents", name))


def _still(visit: Visit) -> bool:
    """Whether the person is signed in and may see it even now."""
    session = visit.desk.session(visit.request)
    if session is None:
        return False
    visit.session = session
    return _may(visit)
