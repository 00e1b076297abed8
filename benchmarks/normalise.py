"""How long normalisation takes: µs per event of one core, from the record's bytes to the document.

    python benchmarks/normalise.py [--rounds 5]

Columns: JSON decoding alone, the event (decoding included), the document. The least of all rounds counts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from vedette_engine.normalise.document import to_document
from vedette_engine.normalise.errors import Malformed
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NOW = 1_764_000_000_000
EVENTS = 4000

Lane = tuple[str, SourceConfig, list[bytes]]


def read_mixed(source: str, wanted: Callable[[str], bool] = lambda _raw: True) -> list[bytes]:
    """The first EVENTS records of one kind from the mixed set."""
    records: list[bytes] = []
    with gzip.open(DATA / "mixed" / "events.jsonl.gz") as lines:
        for line in lines:
            record = json.loads(line)
            if record["source"] == source and wanted(record["raw"]):
                records.append(record["raw"].encode())
                if len(records) == EVENTS:
                    break
    return records


def read_events(path: Path, skip: int = 1) -> list[bytes]:
    """Events of a data set that keeps them under `event`."""
    with gzip.open(path) as lines:
        return [orjson.dumps(json.loads(line)["event"]) for number, line in enumerate(lines) if number % skip == 0][
            :EVENTS
        ]


def lanes() -> list[Lane]:
    """Name, source and records of each kind."""
    windows = DATA / "windows" / "events_otrf.jsonl.gz"
    return [
        ("windows flat", SourceConfig("b", "b", "windowsEvent"), read_events(windows, 25)),
        ("windows nxlog, with message", SourceConfig("b", "b", "windowsEvent"), read_mixed("windows_json")),
        (
            "winlogbeat 6",
            SourceConfig("b", "b", "windowsEvent"),
            read_mixed("windows_json", lambda raw: '"event_data"' in raw),
        ),
        ("syslog auth", SourceConfig("b", "b", "syslog", "linux.auth"), read_mixed("linux_auth")),
        ("cloudtrail", SourceConfig("b", "b", "json", "aws.cloudtrail"), read_mixed("aws_cloudtrail")),
        ("plain json (zeek)", SourceConfig("b", "b", "json"), read_mixed("zeek_json")),
    ]


def least(run: Callable[[], Any], count: int, rounds: int) -> float:
    """µs per event of the fastest round, in CPU time."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best / count * 1e6


def decode(records: Sequence[bytes]) -> None:
    """JSON decoding alone; text costs nothing here."""
    for raw in records:
        if raw[:1] == b"{":
            orjson.loads(raw)


def normalise(worker: Normaliser, records: Sequence[bytes]) -> list[tuple[dict[str, Any], int]]:
    """Events with the sizes of their records."""
    events = []
    for raw in records:
        try:
            parsed = orjson.loads(raw) if raw[:1] == b"{" else None
            events.append((worker.normalise(raw, parsed, NOW), len(raw)))
        except (Malformed, orjson.JSONDecodeError):
            continue
    return events


def document(events: Sequence[tuple[dict[str, Any], int]]) -> None:
    """Documents of the events."""
    for event, size in events:
        to_document(event, None, size)


def main() -> None:
    """Prints one line per kind of event."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    if not DATA.is_dir():
        print("../shared/data is not here: nothing to measure with")
        return
    print(f"{'events':30} {'count':>6} {'bytes':>6} {'decode':>8} {'event':>8} {'document':>9} {'sum':>8}  µs/event")
    for name, source, records in lanes():
        worker = Normaliser(source)
        events = normalise(worker, records)
        count = len(events)
        size = sum(map(len, records)) / len(records)
        decoding = least(lambda records=records: decode(records), count, rounds)  # type: ignore[misc]  # mypy cannot type a default
        event = least(lambda worker=worker, records=records: normalise(worker, records), count, rounds)  # type: ignore[misc]  # the same
        stored = least(lambda events=events: document(events), count, rounds)  # type: ignore[misc]  # the same
        print(f"{name:30} {count:6} {size:6.0f} {decoding:8.1f} {event:8.1f} {stored:9.1f} {event + stored:8.1f}")


if __name__ == "__main__":
    main()
