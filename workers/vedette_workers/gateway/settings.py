"""What an operator of the gateway may set; the defaults serve one machine as well as a pod of 512 MiB."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one gateway process. Sizes are bytes, times seconds.

    Attributes:
        max_request: of a request's body as it comes over the wire.
        max_inflated: of the same body after decompression.
        max_events: in one request.
        max_values: commas in a JSON array of events: each costs up to 70 bytes of memory while the array is checked.
        max_depth: nesting of one event.
        in_flight: bodies that are being received, checked or published, all sources together.
        source_share: part of `in_flight` that one source may hold; its first request is always admitted.
        gather: how long small requests wait for company in one message while others wait too.
        confirm: how long a request waits for the broker before it is answered 503, outcome unknown.
        max_publish: of what is handed to the broker in one call.
        head_time, head_bytes: for the request line and headers of a request.
        body_time: for its body.
        keep_alive: how long an idle connection stays open.
        connections: open at the same time.
        failures, failure_interval: an address may fail to authenticate so often at once, and once more per interval.
        metrics_token: SHA-256 in hex of the token that `/metrics` asks for; empty means everybody may read it.
        elasticsearch_version: what `GET /` claims, so that shippers choose their protocol.
    """

    max_request: int = 20 * MIB
    max_inflated: int = 100 * MIB
    max_events: int = 50_000
    max_values: int = 2_000_000
    max_depth: int = 64
    in_flight: int = 128 * MIB
    source_share: float = 0.5
    gather: float = 0.005
    confirm: float = 10.0
    max_publish: int = 16 * MIB
    head_time: float = 10.0
    head_bytes: int = 64 << 10
    body_time: float = 60.0
    keep_alive: int = 65
    connections: int = 2_000
    failures: int = 10
    failure_interval: float = 6.0
    metrics_token: str = ""
    elasticsearch_version: str = "9.1.0"
