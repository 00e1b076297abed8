"""`geoip`: place and network of an address, from a MaxMind database.

The file is read by the maxminddb library's own Python decoder, which bounds depth, values and bytes of a record, so
that a damaged or hostile database costs a tagged event and not the worker. Records are kept in a bounded cache:
addresses repeat, and a look-up costs some 50 µs.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import maxminddb
from maxminddb.const import MODE_FD
from maxminddb.reader import Reader

from vedette_engine.enrich.errors import EnrichmentError, TableError
from vedette_engine.enrich.operation import Operation, Options, require_free
from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.types import MISMATCH, check_ip

CACHE_SIZE = 16_384

# InvalidDatabaseError is the library's word for it; the others are what Python says of bytes that make no sense.
_DAMAGED = (maxminddb.InvalidDatabaseError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)

_TEXTS: Mapping[str, tuple[str | int, ...]] = {
    "city_name": ("city", "names", "en"),
    "continent_code": ("continent", "code"),
    "continent_name": ("continent", "names", "en"),
    "country_iso_code": ("country", "iso_code"),
    "country_name": ("country", "names", "en"),
    "postal_code": ("postal", "code"),
    "timezone": ("location", "time_zone"),
    "region_name": ("subdivisions", 0, "names", "en"),
}
"""ECS geo field → path in a City or Country record."""


def open_geoip(data: bytes) -> Reader:
    """A reader of a database held in memory. Raises TableError when it is not one."""
    try:
        return Reader(io.BytesIO(data), MODE_FD)
    except (*_DAMAGED, OSError, MemoryError) as error:
        raise TableError(f"the file is not a readable MaxMind database: {error}") from error


def read_fields(record: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ECS `geo.*` fields and the ECS `as.*` fields of a database record; none of no record."""
    if record is None:
        return {}, {}
    if not isinstance(record, dict):
        raise EnrichmentError("the database holds a record of an unknown shape")
    geo: dict[str, Any] = {}
    for name, path in _TEXTS.items():
        value = _get(record, path)
        if isinstance(value, str) and value:
            geo[name] = value
    country, region = _get(record, ("country", "iso_code")), _get(record, ("subdivisions", 0, "iso_code"))
    if isinstance(country, str) and isinstance(region, str) and region:
        geo["region_iso_code"] = f"{country}-{region}"
    north, east = _get(record, ("location", "latitude")), _get(record, ("location", "longitude"))
    if isinstance(north, float) and isinstance(east, float) and abs(north) <= 90 and abs(east) <= 180:
        geo["location"] = f"{north},{east}"
    network: dict[str, Any] = {}
    number, organization = record.get("autonomous_system_number"), record.get("autonomous_system_organization")
    if isinstance(number, int):
        network["number"] = number
    if isinstance(organization, str):
        network["organization.name"] = organization
    return geo, network


def _get(record: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        if isinstance(part, str) and isinstance(record, dict):
            record = record.get(part)
        elif isinstance(part, int) and isinstance(record, list) and len(record) > part:
            record = record[part]
        else:
            return None
    return record


def make_geoip(options: Options, table: bytes | None) -> Operation:
    """`{sourceField, targetField, database}`.

    Places go below `targetField` (`source.geo`), networks below its sibling `as` (`source.as`), whatever of both the
    database holds.
    """
    if table is None:
        raise TableError("the database is missing")
    require_free([options["targetField"]])
    look_up = _cached_look_up(open_geoip(table), *_prefixes(options["targetField"]))
    source: str = options["sourceField"]

    def apply(event: Event) -> bool:
        address = event.get(source)
        if isinstance(address, list):
            # One place per event: that of the first address.
            address = address[0] if address else None
        if address is None:
            return False
        if check_ip(address) is MISMATCH:
            raise EnrichmentError(f"{source} is not an address")
        found = look_up(address)
        if isinstance(found, EnrichmentError):
            raise EnrichmentError(str(found))
        event.update(found)
        return bool(found)

    return Operation(apply, (source,))


def _prefixes(target: str) -> tuple[str, str]:
    """Where places go, and where networks go: `source.geo.` and `source.as.` for either of both."""
    if target == "as" or target.endswith(".as"):
        return target[:-2] + "geo.", target + "."
    if target == "geo" or target.endswith(".geo"):
        return target + ".", target[:-3] + "as."
    return f"{target}.", f"{target}.as."


def _cached_look_up(
    reader: Reader, geo_prefix: str, network_prefix: str
) -> Callable[[str], Mapping[str, Any] | EnrichmentError]:
    """Address → fields to add. A failure is a value, to be cached too: a hostile record may be slow to refuse."""

    @lru_cache(maxsize=CACHE_SIZE)
    def look_up(address: str) -> Mapping[str, Any] | EnrichmentError:
        try:
            geo, network = read_fields(reader.get(address))
        except _DAMAGED as error:
            return EnrichmentError(f"the database is damaged: {error}")
        except EnrichmentError as error:
            return error
        return {geo_prefix + name: value for name, value in geo.items()} | {
            network_prefix + name: value for name, value in network.items()
        }

    return look_up
