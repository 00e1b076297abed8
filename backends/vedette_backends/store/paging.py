"""Opaque cursors: where a page ended, in a form that survives a URL."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

from vedette_engine.query.tree import QueryError

_MAX_CURSOR = 1024


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last item of a page, and the newest `event.ingested` that the first page could see (None: no such bound)."""

    time: int
    id: str
    bound: int | None = None

    def encode(self) -> str:
        """As URL-safe text."""
        return base64.urlsafe_b64encode(orjson.dumps([self.time, self.id, self.bound])).decode().rstrip("=")


def decode(text: str) -> Cursor:
    """Raises QueryError for what `Cursor.encode` did not make."""
    if len(text) > _MAX_CURSOR:
        raise QueryError("The page's cursor is not one of ours: start from the first page")
    try:
        time, item, bound = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise QueryError("The page's cursor is not one of ours: start from the first page") from error
    if type(time) is not int or type(item) is not str or not (bound is None or type(bound) is int):
        raise QueryError("The page's cursor is not one of ours: start from the first page")
    return Cursor(time, item, bound)
