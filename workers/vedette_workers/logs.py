"""Logs of pods: one JSON object per line on standard error, or text for people.

Whatever an event, a manifest or another program made us say stays inside its field: JSON escapes it, and in the text
form control characters are escaped too, so that nobody writes a line of their own. Long texts are cut, and what looks
like a credential is hidden.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import re2

Form = Literal["json", "text"]
MAX_MESSAGE: Final = 4_000
MAX_TRACE: Final = 16_000
HIDDEN: Final = "***"

_URL_PASSWORD: Final = re2.compile(r"(://[^/@\s:]*):[^/@\s]+@")
_CREDENTIAL: Final = re2.compile(r"(?i)\b(bearer|basic|apikey)\s+[A-Za-z0-9+/=_.~-]{8,}")
_NAMED: Final = re2.compile(r"""(?i)\b(password|passwd|secret|token|api[_-]?key)(["']?\s*[=:]\s*["']?)[^\s"',;&]{4,}""")


def hide(text: str) -> str:
    """The text without passwords in URLs, values of Authorization headers and the like."""
    clean = text.encode("utf-8", "replace").decode()
    clean = str(_URL_PASSWORD.sub(rf"\1:{HIDDEN}@", clean))
    clean = str(_CREDENTIAL.sub(rf"\1 {HIDDEN}", clean))
    return str(_NAMED.sub(rf"\1\2{HIDDEN}", clean))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


class JsonFormatter(logging.Formatter):
    """Fields `time`, `level`, `logger`, `message`, `thread`, `exception` where there is one, and the context's."""

    def __init__(self, context: Mapping[str, str]) -> None:
        super().__init__()
        self._context = {name: value for name, value in context.items() if value}

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        said: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide(_cut(record.getMessage(), MAX_MESSAGE)),
            "thread": record.threadName,
            **self._context,
        }
        if record.exc_info and record.exc_info[0] is not None:
            said["exception"] = hide(_tail(self.formatException(record.exc_info)))
        return json.dumps(said)  # ASCII only: no reader takes some other character for the end of a line


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message`, and the stack below it where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a stack."""
        message = _visible(hide(_cut(record.getMessage(), MAX_MESSAGE)))
        line = f"{_time(record.created)} {record.levelname} {record.name}: {message}"
        if record.exc_info and record.exc_info[0] is not None:
            stack = hide(_tail(self.formatException(record.exc_info)))
            line += "".join(f"\n    {_visible(part)}" for part in stack.splitlines())
        return line


def _tail(trace: str) -> str:
    """The end of a stack says what happened."""
    return trace if len(trace) <= MAX_TRACE else f"…{trace[-MAX_TRACE:]}"


def _time(created: float) -> str:
    moment = dt.datetime.fromtimestamp(created, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def set_up(
    form: Form,
    *,
    level: int = logging.INFO,
    stream: TextIO | None = None,
    worker: str = "",
    namespace: str = "",
    incarnation: str = "",
) -> logging.StreamHandler[TextIO]:
    """Send everything that is logged to standard error, or to `stream`; replaces what was set up before.

    Args:
        form: `json` or `text`.
        level: the least that is told.
        stream: instead of standard error.
        worker: who speaks; said in every JSON line where it is not empty, as are the next two.
        namespace: whose events it works on.
        incarnation: which life of the worker; heartbeats have the same.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    context = {"worker": worker, "namespace": namespace, "incarnation": incarnation}
    handler.setFormatter(JsonFormatter(context) if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    return handler
