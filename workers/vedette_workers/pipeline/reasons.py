"""Why an event can become a dead letter; the reference page prints this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "MalformedJson": "The source sends JSON, and the record is none.",
        "NotAnObject": "The record is JSON, but not an object.",
        "TooDeep": "The record is nested more deeply than anything real.",
        "TooLarge": "The record is larger than the source's `limits.maxEventBytes`.",
        "UnknownSource": "The message names a source that the namespace does not have.",
        "UnreadableMessage": "The message in the queue is not one of Vedette's, or is damaged.",
        "IdCollision": "Another event has the same key and other content.",
        "DocumentRejected": "The store cannot hold the document.",
        "AlertRejected": "The store cannot hold an alert that the event raised; the event itself is stored.",
        "Undelivered": "The broker gave up delivering the message, again and again, to workers that did not finish it.",
        "UnsupportedEncoding": "The message's content encoding is none that Vedette reads; gzip is.",
        "MalformedEncoding": "The message's content encoding says gzip, and the body is not, or not whole.",
        "Poison": "Processing the event ended, or blocked, the process that tried it.",
        "ProcessingError": "A fault of Vedette's own; the worker's log has more.",
    }
)
