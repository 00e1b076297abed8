"""What well-known Windows events mean in ECS: category, type, action, and who did what to whom.

Facts: Microsoft's descriptions of the Security events, Sysmon's schema, and the values that Elastic's Windows
integration documents, so that searches written for it find the same events here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_SUBJECT = {
    "SubjectUserName": "user.name",
    "SubjectDomainName": "user.domain",
    "SubjectUserSid": "user.id",
}
_PROCESS = {"ProcessName": "process.executable", "ProcessId": "process.pid"}
_CREATION = {"NewProcessId": "process.pid", "ProcessId": "process.parent.pid"}
_ORIGIN = {"IpAddress": "source.ip", "IpPort": "source.port", "WorkstationName": "source.domain"}

# One letter per role, as used in the table below.
_ROLES: Mapping[str, Mapping[str, str]] = {
    "s": _SUBJECT | _PROCESS,
    "c": _SUBJECT | _CREATION,
    "l": {
        "TargetUserName": "user.name",
        "TargetDomainName": "user.domain",
        "TargetUserSid": "user.id",
        "TargetSid": "user.id",
    }
    | _PROCESS
    | _ORIGIN,
    "t": _SUBJECT
    | {
        "TargetUserName": "user.target.name",
        "TargetDomainName": "user.target.domain",
        "TargetSid": "user.target.id",
    },
    "g": _SUBJECT
    | {
        "TargetUserName": "group.name",
        "TargetDomainName": "group.domain",
        "TargetSid": "group.id",
        "MemberSid": "user.target.id",
    },
    "n": {
        "SourceAddress": "source.ip",
        "SourcePort": "source.port",
        "DestAddress": "destination.ip",
        "DestPort": "destination.port",
        "Application": "process.executable",
    },
    "-": {},
}

# id, action, categories, types, role
_SECURITY = """
1100 logging-service-shutdown process end -
1102 audit-log-cleared iam admin,change s
1104 logging-full iam admin -
1105 auditlog-archieved iam admin -
1108 logging-processing-error iam admin -
4610 authentication-package-loaded configuration access -
4611 trusted-logon-process-registered configuration change s
4614 notification-package-loaded configuration access -
4616 system-time-changed configuration change s
4622 security-package-loaded configuration access -
4624 logged-in authentication start l
4625 logon-failed authentication start l
4634 logged-out authentication end l
4647 logged-out authentication end l
4648 logged-in-explicit authentication start s
4656 requested-object-handle file access s
4657 registry-value-modified configuration,registry change s
4670 permissions-changed iam,configuration admin,change s
4672 logged-in-special iam admin s
4673 privileged-service-called iam admin s
4674 privileged-operation iam admin s
4688 created-process process start c
4689 exited-process process end s
4697 service-installed iam,configuration admin,change s
4698 scheduled-task-created iam,configuration creation,admin s
4699 scheduled-task-deleted iam,configuration deletion,admin s
4700 scheduled-task-enabled iam,configuration change,admin s
4701 scheduled-task-disabled iam,configuration change,admin s
4702 scheduled-task-updated iam,configuration change,admin s
4706 domain-trust-added configuration creation s
4707 domain-trust-removed configuration deletion s
4713 kerberos-policy-changed configuration change s
4714 encrypted-data-recovery-policy-changed configuration change s
4715 object-audit-policy-changed configuration change s
4716 trusted-domain-information-changed configuration change s
4717 system-security-access-granted iam,configuration admin,change s
4718 system-security-access-removed iam,configuration admin,deletion s
4719 changed-audit-config iam,configuration admin,change s
4720 added-user-account iam user,creation t
4722 enabled-user-account iam user,change t
4723 changed-password iam user,change t
4724 reset-password iam user,change t
4725 disabled-user-account iam user,deletion t
4726 deleted-user-account iam user,deletion t
4727 added-group-account iam group,creation g
4728 added-member-to-group iam group,change g
4729 removed-member-from-group iam group,change g
4730 deleted-group-account iam group,deletion g
4731 added-group-account iam group,creation g
4732 added-member-to-group iam group,change g
4733 removed-member-from-group iam group,change g
4734 deleted-group-account iam group,deletion g
4735 modified-group-account iam group,change g
4737 modified-group-account iam group,change g
4738 modified-user-account iam user,change t
4739 domain-policy-changed configuration change s
4740 locked-out-user-account iam user,change t
4741 added-computer-account iam creation,admin s
4742 changed-computer-account iam change,admin s
4743 deleted-computer-account iam deletion,admin s
4744 added-distribution-group-account iam group,creation g
4745 changed-distribution-group-account iam group,change g
4746 added-member-to-distribution-group iam group,change g
4747 removed-member-from-distribution-group iam group,change g
4748 deleted-distribution-group-account iam group,deletion g
4749 added-distribution-group-account iam group,creation g
4750 changed-distribution-group-account iam group,change g
4751 added-member-to-distribution-group iam group,change g
4752 removed-member-from-distribution-group iam group,change g
4753 deleted-distribution-group-account iam group,deletion g
4754 added-group-account iam group,creation g
4755 modified-group-account iam group,change g
4756 added-member-to-group iam group,change g
4757 removed-member-from-group iam group,change g
4758 deleted-group-account iam group,deletion g
4759 added-distribution-group-account iam group,creation g
4760 changed-distribution-group-account iam group,change g
4761 added-member-to-distribution-group iam group,change g
4762 removed-member-from-distribution-group iam group,change g
4763 deleted-distribution-group-account iam group,deletion g
4764 type-changed-group-account iam group,change g
4767 unlocked-user-account iam user,change t
4768 kerberos-authentication-ticket-requested authentication start l
4769 kerberos-service-ticket-requested authentication start l
4770 kerberos-service-ticket-renewed authentication start l
4771 kerberos-preauth-failed authentication start l
4776 credential-validated authentication start l
4778 session-reconnected authentication,session start -
4779 session-disconnected authentication,session end -
4781 renamed-user-account iam user,change t
4798 group-membership-enumerated iam user,info t
4799 user-member-enumerated iam group,info g
4817 object-audit-changed iam,configuration admin,change s
4902 user-audit-policy-created iam,configuration admin,creation -
4904 security-event-source-added iam,configuration admin,change s
4905 security-event-source-removed iam,configuration admin,deletion s
4906 crash-on-audit-changed iam,configuration admin,change -
4907 audit-setting-changed iam,configuration admin,change s
4908 special-group-table-changed iam,configuration admin,change -
4912 per-user-audit-policy-changed iam,configuration admin,change s
5136 directory-service-object-modified iam,configuration admin,change s
5140 network-share-object-access-checked network access s
5145 network-share-object-access-checked network access s
5152 windows-firewall-packet-drop network connection,info,denied n
5156 windows-firewall-connection network connection,info,allowed n
5157 windows-firewall-packet-block network connection,info,denied n
5158 windows-firewall-bind-local-port network info n
5379 credential-manager-credentials-were-read iam user,info s
5380 vault-credential-find iam user,info s
"""

_SYSMON = """
1 - process start -
2 - file change -
3 - network connection,start,protocol -
4 - process change -
5 - process end -
6 - driver start -
7 - process change -
8 - process change -
9 - process access -
10 - process access -
11 - file creation -
12 - configuration,registry change -
13 - configuration,registry change -
14 - configuration,registry change -
15 - file access -
16 - configuration change -
17 - file creation -
18 - file access -
22 - network connection,protocol,info -
23 - file deletion -
25 - process change -
26 - file deletion -
27 - file creation -
28 - file deletion -
29 - file creation -
"""

_POWERSHELL = """
400 - process start -
403 - process end -
600 - process info -
800 - process info -
4103 - process info -
4104 - process info -
4105 - process start -
4106 - process end -
"""

OUTCOMES: Mapping[object, str] = MappingProxyType(
    {
        "0x8020000000000000": "success",
        "0x8010000000000000": "failure",
        0x8020000000000000 - 2**64: "success",
        0x8010000000000000 - 2**64: "failure",
        0x8020000000000000: "success",
        0x8010000000000000: "failure",
        "Audit Success": "success",
        "Audit Failure": "failure",
    }
)
"""Keywords of an audited event, as number or text of any shipper → ECS outcome."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a (channel, event id).

    Attributes:
        constants: ECS fields that every such event has.
        copies: native name → ECS name to add, besides the native one.
        audited: its keywords say whether it succeeded.
    """

    constants: Mapping[str, str | list[str]] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    audited: bool = False


def _read(table: str, *, audited: bool = False) -> dict[str, Facts]:
    facts: dict[str, Facts] = {}
    for line in table.split("\n"):
        if not line:
            continue
        code, action, categories, types, role = line.split()
        constants: dict[str, str | list[str]] = {
            "event.category": categories.split(","),
            "event.type": types.split(","),
        }
        if action != "-":
            constants["event.action"] = action
        facts[code] = Facts(constants, _ROLES[role], audited)
    return facts


_BY_CHANNEL: Mapping[str, Mapping[str, Facts]] = {
    "security": _read(_SECURITY, audited=True),
    "microsoft-windows-sysmon/operational": _read(_SYSMON),
    "windows powershell": _read(_POWERSHELL),
    "microsoft-windows-powershell/operational": _read(_POWERSHELL),
    "powershellcore/operational": _read(_POWERSHELL),
}
_OTHER_AUDITED = Facts(audited=True)
_NOTHING = Facts()


def facts(channel: str, code: str) -> Facts:
    """What is known of the event; empty Facts where nothing is."""
    lower = channel.lower()
    return _BY_CHANNEL.get(lower, {}).get(code) or (_OTHER_AUDITED if lower == "security" else _NOTHING)
