"""Who workers are, what they may do in the API server, and where their packets may go."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vedette_operator.config import OperatorConfig, Reach
from vedette_operator.desired import names
from vedette_operator.desired.names import Document
from vedette_operator.desired.pods import STATUS_PORT
from vedette_operator.desired.workloads import KEDA_API, KEDA_TLS

ALWAYS = (names.PIPELINE, names.RESPONDER)
"""Components that every namespace with sources has."""
KINDS = (("v1", "ServiceAccount"), ("networking.k8s.io/v1", "NetworkPolicy"))
"""What each component has one of, under its own name."""


def accounts(
    config: OperatorConfig, namespace: str, owners: Sequence[Document] = (), components: Collection[str] = ALWAYS
) -> list[Document]:
    """ServiceAccounts, and the responder's right to work on incidents. Nobody else speaks to the API server."""
    responder = names.component_name(names.RESPONDER)
    return [
        *(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": _metadata(namespace, component, owners),
                "automountServiceAccountToken": component == names.RESPONDER,
            }
            for component in sorted(components)
        ),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(namespace, names.RESPONDER, owners),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": config.responder_role,
            },
            "subjects": [{"kind": "ServiceAccount", "name": responder, "namespace": namespace}],
        },
    ]


def network_policies(
    config: OperatorConfig, namespace: str, owners: Sequence[Document] = (), components: Collection[str] = ALWAYS
) -> list[Document]:
    """In come readers of metrics (and the node's probes, which no policy stops); out go names and backends."""
    policy = config.network_policy
    if not policy.enabled:
        return []
    names_and_backends = [*(_rule(reach, "to", ("UDP", "TCP")) for reach in policy.dns)]
    names_and_backends += [_rule(reach, "to") for reach in policy.backends]
    more = {names.RESPONDER: [_rule(reach, "to") for reach in policy.api_server]}
    port = {"ports": [{"port": STATUS_PORT, "protocol": "TCP"}]}
    readers = [{**port, **({"from": peers} if (peers := _peers(reach)) else {})} for reach in policy.metrics_from]
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(namespace, component, owners),
            "spec": {
                "podSelector": {"matchLabels": {names.COMPONENT: component, names.PART_OF: "vedette"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": readers or [{**port, "from": [{"namespaceSelector": {}}]}],
                "egress": [*names_and_backends, *more.get(component, [])],
            },
        }
        for component in sorted(components)
    ]


def keda_authentication(namespace: str, owners: Sequence[Document], *, ca: bool) -> Document:
    """Tells KEDA how to reach the broker. `ca`: the Secret holds the certificate of an authority of your own."""
    keys = {"host": "rabbitmq-url", **({"ca": "rabbitmq-ca.crt", "tls": KEDA_TLS} if ca else {})}
    return {
        "apiVersion": KEDA_API,
        "kind": "TriggerAuthentication",
        "metadata": _metadata(namespace, names.PIPELINE, owners),
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": names.BACKENDS_SECRET, "key": key} for parameter, key in keys.items()
            ]
        },
    }


def _metadata(namespace: str, component: str, owners: Sequence[Document]) -> Document:
    return names.metadata(namespace, names.component_name(component), names.labels(component), owners)


def _rule(reach: Reach, direction: str, protocols: Sequence[str] = ("TCP",)) -> Document:
    """One entry of `egress`; without peers it stands for every address, without ports for every port."""
    found: Document = {}
    if peers := _peers(reach):
        found[direction] = peers
    if reach.ports:
        found["ports"] = [{"port": port, "protocol": protocol} for port in reach.ports for protocol in protocols]
    return found


def _peers(reach: Reach) -> list[Document]:
    peers: list[Document] = [{"ipBlock": {"cidr": cidr}} for cidr in reach.cidrs]
    if reach.namespace_labels or reach.pod_labels:
        # Without a selector of namespaces, only pods beside the policy would be meant, and no backend runs there.
        namespaces = {"matchLabels": dict(reach.namespace_labels)} if reach.namespace_labels else {}
        peer: Document = {"namespaceSelector": namespaces}
        if reach.pod_labels:
            peer["podSelector"] = {"matchLabels": dict(reach.pod_labels)}
        peers.append(peer)
    return peers
