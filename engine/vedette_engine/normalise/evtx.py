"""The evtx shape: an event's XML as JSON, as evtx_dump writes it, to Sigma's flat names.

Attributes stand under `#attributes`, text beside attributes under `#text`. `xmlns` attributes are syntax, not content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vedette_engine.detect.fields import WINDOWS_PREFIX
from vedette_engine.normalise.counters import Counters
from vedette_engine.normalise.flatten import Event, put_any

_TEXT = "#text"
_ATTRIBUTES = "#attributes"

_ATTRIBUTE_NAMES = {
    ("Provider", "Name"): "Provider_Name",
    ("Provider", "Guid"): "Provider_Guid",
    ("Provider", "EventSourceName"): "winlog.event_source_name",
    ("TimeCreated", "SystemTime"): "TimeCreated",
    ("Execution", "ProcessID"): "Execution_ProcessID",
    ("Execution", "ThreadID"): "Execution_ThreadID",
    ("Security", "UserID"): "Security_UserID",
    ("Correlation", "ActivityID"): "Correlation_ActivityID",
    ("Correlation", "RelatedActivityID"): "Correlation_RelatedActivityID",
    ("EventID", "Qualifiers"): "winlog.qualifiers",
}


def flatten_evtx(event: Mapping[str, Any], counters: Counters) -> Event:
    """`{"System": …, "EventData": …}` with Sigma's names.

    A field of EventData that is called like one of System (`Channel` in the event of a cleared log) keeps its name
    below `winlog.event_data.`; values stay as they are, null and nested ones included.
    """
    flat: Event = {}
    for name, value in event["System"].items():
        for flat_name, held in _read_system(name, value):
            flat[flat_name] = held
    for section, content in event.items():
        if section in {"System", _ATTRIBUTES}:
            continue
        if section in {"EventData", "UserData"}:
            for name, value in _read_data(section, content):
                if name in flat:
                    put_any(flat, WINDOWS_PREFIX + name, value, counters)
                else:
                    flat[name] = value
        else:
            put_any(flat, f"winlog.{section}", content, counters)
    return flat


def _read_system(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        if value is not None:
            yield name, value
        return
    for attribute, held in (value.get(_ATTRIBUTES) or {}).items():
        yield _ATTRIBUTE_NAMES.get((name, attribute), f"winlog.{name}.{attribute}"), held
    for key, held in value.items():
        if key == _TEXT:
            yield name, held
        elif key != _ATTRIBUTES:
            yield f"winlog.{name}.{key}", held


def _read_data(section: str, content: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        if content is not None:
            yield section, content
        return
    for name, value in content.items():
        if name == _ATTRIBUTES:
            for attribute, held in value.items() if isinstance(value, dict) else ():
                if attribute != "xmlns":
                    yield f"winlog.{section}.{attribute}", held
        elif isinstance(value, dict) and section == "UserData":
            yield "winlog.user_data.name", name
            yield from _read_data(section, value)
        elif isinstance(value, dict) and set(value) <= {_TEXT, _ATTRIBUTES}:
            yield name, value.get(_TEXT)
        else:
            yield name, value
