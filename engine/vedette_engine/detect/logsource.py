"""What kind of log a rule is for, and what kinds of log an event is."""

from __future__ import annotations

from typing import NamedTuple


class Logsource(NamedTuple):
    """Sigma's three parts, in lower case; None where the rule leaves one open."""

    product: str | None = None
    category: str | None = None
    service: str | None = None

    def __str__(self) -> str:
        return "/".join(part or "*" for part in self)


class Logsources(NamedTuple):
    """All that one event satisfies; a rule fits when each part that it names is among them."""

    products: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()


def fits(rule: Logsource, event: Logsources) -> bool:
    """Whether a rule for this log source is to be tried on such an event."""
    product, category, service = rule
    return (
        (product is None or product in event.products)
        and (category is None or category in event.categories)
        and (service is None or service in event.services)
    )
