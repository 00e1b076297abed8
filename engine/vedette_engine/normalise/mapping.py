"""The declarative `mapping` of a LogSource: fields renamed, converted and set, in the order of the manifest.

    - {from: user, to: user.name}
    - {from: latency_ms, to: event.duration, convert: {number: {multiply: 1000000}}}
    - {set: event.category, value: authentication, when: {has: user.name}}

Compiled once per source; never code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from vedette_crds.problems import Problem
from vedette_engine.normalise.counters import Counters, count
from vedette_engine.normalise.flatten import Event, put
from vedette_engine.normalise.names import SUPPLIED, is_reserved
from vedette_engine.normalise.times import format_time, parse_time, read_zone
from vedette_engine.normalise.types import MISMATCH, check_float, check_ip, check_long, check_text

Step = Callable[[Event, Counters], None]
Convert = Callable[[Any], Any]
Condition = Callable[[Event], bool]

MAX_SPLIT = 1000


def compile_mapping(steps: Sequence[Mapping[str, Any]], zone: tzinfo = UTC) -> tuple[list[Step], list[Problem]]:
    """The steps that can be run, and what is wrong with the others; paths are relative to the spec."""
    compiled: list[Step] = []
    problems: list[Problem] = []
    for number, step in enumerate(steps):
        path = f"mapping[{number}]"
        made = _compile_step(step, path, zone)
        if isinstance(made, Problem):
            problems.append(made)
        else:
            compiled.append(made)
    return compiled, problems


def _compile_step(step: Mapping[str, Any], path: str, zone: tzinfo) -> Step | Problem:
    target = step.get("to", step.get("set"))
    if not isinstance(target, str) or not target:
        return Problem("a step needs `to` with `from`, or `set` with `value`", path=path)
    if is_reserved(target):
        return Problem(f"{target} is set by Vedette alone", path=path, hint="choose another name")
    condition = _compile_condition(step.get("when") or {}, path)
    if isinstance(condition, Problem):
        return condition
    if "set" in step:
        return _setter(target, step.get("value"), condition)
    convert = _compile_convert(step.get("convert"), f"{path}.convert", zone)
    return convert if isinstance(convert, Problem) else _mover(str(step.get("from")), target, convert, condition)


def _setter(target: str, value: Any, condition: Condition) -> Step:
    def apply(event: Event, counters: Counters) -> None:
        if condition(event):
            _replace(event, target, value, counters)

    return apply


def _mover(source: str, target: str, convert: Convert, condition: Condition) -> Step:
    def apply(event: Event, counters: Counters) -> None:
        if source not in event or not condition(event):
            return
        value = event[source]
        converted = [convert(one) for one in value] if isinstance(value, list) else convert(value)
        if converted is MISMATCH or (isinstance(converted, list) and any(one is MISMATCH for one in converted)):
            count(counters, "mapping_failed")
            return
        del event[source]
        if converted != []:
            _replace(event, target, converted, counters)

    return apply


def _replace(event: Event, target: str, value: Any, counters: Counters) -> None:
    """The manifest's value takes the name; what was there keeps existing below `supplied.`."""
    if target in event and event[target] != value:
        put(event, SUPPLIED + target, event.pop(target), counters)
    event[target] = value


def _compile_condition(when: Mapping[str, Any], path: str) -> Condition | Problem:
    tests: list[Condition] = []
    for kind, wanted in when.items():
        make = _CONDITIONS.get(kind)
        if make is None:
            return Problem(f"unknown condition {kind!r}", path=f"{path}.when", hint=", ".join(_CONDITIONS))
        tests.append(make(wanted))
    return lambda event: all(test(event) for test in tests)


def _has(name: str) -> Condition:
    return lambda event: name in event


def _lacks(name: str) -> Condition:
    return lambda event: name not in event


def _equals(wanted: Mapping[str, Any]) -> Condition:
    pairs = list(wanted.items())
    return lambda event: all(_equal(event.get(name), value) for name, value in pairs)


_CONDITIONS: Mapping[str, Callable[[Any], Condition]] = {"has": _has, "lacks": _lacks, "equals": _equals}


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return value == wanted or any(_equal(one, wanted) for one in value)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)


def _compile_convert(convert: Mapping[str, Any] | None, path: str, zone: tzinfo) -> Convert | Problem:
    if not convert:
        return lambda value: value
    kind, options = next(iter(convert.items()))
    make = _CONVERSIONS.get(kind)
    if make is None:
        return Problem(f"unknown conversion {kind!r}", path=path, hint=", ".join(_CONVERSIONS))
    try:
        return make(options or {}, zone)
    except ValueError as error:
        return Problem(str(error), path=f"{path}.{kind}")


def _plain(convert: Convert) -> Callable[[Mapping[str, Any], tzinfo], Convert]:
    """A conversion without options."""
    return lambda _options, _zone: convert


def _number(options: Mapping[str, Any], _zone: tzinfo) -> Convert:
    multiply: float = options.get("multiply", 1)

    def convert(value: Any) -> Any:
        number = _read_number(value)
        if number is MISMATCH:
            return MISMATCH
        try:
            product = number * multiply
        except OverflowError:
            return MISMATCH
        if isinstance(product, float):
            if not math.isfinite(product):
                return MISMATCH
            product = int(product) if product.is_integer() and abs(product) < 2**53 else product
        return product if abs(product) < 2**63 else MISMATCH

    return convert


def _read_number(value: Any) -> Any:
    if isinstance(value, bool):
        return MISMATCH
    if isinstance(value, int | float):
        return value
    whole = check_long(value)
    return whole if whole is not MISMATCH else check_float(value)


def _split(options: Mapping[str, Any], _zone: tzinfo) -> Convert:
    separator = options.get("separator", ",")

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            return MISMATCH
        return [part for piece in value.split(separator, MAX_SPLIT) if (part := piece.strip())]

    return convert


def _timestamp(options: Mapping[str, Any], zone: tzinfo) -> Convert:
    named = options.get("timezone")
    where = read_zone(named) if named else zone

    def convert(value: Any) -> Any:
        time = parse_time(value, where)
        return MISMATCH if time is None else format_time(time)

    return convert


_BOOLEANS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def _boolean(value: Any) -> Any:
    if isinstance(value, str | int) and len(str(value)) <= 5:
        return _BOOLEANS.get(str(value).lower(), MISMATCH)
    return MISMATCH


def _ip(value: Any) -> Any:
    """`192.0.2.7:4711`, `[2001:db8::1]:443` and `fe80::1%eth0` without what is not the address."""
    if not isinstance(value, str) or len(value) > 80:
        return MISMATCH
    text = value.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return check_ip(text.partition("%")[0])


_CONVERSIONS: Mapping[str, Callable[[Mapping[str, Any], tzinfo], Convert]] = {
    "string": _plain(check_text),
    "integer": _plain(check_long),
    "number": _number,
    "boolean": _plain(_boolean),
    "ip": _plain(_ip),
    "lowercase": _plain(lambda value: value.lower() if isinstance(value, str) else MISMATCH),
    "uppercase": _plain(lambda value: value.upper() if isinstance(value, str) else MISMATCH),
    "timestamp": _timestamp,
    "split": _split,
}
