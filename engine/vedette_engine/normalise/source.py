"""What the normaliser knows of a log source: the part of a LogSource that workers get in their bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DEFAULT_MAX_EVENT_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source.

    Attributes:
        namespace, name: of the LogSource.
        format: how a record is written; a key of `vedette_engine.normalise.formats.FORMATS`.
        parser: what reads its content further; a key of `vedette_engine.normalise.parsers.PARSERS`, or empty.
        mapping: declarative steps applied last, as written in the manifest.
        dataset: `event.dataset` of its events; empty leaves the sender's.
        product, category, service: the Sigma logsource that it satisfies; empty where it names none.
        timezone: of times that name none; `UTC`, `Europe/Berlin`, `+02:00`.
        retention: class of its events, `7d` | `30d` | `90d` | `400d`.
        security_4688: Security events 4688 count as process_creation.
        max_event_bytes: larger records are dead letters.
    """

    namespace: str
    name: str
    format: str
    parser: str = ""
    mapping: tuple[Mapping[str, Any], ...] = ()
    dataset: str = ""
    product: str = ""
    category: str = ""
    service: str = ""
    timezone: str = "UTC"
    retention: str = "30d"
    security_4688: bool = False
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES

    @classmethod
    def from_spec(cls, namespace: str, name: str, spec: Any) -> SourceConfig:
        """From `LogSource.spec`: the pydantic model, or the manifest's own mapping."""
        written = as_manifest(spec)
        logsource = written.get("logsource") or {}
        return cls(
            namespace=namespace,
            name=name,
            format=written.get("format", "json"),
            parser=written.get("parser") or "",
            mapping=tuple(written.get("mapping") or ()),
            dataset=written.get("dataset") or "",
            product=logsource.get("product") or "",
            category=logsource.get("category") or "",
            service=logsource.get("service") or "",
            timezone=written.get("timezone") or "UTC",
            retention=(written.get("retention") or {}).get("search") or "30d",
            security_4688=(written.get("windows") or {}).get("security4688") == "processCreation",
            max_event_bytes=(written.get("limits") or {}).get("maxEventBytes") or DEFAULT_MAX_EVENT_BYTES,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, for a bundle."""
        return {**asdict(self), "mapping": [dict(step) for step in self.mapping]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SourceConfig:
        """The inverse of `to_json`; fields of a newer version are ignored."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        return cls(**{**known, "mapping": tuple(known.get("mapping", ()))})


def as_manifest(spec: Any) -> Mapping[str, Any]:
    """A spec as its author wrote it: camel-case names, nothing that was left out."""
    if hasattr(spec, "model_dump"):
        dumped = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
        assert isinstance(dumped, dict)
        return dumped
    assert isinstance(spec, Mapping)
    return spec
