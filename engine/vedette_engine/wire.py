r"""The queue message, format 1: up to 500 records of one source, and what their identities are made of.

The gateway and the collectors encode, the pipeline decodes. Identity belongs to a delivery, never to content: an
event's id is a hash of its namespace, its source, a key and a position. The key is the client's where it gave one, and
otherwise random, drawn once for the request and carried in the message; so whatever is redelivered inside Vedette gets
the same id again, while two equal lines get two.

A message is a body of bytes and headers of text:

=========  ==========================================================================================
`v`        `1`
`source`   name of the LogSource; the namespace is the queue's, so a message cannot claim another
`ingested` when the gateway took the request, ms since the epoch
`kind`     `json`: records joined by `\n`, each a JSON object on one line; `text`: joined by `\n`, any other bytes;
           `binary`: text records that contain `\n`, each behind its length (4 bytes, big-endian)
`count`    how many records
`keys`     JSON list of runs `[count, key, first position, 1 if the key is the client's, else 0]`, in the body's order
=========  ==========================================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, cast

import orjson

VERSION: Final = "1"
MAX_RECORDS: Final = 500
QUEUE_PREFIX: Final = "events."
"""What a source's queue is called, before the source's name: gateway, operator and workers must agree."""
ALERT_QUEUE: Final = "alerts"
"""Queue of the notices of alerts that ask for an incident; one consumer at a time."""
MAX_BYTES: Final = 1 << 20
MAX_KEYS_BYTES: Final = 48 << 10
"""AMQP carries all headers in one frame, and brokers take 64 KiB of them, so many long keys end a message early."""
ALONE: Final = -1
"""The position of a record that its key identifies by itself, such as the `_id` of a bulk item: it may be repeated in
another place of another request and is still the same event."""

_BY_ID: Final = "amqp:"
_BY_CONTENT: Final = "amqp#"

Kind = Literal["json", "text", "binary"]
_KINDS: Final = frozenset({"json", "text", "binary"})
_LENGTH: Final = struct.Struct(">I")


class WireError(ValueError):
    """A message that is not one of ours, or not whole; its bytes belong into a dead letter."""


class UnknownVersionError(WireError):
    """Written by a newer Vedette (or by something else): this worker must not guess."""


class Run(NamedTuple):
    """`length` neighbouring records under one key, at the positions `first`, `first` + 1 and so on.

    `keyed`: the key is the client's, so a repetition of the request repeats the ids. `first` is `ALONE` for a run of
    one record that its key identifies by itself.
    """

    length: int
    key: str
    first: int
    keyed: bool


class Record(NamedTuple):
    """One event as it was sent. `id`: 32 hex digits; `position`: in its request, or `ALONE`."""

    id: str
    raw: bytes
    key: str
    position: int
    keyed: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded message. `ingested`: ms since the epoch."""

    source: str
    ingested: int
    kind: Kind
    records: tuple[Record, ...]


def event_id(namespace: str, source: str, key: str, position: int) -> str:
    """128 bits as hex: its own for every list of arguments, the same on every machine and in every version."""
    return next(_ids(_scope(namespace, source), Run(1, key, position, keyed=True)))


def _scope(namespace: str, source: str) -> blake2b:
    text = f"{len(namespace)}:{namespace}{len(source)}:{source}"
    return blake2b(text.encode(), digest_size=16, person=b"vedette event 1")


def _ids(scope: blake2b, run: Run) -> Iterator[str]:
    base = scope.copy()
    base.update(f"{len(run.key)}:{run.key}".encode("utf-8", "surrogatepass"))
    for position in range(run.first, run.first + run.length):
        state = base.copy()
        state.update(b"%d" % position)
        yield state.hexdigest()


def run_ids(namespace: str, source: str, runs: Sequence[Run]) -> Iterator[str]:
    """The ids of all records of the runs, in order."""
    scope = _scope(namespace, source)
    for run in runs:
        yield from _ids(scope, run)


def foreign_key(body: bytes, message_id: str, timestamp: str) -> str:
    """The key of an event that somebody published to the broker directly, alone in its message.

    Without a message id only content and time tell deliveries apart, so equal ones collapse into one event:
    `is_content_key` says whether that may have happened. The two forms never meet, whatever a publisher writes.

    Args:
        body: as it came.
        message_id: the publisher's, or empty.
        timestamp: the publisher's, or empty.
    """
    if message_id:
        return f"{_BY_ID}{message_id}"
    state = blake2b(digest_size=16, person=b"vedette foreign1")
    state.update(f"{len(timestamp)}:{timestamp}".encode("utf-8", "surrogatepass"))
    state.update(body)
    return f"{_BY_CONTENT}{state.hexdigest()}"


def is_content_key(key: str) -> bool:
    """Whether a key was made of what a foreign message holds."""
    return key.startswith(_BY_CONTENT)


def foreign_record(namespace: str, source: str, raw: bytes, key: str) -> Record:
    """The one record of a foreign message; `key` as `foreign_key` gives it, `raw` perhaps decompressed."""
    return Record(event_id(namespace, source, key, ALONE), raw, key, ALONE, keyed=True)


def pack(records: Sequence[bytes], runs: Sequence[Run]) -> Iterator[tuple[Sequence[bytes], list[Run]]]:
    """Divide records and the runs that cover them into parts that each fit one message, in order."""
    start, size, keys_size = 0, 0, 2
    part: list[Run] = []
    index = 0
    for run in runs:
        key_size = 6 * len(run.key) + 32  # JSON escapes a character to six bytes at worst
        taken = 0
        for offset in range(run.length):
            grown = size + len(records[index]) + 4
            keys_grown = keys_size + (key_size if offset == taken else 0)
            full = index - start >= MAX_RECORDS or grown > MAX_BYTES or keys_grown > MAX_KEYS_BYTES
            if full and index > start:
                if offset > taken:
                    part.append(_slice(run, taken, offset))
                yield records[start:index], part
                start, taken, part = index, offset, []
                grown, keys_grown = len(records[index]) + 4, 2 + key_size
            size, keys_size = grown, keys_grown
            index += 1
        part.append(_slice(run, taken, run.length))
    if index > start:
        yield records[start:index], part


def _slice(run: Run, start: int, stop: int) -> Run:
    return run if stop - start == run.length else Run(stop - start, run.key, run.first + start, run.keyed)


def encode(
    *, source: str, ingested: int, kind: Literal["json", "text"], records: Sequence[bytes], runs: Sequence[Run]
) -> tuple[bytes, dict[str, str]]:
    r"""Body and headers of one message; the caller has divided what it has by `pack`.

    The senders' bytes are kept. Only a line break inside a JSON record becomes a blank: JSON allows one between tokens
    only, where it means nothing.

    Raises:
        ValueError: no record, or runs that do not cover the records.
    """
    if not records or sum(run.length for run in runs) != len(records):
        raise ValueError("runs must cover all records, and there must be one")
    body = b"\n".join(records)
    shape: Kind = kind
    if body.count(b"\n") != len(records) - 1:
        if kind == "json":
            body = b"\n".join([record.replace(b"\n", b" ") for record in records])
        else:
            shape = "binary"
            body = b"".join([_LENGTH.pack(len(record)) + record for record in records])
    headers = {
        "v": VERSION,
        "source": source,
        "ingested": str(ingested),
        "kind": shape,
        "count": str(len(records)),
        "keys": orjson.dumps([[run.length, run.key, run.first, int(run.keyed)] for run in runs]).decode(),
    }
    return body, headers


def decode(namespace: str, body: bytes, headers: Mapping[str, str]) -> Batch:
    """The records of a message that was consumed in this namespace.

    Raises:
        UnknownVersionError: written in another format.
        WireError: a header is missing or wrong, or body and headers disagree.
    """
    version = headers.get("v", "")
    if version != VERSION:
        raise UnknownVersionError(f"message format {version[:20]!r}, this worker reads {VERSION!r}")
    source, kind = headers.get("source", ""), headers.get("kind", "")
    if not source or kind not in _KINDS:
        raise WireError(f"source {source[:80]!r} or kind {kind[:20]!r} is missing or unknown")
    count = _number(headers, "count")
    runs = _runs(headers.get("keys", ""))
    if sum(run.length for run in runs) != count:
        raise WireError("header `keys` does not cover the records")
    raws = _lengths(body) if kind == "binary" else body.split(b"\n")
    if len(raws) != count:
        raise WireError(f"header `count` says {count} records, the body holds {len(raws)}")
    return Batch(
        source, _number(headers, "ingested"), cast("Kind", kind), tuple(_records(namespace, source, raws, runs))
    )


def _records(namespace: str, source: str, raws: Sequence[bytes], runs: Sequence[Run]) -> Iterator[Record]:
    scope = _scope(namespace, source)
    raw = iter(raws)
    for run in runs:
        for position, name in enumerate(_ids(scope, run), run.first):
            yield Record(name, next(raw), run.key, position, run.keyed)


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise WireError(f"header {name!r} is {text[:20]!r}, not a number")
    return int(text)


def _runs(text: str) -> list[Run]:
    try:
        runs = [Run(length, key, first, keyed == 1) for length, key, first, keyed in orjson.loads(text)]
    except (ValueError, TypeError) as error:
        raise WireError("header `keys` is not a list of runs") from error
    total = 0
    for count, key, first, _ in runs:
        if type(count) is not int or type(first) is not int or type(key) is not str:
            raise WireError("header `keys` holds a run of the wrong types")
        if count < 1 or first < ALONE or (first == ALONE and count > 1):
            raise WireError("header `keys` holds an impossible run")
        total += count
    if not 0 < total <= MAX_RECORDS:
        raise WireError(f"{total} records in a message of at most {MAX_RECORDS}")
    return runs


def _lengths(body: bytes) -> list[bytes]:
    raws = []
    at = 0
    while at < len(body):
        start = at + _LENGTH.size
        if start > len(body):
            raise WireError("the body ends inside a length")
        at = start + _LENGTH.unpack_from(body, at)[0]
        if at > len(body):
            raise WireError("the body ends inside a record")
        raws.append(body[start:at])
    return raws
