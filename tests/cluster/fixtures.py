"""Fixtures of the tests that run on a real cluster. A plugin rather than a conftest: all folders share one cluster.

Whatever test asks for one of these carries the marker `cluster` by itself. The slow parts (node, image, Elasticsearch,
RabbitMQ) start side by side, and only those that a test of this session asks for.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    # Every test session loads this plugin; those without a cluster need not load all of it.
    from tests.cluster.node import Node
    from tests.cluster.servers import Backends, Fronts
    from tests.servers.elasticsearch import Elasticsearch
    from tests.servers.rabbitmq import RabbitMQ

T = TypeVar("T")
FIGURES: pytest.StashKey[dict[str, float]] = pytest.StashKey()
KUBECTL_LOOKS = ("get pods -A -o wide", "get events -A --sort-by=.metadata.creationTimestamp")


class Session:
    """What this test session has of a cluster; each part is started once, in a thread of its own."""

    def __init__(self, folder: Path, figures: dict[str, float]) -> None:
        from tests.cluster.machine import missing  # noqa: PLC0415 # see above
        from tests.cluster.node import Node  # noqa: PLC0415 # as above

        if lacking := missing():
            unavailable("; ".join(lacking))
        self.folder = folder
        self._figures = figures
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="cluster")
        self._parts: dict[str, Future[object]] = {}
        self.bare_node = Node(folder / "node")
        self.bare_node.start()

    def begin(self, name: str, make: Callable[[], T]) -> Callable[[], T]:
        """Start a part unless it has been started; call what is returned to wait for it."""
        if name not in self._parts:
            self._parts[name] = self._pool.submit(self._timed, name, make)
        return self._parts[name].result  # type: ignore[return-value] # each name has one type

    def begin_node(self) -> Callable[[], Node]:
        """The node, as soon as pods can run."""

        def make() -> Node:
            self.bare_node.wait_ready()
            return self.bare_node

        return self.begin("node", make)

    def begin_image(self) -> Callable[[], Path]:
        """The image's tar file."""
        from tests.cluster.image.build import Builder, image_cache  # noqa: PLC0415 # as above

        return self.begin("image", lambda: Builder(image_cache(), _silent).build(self.folder / "vedette.tar"))

    def begin_elasticsearch(self) -> Callable[[], Elasticsearch]:
        """Elasticsearch where pods reach it."""
        from tests.servers import elasticsearch  # noqa: PLC0415 # as above

        host = self.bare_node.machine
        return self.begin("elasticsearch", lambda: elasticsearch.start(self.folder / "elasticsearch", host=host))

    def begin_rabbitmq(self) -> Callable[[], RabbitMQ]:
        """RabbitMQ where pods reach it."""
        from tests.servers import rabbitmq  # noqa: PLC0415 # as above

        host = self.bare_node.machine
        return self.begin("rabbitmq", lambda: rabbitmq.start(self.folder / "rabbitmq", host=host))

    def close(self) -> None:
        """End everything that was started."""
        self._pool.shutdown(cancel_futures=True)
        try:
            for name in ("elasticsearch", "rabbitmq"):
                part = self._parts.get(name)
                if part is not None and not part.cancelled() and part.exception() is None:
                    part.result().stop(kill=True)  # type: ignore[attr-defined] # both servers have it
        finally:
            self.bare_node.close()

    def _timed(self, name: str, make: Callable[[], T]) -> T:
        began = time.monotonic()
        made = make()
        self._figures[name] = time.monotonic() - began
        return made


def unavailable(reason: str) -> None:
    """There can be no cluster here: these tests are skipped, but fail where everything has to be there."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Starts what any test of this session asks for; tests use the fixtures below."""
    figures = request.config.stash.setdefault(FIGURES, {})
    session = Session(tmp_path_factory.mktemp("cluster", numbered=True), figures)
    try:
        wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
        if "backends" in wanted:
            session.begin_elasticsearch()
            session.begin_rabbitmq()
        session.begin_node()
        if "image" in wanted:
            session.begin_image()
        yield session
    finally:
        session.close()


@pytest.fixture(scope="session")
def node(cluster_session: Session) -> Node:
    """A Kubernetes node that can run pods; all tests share it."""
    return cluster_session.begin_node()()


@pytest.fixture(scope="session")
def image(cluster_session: Session, node: Node) -> str:
    """The name of the image of the working tree, loaded on the node."""
    from tests.cluster.image.build import NAME  # noqa: PLC0415 # as above

    node.load_image(cluster_session.begin_image()())
    return NAME


@pytest.fixture(scope="session")
def fronts(cluster_session: Session) -> Iterator[Fronts]:
    """By what pods reach Elasticsearch and RabbitMQ: here tests do harm on the way."""
    from tests.cluster.servers import Fronts, elastic_front, rabbit_front  # noqa: PLC0415 # as above

    elasticsearch = cluster_session.begin_elasticsearch()()
    rabbitmq = cluster_session.begin_rabbitmq()()
    made = Fronts(elastic_front(elasticsearch), rabbit_front(rabbitmq))
    yield made
    made.close()


@pytest.fixture(scope="session")
def backends(cluster_session: Session, fronts: Fronts) -> Backends:
    """Elasticsearch and RabbitMQ, both with TLS, where the node's pods reach them."""
    from tests.cluster.servers import Backends, elastic_through, rabbit_through, write_settings  # noqa: PLC0415 # as above

    elasticsearch = cluster_session.begin_elasticsearch()()
    rabbitmq = cluster_session.begin_rabbitmq()()
    folder = write_settings(
        cluster_session.folder / "backends",
        rabbit_through(rabbitmq.settings, fronts.rabbitmq),
        elastic_through(elasticsearch.settings, fronts.elasticsearch),
    )
    return Backends(elasticsearch, rabbitmq, folder)


@pytest.fixture(scope="session")
def kubectl(node: Node) -> Callable[..., str]:
    """`kubectl("get", "pods")` as administrator; raises CommandError."""
    return node.kubectl


@pytest.fixture
def namespace(node: Node) -> Iterator[str]:
    """A new namespace, deleted after the test."""
    name = f"test-{secrets.token_hex(4)}"
    node.kubectl("create", "namespace", name)
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a cluster, before `-m` chooses."""
    for item in items:
        if "cluster_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the cluster looked like when a test failed."""
    report = yield
    node = getattr(item, "funcargs", {}).get("node")
    if report.when == "call" and report.failed and node is not None:
        looks = [*KUBECTL_LOOKS, *_logs_of_our_pods(node)]
        report.sections += [(f"kubectl {look}", _look(node, look)) for look in looks]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long each part took to start, side by side."""
    figures = config.stash.get(FIGURES, {})
    if figures:
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(figures.items()))
        terminalreporter.write_line(f"cluster started: {told}")


def _logs_of_our_pods(node: Node) -> list[str]:
    """What to ask for the last words of each pod of ours."""
    found = _look(node, "get pods -A -l app.kubernetes.io/part-of=vedette --no-headers")
    pods = [line.split()[:2] for line in found.splitlines() if len(line.split()) > 2]
    return [f"logs -n {namespace} {name} --all-containers --tail=15" for namespace, name in pods[:15]]


def _look(node: Node, command: str) -> str:
    from tests.cluster.machine import NodeError  # noqa: PLC0415 # as above

    try:
        return "\n".join(node.kubectl(*command.split(), timeout=20).splitlines()[-40:])
    except NodeError as error:
        return str(error)


def _silent(_: str) -> None:
    """Figures tell enough."""
