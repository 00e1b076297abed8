"""Who sends: the token of a request, however its shipper is able to give it."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers

from vedette_workers.gateway.errors import Unauthorized
from vedette_workers.gateway.limits import Failures
from vedette_workers.gateway.sources import Source, SourceTable, digest

CHALLENGE = 'Bearer realm="vedette", Basic realm="vedette", ApiKey'
_MAX_LENGTH = 4096


def tokens(headers: Headers) -> list[str]:
    """What may be the token: a Bearer token, a Basic password, the key part of an ApiKey, or an ApiKey as it stands."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    if not value or len(value) > _MAX_LENGTH:
        return []
    match scheme.lower():
        case "bearer":
            return [value]
        case "basic":
            return _after_colon(value)
        case "apikey":
            return [*_after_colon(value), value, *([value.partition(":")[2]] if ":" in value else [])]
        case _:
            return []


def _after_colon(encoded: str) -> list[str]:
    """`id:key` in base64 → `key`."""
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return []
    _, colon, key = text.partition(":")
    return [key] if colon and key else []


def authenticate(headers: Headers, address: str, table: SourceTable, failures: Failures) -> Source:
    """The source of the request's token.

    Raises:
        Unauthorized: it has none, or one that no source has.
        TooMany: this address failed too often.
    """
    digests = [digest(token) for token in tokens(headers)]
    failures.check(address, digests)
    for each in digests:
        source = table.find(each)
        if source is not None:
            failures.succeeded(address, each)
            return source
    failures.failed(address)
    raise Unauthorized("give a source's token as Bearer, as Basic password or as ApiKey")
