"""How the fields that a rule names are called in the events that it is matched against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from vedette_engine.detect import fields, ir
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.rule import Rule
from vedette_engine.ecs.catalogue import ROOTS

_OWN_ROOTS = ROOTS | {"winlog", "aws", "vedette"}
# Categories of Sysmon's taxonomy that more than one operating system has; the others are Windows's alone.
_HOST_CATEGORIES = frozenset(
    {
        "process_creation",
        "process_termination",
        "file_event",
        "file_delete",
        "file_change",
        "file_rename",
        "file_access",
        "network_connection",
        "dns_query",
    }
)
_WINDOWS_CATEGORIES = frozenset(
    {
        "clipboard_change",
        "create_remote_thread",
        "create_stream_hash",
        "driver_load",
        "file_block_executable",
        "file_block_shredding",
        "file_delete_detected",
        "file_executable_detected",
        "image_load",
        "pipe_created",
        "process_access",
        "process_tampering",
        "ps_classic_provider_start",
        "ps_classic_script",
        "ps_classic_start",
        "ps_module",
        "ps_script",
        "raw_access_thread",
        "registry_add",
        "registry_delete",
        "registry_event",
        "registry_rename",
        "registry_set",
        "sysmon_error",
        "sysmon_status",
        "wmi_event",
    }
)


def _is_own(name: str) -> bool:
    """Whether a rule's author already used a name of Vedette's events."""
    root, dot, _ = name.partition(".")
    return bool(dot) and root in _OWN_ROOTS


@lru_cache(maxsize=8192)
def _ecs_field(logsource: Logsource, native: str) -> str:
    if _is_own(native):
        return native
    product, category, _ = logsource
    if product == "windows" or (product is None and category in _WINDOWS_CATEGORIES):
        return fields.windows_event_name(native, category)
    if product == "aws":
        return fields.cloudtrail_event_name(native)
    if product in ("linux", "macos") or (product is None and category in _HOST_CATEGORIES):
        return fields.host_event_name(native)
    return native


def _native_field(_logsource: Logsource, native: str) -> str:
    return native


@dataclass(frozen=True, slots=True)
class Naming:
    """A way to name fields: NATIVE for events as their source wrote them, ECS for normalised ones."""

    name: str
    field: Callable[[Logsource, str], str]

    def condition(self, rule: Rule) -> ir.Node:
        """The rule's condition over names of events, without names of selections."""
        logsource = rule.logsource
        field = self.field
        return ir.rename(rule.condition, lambda native: field(logsource, native))


NATIVE = Naming("native", _native_field)
"""Events carry the names that rules use."""

ECS = Naming("ecs", _ecs_field)
"""Events were normalised by `vedette_engine.normalise`; see `fields` for what is called how."""
