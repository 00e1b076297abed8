"""One request, as pages see it: who asks, about which namespace, with which range; and how to answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import FormData, ImmutableMultiDict, QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vedette_backends.cluster.protocol import Cluster, Key, Object
from vedette_backends.store.protocol import AlertFilter, Store
from vedette_crds.problems import Problem
from vedette_webui import sessions, timespan
from vedette_webui.auth import Authenticator, Right
from vedette_webui.render import Templates
from vedette_webui.sessions import Session
from vedette_webui.settings import Settings

KINDS = ("LogSource", "AlertRule", "Enrichment", "Incident")
NAMED = frozenset({"incidents", "alertrules", "logsources"})
"""Resources that have names in the cluster; events, alerts, dead letters and notes are one right each."""
MANAGER = "vedette-webui"


class PageError(Exception):
    """What a person did cannot be done; shown to them with this status.

    Args:
        status: HTTP status.
        message: what happened, one sentence.
        hint: what to do.
    """

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        self.status = status
        self.message = message
        self.hint = hint
        super().__init__(message)


class Replay(Protocol):
    """Sends dead letters of a namespace through the pipeline again; returns how many."""

    def __call__(self, namespace: str, ids: Sequence[str], /) -> int:
        """Replay these."""


class Objects:
    """The cluster's objects, listed once per resource version: a page asks for the same kinds again and again."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._version = -1
        self._lists: dict[str, Sequence[Object]] = {}

    def of(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind by namespace and name."""
        version = self.cluster.version()
        if version != self._version:
            # Two threads may both come here; each starts from an empty mapping of its own version.
            self._lists, self._version = {}, version
        lists = self._lists
        if kind not in lists:
            lists[kind] = self.cluster.list(kind)
        return [each for each in lists[kind] if namespace is None or each.key.namespace == namespace]

    def get(self, key: Key) -> Object | None:
        """One object, for whoever asks again and again; who is about to change it asks the cluster."""
        return self.cluster.get(key)

    def namespaces(self) -> list[str]:
        """Namespaces that hold something of ours."""
        return sorted({each.key.namespace for kind in KINDS for each in self.of(kind)})


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that pages work with; made once.

    Attributes:
        auth: who may do what.
        namespaces: all that there are; who sees which, `auth` says.
        replay: how dead letters are sent again; None where nothing can.
        problems: what is wrong in the watched folder's files.
        clock: seconds since the epoch.
    """

    settings: Settings
    stores: Callable[[str], Store]
    objects: Objects
    templates: Templates
    auth: Authenticator
    namespaces: Callable[[], Sequence[str]]
    replay: Replay | None = None
    problems: Callable[[], Sequence[Problem]] = tuple
    clock: Callable[[], float] = time.time

    def session(self, request: Request) -> Session | None:
        """Who asks; None when nobody is signed in. May block."""
        return self.auth.read(request.cookies.get(self.settings.cookie, ""), self.clock())


@dataclass(slots=True)
class Visit:
    """One request of somebody who is signed in. `namespaces`: those that they may see."""

    desk: Desk
    request: Request
    session: Session
    namespace: str
    namespaces: Sequence[str]
    form: FormData | ImmutableMultiDict[str, Any] = field(default_factory=ImmutableMultiDict)
    _store: Store | None = None

    @property
    def store(self) -> Store:
        """The namespace's store."""
        if not self.namespace:
            raise PageError(404, *self.desk.auth.words.nothing)
        if self._store is None:
            self._store = self.desk.stores(self.namespace)
        return self._store

    @property
    def query(self) -> QueryParams:
        """Query parameters of the address."""
        return self.request.query_params

    @property
    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.desk.clock() * 1000)

    @property
    def part(self) -> bool:
        """Whether htmx asks for a part of the page."""
        return self.request.headers.get("hx-request") == "true"

    def span(self, default: str) -> timespan.Span:
        """The chosen time range."""
        return timespan.parse(self.query, default, self.now)

    def text(self, name: str, limit: int = 500) -> str:
        """A field of the submitted form, without blanks at its ends; PageError when it is too long."""
        value = str(self.form.get(name, "")).strip()
        if len(value) > limit:
            raise PageError(400, f"{name} is longer than {limit} characters", "Shorten it.")
        return value

    def can(self, verb: str, resource: str, name: str = "") -> bool:
        """Whether the person has a right in this namespace, on one object when it is named."""
        return bool(self.namespace) and self.desk.auth.allows(self.session, Right(verb, resource), self.namespace, name)

    def need(self, verb: str, resource: str, name: str = "") -> None:
        """Raise unless the person has the right."""
        if not self.namespace:
            raise PageError(404, *self.desk.auth.words.nothing)
        if not self.can(verb, resource, name):
            raise PageError(403, *self.desk.auth.refusal(self.session, Right(verb, resource), self.namespace))

    def named(self, right: Right) -> str:
        """The custom resource that the address names; "" where the right is on what only the store holds."""
        return self.request.path_params.get("name", "")[:253] if right.resource in NAMED else ""

    def url(self, path: str, **params: Any) -> str:
        """An address in the same namespace; parameters that are None or empty are left out, lists repeat."""
        pairs: list[tuple[str, str]] = [("ns", self.namespace)] if self.namespace else []
        for name, value in params.items():
            several = value if isinstance(value, list | tuple) else [value]
            pairs += [(name.rstrip("_"), str(one)) for one in several if one is not None and one != ""]
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def here(self, **changes: Any) -> str:
        """This page's address with some parameters changed (None takes one away); paging starts again."""
        kept: dict[str, Any] = {}
        for name, value in self.query.multi_items():
            if name not in {"ns", "after", "token"}:
                kept.setdefault(name, []).append(value)
        return self.url(self.request.url.path, **{**kept, **changes})

    def render(self, template: str, **context: Any) -> Response:
        """The page, with what the frame around it needs."""
        return self.desk.templates.response(template, v=self, **self._frame(), **context)

    def _frame(self) -> dict[str, Any]:
        settings = self.desk.settings
        theme = self.request.cookies.get("vedette-theme", "")
        return {
            "namespaces": self.namespaces,
            "csrf": sessions.csrf_token(settings, self.session),
            "settings": settings,
            "ranges": timespan.RANGES,
            "section": self.request.url.path.split("/")[1] or "alerts",
            "theme": theme if theme in {"light", "dark"} else "",
            "pages": self._pages() if self.namespace else [],
        }

    def _pages(self) -> list[tuple[str, str, str, int, str]]:
        """The rail: (path, name, icon, number beside it, how the number looks) of the pages that the person may see."""
        pages = (
            ("/alerts", "Alerts", "alerts", "alerts", self._new, "accent"),
            ("/incidents", "Incidents", "incidents", "incidents", self._unfinished, ""),
            ("/search", "Search", "search", "events", None, ""),
            ("/rules", "Rules", "rules", "alertrules", lambda: len(self.desk.problems()), "bad"),
            ("/sources", "Sources", "sources", "logsources", None, ""),
            ("/dead-letters", "Dead letters", "dead", "deadletters", self._waiting, ""),
        )
        return [
            (path, name, icon, 0 if count is None else count(), tone)
            for path, name, icon, resource, count, tone in pages
            if self.can("list", resource)
        ]

    def _new(self) -> int:
        return self.store.count_alerts(AlertFilter(statuses=("new",)), "status").get("new", 0)

    def _unfinished(self) -> int:
        return sum(
            incident.manifest.get("spec", {}).get("phase") != "Closed"
            for incident in self.desk.objects.of("Incident", self.namespace)
        )

    def _waiting(self) -> int:
        return self.store.search_dead_letters(size=1)[1]

    def redirect(self, path: str, **params: Any) -> Response:
        """Go on to another page after a write."""
        return RedirectResponse(self.url(path, **params), 303)

    def done(self, text: str, back: str, undo: Mapping[str, Any] | None = None, **events: Any) -> Response:
        """Answer a write: a toast (with Undo) for a page that stays, a redirect where there is no script."""
        if not self.part:
            return RedirectResponse(inside(back), 303)
        trigger = {"toast": {"text": text, "undo": undo}, **events}
        return Response(status_code=204, headers={"hx-trigger": json.dumps(trigger)})


def inside(target: str) -> str:
    """The target if it is a path on this site, else the first page: nobody is sent elsewhere by what a form says."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/alerts"
    path = target.startswith("/") and target[1:2] not in {"/", "\\"} and not parts.scheme and not parts.netloc
    return target if path and target.isprintable() else "/alerts"
