"""Which Sigma log sources an event belongs to, so that only rules for these are tried.

A source claims a log source; Windows events are refined by channel and event id, Linux ones by program. The tables
restate facts of SigmaHQ's `tests/thor.yml` and of Microsoft's and Sysmon's documentation. Generic Windows categories
mean Sysmon events; Security 4688 counts as process_creation only where a source asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from vedette_engine.detect.logsource import Logsource, Logsources, fits

__all__ = ["Logsource", "Logsources", "event_logsources", "fits", "windows_logsources"]

Event = Mapping[str, Any]

_SERVICE_CHANNELS: Final = {
    "application": ("Application",),
    "application-experience": (
        "Microsoft-Windows-Application-Experience/Program-Telemetry",
        "Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant",
    ),
    "applocker": (
        "Microsoft-Windows-AppLocker/MSI and Script",
        "Microsoft-Windows-AppLocker/EXE and DLL",
        "Microsoft-Windows-AppLocker/Packaged app-Deployment",
        "Microsoft-Windows-AppLocker/Packaged app-Execution",
    ),
    "appmodel-runtime": ("Microsoft-Windows-AppModel-Runtime/Admin",),
    "appxdeployment-server": ("Microsoft-Windows-AppXDeploymentServer/Operational",),
    "appxpackaging-om": ("Microsoft-Windows-AppxPackaging/Operational",),
    "bitlocker": ("Microsoft-Windows-BitLocker/BitLocker Management",),
    "bits-client": ("Microsoft-Windows-Bits-Client/Operational",),
    "capi2": ("Microsoft-Windows-CAPI2/Operational",),
    "certificateservicesclient-lifecycle-system": (
        "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",
    ),
    "codeintegrity-operational": ("Microsoft-Windows-CodeIntegrity/Operational",),
    "dhcp": ("Microsoft-Windows-DHCP-Server/Operational",),
    "diagnosis-scripted": ("Microsoft-Windows-Diagnosis-Scripted/Operational",),
    "dns-client": ("Microsoft-Windows-DNS Client Events/Operational", "Microsoft-Windows-DNS-Client/Operational"),
    "dns-server": ("DNS Server",),
    "dns-server-analytic": ("Microsoft-Windows-DNS-Server/Analytical",),
    "dns-server-audit": ("Microsoft-Windows-DNS-Server/Audit",),
    "driver-framework": ("Microsoft-Windows-DriverFrameworks-UserMode/Operational",),
    "firewall-as": ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",),
    "hyper-v-worker": ("Microsoft-Windows-Hyper-V-Worker",),
    "iis-configuration": ("Microsoft-IIS-Configuration/Operational",),
    "kernel-event-tracing": ("Microsoft-Windows-Kernel-EventTracing",),
    "kernel-shimengine": (
        "Microsoft-Windows-Kernel-ShimEngine/Operational",
        "Microsoft-Windows-Kernel-ShimEngine/Diagnostic",
    ),
    "ldap": ("Microsoft-Windows-LDAP-Client/Debug",),
    "lsa-server": ("Microsoft-Windows-LSA/Operational",),
    "msexchange-management": ("MSExchange Management",),
    "ntfs": ("Microsoft-Windows-Ntfs/Operational",),
    "ntlm": ("Microsoft-Windows-NTLM/Operational",),
    "openssh": ("OpenSSH/Operational",),
    "powershell": ("Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"),
    "powershell-classic": ("Windows PowerShell",),
    "printservice-admin": ("Microsoft-Windows-PrintService/Admin",),
    "printservice-operational": ("Microsoft-Windows-PrintService/Operational",),
    "security": ("Security",),
    "security-mitigations": (
        "Microsoft-Windows-Security-Mitigations/Kernel Mode",
        "Microsoft-Windows-Security-Mitigations/User Mode",
    ),
    "sense": ("Microsoft-Windows-SENSE/Operational",),
    "servicebus-client": ("Microsoft-ServiceBus-Client/Admin", "Microsoft-ServiceBus-Client/Operational"),
    "shell-core": ("Microsoft-Windows-Shell-Core/Operational",),
    "smbclient-connectivity": ("Microsoft-Windows-SmbClient/Connectivity",),
    "smbclient-security": ("Microsoft-Windows-SmbClient/Security",),
    "smbserver-connectivity": ("Microsoft-Windows-SMBServer/Connectivity",),
    "sysmon": ("Microsoft-Windows-Sysmon/Operational",),
    "system": ("System",),
    "taskscheduler": ("Microsoft-Windows-TaskScheduler/Operational",),
    "terminalservices-localsessionmanager": ("Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",),
    "vhdmp": ("Microsoft-Windows-VHDMP/Operational",),
    "windefend": ("Microsoft-Windows-Windows Defender/Operational",),
    "wmi": ("Microsoft-Windows-WMI-Activity/Operational",),
}
_SERVICE_OF_CHANNEL: Mapping[str, str] = MappingProxyType(
    {channel.lower(): service for service, channels in _SERVICE_CHANNELS.items() for channel in channels}
)
_CATEGORIES: Mapping[str, Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        "sysmon": {
            1: ("process_creation",),
            2: ("file_change",),
            3: ("network_connection",),
            4: ("sysmon_status",),
            5: ("process_termination",),
            6: ("driver_load",),
            7: ("image_load",),
            8: ("create_remote_thread",),
            9: ("raw_access_thread",),
            10: ("process_access",),
            11: ("file_event",),
            12: ("registry_event", "registry_add", "registry_delete"),
            13: ("registry_event", "registry_set"),
            14: ("registry_event", "registry_rename"),
            15: ("create_stream_hash",),
            16: ("sysmon_status",),
            17: ("pipe_created",),
            18: ("pipe_created",),
            19: ("wmi_event",),
            20: ("wmi_event",),
            21: ("wmi_event",),
            22: ("dns_query",),
            23: ("file_delete",),
            24: ("clipboard_change",),
            25: ("process_tampering",),
            26: ("file_delete_detected",),
            27: ("file_block_executable",),
            28: ("file_block_shredding",),
            29: ("file_executable_detected",),
            255: ("sysmon_error",),
        },
        "powershell": {4103: ("ps_module",), 4104: ("ps_script",)},
        "powershell-classic": {
            400: ("ps_classic_start",),
            600: ("ps_classic_provider_start",),
            800: ("ps_classic_script",),
        },
    }
)
# Sysmon 12 is three kinds of event; its field EventType says which.
_REGISTRY_OBJECT = 12
_REGISTRY_KINDS = {
    "createkey": ("registry_event", "registry_add"),
    "deletekey": ("registry_event", "registry_delete"),
    "deletevalue": ("registry_event", "registry_delete"),
}
_PROCESS_CREATED = 4688
_SYSMON = "microsoft-windows-sysmon/operational"
_LINUX_SYSMON = "linux-sysmon/operational"
_WINDOWS = frozenset({"windows"})
_LINUX = frozenset({"linux"})
# Programs of Linux logs that SigmaHQ has rules for as services of their own.
_PROGRAM_SERVICES = {
    "sshd": "sshd",
    "sudo": "sudo",
    "cron": "cron",
    "crond": "cron",
    "vsftpd": "vsftpd",
    "clamd": "clamav",
    "freshclam": "clamav",
    "guacd": "guacamole",
}
_CLOUDTRAIL = Logsources(frozenset({"aws"}), frozenset(), frozenset({"cloudtrail"}))
_KUBERNETES_AUDIT = Logsources(frozenset({"kubernetes"}), frozenset({"application"}), frozenset({"audit"}))


def event_logsources(
    event: Event, claimed: Logsource | None = None, *, security_4688: bool = False
) -> Logsources | None:
    """The log sources of an event; None when nothing is known of it, and all rules are to be tried.

    Args:
        event: native or normalised.
        claimed: what the event's source says of itself.
        security_4688: the source wants Security 4688 to count as process_creation.
    """
    get = event.get
    channel = get("Channel")
    if channel is not None:
        code = get("EventID")
        kind = get("EventType") if code in (12, "12") else None
    else:
        channel = get("winlog.channel")
        code = get("event.code") if channel is not None else None
        kind = get("winlog.event_data.EventType") if code in (12, "12") else None
    if type(channel) is str and len(channel) < 256 and (type(code) is int or (type(code) is str and len(code) < 32)):
        kind = kind if type(kind) is str and len(kind) < 64 else None
        found = windows_logsources(channel, code, kind, security_4688)
        return found if claimed is None else _with_claim(found, claimed)
    if claimed is not None:
        program = get("process.name") if claimed.product == "linux" else None
        return _claimed(claimed, program if type(program) is str and program in _PROGRAM_SERVICES else None)
    return _recognised(event)


@lru_cache(maxsize=4096)
def windows_logsources(
    channel: str,
    code: int | str,
    kind: str | None = None,
    security_4688: bool = False,  # noqa: FBT001, FBT002 # a cached function is fastest with positional arguments
) -> Logsources:
    """The log sources of a Windows event.

    Args:
        channel: in any case; one that no service stands for gives no service.
        code: the event id; text that is no number gives no category.
        kind: Sysmon's EventType, which tells registry events apart; None when the event has none.
        security_4688: whether Security 4688 is a process_creation.
    """
    name = channel.lower()
    products = _WINDOWS
    if name == _LINUX_SYSMON:
        products, name = _LINUX, _SYSMON
    service = _SERVICE_OF_CHANNEL.get(name)
    services = frozenset({service}) if service is not None else frozenset()
    try:
        number = int(code)
    except ValueError:
        return Logsources(products, frozenset(), services)
    categories = _CATEGORIES.get(service or "", {}).get(number, ())
    if service == "sysmon" and number == _REGISTRY_OBJECT and kind is not None:
        categories = _REGISTRY_KINDS.get(kind.lower(), categories)
    if security_4688 and service == "security" and number == _PROCESS_CREATED:
        categories = ("process_creation",)
    return Logsources(products, frozenset(categories), services)


@lru_cache(maxsize=4096)
def _with_claim(found: Logsources, claimed: Logsource) -> Logsources:
    """A Windows event knows its category and service better than its source; a foreign product is added."""
    products = found.products | ({claimed.product} if claimed.product is not None else set())
    service = frozenset({claimed.service}) if claimed.service is not None and not found.services else frozenset()
    category = frozenset({claimed.category}) if claimed.category is not None and not found.services else frozenset()
    return Logsources(products, found.categories | category, found.services | service)


@lru_cache(maxsize=4096)
def _claimed(claimed: Logsource, program: str | None) -> Logsources:
    services = {claimed.service} if claimed.service is not None else set()
    if program is not None:
        services.add(_PROGRAM_SERVICES[program])
    return Logsources(
        frozenset({claimed.product} if claimed.product is not None else ()),
        frozenset({claimed.category} if claimed.category is not None else ()),
        frozenset(services),
    )


def _recognised(event: Event) -> Logsources | None:
    """Formats that tell what they are without a source's word."""
    if "eventSource" in event and "eventName" in event and ("eventVersion" in event or "awsRegion" in event):
        return _CLOUDTRAIL
    if str(event.get("apiVersion", "")).startswith("audit.k8s.io/") and "verb" in event:
        return _KUBERNETES_AUDIT
    return None
