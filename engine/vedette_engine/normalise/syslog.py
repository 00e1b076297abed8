"""Syslog lines: RFC 5424, RFC 3164, and what daemons and files really hold (no priority, ISO dates).

The patterns are anchored, and each repetition ends at a character that it cannot match itself: linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vedette_engine.normalise.flatten import Event

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")

_OCTETS = re.compile(r"[0-9]{1,6} (?=<[0-9])")
_PRIORITY = re.compile(r"<([0-9]{1,3})>")
_RFC5424 = re.compile(
    r"1 (?P<time>\S{1,64}) (?P<host>\S{1,255}) (?P<app>\S{1,128}) (?P<pid>\S{1,128}) (?P<msgid>\S{1,64}) (?=[-\[])"
)
_DATE = (
    r"(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] (?:[0-9]{4} )?[0-9:]{8}(?:\.[0-9]{1,9})?"
    r"|[A-Z][a-z]{2} [0-9] [0-9:]{8}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)"
)
_RFC3164 = re.compile(_DATE + r":? (?P<host>[^\s:\[]{1,255}) (?P<rest>.*)", re.DOTALL)
_TAG = re.compile(r"(?P<app>[^\s:\[\]]{1,128})(?:\[(?P<pid>[^\]\s]{1,64})\])?: ?")
_ELEMENT = re.compile(r"\[(?P<id>[^\s=\]\"]{1,255})")
_PARAMETER = re.compile(r' (?P<name>[^\s=\]"]{1,255})="(?P<value>(?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\]])')


def read_syslog(text: str, event: Event) -> bool:
    """Reads the header of a line into the event and leaves the rest as `message`; False when there is none.

    What the event holds already (a shipper's own `host.name` or `@timestamp`) stays.
    """
    text = text.removeprefix("\ufeff")
    counted = _OCTETS.match(text)
    if counted:
        text = text[counted.end() :]
    found: Event = {}
    priority = _PRIORITY.match(text)
    if priority:
        text = text[priority.end() :]
        _set_priority(int(priority[1]), found)
    modern = _RFC5424.match(text) if priority else None
    if modern:
        _read_rfc5424(modern, text[modern.end() :], found)
    elif not _read_rfc3164(text, found) and not priority:
        return False
    else:
        found.setdefault("message", text)
    for name, value in found.items():
        if name == "message":
            event[name] = value
        else:
            event.setdefault(name, value)
    return True


def _set_priority(priority: int, event: Event) -> None:
    facility, severity = divmod(priority, 8)
    event["log.syslog.priority"] = priority
    event["log.syslog.facility.code"] = facility
    event["log.syslog.severity.code"] = severity
    event["log.syslog.severity.name"] = SEVERITIES[severity]
    event["log.level"] = SEVERITIES[severity]
    if facility < len(FACILITIES):
        event["log.syslog.facility.name"] = FACILITIES[facility]


def _read_rfc5424(header: re.Match[str], rest: str, event: Event) -> None:
    event["log.syslog.version"] = "1"
    if header["time"] != "-":
        event["@timestamp"] = header["time"]
    if header["host"] != "-":
        _set_host(header["host"], event)
    if header["app"] != "-":
        event["process.name"] = header["app"]
        event["log.syslog.appname"] = header["app"]
    if header["pid"] != "-":
        event["log.syslog.procid"] = header["pid"]
        _set_pid(header["pid"], event)
    if header["msgid"] != "-":
        event["log.syslog.msgid"] = header["msgid"]
    end = 1
    if rest.startswith("["):
        end = 0
        for name, value, stop in _structured_data(rest):
            end = stop
            if name:
                event.setdefault(f"log.syslog.structured_data.{name}", value)
    event["message"] = rest[end:].removeprefix(" ").removeprefix("\ufeff")


def _structured_data(text: str) -> Iterator[tuple[str, str, int]]:
    """(element.parameter, value, end so far), and one ("", "", end) per element; stops where the syntax does."""
    position = 0
    while element := _ELEMENT.match(text, position):
        inside = element.end()
        found = []
        while parameter := _PARAMETER.match(text, inside):
            inside = parameter.end()
            found.append((f"{element['id']}.{parameter['name']}", _ESCAPED.sub(r"\1", parameter["value"])))
        if text[inside : inside + 1] != "]":
            return
        position = inside + 1
        yield "", "", position
        for name, value in found:
            yield name, value, position


def _read_rfc3164(text: str, event: Event) -> bool:
    header = _RFC3164.match(text)
    if not header:
        return False
    event["@timestamp"] = header["time"]
    _set_host(header["host"], event)
    rest = header["rest"].removeprefix(" ")
    tag = _TAG.match(rest)
    if tag:
        event["process.name"] = tag["app"]
        if tag["pid"]:
            _set_pid(tag["pid"], event)
        rest = rest[tag.end() :].lstrip(" ")
    event["message"] = rest
    return True


def _set_host(host: str, event: Event) -> None:
    event["host.name"] = host
    event["host.hostname"] = host


def _set_pid(pid: str, event: Event) -> None:
    if pid.isascii() and pid.isdigit() and len(pid) <= 10:
        event["process.pid"] = int(pid)
