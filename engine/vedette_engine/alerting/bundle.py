"""A bundle: all that the workers of one namespace need to know, as JSON, kept under its content hash.

The operator builds it from accepted objects only; workers load the difference to what they have. It holds
compiled rules, never secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

HEAD = "bundle"
"""Name of the store's head that points at the bundle in force."""
FORMAT = 1
READABLE = (1,)


class BundleError(ValueError):
    """The bundle cannot be read: damaged, or written by a version that this worker does not know."""


@dataclass(frozen=True, slots=True)
class BundledRule:
    """One AlertRule in compiled form.

    Attributes:
        name: of the AlertRule.
        hash: of its spec; names the version in alerts and statuses.
        severity, title, summary, owner, runbook, tags: what alerts of this rule say; empty where the compiled
            Sigma document decides.
        sigma: compiled documents, `vedette_engine.detect.rule.Rule.to_json()` each.
        incident: for rules whose alerts open incidents by themselves: `groupBy` (field names as the rule's author wrote
            them) and `within` (ms); empty for all others.
        search: the scheduled search of a rule that has no Sigma documents, `searches.SearchSpec.to_json()`; empty for
            all others.
    """

    name: str
    hash: str
    sigma: Sequence[Mapping[str, Any]]
    severity: str = ""
    title: str = ""
    summary: str = ""
    owner: str = ""
    runbook: str = ""
    tags: Sequence[str] = ()
    version: str = ""
    incident: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BundledEnrichment:
    """One Enrichment: its spec as JSON.

    Attributes:
        tables: the Enrichment's name → its table: hash of a blob in the store, or `{"pvc": {"claimName", "path"}}` for
            a file that only the workers can read; empty for one that needs none.
    """

    name: str
    hash: str
    spec: Mapping[str, Any]
    tables: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything of one namespace. `sources`: LogSource name → `SourceConfig.to_json()`."""

    namespace: str
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    enrichments: Sequence[BundledEnrichment] = ()
    rules: Sequence[BundledRule] = ()


def encode(bundle: Bundle) -> bytes:
    """Canonical JSON: equal bundles give equal bytes, hence equal hashes."""
    return orjson.dumps(
        {
            "v": FORMAT,
            "namespace": bundle.namespace,
            "sources": bundle.sources,
            "enrichments": list(bundle.enrichments),
            "rules": [_as_json(rule) for rule in bundle.rules],
        },
        option=orjson.OPT_SORT_KEYS,
    )


def _as_json(rule: BundledRule) -> dict[str, Any]:
    """Without what the version before does not know, where the rule does without it: its workers still read that."""
    raw = {name: getattr(rule, name) for name in BundledRule.__dataclass_fields__}
    if not rule.search:
        del raw["search"]
    return raw


def decode(data: bytes) -> Bundle:
    """The bundle in `data`; raises BundleError."""
    try:
        raw = orjson.loads(data)
        if raw.pop("v", None) not in READABLE:
            raise BundleError("this bundle was written in a format that this version does not read")
        return Bundle(
            namespace=raw["namespace"],
            sources=raw["sources"],
            enrichments=tuple(BundledEnrichment(**item) for item in raw["enrichments"]),
            rules=tuple(BundledRule(**item) for item in raw["rules"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"this bundle cannot be read: {error}") from error
