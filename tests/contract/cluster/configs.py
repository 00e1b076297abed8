"""ConfigMaps in files, and what a cluster knows of them."""

from vedette_backends.cluster.local import LocalCluster
from vedette_backends.cluster.protocol import Change


def config(name: str, value: str = "1") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\ndata: {{v: '{value}'}}\n"


BROKEN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {v: 7}\n"


def values(cluster: LocalCluster) -> dict[str, str]:
    """Every ConfigMap's value by name."""
    return {found.key.name: found.manifest["data"]["v"] for found in cluster.list("ConfigMap")}


def origins(cluster: LocalCluster) -> dict[str, str]:
    return {found.key.name: found.origin for found in cluster.list("ConfigMap")}


def told(cluster: LocalCluster) -> list[tuple[Change, str]]:
    return [(event.change, event.object.key.name) for event in cluster.watch(0, 0)]


def messages(cluster: LocalCluster) -> list[str]:
    return [f"{problem.file}: {problem.message}" for problem in cluster.problems()]
