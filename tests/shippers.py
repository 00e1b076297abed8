"""Debian's syslog daemons, as they come, for tests that send through them. A plugin: several folders use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

UNPACKED = Path(__file__).resolve().parents[1] / ".cache" / "shippers"

RSYSLOG = """
global(workDirectory="{folder}")
module(load="imfile" PollingInterval="1")
module(load="omelasticsearch")
input(type="imfile" File="{folder}/in.log" Tag="in:" Ruleset="send" readTimeout="1")
template(name="event" type="list") {{
  constant(value="{{") property(outname="message" name="msg" format="jsonf") constant(value="}}")
}}
ruleset(name="send") {{
  action(type="omelasticsearch" server="{server}" serverport="{port}" uid="anybody" pwd="{token}"
    usehttps="off" bulkmode="on" searchIndex="logs" searchType="" template="event" action.resumeRetryCount="-1")
}}
"""

SYSLOG_NG = """
@version: 3.38
source in {{ file("{folder}/in.log" flags(no-parse) follow-freq(0.1)); }};
destination out {{
{destination}
}};
log {{ source(in); destination(out); }};
"""

HTTP = """
  http(
    url("{url}/_bulk") method("POST") user("anybody") password("{token}")
    headers("Content-Type: application/x-ndjson") batch-lines(200) batch-timeout(200) workers(2)
    body-suffix("\\n")
    body('{{"create":{{"_index":"logs"}}}}\n$(format-json message=$MESSAGE)')
  );
"""


@dataclass
class Shipper:
    """A program of Debian's, installed or unpacked by `unpack-shippers`; `root` is `/` or the folder."""

    program: Path
    root: Path
    running: list[subprocess.Popen[bytes]]

    def folder(self, pattern: str) -> Path:
        """The one folder below root that the pattern matches."""
        return next(iter(sorted(self.root.glob(pattern))))

    def start(self, *arguments: object, log: Path) -> None:
        libraries = [str(path) for path in (*self.root.glob("usr/lib/*-linux-gnu"), *self.root.glob("lib/*-linux-gnu"))]
        libraries += [str(path) for path in self.root.glob("usr/lib/syslog-ng")]
        environment = dict(os.environ)
        if self.root != Path("/"):
            environment["LD_LIBRARY_PATH"] = ":".join(libraries)
        with log.open("wb") as output:
            command = [str(self.program), *map(str, arguments)]
            self.running.append(subprocess.Popen(command, stdout=output, stderr=output, env=environment))


@pytest.fixture
def shipper() -> Iterator[Callable[[str], Shipper]]:
    """Finds a shipper; a missing one is a failure in CI and a reason to skip elsewhere."""
    running: list[subprocess.Popen[bytes]] = []

    def find(name: str) -> Shipper:
        unpacked = Path(os.environ.get("VEDETTE_SHIPPERS") or UNPACKED).absolute()
        if (unpacked / "usr/sbin" / name).exists():
            return Shipper(unpacked / "usr/sbin" / name, unpacked, running)
        installed = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if installed is not None:
            return Shipper(Path(installed), Path("/"), running)
        reason = f"{name} is not installed; run tests/clients/unpack-shippers .cache/shippers"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    yield find
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.fixture
def rsyslog(shipper: Callable[[str], Shipper], tmp_path: Path) -> Callable[..., Path]:
    """Sends lines by omelasticsearch to http://HOST:PORT; the file where the program writes what it has to say."""

    def send(lines: Sequence[str], host: str, port: int, token: str) -> Path:
        rsyslogd = shipper("rsyslogd")
        _write(tmp_path, lines)
        configuration = tmp_path / "rsyslog.conf"
        configuration.write_text(RSYSLOG.format(folder=tmp_path, server=f"http://{host}", port=port, token=token))
        modules = rsyslogd.folder("usr/lib/*/rsyslog")
        log = tmp_path / "log"
        rsyslogd.start("-n", "-f", configuration, "-i", tmp_path / "pid", "-M", modules, log=log)
        return log

    return send


@pytest.fixture
def syslog_ng(shipper: Callable[[str], Shipper], tmp_path: Path) -> Callable[..., Path]:
    """Sends lines to a destination, as its configuration writes one; where the program writes what it has to say."""

    def send(lines: Sequence[str], destination: str) -> Path:
        program = shipper("syslog-ng")
        _write(tmp_path, lines)
        configuration = tmp_path / "syslog-ng.conf"
        configuration.write_text(SYSLOG_NG.format(folder=tmp_path, destination=destination))
        options = ["--foreground", "--no-caps", "--stderr", f"--cfgfile={configuration}"]
        options += [f"--{name}={tmp_path / name}" for name in ("persist-file", "pidfile", "control")]
        modules = program.folder("usr/lib/syslog-ng/3.*")
        log = tmp_path / "log"
        program.start(*options, f"--module-path={modules}", log=log)
        return log

    return send


@pytest.fixture
def syslog_ng_http(syslog_ng: Callable[..., Path]) -> Callable[..., Path]:
    """The same by http to the gateway at a URL."""

    def send(lines: Sequence[str], url: str, token: str) -> Path:
        return syslog_ng(lines, HTTP.format(url=url, token=token))

    return send


def _write(folder: Path, lines: Sequence[str]) -> None:
    (folder / "in.log").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
