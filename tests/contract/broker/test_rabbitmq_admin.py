"""RabbitMQ's management API."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.servers.pki import Authority
from tests.servers.rabbitmq import RabbitMQ

from vedette_backends.broker import rabbitmq
from vedette_backends.broker.rabbitmq_admin import RabbitMQAdmin, vhost_of
from vedette_backends.errors import NotFoundError, RefusedError, UnavailableError

ODD = "ü/ä %2F?#&"


@pytest.fixture
def writes(admin: RabbitMQAdmin, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written since the test cleared the list."""
    seen: list[str] = []
    once = admin._once

    def note(method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if method != "GET":
            seen.append(f"{method} {path}")
        return once(method, path, body)

    monkeypatch.setattr(admin, "_once", note)
    return seen


def test_what_is_so_already_is_not_written(admin: RabbitMQAdmin, namespace: str, writes: list[str]) -> None:
    vhost = vhost_of(namespace)

    def ensure() -> None:
        admin.ensure_vhost(namespace)
        admin.ensure_user(f"{vhost}.a", ODD)
        admin.ensure_permissions(f"{vhost}.a", vhost, "^$", ".*", "^a$")
        admin.set_policy(vhost, ODD, "^q$", {"max-length-bytes": 5}, priority=3)

    ensure()
    assert len(writes) == 3
    writes.clear()
    ensure()
    assert writes == []
    admin.ensure_user(f"{vhost}.a", "another")
    admin.ensure_permissions(f"{vhost}.a", vhost, "^$", ".*", "^b$")
    admin.set_policy(vhost, ODD, "^q$", {"max-length-bytes": 6}, priority=3)
    assert len(writes) == 3
    assert admin.permissions(f"{vhost}.a") == {vhost: ("^$", ".*", "^b$")}
    admin.delete_user(f"{vhost}.a")


def test_removing_what_is_not_there_is_no_error(admin: RabbitMQAdmin, namespace: str) -> None:
    vhost = vhost_of(namespace)
    admin.set_policy(vhost, ODD, "^q$", {"max-length": 1})
    for _ in range(2):
        admin.delete_policy(vhost, ODD)
        admin.delete_permissions("nobody", vhost)
        admin.delete_user(f"{vhost}.nobody")
        admin.delete_vhost(f"{namespace}x")
    assert not admin.has_policy(vhost, ODD)


def test_a_user_with_odd_characters_can_sign_in(admin: RabbitMQAdmin, server: RabbitMQ, namespace: str) -> None:
    name, password = f"{namespace}{ODD}", f"{ODD}:@"
    admin.ensure_user(name, password)
    admin.ensure_permissions(name, vhost_of(namespace), ".*", ".*", ".*")
    assert name in admin.users()
    settings = server.settings_of(quote(name, safe=""), quote(password, safe=""))
    broker = rabbitmq.open_broker(settings, namespace)
    broker.declare("q")
    assert [(queue.name, queue.kind) for queue in admin.queues(vhost_of(namespace))] == [
        ("q", "quorum"),
        ("q.dead", "quorum"),
    ]
    broker.close()
    admin.delete_user(name)
    assert name not in admin.users()


def test_a_deleted_namespace_is_gone_with_its_queues(admin: RabbitMQAdmin, server: RabbitMQ, namespace: str) -> None:
    broker = rabbitmq.open_broker(server.settings, namespace)
    broker.declare("q")
    broker.close()
    assert vhost_of(namespace) in admin.vhosts()
    admin.delete_vhost(namespace)
    assert vhost_of(namespace) not in admin.vhosts()
    with pytest.raises(NotFoundError):
        admin.queues(vhost_of(namespace))


def test_failures_are_told_without_the_password(server: RabbitMQ, tmp_path: Path) -> None:
    good = server.settings
    for settings, expected in (
        (server.settings_of("admin", "pass-word-0815", management=True), RefusedError),
        (replace(good, ca=Authority(tmp_path / "other").certificate), RefusedError),
        (replace(good, management_url=f"https://127.0.0.1:{server.epmd}"), UnavailableError),
        (replace(good, management_url="https://127.0.0.1:1"), UnavailableError),
    ):
        admin = RabbitMQAdmin(settings, timeout=5)
        with pytest.raises(expected) as caught:
            admin.vhosts()
        assert "pass-word-0815" not in f"{caught.value}"
        assert server.password not in f"{caught.value} {caught.value.__cause__}"
        admin.close()
    with pytest.raises(RefusedError, match="rabbitmq-management-url"):
        RabbitMQAdmin(replace(good, management_url=""))


def test_a_worker_has_no_right_to_the_management_api(admin: RabbitMQAdmin, server: RabbitMQ, namespace: str) -> None:
    name = f"{namespace}.worker"
    admin.ensure_user(name, "x")
    worker = RabbitMQAdmin(server.settings_of(name, "x", management=True))
    with pytest.raises(RefusedError):
        worker.vhosts()
    worker.close()
    admin.delete_user(name)


def test_a_closed_connection_is_opened_again(admin: RabbitMQAdmin) -> None:
    admin.vhosts()
    assert admin._connection.sock is not None
    admin._connection.sock.close()
    assert "/" in admin.vhosts()
    admin.close()
    assert "/" in admin.vhosts()
