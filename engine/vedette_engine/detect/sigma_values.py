"""Sigma's modifiers and values, as pySigma reads them, into atoms of the condition tree."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sigma import types
from sigma.conditions import ConditionAND
from sigma.exceptions import SigmaError
from sigma.modifiers import modifier_mapping
from sigma.rule.detection import SigmaDetectionItem

from vedette_engine.detect import ir, regex
from vedette_engine.detect.ir import MANY, ONE, And, Atom, Node, Not, Op, Or

MAX_VALUE_LENGTH: Final = 16_384
MAX_VALUES: Final = 20_000

Placeholders = Mapping[str, Sequence[str]]

# Names of Sigma 2.1 that pySigma does not know under this spelling.
_ALIASES = {"utf16le": "wide"}
_WILDCARDS = {types.SpecialChars.WILDCARD_MULTI: MANY, types.SpecialChars.WILDCARD_SINGLE: ONE}
_COMPARE = {"LT": Op.LT, "LTE": Op.LTE, "GT": Op.GT, "GTE": Op.GTE}
_FLAGS = {"IGNORECASE": "i", "MULTILINE": "m", "DOTALL": "s"}
_EXPANSION = {"windash": 125, "base64offset": 3}  # values that one value may become at most
_LONGEST_FIELD = 512
_MOST_BITS = 1_024


class ItemError(ValueError):
    """A detection item cannot be compiled; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


def item_node(key: str | None, value: Any, placeholders: Placeholders) -> Node:
    """The condition that one line of a detection states: `CommandLine|contains|all: [a, b]`.

    Args:
        key: field and modifiers; None for a bare keyword.
        value: a scalar or a list of scalars.
        placeholders: values for `%name%` under the modifier `expand`.

    Raises:
        ItemError: an unknown modifier, a value that does not fit it, an unknown placeholder, or a bound exceeded.
    """
    key = _checked(key, value)
    try:
        item = SigmaDetectionItem.from_mapping(key, value)
    except (SigmaError, AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        # pySigma lets some mistakes of rules pass as Python's own errors.
        raise ItemError(str(error.args[0]) if error.args else f"the line cannot be read ({error!r})") from error
    _restore_integers(item, value)
    alternatives = [[_node(item.field, one) for one in _expanded(value, placeholders)] for value in item.value]
    if not alternatives:
        if item.field is None:
            raise ItemError("the list of keywords is empty", "list at least one keyword")
        alternatives = [[Atom(item.field, Op.EXISTS, value=False)]]
    nodes = [options[0] if len(options) == 1 else Or(tuple(options)) for options in alternatives]
    node = nodes[0]
    if len(nodes) > 1:
        node = And(tuple(nodes)) if item.value_linking is ConditionAND else Or(tuple(nodes))
    return Not(node) if item.negated else node


def _restore_integers(item: SigmaDetectionItem, value: Any) -> None:
    """Put back integers that pySigma rounded to floats."""
    originals = value if isinstance(value, list) else [value]
    if len(originals) != len(item.value):
        return
    for original, parsed in zip(originals, item.value, strict=True):
        number = parsed.number if isinstance(parsed, types.SigmaCompareExpression) else parsed
        if isinstance(number, types.SigmaNumber) and type(original) is int:
            number.number = original


def _checked(key: str | None, value: Any) -> str | None:
    """The key with modifiers as pySigma spells them, after checks of what is cheap to check."""
    values = value if isinstance(value, list) else [value]
    for one in values:
        _check_value(one)
    if key is None:
        return None
    field, *modifiers = key.split("|")
    if len(field) > _LONGEST_FIELD:
        raise ItemError(f"the field's name has {len(field)} characters, more than {_LONGEST_FIELD}")
    if not _is_unicode(field):
        raise ItemError("the field's name holds half a character (a lone surrogate)", "write whole characters")
    if "re" in modifiers:
        for one in values:
            _check_regex(one)
    growth = 1
    for modifier in modifiers:
        if modifier not in modifier_mapping and modifier not in _ALIASES:
            near = difflib.get_close_matches(modifier, [*modifier_mapping, *_ALIASES], n=1)
            raise ItemError(f"unknown modifier {modifier!r}", f"did you mean {near[0]!r}?" if near else "")
        growth *= _EXPANSION.get(modifier, 1)
    if len(values) * growth > MAX_VALUES * 4:
        raise ItemError(f"{len(values)} values are too many for these modifiers", "split the list")
    return "|".join([field, *(_ALIASES.get(modifier, modifier) for modifier in modifiers)])


def _check_value(value: Any) -> None:
    if isinstance(value, str):
        if len(value) > MAX_VALUE_LENGTH:
            raise ItemError(f"a value has {len(value)} characters, more than {MAX_VALUE_LENGTH}")
        if not _is_unicode(value):
            raise ItemError("a value holds half a character (a lone surrogate)", "write whole characters")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ItemError("a number is too large")
    elif not isinstance(value, int | float | None):
        raise ItemError(f"a value is a {_kind(value)}", "write a text, a number, true, false or null; quote dates")


def _check_regex(pattern: Any, flags: str = "") -> None:
    if not isinstance(pattern, str):
        raise ItemError("a regular expression is not a text", "quote it")
    try:
        regex.searcher(pattern, flags)
    except regex.RegexError as error:
        raise ItemError(
            f"the regular expression cannot be used: {error}",
            "look-around and back-references are not available: expressions run in linear time (RE2)",
        ) from error


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "list inside a list"
    return "mapping" if isinstance(value, dict) else type(value).__name__


def _expanded(value: Any, placeholders: Placeholders) -> Iterator[Any]:
    """The values that a value stands for: an expansion's members, with placeholders filled in."""
    if isinstance(value, types.SigmaExpansion):
        for one in value.values:
            yield from _expanded(one, placeholders)
        return
    if not isinstance(value, types.SigmaString | types.SigmaRegularExpression) or not value.contains_placeholder():
        yield value
        return

    def fill(placeholder: types.Placeholder) -> Iterator[str]:
        if placeholder.name not in placeholders:
            raise ItemError(
                f"the placeholder %{placeholder.name}% has no values", "define it, or write the values into the rule"
            )
        yield from placeholders[placeholder.name]

    try:
        yield from value.replace_placeholders(fill)
    except SigmaError as error:
        raise ItemError(str(error)) from error


def _node(field: str | None, value: Any) -> Node:
    """The atom of one value."""
    if isinstance(value, types.SigmaString):
        return _text_atom(field, value)
    if isinstance(value, types.SigmaRegularExpression):
        return _regex_atom(field, value)
    if isinstance(value, types.SigmaCIDRExpression):
        return Atom(field, Op.CIDR, str(value.network))
    if field is not None:
        return _field_atom(field, value)
    if isinstance(value, types.SigmaNumber | types.SigmaBool) and not isinstance(value, types.SigmaTimestampPart):
        return Atom(None, Op.CONTAINS, str(value).lower())
    raise ItemError(f"{type(value).__name__.removeprefix('Sigma')} needs a field", "write it below a field's name")


def _field_atom(field: str, value: Any) -> Node:
    """The atom of a value that only makes sense for a field."""
    match value:
        case types.SigmaCompareExpression():
            return _comparison(field, value)
        case types.SigmaTimestampPart():
            return Atom(field, Op.TIME, (value.timestamp_part.name.lower(), "eq", value.number))
        case types.SigmaNumber():
            return Atom(field, Op.EQUALS, value.number)
        case types.SigmaBool():
            return Atom(field, Op.EQUALS, value.boolean)
        case types.SigmaFieldReference():
            how = {(False, False): "equals", (True, False): "startswith", (False, True): "endswith"}
            return Atom(field, Op.REF, (value.field, how.get((value.starts_with, value.ends_with), "contains")))
        case types.SigmaNull() | types.SigmaExists():
            return Atom(field, Op.EXISTS, isinstance(value, types.SigmaExists) and value.exists)
    raise ItemError(f"values of the kind {type(value).__name__} are not supported")


def _text_atom(field: str | None, value: types.SigmaString) -> Node:
    parts = [_WILDCARDS[part] if isinstance(part, types.SpecialChars) else str(part) for part in value.s]
    if field is None:  # a keyword stands anywhere in a value
        parts = [MANY, *parts, MANY]
    pattern = tuple(_merged(parts))
    if isinstance(value, types.SigmaCasedString):
        return Atom(field, Op.CASED, pattern)
    return _simplest(field, pattern)


def _simplest(field: str | None, pattern: ir.Pattern) -> Atom:
    """The atom for a pattern without case; most patterns are plain texts at one end."""
    atom = Atom(field, Op.LIKE, pattern)
    match pattern:
        case ():
            atom = Atom(field, Op.EQUALS, "")
        case (str() as literal,):
            atom = Atom(field, Op.EQUALS, literal)
        case (0,) if field is not None:
            atom = Atom(field, Op.EXISTS, value=True)
        case (0, str() as literal, 0):
            atom = Atom(field, Op.CONTAINS, literal)
        case (str() as literal, 0):
            atom = Atom(field, Op.STARTSWITH, literal)
        case (0, str() as literal):
            atom = Atom(field, Op.ENDSWITH, literal)
    return atom


def _merged(parts: Iterable[str | int]) -> Iterator[str | int]:
    """Parts without empty texts, runs of MANY, and neighbouring texts."""
    last: str | int | None = None
    for part in parts:
        if part == "" or (part == MANY and last == MANY):
            continue
        if isinstance(part, str) and isinstance(last, str):
            last += part
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


def _regex_atom(field: str | None, value: types.SigmaRegularExpression) -> Node:
    pattern = str(value.regexp)
    flags = "".join(sorted(_FLAGS[flag.name] for flag in value.flags))
    _check_regex(pattern, flags)
    return Atom(field, Op.REGEX, (pattern, flags))


def _comparison(field: str, value: types.SigmaCompareExpression) -> Node:
    op = _COMPARE.get(value.op.name)
    if op is None:
        raise ItemError("a comparison needs one of lt, lte, gt, gte")
    number = value.number
    if isinstance(number, types.SigmaTimestampPart):
        return Atom(field, Op.TIME, (number.timestamp_part.name.lower(), op.value, number.number))
    return Atom(field, op, number.number)


def count_atoms(node: Node) -> int:
    """How many questions a condition asks."""
    return sum(1 for _ in ir.atoms(node))
