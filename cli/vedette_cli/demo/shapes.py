"""How each source writes its events: syslog lines, Winlogbeat, CloudTrail, Kubernetes audit, the proxy's JSON, ECS.

Every function returns a `Make`: from the time at which the event happens, it makes what the shipper would send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vedette_cli.demo import company

Make = Callable[[datetime], "str | dict[str, Any]"]

SYSMON = ("Microsoft-Windows-Sysmon/Operational", "Microsoft-Windows-Sysmon")
SECURITY = ("Security", "Microsoft-Windows-Security-Auditing")
EVENTLOG = ("Security", "Microsoft-Windows-Eventlog")
AUTHPRIV_INFO = 86  # facility 10, severity 6, as RFC 5424 counts them

SOURCES = ("linux-auth", "linux-processes", "windows", "cloudtrail", "kubernetes-audit", "web-proxy")
"""The LogSources that the demo sends to, by name."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of the story.

    Attributes:
        offset: seconds since the story began, on the story's clock.
        source: the LogSource that it goes to.
        make: makes the event for the time at which it happens.
        scene: the scene's name; empty for everyday noise.
        alerts: the rules that this event, and nothing else, makes fire.
    """

    offset: float
    source: str
    make: Make
    scene: str = ""
    alerts: tuple[str, ...] = ()


def iso(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def syslog(host: str, program: str, pid: int, message: str) -> Make:
    """An RFC 5424 line of the authpriv facility."""
    rest = f"{host} {program} {pid} - - {message}"
    return lambda at: f"<{AUTHPRIV_INFO}>1 {iso(at)} {rest}"


def linux_process(host: str, user: str, command_line: str, *, executable: str, parent: str, pid: int) -> Make:
    """A process start, in ECS, nested as an agent would send it."""
    return lambda at: {
        "@timestamp": iso(at),
        "event": {"category": ["process"], "type": ["start"], "action": "exec"},
        "host": {"name": host, "os": {"type": "linux"}},
        "user": {"name": user},
        "process": {
            "pid": pid,
            "name": executable.rpartition("/")[2],
            "executable": executable,
            "command_line": command_line,
            "parent": {"executable": parent, "name": parent.rpartition("/")[2]},
        },
    }


def windows(
    computer: str, log: tuple[str, str], event_id: int, data: Mapping[str, Any], record: int, *, utc_time: bool = False
) -> Make:
    """An event as Winlogbeat 8 sends it; `utc_time` adds Sysmon's own time to the event data."""
    channel, provider = log
    full_name = company.fqdn(computer)

    def make(at: datetime) -> dict[str, Any]:
        event_data = dict(data)
        if utc_time:
            event_data = {"UtcTime": iso(at)[:-1].replace("T", " "), **event_data}
        return {
            "@timestamp": iso(at),
            "agent": {"type": "winlogbeat", "version": "8.19.2"},
            "event": {"code": str(event_id), "kind": "event", "provider": provider},
            "host": {"name": full_name},
            "winlog": {
                "channel": channel,
                "provider_name": provider,
                "event_id": str(event_id),
                "computer_name": full_name,
                "record_id": record,
                "event_data": event_data,
            },
        }

    return make


def sysmon_process(
    computer: str, user: str, image: str, command_line: str, *, parent: str, record: int, original_name: str = ""
) -> Make:
    """Sysmon 1."""
    data = {
        "Image": image,
        "OriginalFileName": original_name or image.rpartition("\\")[2],
        "CommandLine": command_line,
        "CurrentDirectory": "C:\\Windows\\system32\\",
        "User": user,
        "IntegrityLevel": "System" if user.startswith("NT AUTHORITY") else "Medium",
        "ParentImage": parent,
        "ParentCommandLine": f'"{parent}"',
        "ProcessId": str(2000 + record % 9000),
    }
    return windows(computer, SYSMON, 1, data, record, utc_time=True)


def cloudtrail(
    name: str,
    service: str,
    identity: Mapping[str, Any],
    address: str,
    event_id: str,
    *,
    agent: str = "aws-cli/2.31.4",
    **parts: Any,
) -> Make:
    """A CloudTrail record; `parts` are further top-level members such as `requestParameters`."""
    read_only = name.startswith(("Get", "List", "Describe", "Head"))
    fixed = {
        "eventVersion": "1.09",
        "userIdentity": dict(identity),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": company.AWS_REGION,
        "sourceIPAddress": address,
        "userAgent": agent,
        "requestParameters": None,
        "responseElements": None,
        "eventID": event_id,
        "readOnly": read_only,
        "eventType": "AwsConsoleSignIn" if name == "ConsoleLogin" else "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": company.AWS_ACCOUNT,
        "eventCategory": "Management",
        **parts,
    }
    return lambda at: {"eventTime": iso(at)[:-5] + "Z", **fixed}


def iam_user(login: str) -> dict[str, Any]:
    """The identity of an IAM user with a long-lived key or password."""
    return {
        "type": "IAMUser",
        "principalId": "AIDAEXAMPLE" + login.replace(".", "").upper(),
        "arn": f"arn:aws:iam::{company.AWS_ACCOUNT}:user/{login}",
        "accountId": company.AWS_ACCOUNT,
        "userName": login,
    }


def assumed_role(role: str, session: str) -> dict[str, Any]:
    """The identity of a role's session, as single sign-on and pipelines have it."""
    return {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLE{role.replace('-', '').upper()}:{session}",
        "arn": f"arn:aws:sts::{company.AWS_ACCOUNT}:assumed-role/{role}/{session}",
        "accountId": company.AWS_ACCOUNT,
    }


def kubernetes(
    verb: str,
    user: str,
    resource: str,
    audit_id: str,
    *,
    name: str = "",
    namespace: str = "",
    subresource: str = "",
    address: str = "10.20.7.2",
    agent: str = "kubectl/v1.34.1",
    code: int = 200,
    **parts: Any,
) -> Make:
    """An audit.k8s.io/v1 event at stage ResponseComplete."""
    reference = {
        key: value
        for key, value in (
            ("resource", resource),
            ("namespace", namespace),
            ("name", name),
            ("subresource", subresource),
        )
        if value
    }

    def make(at: datetime) -> dict[str, Any]:
        return {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Request" if "requestObject" in parts else "Metadata",
            "auditID": audit_id,
            "stage": "ResponseComplete",
            "verb": verb,
            "user": {"username": user, "groups": ["system:authenticated"]},
            "sourceIPs": [address],
            "userAgent": agent,
            "objectRef": reference,
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": iso(at),
            "stageTimestamp": iso(at),
            **parts,
        }

    return make


def proxy(
    client: str,
    login: str,
    site: str,
    path: str,
    *,
    agent: str,
    size: int,
    took: int,
    method: str = "GET",
    status: int = 200,
) -> Make:
    """A line of the outbound proxy's JSON log; plain HTTP for addresses without a name."""
    scheme = "http" if site.replace(".", "").isdigit() else "https"
    fixed = {
        "client": client,
        "login": login,
        "method": method,
        "uri": f"{scheme}://{site}{path}",
        "site": site,
        "path": path,
        "status": status,
        "bytes": size,
        "agent": agent,
        "took_ms": took,
    }
    return lambda at: {"time": iso(at), **fixed}
