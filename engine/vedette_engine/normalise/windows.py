"""Windows events: from whatever shape a shipper gives them to ECS and `winlog.*`.

Four dialects are read:

* `evtx`: `{"Event": {"System": …, "EventData": …}}` as evtx_dump writes it (attributes under `#attributes`);
* `winlogbeat`: version 7 and later, `winlog.*` nested or with dotted names;
* `winlogbeat6`: `event_data` beside `log_name` and `event_id`;
* `flat`: Sigma's names (`EventID`, `Channel`, `Image` …) side by side, as NXLog and many exporters send them.

Names come from `vedette_engine.detect.fields`, which rules are compiled with too, so that both sides agree.
The event's own time stays as it was written in `winlog.time_created`; `@timestamp` is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vedette_engine.detect.fields import WINDOWS_PREFIX, windows_copies, windows_event_name
from vedette_engine.normalise.counters import Counters, count
from vedette_engine.normalise.evtx import flatten_evtx
from vedette_engine.normalise.flatten import Event, flatten, put_any
from vedette_engine.normalise.names import allowed, is_reserved
from vedette_engine.normalise.shapes import Shapes
from vedette_engine.normalise.times import parse_time
from vedette_engine.normalise.windows_facts import OUTCOMES, facts

_FLAT = {
    "SourceName": "Provider_Name",
    "ProviderName": "Provider_Name",
    "ProviderGuid": "Provider_Guid",
    "ProviderGUID": "Provider_Guid",
    "Hostname": "Computer",
    "ComputerName": "Computer",
    "RecordNumber": "EventRecordID",
    "ExecutionProcessID": "Execution_ProcessID",
    "ActivityID": "Correlation_ActivityID",
    "RelatedActivityID": "Correlation_RelatedActivityID",
}
"""Other shippers' names of System fields → Sigma's; they count only where Sigma's name is not in the event."""

_NXLOG = {
    "ThreadID": "winlog.process.thread.id",
    "ProcessID": "winlog.process.pid",
    "UserID": "winlog.user.identifier",
    "AccountName": "winlog.user.name",
    "AccountType": "winlog.user.type",
    "Domain": "winlog.user.domain",
    "EventTypeOrignal": "winlog.event_data.EventType",
    "EventType": "nxlog.event_type",
    "OpcodeValue": "winlog.opcode",
    "Opcode": "nxlog.opcode",
    "Category": "nxlog.category",
    "Severity": "log.level",
    "SeverityValue": "nxlog.severity_value",
    "SourceModuleName": "nxlog.module_name",
    "SourceModuleType": "nxlog.module_type",
    "EventReceivedTime": "nxlog.received",
    "ERROR_EVT_UNRESOLVED": "nxlog.unresolved",
}
"""What NXLog adds to a flat event, in events that say they are NXLog's."""

_FLAT_OWN = {
    "Message": "message",
    "message": "message",
    "TimeCreated": "winlog.time_created",
    "SystemTime": "winlog.time_created",
    "EventTime": "winlog.event_time",
}
_SHIPPER = frozenset({"tags", "host", "port", "type", "source", "beat", "offset"})
"""Names that shippers put beside those of the event; Windows' own are in camel case."""

_BEAT = {
    "winlog.event_id": "event.code",
    "winlog.computer_name": "host.name",
    "host.name": "agent.hostname",
}
_BEAT6 = {
    "event_id": "event.code",
    "log_name": "winlog.channel",
    "source_name": "winlog.provider_name",
    "provider_guid": "winlog.provider_guid",
    "computer_name": "host.name",
    "record_number": "winlog.record_id",
    "process_id": "winlog.process.pid",
    "thread_id": "winlog.process.thread.id",
    "activity_id": "winlog.activity_id",
    "related_activity_id": "winlog.related_activity_id",
    "user.identifier": "winlog.user.identifier",
    "user.name": "winlog.user.name",
    "user.domain": "winlog.user.domain",
    "user.type": "winlog.user.type",
    "host.name": "agent.hostname",
    "level": "winlog.level",
    "task": "winlog.task",
    "opcode": "winlog.opcode",
    "keywords": "winlog.keywords",
    "version": "winlog.version",
}

_TIME_NAMES = ("winlog.time_created", "@timestamp", "winlog.event_data.UtcTime", "winlog.event_time")
"""Where the event's time is looked for; NXLog's EventTime comes last, because it is local time without a zone."""


_KEYS = {
    "flat": ("Channel", "EventID"),
    "winlogbeat": ("winlog.channel", "winlog.event_id"),
    "winlogbeat6": ("log_name", "event_id"),
}
"""Dialect → where channel and event id are."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do with events of one dialect, channel, id and shape.

    Attributes:
        names: names of the event's fields, in the order of the native ones.
        odd: (name in the event so far, final name) of what is nested, null, or has a name that is taken.
        copies: (name, further name) of what is worth having under an ECS name as well.
        constants: fields that all these events have.
        time: name of the field that holds the event's time.
        coded: there is an event id.
        audited: the keywords tell the outcome.
        reserved: fields whose name only Vedette sets.
    """

    names: tuple[str, ...]
    odd: tuple[tuple[str, str], ...]
    copies: tuple[tuple[str, str], ...]
    constants: Mapping[str, Any]
    time: str | None
    coded: bool
    audited: bool
    reserved: int


# A memo of a pure function: what it holds never changes what comes out.
_PLANS: Shapes[_Plan] = Shapes()


def to_ecs(native: Mapping[str, Any], counters: Counters | None = None) -> Event:
    """The flat event of a native one of any dialect; `@timestamp` in milliseconds, absent where it cannot be read."""
    event = read_windows(native, {} if counters is None else counters)
    time = parse_time(event.pop("@timestamp", None))
    if time is not None:
        event["@timestamp"] = time
    return event


def read_windows(native: Mapping[str, Any], counters: Counters) -> Event:
    """As `to_ecs`, with `@timestamp` as the sender wrote it."""
    dialect, flat = _flatten_dialect(native, counters)
    channel_name, code_name = _KEYS[dialect]
    channel, code = flat.get(channel_name), flat.get(code_name)
    if type(channel) is not str:
        channel = ""
    if type(code) is not int and type(code) is not str:
        code = ""
    values = tuple(flat.values())
    shape = (dialect, channel, code, tuple(flat), tuple(map(type, values)))
    plan = _PLANS.get(shape)
    if plan is None and not _PLANS.deserves_plan(shape):
        flat = dict(sorted(flat.items()))
        values = tuple(flat.values())
        shape = (dialect, channel, code, tuple(flat), tuple(map(type, values)))
        plan = _PLANS.get(shape)
    if plan is None:
        plan = _make_plan(dialect, flat, channel, str(code))
        _PLANS.put(shape, plan, sum(map(len, flat)) + len(channel))
    return _apply(plan, values, counters)


def _apply(plan: _Plan, values: tuple[Any, ...], counters: Counters) -> Event:
    event = dict(zip(plan.names, values, strict=True))
    for name, final in plan.odd:
        put_any(event, final, event.pop(name), counters)
    if plan.coded:
        event["event.code"] = str(event["event.code"])
    for name, copy in plan.copies:
        value = event.get(name)
        # "-" is what Windows writes where it has nothing to say; not worth a copy.
        if value is not None and value != "-" and value != "" and copy not in event:  # noqa: PLR1714 # a value may be a list, which no set holds
            event[copy] = _read_pid(value) if copy.endswith(".pid") else value
    _interpret(plan, event)
    if plan.time is not None:
        _set_time(event, plan.time)
    if plan.reserved:
        count(counters, "reserved", plan.reserved)
    return event


def _interpret(plan: _Plan, event: Event) -> None:
    """What follows from the kind of event, from its program and from its keywords."""
    for name, constant in plan.constants.items():
        event.setdefault(name, constant)
    image = event.get("process.executable")
    if type(image) is str and "process.name" not in event:
        event["process.name"] = image.rpartition("\\")[2] or image
    if plan.audited and "event.outcome" not in event:
        keywords = event.get("winlog.keywords")
        outcome = OUTCOMES.get(keywords[0] if isinstance(keywords, list) else keywords)
        if outcome is not None:
            event["event.outcome"] = outcome


def _read_pid(value: Any) -> Any:
    """Process ids are decimal in Sysmon's events and hexadecimal in those of the Security channel."""
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 18:
        try:
            return int(value, 16)
        except ValueError:
            return value
    return value


def _set_time(event: Event, name: str) -> None:
    """The event's own time wins over the shipper's `@timestamp`, which is kept as `event.created`."""
    time = event.get(name)
    shipped = event.get("@timestamp")
    if shipped is not None and shipped != time:
        event.setdefault("event.created", shipped)
    if time is not None:
        event["@timestamp"] = time


def _make_plan(dialect: str, flat: Mapping[str, Any], channel: str, code: str) -> _Plan:
    known = facts(channel, code)
    rename = _FLAT_RENAMERS[dialect](flat)
    names: list[str] = []
    odd: list[tuple[str, str]] = []
    reserved = 0
    for position, (native, value) in enumerate(flat.items()):
        name = rename(native)
        if is_reserved(name):
            reserved += 1
            name = allowed(name)
        if name in names or not isinstance(value, str | int):
            # No sender's name holds this prefix twice, so the place is free.
            odd.append((f"\0{position}", name))
            name = f"\0{position}"
        names.append(name)
    final = {*names, *(name for _, name in odd)}
    copies = {windows_event_name(native): ecs for native, ecs in windows_copies(channel, code).items()}
    pairs = [*copies.items(), *((windows_event_name(native), ecs) for native, ecs in known.copies.items())]
    pairs += [("host.name", "winlog.computer_name"), ("winlog.provider_name", "event.provider")]
    return _Plan(
        names=tuple(names),
        odd=tuple(odd),
        copies=tuple((name, copy) for name, copy in pairs if name in final),
        constants={"event.kind": "event", **known.constants},
        time=next((name for name in _TIME_NAMES if name in final), None),
        coded="event.code" in names,
        audited=known.audited,
        reserved=reserved,
    )


def _flat_renamer(flat: Mapping[str, Any]) -> Callable[[str], str]:
    own = _FLAT_OWN | _NXLOG if "SourceModuleName" in flat else _FLAT_OWN
    if "OpcodeValue" not in flat:
        own = {name: target for name, target in own.items() if name != "Opcode"}

    def rename(name: str) -> str:
        sigma = _FLAT.get(name)
        if sigma is not None and sigma not in flat:
            name = sigma
        target = own.get(name)
        if target is not None:
            return target
        if "." in name or name in _SHIPPER or name[:1] in {"@", "_", "", "\0"}:
            return name
        return windows_event_name(name)

    return rename


def _beat_renamer(own: Mapping[str, str], prefix: str, flat: Mapping[str, Any]) -> Callable[[str], str]:
    # Plans are kept by shape, so what this decides by may only be which names there are, never a value.
    named = "winlog.computer_name" in flat or "computer_name" in flat

    def rename(name: str) -> str:
        if name.startswith(prefix):
            return windows_event_name(name[len(prefix) :])
        if name == "host.name" and not named:
            return name
        return own.get(name, name)

    return rename


_FLAT_RENAMERS: Mapping[str, Callable[[Mapping[str, Any]], Callable[[str], str]]] = {
    "flat": _flat_renamer,
    "winlogbeat": partial(_beat_renamer, _BEAT, WINDOWS_PREFIX),
    "winlogbeat6": partial(_beat_renamer, _BEAT6, "event_data."),
}


def _flatten_dialect(native: Mapping[str, Any], counters: Counters) -> tuple[str, Mapping[str, Any]]:
    """The dialect, and the event without nesting (but for odd values of the flat dialect)."""
    event = native.get("Event")
    if isinstance(event, dict) and isinstance(event.get("System"), dict):
        flat = flatten_evtx(event, counters)
        for name, value in native.items():
            if name != "Event":
                put_any(flat, name, value, counters)
        return "flat", flat
    if isinstance(native.get("System"), dict):
        return "flat", flatten_evtx(native, counters)
    if "winlog" in native or "winlog.event_id" in native or "winlog.channel" in native:
        return "winlogbeat", flatten(native, counters)
    if isinstance(native.get("event_data"), dict) or "log_name" in native:
        return "winlogbeat6", flatten(native, counters)
    return "flat", native
