"""The same Windows event gives the same document, whatever shape it arrives in; and nothing of it is lost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from vedette_engine.normalise.document import OTHER, to_document
from vedette_engine.normalise.windows import to_ecs

ONLY_IN_EVTX = frozenset(
    {"winlog.provider_guid", "winlog.activity_id", "winlog.user_data.name", "winlog.EventData.Name"}
)
"""What the flat form of the regression events leaves out."""


def test_flat_and_evtx_shape_of_the_regression_events_agree(shared_data: Path) -> None:
    compared = 0
    for line in (shared_data / "sigma" / "regression.jsonl").read_text().splitlines():
        case = json.loads(line)
        for flat, evtx in zip(case["events_flat"], case["events_evtx"], strict=True):
            one = to_document(to_ecs(flat))
            other = to_document(to_ecs(evtx))
            other[OTHER] = {name: value for name, value in other[OTHER].items() if name not in ONLY_IN_EVTX}
            assert one == other
            compared += 1
    assert compared > 100


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.slow
@pytest.mark.parametrize("source", ["windows_json", "windows_sentinel_json"])
def test_no_text_of_a_shipped_windows_event_is_lost(shared_data: Path, source: str) -> None:
    seen = 0
    with gzip.open(shared_data / "mixed" / "events.jsonl.gz") as lines:
        for line in lines:
            record = json.loads(line)
            if record["source"] != source:
                continue
            native = json.loads(record["raw"])
            counters: dict[str, int] = {}
            event = to_ecs(native, counters)
            document = to_document(event, counters)
            kept = set(strings([list(event.values()), document]))
            missing = [text for text in strings(native) if text not in kept and text != native.get("@timestamp")]
            assert not missing
            assert "rest" not in counters
            seen += 1
    assert seen
