"""How untrusted text becomes visible: nothing an event says may hide, reorder or format anything on the page."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import orjson
from markupsafe import Markup, escape

# Printable for Unicode, and yet nothing is seen of them: fillers, blanks, variation selectors.
_UNSEEN = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_HIDDEN = re.compile(f"[{_UNSEEN}]")

LONG = 2_000
"""Characters of one value that a page shows; the raw JSON has the rest."""


def hidden(char: str) -> bool:
    """Whether a reader could not see this character, or would see it somewhere else."""
    return not char.isprintable() or _HIDDEN.match(char) is not None


def code(char: str) -> str:
    """The visible escape of a character."""
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}.get(char)
    point = ord(char)
    if named:
        return named
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def plain(text: str) -> str:
    """One line of text with every hidden character escaped; safe in attributes once it is HTML-escaped."""
    if text.isprintable() and not _HIDDEN.search(text):
        return text
    return "".join(code(char) if hidden(char) else char for char in text)


def block(text: str, limit: int = LONG) -> Markup:
    """Text of several lines as HTML: line breaks and tabs stay, other hidden characters become marked escapes."""
    cut = text[:limit]
    if cut.isprintable() and not _HIDDEN.search(cut):
        shown = escape(cut)
    else:
        shown = Markup("").join(_mark(char) for char in cut)
    if len(text) > limit:
        shown += Markup('<span class="cut">… {} more characters</span>').format(len(text) - limit)
    return shown


def _mark(char: str) -> Markup:
    if char in "\n\t" or not hidden(char):
        return escape(char)
    name = unicodedata.name(char, "control character")
    return Markup('<span class="esc" title="U+{:04X} {}">{}</span>').format(ord(char), name, code(char))


def exact(text: str) -> Markup:
    """The text itself, for form fields and `data-` attributes; what UTF-8 cannot say becomes `?`."""
    return escape(text.encode("utf-8", "replace").decode())


def finalize(value: Any) -> Any:
    """Applied to everything a template prints: what is not markup is made visible."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return plain(value)


def scalar(value: Any) -> str:
    """One value of an event as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return json_text(value)


def values(value: Any) -> list[str]:
    """All values of a field as texts."""
    return [scalar(part) for part in value] if isinstance(value, list) else [scalar(value)]


def json_text(value: Any, *, indent: bool = False) -> str:
    """JSON for people; also of what JSON has no words for."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(value, default=str, option=options).decode()
    except (orjson.JSONEncodeError, RecursionError):
        return repr(value)


def flat(document: Any) -> dict[str, Any]:
    """A stored document as one flat mapping: what lies under `vedette.other` gets its own name back."""
    fields: dict[str, Any] = {}
    for name, value in dict(document).items():
        if name == "vedette.other" and isinstance(value, dict):
            fields.update(value)
        else:
            fields[str(name)] = value
    return fields
