"""What happens before a release is uninstalled: no pod runs on, and nothing waits for an operator that is gone.

The chart's job before an uninstall runs this. In this order, so that nothing comes back:

1. the operator ends: its Deployment gets no replicas, and its pods are waited for;
2. in the tenants' namespaces what the operator made goes: workloads, accounts, policies, the workers' credentials;
3. LogSources lose the operator's finalizer, so that they, their namespaces and definitions can be deleted any time;
4. the Secrets and the Lease of the release's own namespace go.

What lives outside Kubernetes stays, whatever the deletion policies say: virtual hosts with the events that wait in
them, indices, users. Nothing here needs the backends. To be rid of that too, delete the LogSources first, while the
operator runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vedette_backends.errors import BackendError, ConflictError, NotFoundError, UnavailableError
from vedette_operator import marks
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import names

log = logging.getLogger(__name__)

OURS = "vedette.dev/v1alpha1"
KINDS = (
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "ServiceAccount"),
)
KEDA_KINDS = (("keda.sh/v1alpha1", "ScaledObject"), ("keda.sh/v1alpha1", "TriggerAuthentication"))
"""They go first: a ScaledObject would give the Deployment its pods back."""

RELEASE_SECRETS = ("gateway-backends", "librarian-backends", "web-backends")
TRIES = 5
PAUSE = 0.5


class Resources(Protocol):
    """What is asked of Kubernetes; `vedette_backends.cluster.resources` has the whole of it."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind; NotFoundError when there is no such kind."""

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """No error when there is none."""

    def patch(self, api_version: str, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """JSON merge patch."""


def uninstall(
    config: OperatorConfig,
    resources: Resources,
    *,
    patience: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Do all of it. Called again, it goes on where it was.

    Args:
        config: of the operator that goes.
        resources: the cluster.
        patience: seconds that the operator's pods may take to end.
        clock: seconds that never go back.
        sleep: waits for some seconds.

    Raises:
        UnavailableError: the API server cannot be reached, or the operator's pods do not end.
        RefusedError: a right is missing in the release's own namespace, or for LogSources.
    """
    _end_operator(config, resources, clock() + patience, clock, sleep)
    for namespace in config.tenants:
        try:
            _clear(config, resources, namespace)
        except UnavailableError:
            raise
        except BackendError as error:
            # One tenant whose namespace or rights are gone must not hold up the rest.
            log.warning("namespace %s is left as it is: %s", namespace, error)
    _release_sources(resources)
    for part in RELEASE_SECRETS:
        resources.delete("v1", "Secret", config.release_namespace, f"{config.release_name}-{part}")
    resources.delete("v1", "Secret", config.release_namespace, config.webhook_secret)
    resources.delete("coordination.k8s.io/v1", "Lease", config.release_namespace, _operator(config))


def _operator(config: OperatorConfig) -> str:
    return f"{config.release_name}-operator"


def _end_operator(
    config: OperatorConfig,
    resources: Resources,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    namespace, name = config.release_namespace, _operator(config)
    deployment = resources.get("apps/v1", "Deployment", namespace, name)
    if deployment is None:
        return
    if deployment["spec"].get("replicas") != 0:
        resources.patch("apps/v1", "Deployment", namespace, name, {"spec": {"replicas": 0}})
    # The Deployment's own count leaves out pods that are still ending.
    pods = names.selector(deployment["spec"]["selector"]["matchLabels"])
    while running := resources.list("v1", "Pod", namespace, pods):
        if clock() > deadline:
            raise UnavailableError(f"the operator's pod {running[0]['metadata']['name']} does not end")
        sleep(PAUSE)
    log.info("the operator has ended")


def _clear(config: OperatorConfig, resources: Resources, namespace: str) -> None:
    kinds = (*KEDA_KINDS, *KINDS) if config.keda.enabled else KINDS
    for api_version, kind in kinds:
        try:
            found = resources.list(api_version, kind, namespace, names.selector(names.OURS))
        except NotFoundError:
            continue  # KEDA went before
        for item in found:
            resources.delete(api_version, kind, namespace, item["metadata"]["name"])
            log.info("deleted %s %s/%s", kind, namespace, item["metadata"]["name"])
    # Secrets cannot be listed. Those of foreign publishers belong to their LogSource and stay valid with it.
    resources.delete("v1", "Secret", namespace, names.BACKENDS_SECRET)


def _release_sources(resources: Resources) -> None:
    try:
        sources = resources.list(OURS, "LogSource")
    except NotFoundError:
        return  # the definitions went before
    for source in sources:
        _release(resources, source)


def _release(resources: Resources, source: Mapping[str, Any]) -> None:
    metadata = source["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    for last in (*(False,) * (TRIES - 1), True):
        finalizers = metadata.get("finalizers") or []
        if marks.FINALIZER not in finalizers:
            return
        kept = [finalizer for finalizer in finalizers if finalizer != marks.FINALIZER]
        version = metadata["resourceVersion"]
        try:
            resources.patch(
                OURS, "LogSource", namespace, name, {"metadata": {"finalizers": kept, "resourceVersion": version}}
            )
        except ConflictError:
            if last:
                raise
            now = resources.get(OURS, "LogSource", namespace, name)
            if now is None:
                return
            metadata = now["metadata"]
        except NotFoundError:
            return
        else:
            if "deletionTimestamp" in metadata:
                log.warning("LogSource %s/%s was being deleted; its data in the backends stays", namespace, name)
            return
