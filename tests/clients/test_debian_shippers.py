"""Debian's syslog daemons, as they come, send to a live gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINES = [f'Nov 22 10:00:{number % 60:02} web1 sshd[{number}]: Failed password "é" \\ for root' for number in range(700)]


@pytest.mark.slow
def test_rsyslogs_omelasticsearch_delivers_every_line_once(live: Any, rsyslog: Callable[..., Path]) -> None:
    log = rsyslog(LINES, "127.0.0.1", live.port, live.token)
    events = live.await_records(len(LINES))
    assert sorted(event["message"] for event in events) == sorted(LINES), log.read_text()


@pytest.mark.slow
def test_syslog_ngs_http_destination_delivers_every_line_once(live: Any, syslog_ng_http: Callable[..., Path]) -> None:
    log = syslog_ng_http(LINES, live.url, live.token)
    events = live.await_records(len(LINES))
    assert sorted(event["message"] for event in events) == sorted(LINES), log.read_text()
