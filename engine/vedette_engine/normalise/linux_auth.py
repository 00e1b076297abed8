"""The authentication log of Linux: sshd, sudo, su, PAM and the account tools.

Every pattern is anchored at both ends. A user name is whatever an attacker typed and may look like the rest of the
line, so where a name is followed by an address the *last* address of the line counts, which sshd itself wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from vedette_engine.normalise.counters import Counters, count
from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.syslog import read_syslog
from vedette_engine.normalise.types import MISMATCH, check_ip

MAX_LINE = 16_384
"""Longer messages are not looked into; no daemon writes them."""

_ADDRESS = r"(?P<address>[^\s]{1,255}) port (?P<port>[0-9]{1,5})"
_SSH_LOGIN = re.compile(
    r"(?P<result>Accepted|Failed|Postponed) (?P<method>[^\s]{1,64}) for (?P<invalid>invalid user )?(?P<user>.*) "
    r"from " + _ADDRESS + r"(?: ssh[0-9]?)?(?P<key>: .*| \[preauth\])?",
    re.DOTALL,
)
_SSH_INVALID = re.compile(
    r"(?:Invalid|Illegal) user (?P<user>.*) from (?P<address>[^\s]{1,255})(?: port (?P<port>[0-9]{1,5}))?", re.DOTALL
)
_SSH_MAX = re.compile(
    r"(?:error: )?maximum authentication attempts exceeded for (?:invalid user )?(?P<user>.*) from "
    + _ADDRESS
    + r"(?: ssh[0-9]?)?(?: \[preauth\])?",
    re.DOTALL,
)
_SSH_END = re.compile(
    r"(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting) "
    r"(?:(?:(?:invalid|authenticating) )?user (?P<user>.*) )?(?P<address>[0-9A-Fa-f:.]{2,45}) port (?P<port>[0-9]{1,5})"
    r"(?::? .*)?",
    re.DOTALL,
)
_SSH_DISCONNECT = re.compile(
    r"Received disconnect from (?P<address>[0-9A-Fa-f:.]{2,45}?)(?: port (?P<port>[0-9]{1,5}))?: ?(?P<reason>[0-9].*)",
    re.DOTALL,
)
_SSH_START = re.compile(r"Connection from " + _ADDRESS + r"(?: on .*)?", re.DOTALL)
_SSH_NOT_ALLOWED = re.compile(
    r"User (?P<user>.*) from (?P<address>[^\s]{1,255}) not allowed because (?P<reason>.*)", re.DOTALL
)
_SSH_IDENTIFY = re.compile(
    r"Did not receive identification string from (?P<address>[^\s]{1,255})(?: port (?P<port>[0-9]{1,5}))?"
)
_SSH_SUBSYSTEM = re.compile(r"subsystem request for (?P<subsystem>[^\s]{1,64}) by user (?P<user>.*)", re.DOTALL)
_SSH_BREAK_IN = re.compile(r".{1,512} \[(?P<address>[0-9A-Fa-f:.]{2,45})\] failed - POSSIBLE BREAK-IN ATTEMPT!")

_PAM_SESSION = re.compile(
    r"pam_(?:unix|systemd)\((?P<service>[^):]{1,64}):session\): "
    r"session (?P<what>opened|closed) for user (?P<user>[^\s(]{1,256})"
    r"(?:\(uid=(?P<target_uid>[0-9]{1,10})\))?(?: by (?P<by>[^\s(]{0,256})\(uid=(?P<uid>[0-9]{1,10})\))?"
)
_PAM_FAILURE = re.compile(
    r"(?:pam_unix\((?P<service>[^):]{1,64}):auth\): |PAM [0-9]+ more )?authentication failures?; (?P<pairs>.*)",
    re.DOTALL,
)
_PAIR = re.compile(r"([a-z]{1,16})=([^\s]{0,256})")

_SUDO = re.compile(
    r"(?P<user>[^\s:]{1,256}) : (?:(?P<reason>[^=;]{1,256}) ; )?TTY=(?P<tty>[^;]{1,256}) ; PWD=(?P<pwd>[^;]{0,4096}) ; "
    r"USER=(?P<target>[^;]{1,256})(?: ; (?:GROUP|TSID|ENV)=[^;]{0,4096})* ; COMMAND=(?P<command>.*)",
    re.DOTALL,
)
_SU = re.compile(r"(?P<result>Successful|FAILED) su for (?P<target>[^\s]{1,256}) by (?P<user>[^\s]{1,256})")
_SU_SIGN = re.compile(r"(?P<sign>[+-]) (?P<tty>[^\s]{1,128}) (?P<user>[^\s:]{1,256})[:-](?P<target>[^\s]{1,256})")
_SU_TO = re.compile(r"\(to (?P<target>[^\s)]{1,256})\) (?P<user>[^\s]{1,256}) on (?P<tty>[^\s]{1,128})")
_LOGIND = re.compile(r"New session (?P<session>[^\s]{1,64}) of user (?P<user>[^\s]{1,256})\.")

_NEW_ACCOUNT = re.compile(
    r"new (?P<kind>user|group|account): (?:name|account)=(?P<name>[^\s,]{1,256})(?:, (?P<rest>.*))?", re.DOTALL
)
_GROUP_ADDED = re.compile(
    r"group added to /etc/g?(?:shadow|group): name=(?P<name>[^\s,]{1,256})(?:, GID=(?P<gid>[0-9]{1,10}))?"
)
_DELETE_USER = re.compile(r"delete user ['`](?P<name>[^'`]{1,256})['`]")
_FAILED_USER = re.compile(r"failed adding user ['`](?P<name>[^'`]{1,256})['`], .*")
_REMOVE_GROUP = re.compile(
    r"(?:removed group ['`](?P<name>[^'`]{1,256})['`].*|group ['`](?P<other>[^'`]{1,256})['`] removed.*)"
)
_MEMBER = re.compile(
    r"(?P<verb>add|delete) ['`](?P<user>[^'`]{1,256})['`] (?:to|from) (?:shadow )?group ['`](?P<group>[^'`]{1,256})['`]"
)
_CHANGE_USER = re.compile(r"change user ['`](?P<name>[^'`]{1,256})['`] .*", re.DOTALL)
_PASSWORD = re.compile(r"(?:pam_unix\(passwd:chauthtok\): )?password changed for (?P<name>[^\s]{1,256})")

_SHIPPED = {
    "host": "host.name",
    "hostname": "host.name",
    "fromhost": "host.name",
    "program": "process.name",
    "programname": "process.name",
    "app-name": "process.name",
    "appname": "process.name",
    "ident": "process.name",
    "pid": "process.pid",
    "procid": "process.pid",
    "processid": "process.pid",
}
"""What shippers call the parts of a header that they have read already."""
_SYSLOG_TAG = re.compile(r"(?P<app>[^\s:\[\]]{1,128})(?:\[(?P<pid>[0-9]{1,10})\])?:?")


def parse_linux_auth(event: Event, counters: Counters) -> None:
    """Reads the message of an event further; header fields first where the message still holds the header."""
    _adopt_shipped(event)
    message = event.get("message")
    if not isinstance(message, str):
        count(counters, "unparsed")
        return
    if "process.name" not in event and read_syslog(message, event):
        event.setdefault("event.original", message)
        message = event["message"]
    event.setdefault("event.kind", "event")
    message = message.strip()
    if len(message) > MAX_LINE or not _interpret(str(event.get("process.name", "")), message, event):
        count(counters, "unparsed")


def _adopt_shipped(event: Event) -> None:
    for name, ecs in _SHIPPED.items():
        if isinstance(event.get(name), str | int) and ecs not in event:
            event[ecs] = event.pop(name)
    tag = event.get("syslogtag")
    if isinstance(tag, str) and "process.name" not in event and (match := _SYSLOG_TAG.fullmatch(tag.strip())):
        del event["syslogtag"]
        event["process.name"] = match["app"]
        if match["pid"]:
            event["process.pid"] = int(match["pid"])


def _interpret(program: str, message: str, event: Event) -> bool:
    if "authentication failure" in message and (match := _PAM_FAILURE.fullmatch(message)):
        _pam_failure(match, event)
        return True
    if message.startswith("pam_") and (match := _PAM_SESSION.fullmatch(message)):
        _pam_session(match, event)
        return True
    name = program.rpartition("/")[2]
    for pattern, effect in _PROGRAMS.get(name, ()):
        match = pattern.fullmatch(message)
        if match:
            effect(match, event)
            return True
    return False


def _set(event: Event, category: str | list[str], kind: str | list[str], action: str, outcome: str | None) -> None:
    event["event.category"] = [category] if isinstance(category, str) else category
    event["event.type"] = [kind] if isinstance(kind, str) else kind
    event["event.action"] = action
    if outcome:
        event["event.outcome"] = outcome


def _source(match: re.Match[str], event: Event) -> None:
    groups = match.groupdict()
    _set_source(groups.get("address"), event)
    port = groups.get("port")
    if port and int(port) < 65536:
        event["source.port"] = int(port)


def _set_source(address: Any, event: Event) -> None:
    if not isinstance(address, str) or not address:
        return
    event["source.address"] = address
    if check_ip(address) is MISMATCH:
        event["source.domain"] = address
    else:
        event["source.ip"] = address


def _user(name: str | None, event: Event) -> None:
    if name:
        event["user.name"] = name


def _ssh_login(match: re.Match[str], event: Event) -> None:
    accepted = match["result"] == "Accepted"
    if match["result"] == "Postponed":
        _set(event, "authentication", "info", "ssh_login", "unknown")
    elif accepted:
        _set(event, ["authentication", "session"], "info", "ssh_login", "success")
    else:
        _set(event, "authentication", "info", "ssh_login", "failure")
    _user(match["user"], event)
    _source(match, event)
    event["system.auth.ssh.event"] = match["result"]
    event["system.auth.ssh.method"] = match["method"]
    if match["invalid"]:
        event["event.reason"] = "invalid user"
    if match["key"] and match["key"].startswith(": "):
        event["system.auth.ssh.signature"] = match["key"][2:]


def _ssh_failure(match: re.Match[str], event: Event) -> None:
    _set(event, "authentication", "info", "ssh_login", "failure")
    _user(match["user"], event)
    _source(match, event)
    reason = match.groupdict().get("reason")
    event["event.reason"] = reason or "too many attempts"


def _ssh_invalid(match: re.Match[str], event: Event) -> None:
    _set(event, "authentication", "info", "ssh_login", "failure")
    _user(match["user"], event)
    _source(match, event)
    event["event.reason"] = "invalid user"
    event["system.auth.ssh.event"] = "Invalid"


def _ssh_subsystem(match: re.Match[str], event: Event) -> None:
    _set(event, "session", "info", "ssh_subsystem", "success")
    _user(match["user"], event)
    event["system.auth.ssh.subsystem"] = match["subsystem"]


def _ssh_connection(action: str, kind: str) -> Effect:
    def effect(match: re.Match[str], event: Event) -> None:
        _set(event, "network", ["connection", kind], action, None)
        groups = match.groupdict()
        _user(groups.get("user"), event)
        _source(match, event)
        if groups.get("reason"):
            event["event.reason"] = groups["reason"]

    return effect


def _pam_session(match: re.Match[str], event: Event) -> None:
    opened = match["what"] == "opened"
    _set(event, "session", "start" if opened else "end", f"session_{match['what']}", "success")
    event["system.auth.pam.service"] = match["service"]
    if opened:
        event["user.effective.name"] = match["user"]
    if match["by"]:
        event["user.name"] = match["by"]
        event["user.id"] = match["uid"]
    else:
        event["user.name"] = match["user"]
        if match["target_uid"]:
            event["user.id"] = match["target_uid"]


def _pam_failure(match: re.Match[str], event: Event) -> None:
    pairs = dict(_PAIR.findall(match["pairs"][:2048]))
    service = match["service"] or ""
    ssh = service == "sshd" or pairs.get("tty") in {"ssh", "NODEVssh"}
    _set(event, "authentication", "info", "ssh_login" if ssh else "authentication", "failure")
    _user(pairs.get("user") or pairs.get("ruser") or pairs.get("logname"), event)
    _set_source(pairs.get("rhost"), event)
    if service:
        event["system.auth.pam.service"] = service


def _sudo(match: re.Match[str], event: Event) -> None:
    reason = match["reason"]
    _set(event, "process", "start", "sudo_command", "failure" if reason else "success")
    event["user.name"] = match["user"]
    event["user.effective.name"] = match["target"]
    event["process.command_line"] = match["command"]
    event["process.working_directory"] = match["pwd"]
    event["system.auth.sudo.tty"] = match["tty"]
    if reason:
        event["event.reason"] = reason
        event["event.category"] = ["authentication", "process"]


def _su(match: re.Match[str], event: Event) -> None:
    groups = match.groupdict()
    failed = groups.get("result") == "FAILED" or groups.get("sign") == "-"
    _set(event, "authentication", "info", "su", "failure" if failed else "success")
    event["user.name"] = match["user"]
    event["user.effective.name"] = match["target"]
    if groups.get("tty"):
        event["system.auth.su.tty"] = groups["tty"]


def _logind(match: re.Match[str], event: Event) -> None:
    _set(event, "session", "start", "session_opened", "success")
    event["user.name"] = match["user"]
    event["system.auth.session"] = match["session"]


def _account(kind: str, change: str, action: str, outcome: str = "success") -> Effect:
    def effect(match: re.Match[str], event: Event) -> None:
        _set(event, "iam", [kind, change], action, outcome)
        groups = match.groupdict()
        event[f"{kind}.name"] = groups.get("name") or groups.get("other")
        if groups.get("gid"):
            event["group.id"] = groups["gid"]

    return effect


def _new_account(match: re.Match[str], event: Event) -> None:
    kind = "group" if match["kind"] == "group" else "user"
    _set(event, "iam", [kind, "creation"], f"added-{kind}-account", "success")
    event[f"{kind}.name"] = match["name"]
    pairs = dict(part.split("=", 1) for part in (match["rest"] or "").split(", ", 16) if "=" in part)
    for key, name in (("UID", "user.id"), ("GID", "group.id"), ("uid", "user.id")):
        if key in pairs:
            event[name] = pairs[key]
    for key in ("home", "shell"):
        if key in pairs:
            event[f"system.auth.useradd.{key}"] = pairs[key]


def _member(match: re.Match[str], event: Event) -> None:
    added = match["verb"] == "add"
    _set(
        event, "iam", ["group", "change"], "added-member-to-group" if added else "removed-member-from-group", "success"
    )
    event["user.name"] = match["user"]
    event["group.name"] = match["group"]


Effect = Callable[[re.Match[str], Event], None]

_SSHD: tuple[tuple[re.Pattern[str], Effect], ...] = (
    (_SSH_LOGIN, _ssh_login),
    (_SSH_INVALID, _ssh_invalid),
    (_SSH_END, _ssh_connection("ssh_disconnect", "end")),
    (_SSH_DISCONNECT, _ssh_connection("ssh_disconnect", "end")),
    (_SSH_START, _ssh_connection("ssh_connect", "start")),
    (_SSH_MAX, _ssh_failure),
    (_SSH_NOT_ALLOWED, _ssh_failure),
    (_SSH_IDENTIFY, _ssh_connection("ssh_connect", "info")),
    (_SSH_SUBSYSTEM, _ssh_subsystem),
    (_SSH_BREAK_IN, _ssh_connection("ssh_connect", "info")),
)
_ACCOUNTS: tuple[tuple[re.Pattern[str], Effect], ...] = (
    (_NEW_ACCOUNT, _new_account),
    (_FAILED_USER, _account("user", "creation", "added-user-account", "failure")),
    (_GROUP_ADDED, _account("group", "creation", "added-group-account")),
    (_DELETE_USER, _account("user", "deletion", "deleted-user-account")),
    (_REMOVE_GROUP, _account("group", "deletion", "deleted-group-account")),
    (_MEMBER, _member),
    (_CHANGE_USER, _account("user", "change", "modified-user-account")),
    (_PASSWORD, _account("user", "change", "changed-password")),
)
_PROGRAMS: Mapping[str, tuple[tuple[re.Pattern[str], Effect], ...]] = {
    "sshd": _SSHD,
    "sshd-session": _SSHD,
    "sudo": ((_SUDO, _sudo),),
    "su": ((_SU, _su), (_SU_SIGN, _su), (_SU_TO, _su)),
    "systemd-logind": ((_LOGIND, _logind),),
    **dict.fromkeys(
        ("useradd", "userdel", "usermod", "groupadd", "groupdel", "groupmod", "gpasswd", "passwd", "chpasswd"),
        _ACCOUNTS,
    ),
}
