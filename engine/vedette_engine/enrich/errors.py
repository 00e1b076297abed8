"""What an enrichment can do wrong; never more than its own event's own field."""

from __future__ import annotations


class EnrichmentError(Exception):
    """An operation failed on one event; the event goes on, tagged or without the field."""


class TableError(ValueError):
    """A table or database cannot be used: damaged, too large, or not what the enrichment needs."""
