"""What a rule means, said as plainly as possible: the specification that the indexed engine is tested against.

One rule, one event, no preparation. Rule tests and explanations use it too.
"""

from __future__ import annotations

import ipaddress

from vedette_engine.detect import ir, patterns, regex, values
from vedette_engine.detect.ir import And, Atom, Node, Not, Op, Or
from vedette_engine.detect.naming import ECS, Naming
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.values import Event


def matches(rule: Rule, event: Event, naming: Naming = ECS) -> bool:
    """Whether the rule's condition holds for the event; log sources are not looked at."""
    return holds(naming.condition(rule), event)


def holds(node: Node, event: Event) -> bool:
    """Whether a condition over names of events holds."""
    if isinstance(node, Atom):
        return atom_holds(node, event)
    if isinstance(node, And):
        return all(holds(part, event) for part in node.parts)
    if isinstance(node, Or):
        return any(holds(part, event) for part in node.parts)
    if isinstance(node, Not):
        return not holds(node.part, event)
    return holds(node.part, event)


def atom_holds(atom: Atom, event: Event) -> bool:
    """Whether some text of the atom's field, or of the whole event, answers its question."""
    found = values.all_texts(event) if atom.field is None else values.field_texts(event, atom.field)
    if atom.op is Op.EXISTS:
        return bool(found) is atom.value
    if atom.op is Op.REF:
        other, how = atom.value
        return any(compare_texts(how, one, two) for one in found for two in values.field_texts(event, other))
    return any(text_holds(atom, one) for one in found)


def text_holds(atom: Atom, value: str) -> bool:
    """Whether one text answers the question of an atom that is about texts."""
    wanted = atom.value
    match atom.op:
        case Op.EQUALS:
            held = compare_texts("equals", value, values.text(wanted) or "")
        case Op.CONTAINS | Op.STARTSWITH | Op.ENDSWITH:
            held = compare_texts(atom.op.value, value, wanted)
        case Op.LIKE:
            held = pattern_matches(patterns.lowered(wanted), value.lower())
        case Op.CASED:
            held = pattern_matches(wanted, value)
        case Op.REGEX:
            held = regex.searcher(*wanted)(value)
        case Op.CIDR:
            held = in_network(value, wanted)
        case Op.TIME:
            unit, how, limit = wanted
            held = compare_numbers(how, values.time_part(value, unit), limit)
        case _:
            held = compare_numbers(atom.op.value, values.number(value), wanted)
    return held


def compare_texts(how: str, value: str, wanted: str) -> bool:
    """Compare two texts without case."""
    value, wanted = value.lower(), wanted.lower()
    if how == "equals":
        return value == wanted
    if how == "contains":
        return wanted in value
    if how == "startswith":
        return value.startswith(wanted)
    return value.endswith(wanted)


def compare_numbers(how: str, value: float | None, limit: float) -> bool:
    """Compare two numbers: eq, lt, lte, gt or gte; no number is in no relation."""
    if value is None:
        return False
    if how == "eq":
        return value == limit
    if how == "lt":
        return value < limit
    if how == "lte":
        return value <= limit
    if how == "gt":
        return value > limit
    return value >= limit


def pattern_matches(pattern: ir.Pattern, value: str) -> bool:
    """Whether the whole value has the form of the pattern; a table of which parts explain which beginnings."""
    reached = {0}
    for part in pattern:
        if part == ir.MANY:
            reached = set(range(min(reached), len(value) + 1)) if reached else set()
        elif part == ir.ONE:
            reached = {at + 1 for at in reached if at < len(value)}
        else:
            literal = str(part)
            reached = {at + len(literal) for at in reached if value.startswith(literal, at)}
    return len(value) in reached


def in_network(value: str, network: str) -> bool:
    """Whether the value is an address inside the network; an IPv4 address is in no IPv6 network."""
    address = values.address(value)
    return address is not None and address in ipaddress.ip_network(network)
