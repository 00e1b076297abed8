"""Debian's syslog daemons, as they come, send to a live gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINES = [f'Nov 22 10:00:{number % 60:02} web1 sshd[{number}]: Failed password "é" \\ for root' for number in range(700)]

RSYSLOG = """
global(workDirectory="{folder}")
module(load="imfile" PollingInterval="1")
module(load="omelasticsearch")
input(type="imfile" File="{folder}/in.log" Tag="in:" Ruleset="send" readTimeout="1")
template(name="event" type="list") {{
  constant(value="{{") property(outname="message" name="msg" format="jsonf") constant(value="}}")
}}
ruleset(name="send") {{
  action(type="omelasticsearch" server="http://127.0.0.1" serverport="{port}" uid="anybody" pwd="{token}"
    usehttps="off" bulkmode="on" searchIndex="logs" searchType="" template="event" action.resumeRetryCount="-1")
}}
"""

SYSLOG_NG = """
@version: 3.38
source in {{ file("{folder}/in.log" flags(no-parse) follow-freq(0.1)); }};
destination gateway {{
  http(
    url("{url}/_bulk") method("POST") user("anybody") password("{token}")
    headers("Content-Type: application/x-ndjson") batch-lines(200) batch-timeout(200) workers(2)
    body-suffix("\\n")
    body('{{"create":{{"_index":"logs"}}}}\n$(format-json message=$MESSAGE)')
  );
}};
log {{ source(in); destination(gateway); }};
"""


def write_lines(folder: Path) -> None:
    (folder / "in.log").write_text("".join(line + "\n" for line in LINES), encoding="utf-8")


@pytest.mark.slow
def test_rsyslogs_omelasticsearch_delivers_every_line_once(
    live: Any, shipper: Callable[[str], Any], tmp_path: Path
) -> None:
    rsyslogd = shipper("rsyslogd")
    write_lines(tmp_path)
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(RSYSLOG.format(folder=tmp_path, port=live.port, token=live.token))
    modules = rsyslogd.folder("usr/lib/*/rsyslog")
    log = tmp_path / "log"
    rsyslogd.start("-n", "-f", configuration, "-i", tmp_path / "pid", "-M", modules, log=log)
    events = live.await_records(len(LINES))
    assert sorted(event["message"] for event in events) == sorted(LINES), log.read_text()


@pytest.mark.slow
def test_syslog_ngs_http_destination_delivers_every_line_once(
    live: Any, shipper: Callable[[str], Any], tmp_path: Path
) -> None:
    syslog_ng = shipper("syslog-ng")
    write_lines(tmp_path)
    configuration = tmp_path / "syslog-ng.conf"
    configuration.write_text(SYSLOG_NG.format(folder=tmp_path, url=live.url, token=live.token))
    options = ["--foreground", "--no-caps", "--stderr", f"--cfgfile={configuration}"]
    options += [f"--{name}={tmp_path / name}" for name in ("persist-file", "pidfile", "control")]
    modules = syslog_ng.folder("usr/lib/syslog-ng/3.*")
    log = tmp_path / "log"
    syslog_ng.start(*options, f"--module-path={modules}", log=log)
    events = live.await_records(len(LINES))
    assert sorted(event["message"] for event in events) == sorted(LINES), log.read_text()
