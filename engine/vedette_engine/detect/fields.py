r"""One table of field names for both sides of a match: what the edge calls a native field, rules call it too.

Sigma rules name fields as the log source does (`Image`, `eventName`); stored events use ECS. A native name gets an ECS
name here only where the two mean the same in *every* event of the product and the value survives unchanged. So neither
side needs to know the channel or the category, and a rule and an event cannot disagree. All other names stay what they
are, under a prefix of their product:

* windows: `winlog.event_data.<Name>`, whatever the channel; System fields as Winlogbeat calls them.
* aws: `aws.cloudtrail.<path>`, the path in CloudTrail's own spelling.
* linux, macos: the table of process, file and network names; other names stay as they are.
* every other product, and sources that send plain JSON: names stay as they are.

Not mapped on purpose: `User` (`DOMAIN\name` is not `user.name`), `Hashes` (several in one), `Protocol` (a word in
Sysmon, a number in Security), `Details`, `ProcessId` (hexadecimal in Security), `sourceIPAddress` (may be "AWS
Internal"), `ScriptBlockText` (no ECS leaf).

`Windows copies` are ECS names worth having for people and for rules of one category, whose native name means something
else in other events (`OriginalFileName` is the process's in Sysmon 1 and the library's in Sysmon 7). The edge keeps the
native name *and* adds the ECS name; a rule uses the ECS name only when its category says which is meant.

Facts: ECS 9 field reference, Winlogbeat's exported fields, Sysmon's schema, Microsoft's list of Security events.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WINDOWS_PREFIX = "winlog.event_data."
CLOUDTRAIL_PREFIX = "aws.cloudtrail."

# Names that mean the same on every operating system whose Sigma taxonomy is Sysmon's.
_HOST_NAMES = {
    "Image": "process.executable",
    "CommandLine": "process.command_line",
    "CurrentDirectory": "process.working_directory",
    "ParentImage": "process.parent.executable",
    "ParentCommandLine": "process.parent.command_line",
    "TargetFilename": "file.path",
    "DestinationIp": "destination.ip",
    "DestinationPort": "destination.port",
    "DestinationHostname": "destination.domain",
    "SourceIp": "source.ip",
    "SourcePort": "source.port",
    "SourceHostname": "source.domain",
    "QueryName": "dns.question.name",
}

# System fields of a Windows event, by the names that Sigma (and evtx_dump's flat form) gives them.
_WINDOWS_SYSTEM = {
    "EventID": "event.code",
    "Channel": "winlog.channel",
    "Provider_Name": "winlog.provider_name",
    "Provider_Guid": "winlog.provider_guid",
    "Computer": "host.name",
    "EventRecordID": "winlog.record_id",
    "Execution_ProcessID": "winlog.process.pid",
    "Execution_ThreadID": "winlog.process.thread.id",
    "Security_UserID": "winlog.user.identifier",
    "Correlation_ActivityID": "winlog.activity_id",
    "Correlation_RelatedActivityID": "winlog.related_activity_id",
    "Level": "winlog.level",
    "Task": "winlog.task",
    "Opcode": "winlog.opcode",
    "Keywords": "winlog.keywords",
    "Version": "winlog.version",
}

WINDOWS: Mapping[str, str] = MappingProxyType(
    _HOST_NAMES
    | _WINDOWS_SYSTEM
    | {
        "ProcessGuid": "process.entity_id",
        "ParentProcessGuid": "process.parent.entity_id",
        "ImageLoaded": "dll.path",
        "TargetObject": "registry.path",
    }
)
"""Native Windows name → ECS or winlog name, in every channel. The native name does not appear in the event."""

HOST: Mapping[str, str] = MappingProxyType(_HOST_NAMES)
"""Native name → ECS name for Linux and macOS, whose Sigma taxonomy is Sysmon's."""

CLOUDTRAIL: Mapping[str, str] = MappingProxyType(
    {
        "eventName": "event.action",
        "eventSource": "event.provider",
        "awsRegion": "cloud.region",
        "recipientAccountId": "cloud.account.id",
        "userAgent": "user_agent.original",
    }
)
"""CloudTrail path → ECS name. Every other path p is `aws.cloudtrail.<p>`."""

_SYSMON = "microsoft-windows-sysmon/operational"
_NO_COPIES: Mapping[str, str] = MappingProxyType({})
_WINDOWS_COPIES: Mapping[tuple[str, str], Mapping[str, str]] = MappingProxyType(
    {
        (_SYSMON, "1"): MappingProxyType(
            {
                "OriginalFileName": "process.pe.original_file_name",
                "ProcessId": "process.pid",
                "ParentProcessId": "process.parent.pid",
            }
        ),
        (_SYSMON, "3"): MappingProxyType({"ProcessId": "process.pid", "Protocol": "network.transport"}),
        (_SYSMON, "7"): MappingProxyType({"OriginalFileName": "dll.pe.original_file_name", "ProcessId": "process.pid"}),
        ("security", "4688"): MappingProxyType(
            {"NewProcessName": "process.executable", "ParentProcessName": "process.parent.executable"}
        ),
    }
)
# What a rule of one category may call by the name of a copy: every event of the category has that copy.
_CATEGORY_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "process_creation": MappingProxyType({"OriginalFileName": "process.pe.original_file_name"}),
        "image_load": MappingProxyType({"OriginalFileName": "dll.pe.original_file_name"}),
    }
)


def windows_ecs_name(native: str, category: str | None = None) -> str | None:
    """The ECS or winlog name of a native Windows field; None when it stays under `winlog.event_data.`.

    `category` matters on the rule's side only: the Sigma category that the rule names.
    """
    if category is not None and (names := _CATEGORY_NAMES.get(category)) is not None and native in names:
        return names[native]
    return WINDOWS.get(native)


def windows_event_name(native: str, category: str | None = None) -> str:
    """The name that a native Windows field has in an event of Vedette."""
    return windows_ecs_name(native, category) or WINDOWS_PREFIX + native


def windows_copies(channel: str, event_id: int | str) -> Mapping[str, str]:
    """Native name → ECS name to add to events of this channel and id, besides the native name."""
    return _WINDOWS_COPIES.get((channel.lower(), str(event_id)), _NO_COPIES)


def cloudtrail_event_name(path: str) -> str:
    """The name that a CloudTrail path (`userIdentity.arn`) has in an event of Vedette."""
    return CLOUDTRAIL.get(path) or CLOUDTRAIL_PREFIX + path


def host_event_name(native: str) -> str:
    """The name that a native Linux or macOS field has in an event of Vedette."""
    return HOST.get(native, native)
