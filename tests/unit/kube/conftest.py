"""A server that answers as it is told, for what a healthy API server does not do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from vedette_backends.cluster import kube_api
from vedette_backends.cluster.kube_api import Api
from vedette_backends.cluster.kubernetes import connect


@dataclass
class Script:
    """What the server answers, in order, and what it was asked.

    An answer is (status, body, headers); `None` for a body cuts the connection instead, `...` never answers.
    """

    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def then(self, status: int, body: Any = "{}", **headers: str) -> Script:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, json.dumps(body) if isinstance(body, dict | list) else body, named))
        return self

    @property
    def methods(self) -> list[str]:
        return [method for method, _, _ in self.asked]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def api(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A connection to the server, of little patience."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.asked.append((self.command, self.path, body))
            status, text, headers = script.answers.pop(0)
            if text is ...:
                script.over.wait(30)
            if not isinstance(text, str):
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 # the library's names

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(kube_api, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(kube_api, "_MAX_PAUSE_SECONDS", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    path = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "t"}}]
    path.write_text(
        yaml.safe_dump({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"})
    )
    made = connect(path)
    yield made
    made.close()
    script.over.set()
    server.shutdown()
    server.server_close()
    thread.join()
