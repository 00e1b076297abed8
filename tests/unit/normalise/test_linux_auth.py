from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Normalise = Callable[..., dict[str, Any]]


SUDO = "Nov 22 10:00:00 web1 sudo: "
SSH = "Nov 22 10:00:00 web1 sshd[188]: "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            SSH + "Failed password for root from 192.0.2.7 port 4711 ssh2",
            {
                "event.outcome": "failure",
                "event.action": "ssh_login",
                "user.name": "root",
                "source.ip": "192.0.2.7",
                "source.port": 4711,
                "host.name": "web1",
                "event.category": ["authentication"],
            },
        ),
        (
            SSH + "Failed password for invalid user oracle from 2001:db8::7 port 4711 ssh2",
            {
                "event.outcome": "failure",
                "user.name": "oracle",
                "source.ip": "2001:db8::7",
                "event.reason": "invalid user",
            },
        ),
        (
            SSH + "Accepted publickey for ana from 192.0.2.7 port 4711 ssh2: RSA SHA256:abc",
            {
                "event.outcome": "success",
                "event.action": "ssh_login",
                "user.name": "ana",
                "system.auth.ssh.method": "publickey",
                "system.auth.ssh.signature": "RSA SHA256:abc",
                "event.category": ["authentication", "session"],
            },
        ),
        (
            SSH + "Invalid user admin from 192.0.2.7 port 4711",
            {"event.outcome": "failure", "event.action": "ssh_login", "user.name": "admin", "source.port": 4711},
        ),
        (
            SSH + "Invalid user  from 192.0.2.7",
            {"event.action": "ssh_login", "source.ip": "192.0.2.7", "user.name": None},
        ),
        (
            SSH + "Failed password for invalid user x from 203.0.113.1 port 1 ssh2 from 192.0.2.7 port 4711 ssh2",
            {"source.ip": "192.0.2.7", "source.port": 4711, "user.name": "x from 203.0.113.1 port 1 ssh2"},
        ),
        (
            SSH + "Connection closed by authenticating user root 192.0.2.7 port 4711 [preauth]",
            {
                "event.action": "ssh_disconnect",
                "user.name": "root",
                "source.ip": "192.0.2.7",
                "event.type": ["connection", "end"],
            },
        ),
        (
            SSH + "Received disconnect from 192.0.2.7 port 4711:11: disconnected by user",
            {"event.action": "ssh_disconnect", "source.port": 4711, "event.reason": "11: disconnected by user"},
        ),
        (
            SSH + "User bob from 192.0.2.7 not allowed because not listed in AllowUsers",
            {"event.outcome": "failure", "user.name": "bob", "event.reason": "not listed in AllowUsers"},
        ),
        (
            SSH + "Failed password for root from bastion.example.com port 4711 ssh2",
            {"source.domain": "bastion.example.com", "source.ip": None},
        ),
        (
            SSH + "pam_unix(sshd:session): session opened for user ana(uid=1000) by (uid=0)",
            {"event.category": ["session"], "event.type": ["start"], "user.name": "ana", "user.effective.name": "ana"},
        ),
        (
            SSH
            + "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
            + "rhost=192.0.2.7  user=root",
            {"event.action": "ssh_login", "event.outcome": "failure", "user.name": "root", "source.ip": "192.0.2.7"},
        ),
        (
            SUDO + "     ana : TTY=pts/0 ; PWD=/home/ana ; USER=root ; COMMAND=/bin/cat /etc/shadow ; x",
            {
                "event.action": "sudo_command",
                "event.outcome": "success",
                "user.name": "ana",
                "user.effective.name": "root",
                "process.command_line": "/bin/cat /etc/shadow ; x",
                "process.working_directory": "/home/ana",
            },
        ),
        (
            "Nov 22 10:00:00 web1 sudo: bob : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
            {"event.outcome": "failure", "event.reason": "user NOT in sudoers", "user.name": "bob"},
        ),
        (
            "Nov 22 10:00:00 web1 su[7]: FAILED su for root by bob",
            {"event.action": "su", "event.outcome": "failure", "user.name": "bob", "user.effective.name": "root"},
        ),
        (
            "Nov 22 10:00:00 web1 su[7]: + /dev/pts/1 ana:root",
            {"event.outcome": "success", "user.effective.name": "root"},
        ),
        (
            "Nov 22 10:00:00 web1 useradd[9]: new user: name=eve, UID=1001, GID=1001, home=/home/eve, shell=/bin/bash",
            {"event.category": ["iam"], "event.type": ["user", "creation"], "user.name": "eve", "user.id": "1001"},
        ),
        (
            "Nov 22 10:00:00 web1 usermod[9]: add 'eve' to group 'sudo'",
            {"event.action": "added-member-to-group", "user.name": "eve", "group.name": "sudo"},
        ),
    ],
)
@pytest.mark.parametrize("form", ["syslog", "json"])
def test_lines_of_the_authentication_log(normalise: Normalise, form: str, line: str, expected: dict[str, Any]) -> None:
    event = normalise(line, format=form, parser="linux.auth")
    assert {name: event.get(name) for name in expected} == expected
    assert event["event.original"] == line
    assert "unparsed" not in event["counters"]


@pytest.mark.parametrize(
    "record",
    [
        {"message": SSH + "Failed password for root from 192.0.2.7 port 4711 ssh2"},
        {
            "message": "Failed password for root from 192.0.2.7 port 4711 ssh2",
            "host": "web1",
            "programname": "sshd",
            "pid": 188,
        },
        {
            "message": " Failed password for root from 192.0.2.7 port 4711 ssh2",
            "hostname": "web1",
            "syslogtag": "sshd[188]:",
        },
        {
            "message": "Failed password for root from 192.0.2.7 port 4711 ssh2",
            "host": {"name": "web1"},
            "process": {"name": "sshd", "pid": 188},
        },
    ],
    ids=["whole line", "rsyslog", "syslogtag", "ecs"],
)
def test_shippers_json_around_a_line_gives_the_same(normalise: Normalise, record: dict[str, Any]) -> None:
    event = normalise(record, parser="linux.auth")
    expected = {
        "host.name": "web1",
        "process.name": "sshd",
        "process.pid": 188,
        "source.ip": "192.0.2.7",
        "user.name": "root",
    }
    assert {name: event[name] for name in expected} == expected
    assert event["event.outcome"] == "failure"


def test_a_line_that_the_parser_does_not_know_is_kept_and_counted(normalise: Normalise) -> None:
    event = normalise(SSH + "something new", format="syslog", parser="linux.auth")
    assert event["message"] == "something new"
    assert event["counters"]["unparsed"] == 1
