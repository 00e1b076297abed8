"""A real RabbitMQ for tests: one node of its own on loopback, TLS, the management plug-in, an administrator.

It needs Debian's `rabbitmq-server`, runs as whoever runs the tests, and touches neither the system's node nor its epmd.
Six to seven seconds from nothing to ready on a quiet machine, so a session shares one: `shared`. Tests that stop or
starve the server take their own: `start`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import until
from tests.servers import process
from tests.servers.pki import Authority, Identity
from tests.servers.process import HOST, Kept, free_ports, missing

from vedette_backends.settings import RabbitMQSettings

_INSTALLED = Path("/usr/lib/rabbitmq/lib")
_READY_SECONDS = 120

_CONFIG = """\
listeners.tcp.1 = {host}:{plain}
listeners.ssl.1 = {host}:{tls}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
management.ssl.ip = {host}
management.ssl.port = {management}
management.ssl.cacertfile = {ca}
management.ssl.certfile = {certificate}
management.ssl.keyfile = {key}
default_user = {user}
default_pass = {password}
log.file = false
log.console = true
log.console.level = info
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 64000000
"""

# Figures of queues every second instead of every ten, and overdue acks noticed as soon: tests wait for them.
_ADVANCED = """\
[{rabbit, [{collect_statistics_interval, 200}, {quorum_tick_interval, 200}, {channel_tick_interval, 1000}]},
 {rabbitmq_management,
  [{sample_retention_policies, [{global, [{60, 1}]}, {basic, [{60, 1}]}, {detailed, [{60, 1}]}]}]}].
"""


@dataclass(frozen=True)
class RabbitMQ(Kept):
    """A running server; any process of the session may hold one of these."""

    folder: Path
    tls: int
    plain: int
    management: int
    distribution: int
    epmd: int
    user: str
    password: str
    owner: int
    host: str = HOST

    @property
    def ca(self) -> Path:
        return self.folder / "pki" / "ca.crt"

    @property
    def identity(self) -> Identity:
        """The server's own: for what stands in front of it."""
        keys = self.folder / "pki"
        return Identity(keys / "rabbitmq.crt", keys / "rabbitmq.key", self.ca)

    @property
    def settings(self) -> RabbitMQSettings:
        """The administrator's."""
        return self.settings_of(self.user, self.password, management=True)

    def settings_of(self, user: str, password: str, *, management: bool = False) -> RabbitMQSettings:
        url = f"amqps://{user}:{password}@{self.host}:{self.tls}"
        return RabbitMQSettings(url, self.ca, f"https://{self.host}:{self.management}" if management else "")

    @property
    def plain_url(self) -> str:
        """The administrator's, without TLS."""
        return f"amqp://{self.user}:{self.password}@{self.host}:{self.plain}"

    def start(self) -> None:
        """Start it, with what it held before, and wait until it answers."""
        self.keep("epmd", ["epmd", "-address", HOST, "-port", str(self.epmd)], self._environment)
        until(lambda: _accepts(self.epmd), seconds=_READY_SECONDS, what="epmd")
        self.keep("server", [str(_script())], self._environment)
        try:
            until(self.answers, seconds=_READY_SECONDS, what="RabbitMQ to start", pause=0.1)
        except AssertionError:
            self.stop()
            raise AssertionError("RabbitMQ did not start:\n" + self.log[-4000:]) from None

    def stop(self, *, kill: bool = False) -> None:
        """End it: in good order, or all of a sudden.

        Not within three minutes of a declaration, though: 3.10 writes the names of new queues to disk no sooner,
        and a queue whose name is lost never answers again. So that is done first.
        """
        if kill:
            self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        for name, by in (("server", signal.SIGKILL if kill else signal.SIGTERM), ("epmd", signal.SIGKILL)):
            pid_file = self.folder / f"{name}.pid"
            if not pid_file.exists():
                continue
            with contextlib.suppress(ProcessLookupError):
                _end(int(pid_file.read_text()), by)
            pid_file.unlink()

    @contextlib.contextmanager
    def alarmed(self) -> Iterator[None]:
        """Short of memory, as it believes: publishers are blocked meanwhile."""
        self.ctl("set_vm_memory_high_watermark", "0.00001")
        try:
            yield
        finally:
            self.ctl("set_vm_memory_high_watermark", "0.4")

    @contextlib.contextmanager
    def short_of_disk(self) -> Iterator[None]:
        """Its disk alarm is on: more is to stay free than there is. Publishers are blocked meanwhile."""
        self.ctl("set_disk_free_limit", "1000000GB")
        try:
            yield
        finally:
            self.ctl("set_disk_free_limit", "50MB")

    def ctl(self, *command: str) -> str:
        """Run `rabbitmqctl`, which takes a second or two."""
        tool = str(_script().with_name("rabbitmqctl"))
        return subprocess.run(
            [tool, *command], env=self._environment, check=True, capture_output=True, text=True
        ).stdout

    def answers(self) -> bool:
        """Whether all its listeners accept connections."""
        context = ssl.create_default_context(cafile=self.ca)
        try:
            for port in (self.tls, self.management):
                with (
                    socket.create_connection((self.host, port), 5) as raw,
                    context.wrap_socket(raw, server_hostname=self.host),
                ):
                    pass
        except OSError:
            return False
        return _accepts(self.plain, self.host)

    @property
    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"vedette{self.tls}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_AFLAGS": "-start_epmd false",
            # The start script then becomes the server instead of waiting for it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def installed() -> bool:
    """Whether there is a RabbitMQ to start."""
    return bool(_scripts())


def start(folder: Path, *, owner: int | None = None, host: str = HOST) -> RabbitMQ:
    """A new server in a folder of its own, ready. It ends with the process `owner`, this one by default.

    It listens at `host`: an address of this machine that a test's pods reach, or loopback.
    """
    if not installed():
        missing("RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)")
    folder.mkdir(parents=True)
    tls, plain, management, distribution, epmd = free_ports(5, host)
    user, password = "admin", secrets.token_hex(16)
    server = RabbitMQ(folder, tls, plain, management, distribution, epmd, user, password, owner or os.getpid(), host)
    identity = Authority(folder / "pki").server("rabbitmq", host, "localhost")
    config = _CONFIG.format(
        host=host,
        tls=tls,
        plain=plain,
        management=management,
        ca=identity.ca,
        certificate=identity.certificate,
        key=identity.key,
        user=user,
        password=password,
    )
    (folder / "rabbitmq.conf").write_text(config)
    (folder / "advanced.config").write_text(_ADVANCED)
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    server.start()
    return server


def shared(root: Path) -> RabbitMQ:
    """The session's server, started by whoever asks first.

    Args:
        root: a folder that all processes of the session see, and no other session.
    """
    return process.shared(root, "rabbitmq", RabbitMQ, lambda folder, owner: start(folder, owner=owner))


def _scripts() -> list[Path]:
    return sorted(_INSTALLED.glob("rabbitmq_server-*/sbin/rabbitmq-server"))


def _script() -> Path:
    return _scripts()[-1]


def _accepts(port: int, host: str = HOST) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except OSError:
        return False
    return True


def _end(pid: int, by: signal.Signals) -> None:
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, by)
        assert select.select([handle], [], [], _READY_SECONDS)[0], f"process {pid} does not end"
    finally:
        os.close(handle)
