"""The sentence that a responder reads first, made from a rule's template and an event.

Templates hold `{field}` and `{field|top(n)}`; everything else is text. Values come from events, so they are
bounded here and escaped by whoever shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_VALUE = 200
MAX_SUMMARY = 1000
ABSENT = "\N{EN DASH}"
UNREADABLE = "\N{HORIZONTAL ELLIPSIS}"

# Our own pattern over the rule author's template, never over event text.
_PLACEHOLDER = re.compile(r"\{([^{}|]+)(?:\|top\((\d{1,2})\))?\}")


def fields_of(template: str) -> list[str]:
    """The field names that a template mentions, in order."""
    return [match.group(1).strip() for match in _PLACEHOLDER.finditer(template)]


def render(template: str, event: Mapping[str, Any], resolve: Mapping[str, str] | None = None) -> str:
    """The template with each placeholder replaced by the event's value, or a dash where there is none.

    `resolve` maps the names in the template to the event's names (native Sigma names to ECS).
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1).strip()
        found = event.get((resolve or {}).get(name, name))
        if isinstance(found, list):
            limit = max(1, int(match.group(2) or 3))
            shown = ", ".join(_short(item) for item in found[:limit])
            return shown + (f" and {len(found) - limit} more" if len(found) > limit else "")
        return ABSENT if found is None else _short(found)

    return _PLACEHOLDER.sub(value, template)[:MAX_SUMMARY]


def _short(value: Any) -> str:
    try:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    except ValueError:  # an integer of thousands of digits
        return UNREADABLE
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
