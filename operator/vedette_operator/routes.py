"""kopf's watches, and nothing else of it: each change of our kinds goes to one function.

Handlers return nothing, ask for no finalizers and leave no annotations; retries, batching and order are the control
loop's, which looks at what is there instead of at what happened.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

log = logging.getLogger(__name__)


Seen = Callable[[str | None, Mapping[str, Any]], None]
"""Takes (ADDED | MODIFIED | DELETED, or None for what a list brought; the object). Must not block for long."""


def watch(group: str, version: str, plurals: Sequence[str], seen: Seen, stop: threading.Event) -> None:
    """Watch the kinds in all namespaces until `stop` is set, by SIGTERM or SIGINT too.

    Blocks. Raises whatever ends kopf before `stop` is set, so that the process ends and is started again.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**asked: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**asked)

    @kopf.on.cleanup(registry=registry)
    async def ending(**_: Any) -> None:
        # kopf waits for the flag in a thread of its own, and after SIGTERM or a fault for that thread.
        stop.set()

    for plural in plurals:

        @kopf.on.event(group, version, plural, registry=registry, id=plural)
        async def changed(event: kopf.RawEvent, **_: Any) -> None:
            kind, body = event["type"], event["object"]
            # A list of thousands of objects must not keep the loop from answering the API server.
            await asyncio.to_thread(seen, kind, body) if kind is None else seen(kind, body)

    kopf.run(
        registry=registry,
        settings=_settings(),
        standalone=True,
        clusterwide=True,
        stop_flag=stop,
    )


def _settings() -> kopf.OperatorSettings:
    """The API server decides how long a watch lasts: each one that begins costs a list of everything."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.process.ultimate_exiting_timeout = 10
    return settings
