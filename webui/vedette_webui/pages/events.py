"""Event search: Lucene query, histogram, fields, table; and one event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from starlette.responses import JSONResponse, RedirectResponse, Response

from vedette_backends.store.protocol import AlertFilter, EventPage, Sort, StoredEvent
from vedette_engine.ecs.catalogue import CATALOGUE
from vedette_engine.query.lucene import parse
from vedette_engine.query.text import with_filter
from vedette_engine.query.tree import MatchAll, Query, QueryError
from vedette_webui import chart
from vedette_webui import show as showing
from vedette_webui.visit import PageError, Visit

PAGE = 50
COLUMNS = 12
QUERY = 8192


def _query(visit: Visit) -> Query:
    text = visit.query.get("q", "").strip()
    return parse(text) if text else MatchAll()


def columns(visit: Visit) -> list[str]:
    """The chosen columns."""
    return [name for name in visit.query.get("cols", "").split(",") if name][:COLUMNS]


def index(visit: Visit) -> Response:
    """The search page; a query that cannot be asked keeps its text and says where it is wrong."""
    store, span = visit.store, visit.span("24h")
    sort = Sort.OLDEST if visit.query.get("sort") == "oldest" else Sort.NEWEST
    error: QueryError | None = None
    page = EventPage((), 0, None)
    picture = None
    try:
        query = _query(visit)
        page = store.search_events(query, span.time, sort=sort, size=PAGE, after=visit.query.get("after") or None)
        if visit.part and "after" in visit.query:
            return visit.render("_event_rows.html", page=page, columns=columns(visit))
        picture = chart.histogram(lambda time, size: store.histogram(query, time, size), span.time, visit.now)
    except QueryError as problem:
        error = problem
    text = visit.query.get("q", "").strip()
    return visit.render(
        "search.html",
        page=page,
        span=span,
        sort=sort.value,
        text=text,
        error=error,
        columns=columns(visit),
        fields=seen_fields(page.events),
        histogram=picture,
        alerts=sum(store.count_alerts(AlertFilter(text=text), "status").values()) if text and ":" not in text else 0,
        ever=page.total or any(size for _, _, size in store.days()),
    )


def seen_fields(events: Sequence[StoredEvent]) -> list[tuple[str, int]]:
    """Fields of the shown events with the share (percent) that has them; catalogued names first, then by share."""
    seen: Counter[str] = Counter()
    for event in events:
        seen.update(showing.flat(event.document).keys())
    rows = [(name, round(100 * count / len(events))) for name, count in seen.items()]
    return sorted(rows, key=lambda row: (row[0] not in CATALOGUE, -row[1], row[0]))[:300]


def field(visit: Visit) -> Response:
    """Top values of one field over the whole result, with their shares."""
    name = visit.query.get("field", "")[:512]
    store, span = visit.store, visit.span("24h")
    try:
        query = _query(visit)
        total = store.count_events(query, span.time)
        top = store.top_values(query, span.time, name, 10)
    except QueryError as error:
        return visit.render("_field.html", name=name, top=[], total=0, error=str(error))
    return visit.render("_field.html", name=name, top=top, total=total, error="")


def complete(visit: Visit) -> Response:
    """Field names (or values, after a colon) that begin with what was typed."""
    typed = visit.query.get("typed", "")[:512]
    name, colon, value = typed.partition(":")
    if not colon:
        names = [each for each in CATALOGUE if each.startswith(name)][:12]
        return JSONResponse([f"{each}:" for each in names])
    try:
        top = visit.store.top_values(MatchAll(), visit.span("24h").time, name, 50)
    except QueryError:
        return JSONResponse([])
    held = [each for each, _ in top if each.lower().startswith(value.strip('"').lower())][:12]
    return JSONResponse([with_filter("", name, each, negate=False) for each in held])


def narrow(visit: Visit) -> Response:
    """Add one value to the query (or exclude it) and go on to the search page."""
    name, value = visit.query.get("field", ""), visit.query.get("value", "")
    if not name or len(name) > 512 or len(value) > QUERY:
        raise PageError(400, "This value cannot be searched for", "It is too long; search for a part of it.")
    try:
        text = with_filter(visit.query.get("q", ""), name, value, negate=visit.query.get("negate") == "1")
    except QueryError as error:
        raise PageError(400, f"This value cannot be searched for: {error}") from error
    kept = {key: visit.query[key] for key in ("range", "from", "to", "cols", "sort") if key in visit.query}
    return RedirectResponse(visit.url("/search", q=text, **kept), 303)


def show(visit: Visit) -> Response:
    """One event with all its fields."""
    event_id = visit.request.path_params["id"]
    event = visit.store.get_event(event_id[:200])
    if event is None:
        raise PageError(404, "There is no such event in this namespace", "Its day may have been dropped.")
    template = "_event.html" if visit.part else "event.html"
    return visit.render(template, event=event, matched={}, tab=visit.query.get("tab", ""), others=True)
