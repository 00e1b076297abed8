"""What happens in the cloud account, in the Kubernetes cluster and at the web proxy on any morning."""

from __future__ import annotations

import random
import uuid

from vedette_cli.demo import company, shapes
from vedette_cli.demo.habits_unix import Steps

SYSTEM_COMPONENTS = (
    ("system:kube-scheduler", "watch", "pods", ""),
    ("system:kube-controller-manager", "update", "endpointslices", "shop"),
    ("system:node:node-3", "patch", "nodes", ""),
    ("system:serviceaccount:kube-system:coredns", "list", "services", ""),
    ("system:serviceaccount:monitoring:prometheus", "list", "pods", "telemetry"),
    ("system:serviceaccount:argocd:argocd-application-controller", "patch", "deployments", "shop"),
)
READ_CALLS = (
    ("DescribeInstances", "ec2"),
    ("ListBuckets", "s3"),
    ("GetBucketLocation", "s3"),
    ("DescribeAlarms", "monitoring"),
    ("GetCallerIdentity", "sts"),
    ("DescribeTrails", "cloudtrail"),
    ("GetTrailStatus", "cloudtrail"),
    ("ListFunctions", "lambda"),
)
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"
SITES = (
    ("docs.example.org", ("/ros2/tutorials", "/ros2/api", "/search")),
    ("mail.kestrelbay.example", ("/owa/", "/owa/service.svc")),
    ("git.kestrelbay.example", ("/fleet/arm-control", "/fleet/arm-control/merge_requests/412")),
    ("news.example.com", ("/", "/technology")),
    ("cdn.example.net", ("/lib/app.js", "/fonts/inter.woff2")),
    ("suppliers.example", ("/catalogue", "/cart")),
)


def new_id(rng: random.Random) -> str:
    """A version 4 UUID that the seed decides."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def api_call(rng: random.Random) -> Steps:
    """A read by a person through single sign-on or by the monitoring role."""
    name, service = rng.choice(READ_CALLS)
    if rng.random() < 0.6:
        identity, address = shapes.assumed_role("monitoring", "collector"), "192.0.2.20"
    else:
        who = rng.choice(company.SHELL_USERS)
        identity, address = shapes.assumed_role("engineer", who.login), rng.choice((company.OFFICE, who.home))
    return [(0.0, "cloudtrail", shapes.cloudtrail(name, service, identity, address, new_id(rng)))]


def bucket_change(rng: random.Random) -> Steps:
    """The pipeline sets access lists: private ones, and the website's public one."""
    bucket, acl = rng.choice(
        (("kbr-builds", "private"), ("kbr-ml-datasets", "private"), ("kbr-public-website", "public-read"))
    )
    parameters = {"bucketName": bucket, "x-amz-acl": acl}
    identity = shapes.assumed_role("infrastructure-pipeline", "apply")
    make = shapes.cloudtrail("PutBucketAcl", "s3", identity, "192.0.2.21", new_id(rng), requestParameters=parameters)
    return [(0.0, "cloudtrail", make)]


def console_login(rng: random.Random) -> Steps:
    """Single sign-on, whose second factor CloudTrail cannot see; sometimes an IAM user with one."""
    who = rng.choice(company.ADMINS)
    single = rng.random() < 0.8
    identity = shapes.assumed_role("engineer", who.login) if single else shapes.iam_user(who.login)
    make = shapes.cloudtrail(
        "ConsoleLogin",
        "signin",
        identity,
        rng.choice((company.OFFICE, who.home)),
        new_id(rng),
        agent=BROWSER,
        responseElements={"ConsoleLogin": "Success"},
        additionalEventData={"MobileVersion": "No", "MFAUsed": "No" if single else "Yes"},
    )
    return [(0.0, "cloudtrail", make)]


def cluster_component(rng: random.Random) -> Steps:
    """The cluster talks to itself."""
    user, verb, resource, namespace = rng.choice(SYSTEM_COMPONENTS)
    make = shapes.kubernetes(verb, user, resource, new_id(rng), namespace=namespace, agent=user.rpartition(":")[2])
    return [(0.0, "kubernetes-audit", make)]


def kubectl(rng: random.Random) -> Steps:
    """A person looks at pods or opens a shell in an application's pod."""
    who = rng.choice(company.SHELL_USERS)
    namespace = rng.choice(company.KUBERNETES_NAMESPACES)
    if rng.random() < 0.15:
        pod = f"{namespace}-worker-{rng.getrandbits(20):05x}"
        make = shapes.kubernetes(
            "create",
            who.login,
            "pods",
            new_id(rng),
            name=pod,
            namespace=namespace,
            subresource="exec",
            address=who.inside,
            code=101,
        )
    else:
        verb, resource = rng.choice(
            (("list", "pods"), ("get", "deployments"), ("list", "events"), ("get", "configmaps"))
        )
        make = shapes.kubernetes(verb, who.login, resource, new_id(rng), namespace=namespace, address=who.inside)
    return [(0.0, "kubernetes-audit", make)]


def gitops_binding(rng: random.Random) -> Steps:
    """Argo CD applies role bindings from Git, cluster-admin's among them."""
    role, name = rng.choice((("view", "team-view"), ("edit", "team-edit"), ("cluster-admin", "platform-break-glass")))
    make = shapes.kubernetes(
        "patch",
        "system:serviceaccount:argocd:argocd-application-controller",
        "clusterrolebindings",
        new_id(rng),
        name=name,
        agent="argocd-application-controller",
        requestObject={"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}},
    )
    return [(0.0, "kubernetes-audit", make)]


def node_check(rng: random.Random) -> Steps:
    """Monitoring executes its check in kube-system."""
    pod = f"kube-proxy-{rng.getrandbits(20):05x}"
    user = "system:serviceaccount:monitoring:node-check"
    make = shapes.kubernetes(
        "create",
        user,
        "pods",
        new_id(rng),
        name=pod,
        namespace="kube-system",
        subresource="exec",
        agent="node-check/2.3",
        code=101,
    )
    return [(0.0, "kubernetes-audit", make)]


def browsing(rng: random.Random) -> Steps:
    """A page and what belongs to it."""
    who = rng.choice(company.PEOPLE)
    site, paths = rng.choice(SITES)
    return [
        (
            0.4 * count,
            "web-proxy",
            shapes.proxy(
                who.inside,
                who.login,
                site,
                rng.choice(paths),
                agent=BROWSER,
                size=rng.randrange(400, 90_000),
                took=rng.randrange(8, 400),
            ),
        )
        for count in range(rng.choice((1, 2, 3)))
    ]


def tool_download(rng: random.Random) -> Steps:
    """Servers fetch with curl: from names, and firmware from the supplier that has none."""
    site, path = rng.choice(
        (("downloads.example.org", "/install.sh"), (company.FIRMWARE_SUPPLIER, "/firmware/arm-4.2.sh"))
    )
    client = rng.choice(tuple(company.LINUX_SERVERS.values()))
    make = shapes.proxy(
        client, "-", site, path, agent="curl/8.14.1", size=rng.randrange(2_000, 900_000), took=rng.randrange(30, 900)
    )
    return [(0.0, "web-proxy", make)]
