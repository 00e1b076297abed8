"""Which source a token stands for: the gateway's part of a bundle, checked and indexed.

A bundle is JSON with hashes of tokens, never tokens:

    {"v": 1, "sources": [{"namespace": "shop", "name": "web-auth", "format": "syslog", "tokens": ["<sha256, hex>"],
      "queue": "events.web-auth", "limits": {"eventsPerSecond": 5000, "burst": 20000, "maxEventBytes": 262144}}]}

`queue` and `limits` may be absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from vedette_crds.problems import Problem, ProblemsError
from vedette_engine.wire import QUEUE_PREFIX

TEXT_FORMATS: Final = frozenset({"syslog", "text", "cef", "leef"})
"""Formats whose records are lines; all others are JSON."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class Limits(_Strict):
    """What a source may send. `burst` defaults to four seconds' worth; no `events_per_second` means no limit."""

    events_per_second: Annotated[float, Field(gt=0)] | None = None
    burst: Annotated[float, Field(gt=0)] | None = None
    max_event_bytes: Annotated[int, Field(ge=1, le=16 << 20)] = 262_144

    @property
    def capacity(self) -> float:
        """Events that may come at once; 0 without a rate."""
        return self.burst or 4 * (self.events_per_second or 0)


class _Entry(_Strict):
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9-]+$")]
    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9-]+$")]
    format: Annotated[str, Field(max_length=40)] = "json"
    tokens: Annotated[list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]], Field(min_length=1, max_length=10)]
    queue: Annotated[str, Field(max_length=200)] = ""
    limits: Limits = Limits()


class _Bundle(_Strict):
    v: Literal[1]
    sources: Annotated[list[Any], Field(max_length=100_000)]


@dataclass(frozen=True, slots=True)
class Source:
    """One LogSource with an HTTP input, as far as the gateway must know it."""

    namespace: str
    name: str
    text: bool
    queue: str
    limits: Limits

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


def queue_of(source: str) -> str:
    """The queue of a source, in its namespace's broker."""
    return QUEUE_PREFIX + source


def digest(token: str) -> bytes:
    """What is looked up instead of the token."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


class SourceTable:
    """Sources by the hash of their tokens; immutable, a new bundle makes a new table.

    `problems`: what is wrong with entries that were left out.
    """

    def __init__(self, sources: Mapping[bytes, Source] | None = None, problems: Iterable[Problem] = ()) -> None:
        self._by_digest = dict(sources or {})
        self.problems = tuple(problems)

    @classmethod
    def load(cls, bundle: Mapping[str, Any]) -> SourceTable:
        """Sources that share a token are left out, all of them, since nobody can say whose events they would be.

        Raises:
            ProblemsError: it is not a gateway bundle of version 1. A fault of one entry leaves out that entry only.
        """
        try:
            entries = _Bundle.model_validate(bundle).sources
        except ValidationError as error:
            raise ProblemsError(_problems(error, "gateway bundle")) from error
        problems: list[Problem] = []
        owners: dict[bytes, list[Source]] = {}
        for index, raw in enumerate(entries):
            try:
                entry = _Entry.model_validate(raw)
            except ValidationError as error:
                problems += _problems(error, f"gateway bundle, sources[{index}]")
                continue
            source = Source(
                entry.namespace,
                entry.name,
                entry.format in TEXT_FORMATS,
                entry.queue or queue_of(entry.name),
                entry.limits,
            )
            for token in set(entry.tokens):
                owners.setdefault(bytes.fromhex(token), []).append(source)
        shared = {source.key for sources in owners.values() if len(sources) > 1 for source in sources}
        for namespace, name in sorted(shared):
            problems.append(
                Problem(
                    "shares a token with another source, so nothing it sends is accepted",
                    object=f"LogSource {namespace}/{name}",
                    path="spec.input.http.tokenSecretRef",
                    hint="give each source a token of its own",
                )
            )
        return cls({key: owner[0] for key, owner in owners.items() if owner[0].key not in shared}, problems)

    def find(self, token_digest: bytes) -> Source | None:
        """The source of a token. What time it takes depends on the digest only, which says nothing about a token."""
        return self._by_digest.get(token_digest)

    def sources(self) -> list[Source]:
        """All of them, once each."""
        return list({source.key: source for source in self._by_digest.values()}.values())


def _problems(error: ValidationError, where: str) -> list[Problem]:
    return [
        Problem(fault["msg"], object=where, path=".".join(map(str, fault["loc"])))
        for fault in error.errors(include_input=False, include_url=False)
    ]
