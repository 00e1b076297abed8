"""Every operation that an Enrichment can name, and who makes it. A new operation is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from vedette_engine.enrich.drop import make_drop
from vedette_engine.enrich.geoip import make_geoip
from vedette_engine.enrich.lookup import make_lookup
from vedette_engine.enrich.operation import Factory
from vedette_engine.enrich.rename import make_rename
from vedette_engine.enrich.set_fields import make_set

OPERATIONS: Mapping[str, Factory] = {
    "geoip": make_geoip,
    "lookup": make_lookup,
    "set": make_set,
    "rename": make_rename,
    "drop": make_drop,
}
"""Name in `Enrichment.spec` → factory."""
