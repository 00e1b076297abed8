"""What a plain YAML scalar means: the same as for `kubectl apply`, so that a file says one thing in both places.

kubectl converts YAML to JSON with the rules of YAML 1.1 as go-yaml v2 reads them, and the API server reads that JSON:

* `yes no on off y n true false` in their usual spellings are booleans, also as keys, which become text after that;
* `0777` and `0o777` are octal, `0x1f` hexadecimal, `0b11` binary, `1_000` has its underscores removed;
* `5.0` and `1e3` arrive as the integers 5 and 1000, integers beyond 64 bits as floating point numbers;
* `12:30` and `2026-11-22` stay text, where other YAML 1.1 readers make numbers and dates of them;
* `.nan` and `.inf` cannot be written as JSON and are mistakes.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_FIRST_OF_NUMBERS = frozenset("+-.0123456789")
_LONGEST_NUMBER = 400
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INT64 = 1 << 63


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar; NaN and infinities are for the caller to refuse."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST_OF_NUMBERS or len(text) > _LONGEST_NUMBER:
        return text
    plain = text.replace("_", "")
    if match := _INTEGER.match(plain):
        sign, hexadecimal, binary, octal, decimal = match.groups()
        digits, base = next(
            (part, base) for part, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if part
        )
        number = int(sign + digits, base)
        return number if -_INT64 <= number < _INT64 else _finite(float(number), text)
    if _FLOAT.match(plain):
        return _finite(float(plain), text)
    return text


def key_text(value: Scalar) -> str | None:
    """How a key that is not text appears in JSON; None for `null`, which cannot be a key."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _finite(number: float, text: str) -> Scalar:
    if math.isinf(number):
        return text
    return int(number) if number.is_integer() and -_INT64 <= number < _INT64 else number
