"""The pages of the embedded mode: which stores they read, who may sign in."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version

from vedette_cli.data import UI_TOKEN, Data, per_namespace
from vedette_webui.app import create_app, serve
from vedette_webui.settings import Account, Settings
from vedette_workers.librarian.replay import replay

SESSION_KEY = "session-key"


def serve_pages(data: Data, host: str, port: int) -> None:
    """Answer until SIGTERM."""
    stores = per_namespace(data.store)
    brokers = per_namespace(data.broker)
    cluster = data.cluster()

    def replay_letters(namespace: str, ids: Sequence[str]) -> int:
        return replay(stores(namespace), brokers(namespace), ids)

    settings = Settings(
        accounts=[Account("admin", "engineer", sha256(data.secret(UI_TOKEN).encode()).hexdigest())],
        public_url=f"http://{host}:{port}",
        version=version("vedette"),
        hosts=["127.0.0.1", "localhost", host],
        session_key=sha256(data.secret(SESSION_KEY).encode()).digest(),
    )
    serve(create_app(settings, stores, cluster, replay=replay_letters, problems=cluster.problems), host=host, port=port)
