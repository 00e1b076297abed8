"""Kestrel Bay Robotics, which does not exist: its people, machines and addresses.

Addresses outside are from the documentation ranges (RFC 5737), names from `.example` (RFC 2606); the inside is
10.20.0.0/16. Where the outside addresses "are" is what `scripts/make_demo_geoip` puts into the demo's database.
"""

from __future__ import annotations

from dataclasses import dataclass

DOMAIN = "KBR"
AD_SUFFIX = "corp.kestrelbay.example"
AWS_ACCOUNT = "111122223333"
AWS_REGION = "eu-north-1"
OFFICE = "192.0.2.12"
TRAVELLER = "198.51.100.31"
FIRMWARE_SUPPLIER = "198.51.100.20"
ATTACKER = "203.0.113.66"
ATTACKER_FILES = "203.0.113.80"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who works there.

    Attributes:
        login: the account name, the same in every system.
        team: what the person does.
        workstation: the short name of the Windows machine.
        inside: the workstation's address.
        home: the address at home, for those who log in from there.
    """

    login: str
    team: str
    workstation: str
    inside: str
    home: str


PEOPLE = (
    Person("amira.holt", "robotics", "WS-ENG-01", "10.20.4.11", "192.0.2.131"),
    Person("ben.okoye", "robotics", "WS-ENG-02", "10.20.4.12", "192.0.2.132"),
    Person("mei.tanaka", "robotics", "WS-ENG-03", "10.20.4.18", "192.0.2.133"),
    Person("priya.nair", "data", "WS-ENG-04", "10.20.4.19", "192.0.2.134"),
    Person("lucas.ferro", "data", "WS-ENG-05", "10.20.4.22", "192.0.2.135"),
    Person("jonas.reed", "platform", "WS-OPS-01", "10.20.5.10", "192.0.2.140"),
    Person("ines.duarte", "platform", "WS-OPS-02", "10.20.5.11", "192.0.2.141"),
    Person("tomas.lind", "it", "WS-IT-01", "10.20.5.20", "192.0.2.142"),
    Person("hana.kovar", "it", "WS-IT-02", "10.20.5.21", "192.0.2.143"),
    Person("carla.voss", "finance", "WS-FIN-02", "10.20.6.12", "192.0.2.150"),
    Person("owen.pryce", "finance", "WS-FIN-03", "10.20.6.13", "192.0.2.151"),
    Person("sofia.marsh", "people", "WS-HR-01", "10.20.6.20", "192.0.2.152"),
    Person("dele.adeyemi", "sales", "WS-SAL-01", "10.20.6.31", "192.0.2.153"),
    Person("nora.quist", "sales", "WS-SAL-02", "10.20.6.32", "192.0.2.154"),
    Person("viktor.bauer", "support", "WS-SUP-01", "10.20.6.41", "192.0.2.155"),
    Person("leila.haddad", "support", "WS-SUP-02", "10.20.6.42", "192.0.2.156"),
)
SHELL_USERS = tuple(person for person in PEOPLE if person.team in {"robotics", "data", "platform", "it"})
ADMINS = tuple(person for person in PEOPLE if person.team in {"platform", "it"})

LINUX_SERVERS = {
    "web1": "10.20.1.11",
    "web2": "10.20.1.12",
    "db1": "10.20.1.20",
    "ci1": "10.20.2.10",
    "bastion1": "10.20.0.8",
    "nas1": "10.20.2.30",
}
WINDOWS_SERVERS = {"DC1": "10.20.3.5", "FILE1": "10.20.3.10"}
KUBERNETES_NAMESPACES = ("shop", "telemetry", "fleet", "monitoring")
BUCKETS = ("kbr-builds", "kbr-customer-telemetry", "kbr-ml-datasets", "kbr-backups")


def fqdn(windows_name: str) -> str:
    """The full name of a Windows machine."""
    return f"{windows_name}.{AD_SUFFIX}"


def person(login: str) -> Person:
    """Somebody by account name.

    Raises:
        KeyError: nobody has that account.
    """
    for candidate in PEOPLE:
        if candidate.login == login:
            return candidate
    raise KeyError(login)
