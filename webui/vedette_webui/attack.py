"""How tags of a rule read: MITRE ATT&CK tactics and techniques by their own names where Sigma's tags carry them."""

from __future__ import annotations

_TACTICS = {
    "reconnaissance": "Reconnaissance",
    "resource-development": "Resource Development",
    "initial-access": "Initial Access",
    "execution": "Execution",
    "persistence": "Persistence",
    "privilege-escalation": "Privilege Escalation",
    "defense-evasion": "Defense Evasion",
    "stealth": "Stealth",
    "defense-impairment": "Defense Impairment",
    "credential-access": "Credential Access",
    "discovery": "Discovery",
    "lateral-movement": "Lateral Movement",
    "collection": "Collection",
    "command-and-control": "Command and Control",
    "exfiltration": "Exfiltration",
    "impact": "Impact",
}


def technique(tag: str) -> str:
    """`attack.t1110.001` → `T1110.001`, `attack.credential-access` → `Credential Access`; other tags stay."""
    family, _, rest = tag.partition(".")
    if family != "attack" or not rest:
        return tag
    return _TACTICS.get(rest.replace("_", "-"), rest.upper() if rest[:1] in "tgs" and rest[1:2].isdigit() else tag)
