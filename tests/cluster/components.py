"""The programs of a node: their configuration files and command lines. Nothing here runs anything.

Facts that are not in the programs' own documentation, each found by a node that did not start:

* A container's kernel hides CAP_SYS_RESOURCE: neither the kubelet nor containerd may lower an OOM score.
* The kubelet refuses eviction thresholds of 0, and on a developer's full disk it would evict everything: 1 %.
* kube-proxy writes connection tracking limits of the whole machine, unless they are 0.
* The controllers look for unbound volume claims every 15 seconds, unless told otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.addresses import Addresses
from tests.cluster.certificates import Certificates
from tests.cluster.init import HOSTNAME

CONTAINERD = "/run/containerd/containerd.sock"
"""On the node's own /run: a path below a test's folder may be too long for a socket."""
PAUSE_IMAGE = "localhost/pause:1"
CONTROL_PLANE = ("etcd", "apiserver", "controllers", "scheduler")
NODE = ("containerd", "kubelet", "proxy", "dns")

SPARE_PORT = 6444
"""Where a second API server listens, for tests that need one."""

Command = list[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are: `folder` is the node's own, `tools` holds the programs, `runc` is the machine's."""

    folder: Path
    tools: Path
    runc: str
    addresses: Addresses

    @property
    def keys(self) -> Path:
        """Certificates and keys."""
        return self.folder / "keys"

    @property
    def configs(self) -> Path:
        """Files that are named on command lines."""
        return self.folder / "config"

    @property
    def data(self) -> Path:
        """What etcd and containerd store."""
        return self.folder / "data"

    @property
    def logs(self) -> Path:
        """One file per program, and the audit log."""
        return self.folder / "log"

    @property
    def audit(self) -> Path:
        """Writing requests of ServiceAccounts, one JSON object per line."""
        return self.logs / "audit.log"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.addresses.node}:6443"

    @property
    def spare(self) -> str:
        """The URL of the second API server, where there is one."""
        return f"https://{self.addresses.node}:{SPARE_PORT}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"


def write_keys(layout: Layout) -> None:
    """Certificates and kubeconfigs of everybody."""
    made = Certificates(layout.keys)
    addresses = layout.addresses
    service = "kubernetes.default.svc"
    made.issue(
        "apiserver",
        "kube-apiserver",
        hosts=(
            *(str(addresses.node), str(addresses.api), "127.0.0.1"),
            *("kubernetes", "kubernetes.default", service, f"{service}.cluster.local"),
        ),
    )
    made.issue("apiserver-kubelet", "apiserver-kubelet", group="system:masters")
    made.key_pair("accounts")
    for name, user, group in (
        ("admin", "admin", "system:masters"),
        ("controllers", "system:kube-controller-manager", ""),
        ("scheduler", "system:kube-scheduler", ""),
        ("proxy", "system:kube-proxy", ""),
    ):
        made.issue(name, user, group=group)
        made.kubeconfig(name, layout.server, layout.configs / f"{name}.kubeconfig")
    made.issue("kubelet", f"system:node:{HOSTNAME}", group="system:nodes", hosts=(str(addresses.node), HOSTNAME))
    made.kubeconfig("kubelet", layout.server, layout.configs / "kubelet.kubeconfig")
    made.kubeconfig("admin", layout.server, layout.kubeconfig)


def write_configs(layout: Layout) -> None:
    """All configuration files."""
    layout.configs.mkdir(parents=True, exist_ok=True)
    (layout.configs / "resolv.conf").write_text(f"nameserver {layout.addresses.dns}\n")
    (layout.configs / "containerd.toml").write_text(_containerd(layout))
    (layout.configs / "Corefile").write_text(_corefile(layout))
    for name, config in (
        ("kubelet", _kubelet(layout)),
        ("proxy", _proxy(layout)),
        ("audit", _audit()),
        ("cni/10-pods.conflist", _pod_network(layout)),
    ):
        path = layout.configs / (name if "/" in name else f"{name}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config, indent=1))


def _containerd(layout: Layout) -> str:
    return f"""\
version = 3
root = "{layout.data / "containerd"}"
state = "/run/containerd"
oom_score = 0
[grpc]
address = "{CONTAINERD}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{layout.runc}"
SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{layout.tools}"]
conf_dir = "{layout.configs / "cni"}"
"""


def _corefile(layout: Layout) -> str:
    return f"""\
.:53 {{
    bind {layout.addresses.node}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.kubeconfig}
    }}
    cache 5
}}
"""


def _kubelet(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDomain": "cluster.local",
        "clusterDNS": [str(layout.addresses.dns)],
        "resolvConf": str(layout.configs / "resolv.conf"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.keys / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.keys / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.keys / "kubelet.key"),
        "evictionHard": {
            "memory.available": "10Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",
        # Tests kill a container more often in a minute than a cluster does in a month.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": str(layout.addresses.pods),
        "hostnameOverride": HOSTNAME,
        "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(layout.configs / "proxy.kubeconfig")},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
    }


def _pod_network(layout: Layout) -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.data / "addresses"),
            "ranges": [[{"subnet": str(layout.addresses.pods)}]],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def _audit() -> dict[str, Any]:
    """What our own programs write, so that tests can count it; the cluster's own controllers would drown it."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    }


def storage_commands(layout: Layout) -> Iterator[tuple[str, Command]]:
    """What runs first: etcd, the API server, which waits for it, and containerd."""
    etcd = "http://127.0.0.1:2379"
    yield (
        "etcd",
        [
            str(layout.tools / "etcd"),
            f"--data-dir={layout.data / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
    )
    yield "containerd", [str(layout.tools / "containerd"), "--config", str(layout.configs / "containerd.toml")]
    keys = layout.keys
    yield (
        "apiserver",
        [
            str(layout.tools / "kube-apiserver"),
            f"--etcd-servers={etcd}",
            f"--service-cluster-ip-range={layout.addresses.services}",
            f"--advertise-address={layout.addresses.node}",
            "--secure-port=6443",
            f"--cert-dir={keys}",
            f"--tls-cert-file={keys / 'apiserver.crt'}",
            f"--tls-private-key-file={keys / 'apiserver.key'}",
            f"--client-ca-file={keys / 'ca.crt'}",
            f"--service-account-key-file={keys / 'accounts.pub'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--kubelet-certificate-authority={keys / 'ca.crt'}",
            f"--kubelet-client-certificate={keys / 'apiserver-kubelet.crt'}",
            f"--kubelet-client-key={keys / 'apiserver-kubelet.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
            f"--audit-policy-file={layout.configs / 'audit.json'}",
            f"--audit-log-path={layout.audit}",
        ],
    )


def spare_command(layout: Layout) -> Command:
    """A second API server on the same etcd, of which nothing in the cluster knows."""
    own = {"--secure-port=6443": f"--secure-port={SPARE_PORT}"}
    command = [
        own.get(each, each) for each in dict(storage_commands(layout))["apiserver"] if not each.startswith("--audit-")
    ]
    return [*command, "--endpoint-reconciler-type=none"]


def cluster_commands(layout: Layout) -> Iterator[tuple[str, Command]]:
    """What runs once the API server answers."""
    keys, configs = layout.keys, layout.configs
    yield (
        "controllers",
        [
            str(layout.tools / "kube-controller-manager"),
            f"--kubeconfig={configs / 'controllers.kubeconfig'}",
            f"--service-account-private-key-file={keys / 'accounts.key'}",
            f"--root-ca-file={keys / 'ca.crt'}",
            f"--cluster-signing-cert-file={keys / 'ca.crt'}",
            f"--cluster-signing-key-file={keys / 'ca.key'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--pvclaimbinder-sync-period=1s",
            "--allocate-node-cidrs",
            f"--cluster-cidr={layout.addresses.pods}",
            f"--node-cidr-mask-size={layout.addresses.pods.prefixlen}",
            f"--service-cluster-ip-range={layout.addresses.services}",
            "--bind-address=127.0.0.1",
        ],
    )
    yield (
        "scheduler",
        [
            str(layout.tools / "kube-scheduler"),
            f"--kubeconfig={configs / 'scheduler.kubeconfig'}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
    )
    yield (
        "kubelet",
        [
            str(layout.tools / "kubelet"),
            f"--config={configs / 'kubelet.json'}",
            f"--kubeconfig={configs / 'kubelet.kubeconfig'}",
            f"--hostname-override={HOSTNAME}",
            f"--node-ip={layout.addresses.node}",
        ],
    )
    yield "proxy", [str(layout.tools / "kube-proxy"), f"--config={configs / 'proxy.json'}"]
    yield "dns", [str(layout.tools / "coredns"), "-conf", str(configs / "Corefile")]


def import_command(layout: Layout, image: Path) -> Command:
    """Put an image's tar file into containerd's store, unpacked."""
    return [str(layout.tools / "ctr"), "-a", CONTAINERD, "-n", "k8s.io", "images", "import", "--local", str(image)]


def dns_objects(layout: Layout) -> list[dict[str, Any]]:
    """The Service in front of the node's DNS server, which is a process and no pod."""
    ports = (("dns", "UDP"), ("dns-tcp", "TCP"))
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {
                "clusterIP": str(layout.addresses.dns),
                "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-node",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [str(layout.addresses.node)]}],
            "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
        },
    ]
