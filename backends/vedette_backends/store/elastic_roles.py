"""Who may do what in Elasticsearch: the privileges of each part's API key, limited to its namespaces' indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vedette_backends.errors import RefusedError
from vedette_backends.store.elastic_mapping import fingerprint
from vedette_backends.store.elastic_names import Names

_READ: Final = ("read", "view_index_metadata", "monitor", "maintenance")
_CREATE: Final = ("create_doc", "create_index", *_READ)
_CHANGE: Final = ("index", "create_index", *_READ)
_DROP: Final = ("delete_index", *_READ)


@dataclass(frozen=True, slots=True)
class Role:
    """What a key may do.

    Attributes:
        name: of the part that has the key: worker, gateway, librarian or web.
        namespaces: whose indices it may touch.
        cluster: cluster privileges.
        indices: (names of indices, privileges) each.
    """

    name: str
    namespaces: tuple[str, ...]
    cluster: tuple[str, ...]
    indices: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @property
    def descriptor(self) -> dict[str, Any]:
        """As Elasticsearch takes it."""
        indices = [{"names": list(names), "privileges": list(privileges)} for names, privileges in self.indices]
        return {"cluster": list(self.cluster), "indices": indices}

    @property
    def metadata(self) -> dict[str, Any]:
        """What a key says of itself: `hash` tells whether it still has the privileges that it should have."""
        known = {"managed_by": "vedette", "role": self.name, "namespaces": list(self.namespaces)}
        return {**known, "hash": fingerprint(self.descriptor)}


def worker(namespace: str) -> Role:
    """A tenant's pipeline, responder and scheduler: create events, change all else, of one namespace."""
    names = Names(namespace)
    changing = (names.alerts, names.dead_letters, names.records, names.state)
    return Role("worker", (namespace,), (), (((names.events,), _CREATE), (changing, _CHANGE), ((names.blobs,), _READ)))


def gateway(system: str, tenants: Sequence[str] = ()) -> Role:
    """The release's gateway: the table of sources and its heartbeat; nothing of any tenant."""
    names = Names(system)
    return Role("gateway", (system, *tenants), (), (((names.blobs,), _READ), ((names.state,), _CHANGE)))


def librarian(system: str, tenants: Sequence[str] = ()) -> Role:
    """The release's librarian: drops days, drains dead letters, takes snapshots, for the tenants."""
    own, each = Names(system), [Names(tenant) for tenant in tenants]
    events = tuple(names.events for names in each)
    single = tuple(name for names in each for name in (names.alerts, names.records, names.blobs, names.state))
    return Role(
        "librarian",
        (system, *tenants),
        ("create_snapshot",),
        _given(
            (events, _DROP),
            (tuple(names.dead_letters for names in each), _CHANGE),
            (single, _READ),
            ((own.blobs,), _READ),
            ((own.state,), _CHANGE),
        ),
    )


def web(system: str, tenants: Sequence[str] = ()) -> Role:
    """The release's web UI: reads everything of the tenants, writes what people decide."""
    own, each = Names(system), [Names(tenant) for tenant in tenants]
    reading = tuple(name for names in each for name in (names.events, names.blobs, names.state))
    changing = tuple(name for names in each for name in (names.alerts, names.dead_letters, names.records))
    return Role(
        "web",
        (system, *tenants),
        (),
        _given((reading, _READ), (changing, _CHANGE), ((own.blobs,), _READ), ((own.state, own.records), _CHANGE)),
    )


def _given(
    *rights: tuple[tuple[str, ...], tuple[str, ...]],
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return tuple(right for right in rights if right[0])


_ROLES: Final[Mapping[str, Callable[[str, Sequence[str]], Role]]] = {
    "worker": lambda namespace, _rest: worker(namespace),
    "gateway": gateway,
    "librarian": librarian,
    "web": web,
}


def role_of(name: str, namespaces: Sequence[str]) -> Role:
    """The role of a part; the first namespace is its own, the others are the tenants it serves.

    Raises:
        RefusedError: there is no such part, or no namespace.
    """
    made = _ROLES.get(name)
    if made is None or not namespaces:
        raise RefusedError(f"{name!r} is none of {', '.join(_ROLES)}, or has no namespace")
    return made(namespaces[0], sorted(set(namespaces[1:]) - {namespaces[0]}))
