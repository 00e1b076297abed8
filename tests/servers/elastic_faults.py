"""What an Elasticsearch under pressure, or something between it and us, does to requests.

A meddler for `front.Front`. Requests go to the real server unless a fault takes their place; of bulk requests single
items are kept back and answered for, which is how the server itself tells of them.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from tests.servers.front import Behind

SECONDS: Final = 60.0
"""How long the server and a client may take."""
SLOW_SECONDS: Final = 1.5
TOO_MANY, UNAVAILABLE, NO_JSON = "429", "503", "503 without JSON"
LOST, HALF, SLOW = "cut before the answer", "cut in the answer", "slow"
ITEMS_TOO_MANY, ITEMS_REJECTED = "items answered 429", "items rejected"
WHOLE: Final = (TOO_MANY, UNAVAILABLE, NO_JSON, LOST, HALF, SLOW)
"""What happens to a request as a whole."""

_BULK: Final = re.compile(r"/(?P<index>vedette-[^/?]+)/_bulk\?")
_DOCUMENTS: Final = re.compile(r"vedette-(events|alerts)\.")
"""What an event's document, or an alert's, may be rejected from. A dead letter is taken by its nature."""


@dataclass
class ElasticFaults:
    """Each request meets one of the faults, by the dice; and so does each item of a bulk.

    Attributes:
        dice: decide.
        rate: how many requests of 1 meet a fault.
        items: how many bulk requests of 1 have items answered 429, one in four of each.
        rejected: of how many documents one is the document's fault; always the same ones.
        done: what was done to bulks of events (or of alerts, where items are rejected), by its name.
        others: what was done to other requests.
    """

    dice: random.Random
    rate: float = 0.25
    items: float = 0.2
    rejected: int = 20
    done: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, client: socket.socket, behind: Behind) -> None:
        """Serve one connection."""
        client.settimeout(SECONDS)
        with behind.outward.wrap_socket(client, server_side=True) as open_client:
            _Handler(open_client, self, behind)

    def fault(self, target: str) -> str:
        """What is to happen to a request; empty for nothing."""
        with self._lock:
            if self.dice.random() >= self.rate:
                return ""
            # Each once before any comes again: so a test waits no longer than it must.
            done = self.done if _is_events_bulk(target) else self.others
            least = min(done[fault] for fault in WHOLE)
            chosen = self.dice.choice([fault for fault in WHOLE if done[fault] == least])
            done[chosen] += 1
            return chosen

    def kept_back(self, index: str, actions: list[tuple[str, str]]) -> dict[int, dict[str, Any]]:
        """Of a bulk's (action, id): answers for those that the server shall not see, by position."""
        found_in = _DOCUMENTS.match(index)
        if found_in is None:
            return {}
        with self._lock:
            busy = self.dice.random() < self.items
            found: dict[int, dict[str, Any]] = {}
            for at, (action, document_id) in enumerate(actions):
                if _at_fault(document_id, self.rejected):
                    reason = "[1:1] failed to parse: a test rejects this document"
                    found[at] = _item(action, 400, "document_parsing_exception", reason)
                    self.done[f"{found_in[1]} rejected"] += 1
                elif busy and self.dice.random() < 0.25:
                    found[at] = _item(action, 429, "es_rejected_execution_exception", "rejected execution by a test")
                    self.done[ITEMS_TOO_MANY] += 1
            return found


def _at_fault(document_id: str, one_in: int) -> bool:
    return sum(document_id.encode()) % one_in == 0


def _is_events_bulk(target: str) -> bool:
    found = _BULK.match(target)
    return found is not None and found["index"].startswith("vedette-events.")


def _item(action: str, status: int, kind: str, reason: str) -> dict[str, Any]:
    return {action: {"status": status, "error": {"type": kind, "reason": reason}}}


class _Handler(BaseHTTPRequestHandler):
    """One connection; its requests go to the server over one connection, too."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = SECONDS

    def __init__(self, client: socket.socket, faults: ElasticFaults, behind: Behind) -> None:
        self._faults = faults
        self._server = http.client.HTTPSConnection(behind.host, behind.port, timeout=SECONDS, context=behind.inward)
        super().__init__(client, client.getpeername(), None)  # type: ignore[arg-type] # no server: nothing here asks it

    def finish(self) -> None:
        self._server.close()
        super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self._faults.fault(self.path)
        if fault in {TOO_MANY, UNAVAILABLE, NO_JSON}:
            self._tell(*_refusal(fault))
            return
        if fault == SLOW:
            time.sleep(SLOW_SECONDS)
        if fault == LOST and self._faults.dice.random() < 0.5:
            raise ConnectionAbortedError("cut before the request was passed on")
        status, answer = self._bulk(body) if _BULK.match(self.path) else self._ask(body)
        if fault == LOST:
            raise ConnectionAbortedError("cut when the request had been carried out")
        self._tell(status, answer, cut=fault == HALF)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 # what http.server looks for

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        own = {"host", "connection", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        try:
            self._server.request(self.command, self.path, body, headers)
            answer = self._server.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionAbortedError("the server ended in its answer") from error

    def _bulk(self, body: bytes) -> tuple[int, bytes]:
        """Without what is kept back; the answer speaks of all."""
        found = _BULK.match(self.path)
        assert found is not None
        items = list(_items(body))
        kept_back = self._faults.kept_back(found["index"], [(action, each) for action, each, _ in items])
        passed = b"".join(lines for at, (*_, lines) in enumerate(items) if at not in kept_back)
        told: list[dict[str, Any]] = []
        if passed:
            status, answer = self._ask(passed)
            if status != 200 or not kept_back:
                return status, answer
            told = json.loads(answer)["items"]
        for at in sorted(kept_back):
            told.insert(at, kept_back[at])
        return 200, json.dumps({"errors": True, "items": told}).encode()

    def _tell(self, status: int, body: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in (
            ("X-Elastic-Product", "Elasticsearch"),
            ("Content-Type", "text/html" if body.startswith(b"<") else "application/json"),
            ("Content-Length", str(len(body))),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()
        if cut:
            raise ConnectionAbortedError("cut in the answer")


def _refusal(fault: str) -> tuple[int, bytes]:
    if fault == NO_JSON:
        return 503, b"<html><body>No server is available to handle this request.</body></html>"
    status, kind = {
        TOO_MANY: (429, "circuit_breaking_exception"),
        UNAVAILABLE: (503, "unavailable_shards_exception"),
    }[fault]
    return status, json.dumps({"error": {"type": kind, "reason": "a test"}, "status": status}).encode()


def _items(body: bytes) -> list[tuple[str, str, bytes]]:
    """(action, id, its lines) of each item of a bulk's body."""
    lines = body.splitlines(keepends=True)
    found = []
    at = 0
    while at < len(lines):
        (action, told) = next(iter(json.loads(lines[at]).items()))
        size = 1 if action == "delete" else 2
        found.append((action, str(told["_id"]), b"".join(lines[at : at + size])))
        at += size
    return found
