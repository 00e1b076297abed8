"""Sources: what comes in, how fast, how late, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from vedette_backends.cluster.protocol import Object
from vedette_webui import health
from vedette_webui.health import State
from vedette_webui.visit import Visit


@dataclass(frozen=True, slots=True)
class Row:
    """One source in the list."""

    name: str
    description: str
    format: str
    dataset: str
    state: State
    figures: dict[str, Any]
    waiting: int


def index(visit: Visit) -> Response:
    """The list, and the workers behind it."""
    beats = visit.store.heartbeats()
    figures = health.totals(beats, "sources", visit.now)
    found = visit.desk.objects.of("LogSource", visit.namespace)
    rows = [_row(visit, source, figures.get(source.key.name, {})) for source in found]
    return visit.render(
        "sources.html",
        rows=rows,
        beats=sorted(beats, key=lambda beat: beat.worker),
        alive=health.ALIVE,
        rate=sum(health.lively(each.figures) for each in rows),
    )


def _row(visit: Visit, source: Object, figures: dict[str, Any]) -> Row:
    spec = source.manifest.get("spec", {})
    name = source.key.name
    return Row(
        name,
        str(spec.get("description", "")),
        " · ".join(str(spec[key]) for key in ("format", "parser") if spec.get(key)),
        str(spec.get("dataset", "")),
        health.source_state(source, figures, visit.now),
        figures,
        visit.store.search_dead_letters(source=name, size=1)[1],
    )
