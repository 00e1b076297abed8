"""All kinds that users write."""

from __future__ import annotations

from vedette_crds.alertrule import AlertRule
from vedette_crds.enrichment import Enrichment
from vedette_crds.incident import Incident
from vedette_crds.logsource import LogSource
from vedette_crds.resource import Resource

KINDS: dict[str, type[Resource]] = {kind.KIND: kind for kind in (LogSource, Enrichment, AlertRule, Incident)}

__all__ = ["KINDS"]
